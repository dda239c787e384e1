"""Every exercise's check passes right answers however they are written, and refuses wrong ones."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from check_builders import EXERCISES, OPEN, RIGHT, WRONG, each, failures, parts

from mintad.course.checks import CheckFailed
from mintad.course.checks.cases import hidden

LEAST_RIGHT, LEAST_WRONG = 2, 4


def lacking(exercises, right, wrong) -> list[str]:
    """What a check lacks to be taught with, an entry for each."""
    lacks = [f"{e}: {LEAST_RIGHT} right answers" for e in exercises if len(set(right.get(e, ()))) < LEAST_RIGHT]
    lacks += [f"{e}: {LEAST_WRONG} wrong answers" for e in exercises if len(set(wrong.get(e, ()))) < LEAST_WRONG]
    lacks += [f"{e}: no such exercise" for e in {*right, *wrong} - set(exercises)]
    return lacks


def test_every_check_has_its_right_and_wrong_answers():
    assert lacking(EXERCISES, RIGHT, WRONG) == []
    assert len(lacking(["a.new"], {}, {"a.old": [len]})) == 3


@each
def test_every_check_draws_cases(exercise):
    secret = hidden(exercise)
    assert secret.draw or secret.judge
    assert "seed" in inspect.signature(parts(exercise)[0]).parameters


@each
def test_the_reference_passes_and_says_that_it_is_one(exercise, capsys):
    check, reference = parts(exercise)
    for seed in (1, 2):
        check(reference, seed=seed)
    assert capsys.readouterr().out.startswith("○ not solved yet")


@pytest.mark.parametrize(("exercise", "n"), [(exercise, n) for exercise in RIGHT for n in range(len(RIGHT[exercise]))])
def test_right_answers_pass_with_any_seed(exercise, n, capsys):
    for seed in (None, 1, 2):
        parts(exercise)[0](RIGHT[exercise][n], seed=seed)
    assert capsys.readouterr().out.count("✓ ") == 3


@pytest.mark.parametrize(("exercise", "n"), [(exercise, n) for exercise in WRONG for n in range(len(WRONG[exercise]))])
def test_wrong_solutions_fail_with_a_hint(exercise, n):
    for seed in (None, 1):
        with pytest.raises(CheckFailed, match="^✗ .{15,}"):
            parts(exercise)[0](WRONG[exercise][n], seed=seed)


FORMS = {
    "0-d tensor": lambda x: torch.tensor(x, dtype=torch.float64),
    "tensor with a gradient": lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True),
    "0-d array": np.asarray,
    "NumPy's number": np.float64,
    "Python's number": float,
}


OF_NUMBERS = {
    *("features.mean_and_pooled", "inr.inr_parameters", "interference.interclass_accepted", "prior.variance_lost"),
    *("queries.pool_parameters", "queries.pull", "report.signed_ranks", "scoring.pooled_max", "scoring.auroc"),
    *("scoring.average_precision", "scoring.conformal_threshold", "shortcut.threshold", "shortcut.projection_index"),
    *("tokens.silhouette", "training.epochs", "training.paired", "transfer.plateau", "transfer.operating_point"),
    *("transfer.expected_cost", "transformer.copied_share", "verdict.repetitions"),
}
"""Exercises whose result is a number, or a pair; `test_hard_coded_values_are_refused` looks whether all are named. What
is trained with must be a tensor."""


def is_number(value) -> bool:
    return isinstance(value, int | float | np.number) or getattr(value, "ndim", 1) == 0


def in_form(value, form):
    """The same result with its numbers in another form."""
    if isinstance(value, list | tuple):
        return [in_form(one, form) for one in value] if len(value) == 2 else value
    return FORMS[form](float(value)) if is_number(value) else value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("exercise", sorted(OF_NUMBERS))
def test_a_number_may_have_any_form(exercise, form):
    right = RIGHT[exercise][0]
    parts(exercise)[0](lambda *a: in_form(right(*a), form), seed=1)


@each
def test_constants_and_answers_of_other_cases_are_refused(exercise):
    check, reference = parts(exercise)
    constants = [0, 1, 0.5, np.zeros(3), torch.zeros(2, 3), torch.zeros(()), (0.0, 0.0), "", []]
    secret = hidden(exercise)
    constants += [reference(*secret.draw(np.random.default_rng(seed))) for seed in (1, 2)] if secret.draw else []
    for constant in constants:
        with pytest.raises(CheckFailed):
            check(lambda *_, constant=constant: constant, seed=1)


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if e not in OPEN])
def test_hard_coded_values_are_refused(exercise):
    """Results that were right in one check, returned in their order in the next."""
    check, right, results = parts(exercise)[0], RIGHT[exercise][0], []

    def recording(*arguments):
        results.append(right(*arguments))
        return results[-1]

    check(recording, seed=1)
    pair = isinstance(results[0], list | tuple) and len(results[0]) == 2
    assert (exercise in OF_NUMBERS) == (not check.trains and (pair or is_number(results[0]))), "in any form, see above"
    if not check.trains:  # what is typed in has no gradient
        check(replayed(results), seed=1)
    with pytest.raises(CheckFailed):
        check(replayed(results), seed=2)


def replayed(results):
    rest = iter(results)
    return lambda *_: next(rest)


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if hidden(e).draw])
def test_changing_an_argument_is_refused(exercise):
    def changing(*arguments):
        result = copy.deepcopy(RIGHT[exercise][0](*arguments))
        for value in arguments:
            if isinstance(value, np.ndarray | torch.Tensor) and value.dtype not in (bool, torch.bool):
                if "U" not in str(value.dtype):
                    value[...] = 0
        return result

    values = hidden(exercise).draw(np.random.default_rng(0))
    if any(isinstance(value, np.ndarray | torch.Tensor) for value in values):
        with torch.no_grad(), pytest.raises(CheckFailed, match="changed its argument"):
            parts(exercise)[0](changing, seed=1)


def test_a_plateau_without_the_absolute_difference_fails_with_any_seed():
    def plateau(steps, loss, tolerance):
        outside = np.flatnonzero(loss - loss[-1] > tolerance * abs(loss[-1]))
        return int(steps[outside[-1] + 1]) if len(outside) else int(steps[0])

    assert len(list(failures("transfer.plateau", plateau, 40))) == 40


def test_the_next_higher_error_is_no_threshold():
    def next_higher(errors, tpr):
        return float(np.sort(errors)[min(len(errors) - 1, int(np.ceil(len(errors) * tpr - 1e-9)))])

    def between_two(errors, tpr):
        return parts("shortcut.threshold")[1](errors, tpr) + 1e-3

    for wrong in (next_higher, between_two, lambda errors, tpr: np.quantile(errors, tpr, method="higher")):
        assert len(list(failures("shortcut.threshold", wrong, 10))) == 10


def test_a_check_draws_other_cases_each_time_and_the_same_with_a_seed():
    def seen(seed):
        shapes = []
        parts("features.nearest_score")[0](
            lambda x, m: shapes.append(x.sum().item()) or torch.cdist(x, m).amin(1), seed=seed
        )
        return shapes

    assert seen(3) == seen(3) != seen(4)
    assert seen(None) != seen(None)


def test_a_check_leaves_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    for exercise in ("inr.modulated", "tokens.prompt_mapper", "interference.new_model"):
        parts(exercise)[0](RIGHT[exercise][0])
    assert torch.equal(torch.rand(2), expected)

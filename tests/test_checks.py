"""Every exercise's check: it passes right answers however they are written, and refuses wrong ones with a hint."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch

from mintad.course import checks
from mintad.course.checks import CheckFailed, whole
from mintad.course.checks.cases import hidden
from mintad.course.checks.grading import call, number, same, two_numbers
from mintad.course.checks.guard import Guard

MODULES = sorted(p.stem for p in Path(checks.__file__).parent.glob("*.py") if "\n@exercise(" in p.read_text("utf-8"))
LEAST_RIGHT, LEAST_WRONG = 2, 4
OPEN = {
    "interference.new_shape",
    "interference.new_model",
    "training.own_variant",
}  # any shape and any network is right that has a property


def answers(kind: str) -> dict[str, list]:
    """'module.exercise' -> functions of `tests/wrong` or `tests/right`."""
    table = kind.upper()
    return {name: fns for m in MODULES for name, fns in getattr(importlib.import_module(f"{kind}.{m}"), table).items()}


WRONG, RIGHT = answers("wrong"), answers("right")
EXERCISES = [
    f"{module}.{name.removeprefix('check_')}"
    for module in MODULES
    for name in vars(importlib.import_module(f"mintad.course.checks.{module}"))
    if name.startswith("check_")
]
each = pytest.mark.parametrize("exercise", EXERCISES)


def parts(exercise: str):
    module, name = exercise.split(".")
    module = importlib.import_module(f"mintad.course.checks.{module}")
    return getattr(module, f"check_{name}"), getattr(module, f"reference_{name}")


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


def in_form(value, form):
    """The same result with its numbers in another form."""
    if isinstance(value, list | tuple):
        return [in_form(one, form) for one in value] if len(value) == 2 else value
    single = isinstance(value, int | float | np.number) or getattr(value, "ndim", 1) == 0
    return FORMS[form](float(value)) if single else value


@pytest.mark.parametrize("form", FORMS)
@each
def test_a_number_may_have_any_form(exercise, form):
    right = RIGHT[exercise][0]
    if exercise not in OPEN and not parts(exercise)[0].trains:  # what is trained with must be a tensor
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
    if not check.trains:  # what is typed in has no gradient
        check(replayed(results), seed=1)
    with pytest.raises(CheckFailed):
        check(replayed(results), seed=2)


def replayed(results):
    rest = iter(results)
    return lambda *_: next(rest)


def wrapped(reference):
    """The reference in what might hide it."""

    class Callable:
        run = staticmethod(reference)

        def __call__(self, *arguments):
            return self.run(*arguments)

    def swallowing(*arguments):
        try:
            return reference(*arguments)
        except BaseException:
            return None

    yield lambda *arguments: reference(*arguments)
    yield functools.partial(reference)
    yield functools.wraps(reference)(lambda *arguments: reference(*arguments))
    yield Callable()
    yield swallowing
    yield lambda *arguments: [*map(lambda _: reference(*arguments), [0])][0]
    if isinstance(reference, FunctionType):
        yield FunctionType(reference.__code__, reference.__globals__)
    else:
        yield type("Mine", (reference,), {})


@each
def test_the_wrapped_reference_is_refused(exercise):
    check, reference = parts(exercise)
    for hidden_reference in wrapped(reference):
        with pytest.raises(CheckFailed, match="this calls .*write it yourself"):
            check(hidden_reference, seed=1)


@pytest.mark.parametrize("path", sorted({path for exercise in EXERCISES for path in hidden(exercise).withheld}))
def test_withheld_functions_of_libraries_are_noticed(path):
    function = pkgutil.resolve_name(path)
    method = vars(function)["forward"] if isinstance(function, type) else function
    numbers, several = np.arange(6), [[torch.ones(2, 3, 4)] * n for n in range(9)]
    with Guard([function]).watching() as called:
        for given in ([numbers % 2, numbers], [numbers[:, None], numbers % 2], *several):
            for named in ({}, {"same_seeds": True}):
                with contextlib.suppress(Exception):
                    method(*given, **named)
    assert called


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


@each
def test_broken_functions_fail_with_a_hint(exercise):
    check, reference = parts(exercise)
    arguments = ", ".join(inspect.signature(reference).parameters)
    for broken in (lambda *a: None, lambda *a: "text", lambda: 0, lambda *a: 1 / 0, lambda *a: np.full(3, np.nan)):
        with pytest.raises(CheckFailed):
            check(broken)
    with pytest.raises(CheckFailed, match=arguments.split(",")[0]):
        check(lambda: 0)


@each
def test_no_helper_of_the_checks_is_an_answer(exercise):
    own, name = importlib.import_module(f"mintad.course.checks.{exercise.split('.')[0]}"), exercise.split(".")[1]
    for module in (own, whole):
        for key, helper in list(vars(module).items()):
            written_here = inspect.isfunction(helper) and helper.__module__ == module.__name__
            if written_here and key not in (f"check_{name}", f"reference_{name}"):
                with pytest.raises(CheckFailed):
                    parts(exercise)[0](helper, seed=1)


@each
def test_each_named_mistake_gets_its_own_hint(exercise, monkeypatch):
    check, _ = parts(exercise)
    monkeypatch.setattr("mintad.course.checks.exercise._guard", lambda *_: None)  # mistakes are made of the reference
    for hint, mistake in check.mistakes.items():
        shown = set()
        for seed in range(4):
            try:
                check(lambda *a, mistake=mistake: mistake(*a), seed=seed)
            except CheckFailed as failed:
                shown.add(str(failed).removeprefix("✗ "))
        assert hint in shown, (hint, shown)


def failures(exercise, answer, seeds):
    """The hints of a wrong answer, one for each seed."""
    for seed in range(seeds):
        with pytest.raises(CheckFailed) as caught:
            parts(exercise)[0](answer, seed=seed)
        yield str(caught.value)


def test_what_a_case_shows_by_chance_is_no_hint():
    """The mistakes of these two differ from the right answer on no case that a mistake's hint is for."""

    def epochs(steps, batch, images):
        return steps / (images // batch) if batch <= images else steps * images / batch

    def cross_entropy(logits, labels):
        return -logits.softmax(-1).log()[torch.arange(len(labels)), labels].mean() / logits.shape[1]

    assert all("with 20 images a batch holds all 20" in hint for hint in failures("training.epochs", epochs, 60))
    assert all("logits of 1000" in hint for hint in failures("tokens.cross_entropy", cross_entropy, 60))


TRAINED = ["tokens.cross_entropy", "prior.reduce", "tokens.prompt_mapper", "roads.coupling", "roads.simplenet_loss"]
TRAINED += ["roads.distillation", "roads.look_up"]
UNTRAINABLE = {
    "float": lambda value: value.item() if value.ndim == 0 else value.detach(),
    "NumPy": lambda value: np.float32(value.item()) if value.ndim == 0 else value.detach().numpy(),
    "detached": lambda value: value.detach(),
    "another's gradient": lambda value: value.detach() + torch.zeros((), requires_grad=True),
}


@pytest.mark.parametrize("form", UNTRAINABLE)
@pytest.mark.parametrize("exercise", TRAINED)
def test_a_result_that_is_trained_with_has_its_gradient(exercise, form):
    def untrainable(*arguments):
        result = RIGHT[exercise][0](*arguments)
        several = isinstance(result, tuple)
        return tuple(map(UNTRAINABLE[form], result)) if several else UNTRAINABLE[form](result)

    for hint in failures(exercise, untrainable, 5):
        assert "gradient" in hint or "tensor" in hint
    for hint in failures(exercise, torch.no_grad()(RIGHT[exercise][0]), 5):
        assert "gradient" in hint


def test_a_head_that_reads_a_detached_token_is_refused():
    def mapper(adapted, class_encoder, channel_encoder, head):
        token, _ = RIGHT["tokens.prompt_mapper"][0](adapted, class_encoder, channel_encoder, head)
        return token, head(token.detach())

    assert all("gradient" in hint for hint in failures("tokens.prompt_mapper", mapper, 5))


def test_gradients_are_compared_on_every_drawn_case():
    drawn = []

    def only_at_first(logits, labels):
        drawn.append(logits.requires_grad)
        loss = RIGHT["tokens.cross_entropy"][0](logits, labels)
        return loss if sum(drawn) < 2 else loss.detach()

    assert all("gradient" in hint for hint in failures("tokens.cross_entropy", only_at_first, 1))


@pytest.mark.parametrize("exercise", ["interference.between", "transformer.neighbour_mask", "transfer.group_split"])
def test_what_must_be_boolean_may_not_be_numbers(exercise):
    for kind in (int, float):
        answer = lambda *a, kind=kind: torch.as_tensor(RIGHT[exercise][0](*a)).numpy().astype(kind)  # noqa: E731
        assert all("boolean" in hint for hint in failures(exercise, answer, 3))
        answer = lambda *a, kind=kind: torch.as_tensor(RIGHT[exercise][0](*a)).to(kind)  # noqa: E731
        assert all("boolean" in hint for hint in failures(exercise, answer, 3))


def test_a_curve_of_scikit_learn_is_no_ones_own_work():
    metrics = importlib.import_module("sklearn.metrics")
    aurocs = [
        lambda s, y: metrics.auc(*metrics.roc_curve(y, s)[:2]),
        lambda s, y: np.trapezoid(*metrics.roc_curve(y, s)[1::-1]),
        lambda s, y: metrics.RocCurveDisplay.from_predictions(y, s).roc_auc,
        lambda s, y: importlib.import_module("scipy.stats").mannwhitneyu(s[y == 1], s[y == 0]).statistic,
    ]
    precision = [
        lambda s, y: -np.diff(metrics.precision_recall_curve(y, s)[1]) @ metrics.precision_recall_curve(y, s)[0][:-1]
    ]
    for exercise, answers in (("scoring.auroc", aurocs), ("scoring.average_precision", precision)):
        for answer in answers:
            assert all("write it yourself" in hint for hint in failures(exercise, answer, 1))


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


def test_what_cannot_be_used_is_said_in_one_line():
    for huge in (10**400, -(10**400)):
        (hint,) = failures("training.epochs", lambda *_, huge=huge: huge, 1)
        assert "\n" not in hint and "OverflowError" in hint


def test_a_check_draws_other_cases_each_time_and_the_same_with_a_seed():
    def seen(seed):
        shapes = []
        parts("features.nearest_score")[0](
            lambda x, m: shapes.append(x.sum().item()) or torch.cdist(x, m).amin(1), seed=seed
        )
        return shapes

    assert seen(3) == seen(3) != seen(4)
    assert seen(None) != seen(None)


def test_a_failure_is_one_line_in_a_notebook_and_says_how_to_draw_the_same_cases():
    with pytest.raises(CheckFailed) as caught:
        parts("queries.pool_parameters")[0](lambda *sizes: {(1, 1, 5, 3): 15, (1, 2, 5, 3): 30}.get(sizes, 3_010_560))
    line, again = caught.value._render_traceback_()
    assert line.startswith("✗ ") and "a drawn case (" in line and "seed=" in again


def test_an_error_of_the_students_own_says_in_which_line():
    def wrong(tokens, memory):
        first = tokens[0]
        return first.no_such_attribute

    line = inspect.getsourcelines(wrong)[1] + 2
    with pytest.raises(CheckFailed, match=f"raised AttributeError in line {line} of the cell: .*no_such_attribute"):
        parts("features.nearest_score")[0](wrong)


def test_a_check_leaves_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    for exercise in ("inr.modulated", "tokens.prompt_mapper", "interference.new_model"):
        parts(exercise)[0](RIGHT[exercise][0])
    assert torch.equal(torch.rand(2), expected)


def test_a_profiler_of_ones_own_survives():
    mine = lambda *_: None  # noqa: E731
    sys.setprofile(mine)
    try:
        parts("queries.pull")[0](RIGHT["queries.pull"][0])
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


def test_grading_names_what_is_wrong():
    with pytest.raises(CheckFailed, match=r"shape \(2,\), expected \(3,\)"):
        same([1, 2], [1, 2, 3], "hint")
    with pytest.raises(CheckFailed, match="not finite"):
        same([np.nan], [1.0], "hint")
    with pytest.raises(CheckFailed, match="ZeroDivisionError"):
        call(lambda x: x / 0, 1, takes="x")
    same(torch.tensor([1.0], requires_grad=True), [1.0], "hint")
    with pytest.raises(CheckFailed, match=r"not a tensor of shape \(1,\)"):
        number(torch.ones(1))
    with pytest.raises(CheckFailed, match="not a list"):
        number([1.0])
    assert two_numbers(torch.tensor([1.0, 2.0])) == two_numbers((np.float32(1), torch.tensor(2))) == (1, 2)
    with pytest.raises(CheckFailed, match="return two"):
        two_numbers(torch.tensor(1.0), "return two")


SHOWN = {
    "the noise alone": ("shortcut.jitter", lambda p, sigma, rng: sigma * rng.normal(size=p.shape)),
    "all points got the same noise": ("shortcut.jitter", lambda p, sigma, rng: p + sigma * rng.normal()),
    "take the values alone": ("features.nearest_score", lambda x, memory: torch.cdist(x, memory).min(dim=1)),
    "the share that is rejected": (
        "interference.interclass_accepted",
        lambda scores, between, distances: float((scores[between & (distances > 0.1)] > 1).mean()),
    ),
    "draw none yourself": (
        "transformer.feature_jitter",
        lambda x, noise, alpha: x + torch.randn_like(x) * x.norm(dim=-1, keepdim=True) * alpha / x.shape[-1],
    ),
    "the mask is turned round": (
        "transformer.masked_attention",
        lambda q, k, v, allowed: torch.softmax((q @ k.T / k.shape[-1] ** 0.5).masked_fill(allowed, -1e9), dim=-1) @ v,
    ),
}


@pytest.mark.parametrize("hint", SHOWN)
def test_a_common_mistake_is_named(hint):
    assert all(hint in shown for shown in failures(*SHOWN[hint], 3))


def test_the_denoiser_that_subtracts_one_minimum_for_all_points_is_told_so():
    def one_minimum(noisy, clean, sigma):
        squared = ((noisy[:, None] - clean) ** 2).sum(-1)
        weights = np.exp(-(squared - squared.min()) / (2 * sigma**2))
        with np.errstate(invalid="ignore"):
            return weights @ clean / weights.sum(1, keepdims=True)

    assert all("own smallest" in hint for hint in failures("shortcut.best_denoiser", one_minimum, 3))

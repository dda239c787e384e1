"""The hints of the checks: each mistake gets its own, in one line that says what is wrong."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from check_builders import each, failures, parts

from mintad.course.checks import CheckFailed
from mintad.course.checks.grading import call, number, same, two_numbers


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


def test_what_a_case_shows_by_chance_is_no_hint():
    """The mistakes of these two differ from the right answer on no case that a mistake's hint is for."""

    def epochs(steps, batch, images):
        return steps / (images // batch) if batch <= images else steps * images / batch

    def cross_entropy(logits, labels):
        return -logits.softmax(-1).log()[torch.arange(len(labels)), labels].mean() / logits.shape[1]

    assert all("with 20 images a batch holds all 20" in hint for hint in failures("training.epochs", epochs, 60))
    assert all("logits of 1000" in hint for hint in failures("tokens.cross_entropy", cross_entropy, 60))


def test_what_cannot_be_used_is_said_in_one_line():
    for huge in (10**400, -(10**400)):
        (hint,) = failures("training.epochs", lambda *_, huge=huge: huge, 1)
        assert "\n" not in hint and "OverflowError" in hint


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

"""Checks of notebook 14: a verdict by a rule, a 2×2 table taken apart, how many repetitions an open question needs."""

from __future__ import annotations

import numpy as np
from scipy import stats

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, number, require, same

Array = np.ndarray
SUPPORTED, AGAINST, TOO_SMALL, OPEN = "supported", "against", "too small", "open"


def reference_judge(low: float, high: float, smallest: float) -> str:
    """Return the verdict on a claim from the 95 % interval of its difference and the smallest one that matters."""
    if -smallest < low and high < smallest:
        return TOO_SMALL
    if low > 0:
        return SUPPORTED
    return AGAINST if high < 0 else OPEN


@exercise(reference_judge, "four verdicts, and a difference that is certain but tiny is 'too small'")
def check_judge(call: Call, rng: np.random.Generator) -> None:
    """Check for a verdict from an interval and the smallest effect that matters.

    It is "supported", "against", "too small" or "open".
    """
    for low, high, verdict, why in (
        (0.02, 0.09, SUPPORTED, "it lies above 0"),
        (0.003, 0.019, SUPPORTED, "it must lie above 0, not above smallest"),
        (-0.14, -0.04, AGAINST, "it lies below 0"),
        (-0.002, 0.004, TOO_SMALL, "it lies within ± smallest, so we know enough"),
        (0.001, 0.004, TOO_SMALL, "within ± smallest the sign does not matter: test that first"),
        (-0.03, 0.03, OPEN, "it contains 0 and reaches further than smallest"),
        (-0.002, 0.03, OPEN, "it contains 0; its middle decides nothing"),
    ):
        result = call(low, high, 0.01)
        require(isinstance(result, str), f"return one of the four texts, not {result!r}")
        named = f"the interval {low} to {high} with smallest = 0.01 is '{verdict}', not '{result}'"
        require(result == verdict, f"{named}: {why}")


def reference_apart(values_MK: Array) -> tuple[float, float, float]:
    """Return the effects of model and mask, and their interaction, from the four cells of a 2×2 table."""
    (first_masked, first_free), (second_masked, second_free) = np.asarray(values_MK, dtype=float)
    model = ((second_masked - first_masked) + (second_free - first_free)) / 2
    mask = ((first_free - first_masked) + (second_free - second_masked)) / 2
    return model, mask, (second_free - first_free) - (second_masked - first_masked)


@exercise(
    reference_apart,
    "two effects that add up to the whole lead, and what they do to each other",
    mistakes={
        "model and mask are swapped: rows are models, columns are without and with the change of the mask": lambda v: (
            reference_apart(np.transpose(v))
        ),
        "this changes one thing from the first cell only; average over both rows (columns)": lambda v: (
            v[1][0] - v[0][0], v[0][1] - v[0][0], (v[1][1] - v[0][1]) - (v[1][0] - v[0][0]),
        ),
        "an effect is a mean over the other's two levels, not a sum": lambda v: (
            2 * reference_apart(v)[0], 2 * reference_apart(v)[1], reference_apart(v)[2],
        ),
        "the signs are turned round: second row minus first, second column minus first": lambda v: tuple(
            -value for value in reference_apart(v)
        ),
        "the interaction is a difference of differences, not half of it": lambda v: (
            *reference_apart(v)[:2], reference_apart(v)[2] / 2,
        ),
    },
)  # fmt: skip
def check_apart(call: Call, rng: np.random.Generator) -> None:
    """Check for the effect of the model, the effect of the mask, and their interaction."""
    additive = np.array([[0.90, 0.95], [0.91, 0.96]])
    hint = "[[.90, .95], [.91, .96]]: the model brings .01, the mask .05, and the interaction is 0"
    same(np.asarray(call(additive), dtype=float), np.array([0.01, 0.05, 0.0]), hint, tolerance=1e-9)
    joint = np.array([[0.5, 0.5], [0.5, 0.9]])
    hint = "[[.5, .5], [.5, .9]]: .2 for the model, .2 for the mask, and an interaction of .4"
    same(np.asarray(call(joint), dtype=float), np.array([0.2, 0.2, 0.4]), hint, tolerance=1e-9)


def reference_repetitions(std: float, smallest: float) -> int:
    """Return the least number of repetitions whose 95 % interval of the mean reaches no further than `smallest`."""
    n = 2
    while _half_width(n, std) > smallest:
        n += 1
    return n


def _half_width(n: int, std: float) -> float:
    return stats.t.ppf(0.975, n - 1) * std / np.sqrt(n)


def _until(half_width, std: float, smallest: float, first: int = 2) -> int:
    """Return the first n whose half width is small enough, for the hints."""
    return next(n for n in range(first, 100_000) if half_width(n) <= smallest)


@exercise(
    reference_repetitions,
    "the first n whose half width is small enough, with Student's t",
    mistakes={
        "1.96 is right for many repetitions; with few, Student's t is larger": lambda std, smallest: _until(
            lambda n: 1.96 * std / np.sqrt(n), std, smallest
        ),
        "the half width falls with the root of n, not with n": lambda std, smallest: _until(
            lambda n: stats.t.ppf(0.975, n - 1) * std / n, std, smallest
        ),
        "a 95 % interval leaves 2.5 % on each side: the quantile is 0.975": lambda std, smallest: _until(
            lambda n: stats.t.ppf(0.95, n - 1) * std / np.sqrt(n), std, smallest
        ),
        "n repetitions leave n - 1 degrees of freedom": lambda std, smallest: _until(
            lambda n: stats.t.ppf(0.975, n) * std / np.sqrt(n), std, smallest
        ),
        "this is one too many: the first n that is enough": lambda std, smallest: (
            reference_repetitions(std, smallest) + 1
        ),
    },
)
def check_repetitions(call: Call, rng: np.random.Generator) -> None:
    """Check for the least n >= 2 with t(0.975, n - 1) · std / √n <= smallest."""
    for std, smallest, enough in ((0.01, 0.01, 7), (0.001, 0.01, 2), (0.02, 0.01, 18)):
        result = number(call(std, smallest))
        require(result >= 2, "one repetition has no standard deviation: begin with 2")
        hint = f"a standard deviation of {std} and smallest = {smallest} take {enough}, not {result:g}"
        require(result == enough, hint)

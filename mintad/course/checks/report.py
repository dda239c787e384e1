"""Checks of notebook 12: significant digits, signed ranks, the paired bootstrap, Holm's rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, require, same, two_numbers
from mintad.report import statistics

Array = np.ndarray


def reference_mean_std(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text, with one significant digit of the latter."""
    return _rounded(np.mean(values), np.std(values, ddof=1))


def _rounded(mean: float, std: float) -> str:
    digits = -math.floor(math.log10(float(f"{std:.0e}")))
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


@exercise(
    reference_mean_std,
    "one significant digit of the standard deviation, the mean to the same decimal place",
    mistakes={
        "this is the standard error, for a mean; report the standard deviation": lambda values: _rounded(
            np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
        ),
        "this standard deviation divides by n; divide by n - 1 (ddof=1)": lambda values: _rounded(
            np.mean(values), np.std(values)
        ),
    },
)
def check_mean_std(call: Call, rng: np.random.Generator) -> None:
    """Check for text such as ``"0.916 ± 0.001"``: one significant digit of the standard deviation."""
    values = [0.9152, 0.9163, 0.9171]
    result = call(values)
    require(isinstance(result, str) and " ± " in result, "return text such as '0.916 ± 0.001'")
    require(result != "0.9162 ± 0.0008", "this standard deviation divides by n; divide by n - 1 (ddof=1)")
    require(result == "0.916 ± 0.001", f"{values} give, with one significant digit, '0.916 ± 0.001', not '{result}'")
    wide = call([0.90, 0.93, 0.99])
    require(wide == "0.94 ± 0.05", f"0.90, 0.93, 0.99 have the standard deviation 0.046: '0.94 ± 0.05', not '{wide}'")
    small = call([0.861, 0.868, 0.875])
    require(small == "0.868 ± 0.007", f"0.861, 0.868, 0.875 have the standard deviation 0.007, not '{small}'")
    fine = call([0.5001, 0.5003])
    hint = f"0.5001, 0.5003 have the standard deviation 0.00014: '0.5002 ± 0.0001', not '{fine}'"
    require(fine == "0.5002 ± 0.0001", hint)


def reference_signed_ranks(differences: Array) -> tuple[float, float]:
    """Return the sums of the ranks of positive and of negative differences."""
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    return float(ranks[nonzero > 0].sum()), float(ranks[nonzero < 0].sum())


def _ranks_of_signed(differences: Array) -> tuple[float, float]:
    """Return the sums for ranks of d instead of |d|, for the hint."""
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(nonzero)
    return float(ranks[nonzero > 0].sum()), float(ranks[nonzero < 0].sum())


@exercise(
    reference_signed_ranks,
    "zeros dropped, ties share a rank, the smaller sum is scipy's statistic",
    mistakes={"the differences are ranked with their signs here; rank their sizes |d|": _ranks_of_signed},
)
def check_signed_ranks(call: Call, rng: np.random.Generator) -> None:
    """Check for the sums of the ranks of |d| over positive and negative d; zeros are dropped, ties share a rank."""
    hint = "the two sums are swapped: return that of the positive differences first"
    require(two_numbers(call(np.array([0.03, -0.01, 0.05, 0.02]))) != (1, 9), hint)
    tie = "0.25, -0.25, 0.5, -0.125: the tie shares the rank 2.5, so 6.5 and 3.5"
    for differences, expected, hint in (
        ([0.03, -0.01, 0.05, 0.02], (9, 1), "0.03, -0.01, 0.05, 0.02 have the ranks 3, 1, 4, 2, so 9 and 1"),
        ([0.0, 0.2, -0.1, 0.0], (2, 1), "drop the zeros before ranking: 0, 0.2, -0.1, 0 give 2 and 1"),
        ([0.25, -0.25, 0.5, -0.125], (6.5, 3.5), tie),
    ):
        up, down = two_numbers(call(np.array(differences)))
        require((up, down) == expected, f"{hint}, not {up:g} and {down:g}")
    random = rng.normal(0.2, 1, 12)
    hint = "for 12 random differences the smaller sum must be the statistic of scipy.stats.wilcoxon"
    require(min(two_numbers(call(random))) == stats.wilcoxon(random).statistic, hint)


def reference_paired_bootstrap(a: Array, b: Array, draws: int, rng: np.random.Generator) -> Array:
    """Return the bootstrap means of the paired differences."""
    difference = a - b
    return difference[rng.integers(len(a), size=(draws, len(a)))].mean(axis=1)


@exercise(reference_paired_bootstrap, "pairs stay together, n of them are drawn with replacement")
def check_paired_bootstrap(call: Call, rng: np.random.Generator) -> None:
    """Check for the means of a - b over n pairs drawn with replacement, one mean per draw."""
    a = np.array([0.7, 0.8, 0.95, 0.6, 0.99, 0.85])
    hint = "where b = a - 0.02, every draw must give 0.02: draw pairs, the same rows of a and b"
    same(call(a, a - 0.02, 50, np.random.default_rng(0)), np.full(50, 0.02), hint)
    b = a - np.array([0.1, -0.05, 0.02, 0.08, 0.0, 0.03])
    draws = np.asarray(call(a, b, 20_000, np.random.default_rng(1)), dtype=float)
    require(draws.shape == (20_000,), f"20,000 draws give the shape (20000,), not {draws.shape}")
    require(abs(draws.mean() - (a - b).mean()) < 2e-3, "the mean of the draws must be the mean of a - b")
    ratio = draws.std() / (np.std(a - b) / np.sqrt(6))
    require(ratio > 0.9, f"the draws vary only {ratio:.2f} times as much as they should: draw *with* replacement")
    require(ratio < 1.1, f"the draws vary {ratio:.2f} times as much as they should: draw n pairs, not fewer")


def reference_holm(p_values: Array) -> Array:
    """Return Holm's adjusted p-values."""
    return np.array(statistics.holm(list(p_values)))


def _steps(
    p_values: Array, *, factor: int = 0, most: float = 1, way: Callable[..., Any] = np.maximum.accumulate
) -> Array:
    """Return Holm's adjusted p-values with one of its parts exchanged, for the hints."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values)) + factor
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(most, way(factors * p_values[order]))
    return adjusted


@exercise(
    reference_holm,
    "0.005, 0.01, 0.03, 0.04 become 0.02, 0.03, 0.06, 0.06",
    mistakes={
        "an adjusted p-value is at most 1": lambda p: _steps(p, most=np.inf),
        "an adjusted p-value is never below that of a smaller p-value: take the running maximum": lambda p: _steps(
            p, way=lambda x: x
        ),
        "this multiplies every p-value by their number; the k-th smallest of m only by m - k + 1": lambda p: np.minimum(
            1, len(p) * p
        ),
        "the factors are one too small: the smallest of m p-values is multiplied by m": lambda p: _steps(p, factor=-1),
        "the factors are one too large: the largest p-value is multiplied by 1": lambda p: _steps(p, factor=1),
        "return the adjusted p-values in the order of the input, not sorted": lambda p: np.sort(reference_holm(p)),
        "this is a running minimum from the largest down (Hochberg); Holm goes up from the smallest": lambda p: _steps(
            p, way=lambda x: np.minimum.accumulate(x[::-1])[::-1]
        ),
    },
)
def check_holm(call: Call, rng: np.random.Generator) -> None:
    """Check for adjusted p-values, in the order of the input.

    The k-th smallest of m is multiplied by m - k + 1; it is never below the one before, and at most 1.
    """
    result = call(np.array([0.01, 0.04, 0.03, 0.005]))
    hint = "this multiplies every p-value by 4; multiply only the smallest by 4, the next by 3, and so on"
    differs(result, [0.04, 0.16, 0.12, 0.02], hint)
    hint = "0.04 x 1 is less than 0.03 x 2, but an adjusted p-value is never below the one before: 0.06"
    differs(result, [0.03, 0.04, 0.06, 0.02], hint)
    differs(result, [0.02, 0.03, 0.06, 0.06], "return the adjusted p-values in the order of the input")
    same(result, [0.03, 0.06, 0.06, 0.02], "0.01, 0.04, 0.03, 0.005 become 0.01 x 3, 0.03 x 2, 0.03 x 2, 0.005 x 4")
    same(call(np.array([0.9, 0.6, 0.7])), [1.0, 1.0, 1.0], "an adjusted p-value is at most 1")
    same(call(np.array([0.02])), [0.02], "a single test needs no correction")

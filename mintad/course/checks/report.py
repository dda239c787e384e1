"""Checks of notebook 12: significant digits, signed ranks, the paired bootstrap, Holm's rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mintad.course.checks.grading import call, matches, number, passed, require, same
from mintad.report import statistics


def reference_mean_std(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text, with one significant digit of the latter."""
    std = float(np.std(values, ddof=1))
    digits = -math.floor(math.log10(float(f"{std:.0e}")))
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


def check_mean_std(fn: Callable[..., str]) -> None:
    """Check for text such as ``"0.916 ± 0.001"``: one significant digit of the standard deviation."""
    values = [0.9152, 0.9163, 0.9171]
    result = call(fn, values, takes="values")
    require(isinstance(result, str) and " ± " in result, "return text such as '0.916 ± 0.001'")
    require(result != "0.9162 ± 0.0008", "this standard deviation divides by n; divide by n - 1 (ddof=1)")
    hint = f"{values} give, with one significant digit, '0.916 ± 0.001', not '{result}'"
    require(result == "0.916 ± 0.001", hint)
    wide = call(fn, [0.90, 0.93, 0.99], takes="values")
    require(wide == "0.94 ± 0.05", f"0.90, 0.93, 0.99 have the standard deviation 0.046: '0.94 ± 0.05', not '{wide}'")
    fine = call(fn, [0.5001, 0.5003], takes="values")
    require(
        fine == "0.5002 ± 0.0001",
        f"0.5001, 0.5003 have the standard deviation 0.00014: '0.5002 ± 0.0001', not '{fine}'",
    )
    passed(fn, "mean_std: one significant digit of the standard deviation, the mean to the same decimal place")


def reference_signed_ranks(differences: np.ndarray) -> tuple[float, float]:
    """Return the sums of the ranks of positive and of negative differences."""
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    return float(ranks[nonzero > 0].sum()), float(ranks[nonzero < 0].sum())


def check_signed_ranks(fn: Callable[..., tuple[float, float]]) -> None:
    """Check for the sums of the ranks of |d| over positive and negative d; zeros are dropped, ties share a rank."""
    differences = np.array([0.03, -0.01, 0.05, 0.02])
    up, down = _two(call(fn, differences, takes="differences"))
    require((up, down) != (1, 9), "the two sums are swapped: return that of the positive differences first")
    require(
        (up, down) == (9, 1), f"0.03, -0.01, 0.05, 0.02 have the ranks 3, 1, 4, 2, so 9 and 1, not {up:g} and {down:g}"
    )
    up, down = _two(call(fn, np.array([0.0, 0.2, -0.1, 0.0]), takes="differences"))
    hint = f"drop the zeros before ranking: 0, 0.2, -0.1, 0 give 2 and 1, not {up:g} and {down:g}"
    require((up, down) == (2, 1), hint)
    ties = np.array([0.25, -0.25, 0.5, -0.125])
    up, down = _two(call(fn, ties, takes="differences"))
    hint = f"0.25, -0.25, 0.5, -0.125: the tie shares the rank 2.5, so 6.5 and 3.5, not {up:g} and {down:g}"
    require((up, down) == (6.5, 3.5), hint)
    random = np.random.default_rng(0).normal(0.2, 1, 12)
    sums = _two(call(fn, random, takes="differences"))
    hint = "for 12 random differences the smaller sum must be the statistic of scipy.stats.wilcoxon"
    require(min(sums) == stats.wilcoxon(random).statistic, hint)
    passed(fn, "signed_ranks: zeros dropped, ties share a rank, the smaller sum is scipy's statistic")


def _two(result: object) -> tuple[float, float]:
    require(isinstance(result, tuple | list | np.ndarray) and len(result) == 2, "return two numbers")
    return number(result[0]), number(result[1])


def reference_paired_bootstrap(a: np.ndarray, b: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the bootstrap means of the paired differences."""
    difference = a - b
    return difference[rng.integers(len(a), size=(draws, len(a)))].mean(axis=1)


def check_paired_bootstrap(fn: Callable[..., ArrayLike]) -> None:
    """Check for the means of a - b over n pairs drawn with replacement, one mean per draw."""
    takes = "a, b, draws, rng"
    a = np.array([0.7, 0.8, 0.95, 0.6, 0.99, 0.85])
    shifted = call(fn, a, a - 0.02, 50, np.random.default_rng(0), takes=takes)
    hint = "where b = a - 0.02, every draw must give 0.02: draw pairs, the same rows of a and b"
    same(shifted, np.full(50, 0.02), hint)
    b = a - np.array([0.1, -0.05, 0.02, 0.08, 0.0, 0.03])
    draws = np.asarray(call(fn, a, b, 20_000, np.random.default_rng(1), takes=takes), dtype=float)
    require(draws.shape == (20_000,), f"20,000 draws give the shape (20000,), not {draws.shape}")
    require(abs(draws.mean() - (a - b).mean()) < 2e-3, "the mean of the draws must be the mean of a - b")
    expected = np.std(a - b) / np.sqrt(6)
    ratio = draws.std() / expected
    require(ratio > 0.9, f"the draws vary only {ratio:.2f} times as much as they should: draw *with* replacement")
    require(ratio < 1.1, f"the draws vary {ratio:.2f} times as much as they should: draw n pairs, not fewer")
    passed(fn, "paired_bootstrap: pairs stay together, n of them are drawn with replacement")


def reference_holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's adjusted p-values."""
    return np.array(statistics.holm(list(p_values)))


def check_holm(fn: Callable[..., ArrayLike]) -> None:
    """Check for adjusted p-values, in the order of the input.

    The k-th smallest of m is multiplied by m - k + 1; it is never below the one before, and at most 1.
    """
    result = call(fn, np.array([0.01, 0.04, 0.03, 0.005]), takes="p_values")
    hint = "this multiplies every p-value by 4; multiply only the smallest by 4, the next by 3, and so on"
    require(not matches(result, [0.04, 0.16, 0.12, 0.02]), hint)
    hint = "0.04 x 1 is less than 0.03 x 2, but an adjusted p-value is never below the one before: 0.06"
    require(not matches(result, [0.03, 0.04, 0.06, 0.02]), hint)
    require(not matches(result, [0.02, 0.03, 0.06, 0.06]), "return the adjusted p-values in the order of the input")
    same(result, [0.03, 0.06, 0.06, 0.02], "0.01, 0.04, 0.03, 0.005 become 0.01 x 3, 0.03 x 2, 0.03 x 2, 0.005 x 4")
    capped = call(fn, np.array([0.9, 0.6, 0.7]), takes="p_values")
    same(capped, [1.0, 1.0, 1.0], "an adjusted p-value is at most 1")
    same(call(fn, np.array([0.02]), takes="p_values"), [0.02], "a single test needs no correction")
    passed(fn, "holm: 0.005, 0.01, 0.03, 0.04 become 0.02, 0.03, 0.06, 0.06")

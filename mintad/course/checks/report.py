"""Checks of notebook 12: honest digits, signed ranks, the paired bootstrap, Holm's rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mintad.course.checks.grading import call, number, passed, require, same
from mintad.report import statistics


def reference_mean_std(values: Sequence[float]) -> str:
    deviation = float(np.std(values, ddof=1))
    digits = -math.floor(math.log10(float(f"{deviation:.0e}")))
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def check_mean_std(fn: Callable[..., str]) -> None:
    """``"0.916 ± 0.001"``: one significant digit of the deviation over n - 1, the mean to the same place."""
    values = [0.9152, 0.9163, 0.9171]
    result = call(fn, values, takes="values")
    require(isinstance(result, str) and " ± " in result, "return text of the form '0.916 ± 0.001'")
    require(result != "0.9162 ± 0.0008", "nearly: that deviation divides by n; of a sample take n - 1 (ddof=1)")
    hint = f"{values} make '0.9162 ± 0.0010' or, with one significant digit, '0.916 ± 0.001', not '{result}'"
    require(result == "0.916 ± 0.001", hint)
    wide = call(fn, [0.90, 0.93, 0.99], takes="values")
    require(wide == "0.94 ± 0.05", f"0.90, 0.93, 0.99 deviate by 0.046: '0.94 ± 0.05', not '{wide}'")
    fine = call(fn, [0.5001, 0.5003], takes="values")
    require(fine == "0.5002 ± 0.0001", f"0.5001, 0.5003 deviate by 0.00014: '0.5002 ± 0.0001', not '{fine}'")
    passed(fn, "mean_std: one digit of the deviation, the mean to the same place")


def reference_signed_ranks(differences: np.ndarray) -> tuple[float, float]:
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept))
    return float(ranks[kept > 0].sum()), float(ranks[kept < 0].sum())


def check_signed_ranks(fn: Callable[..., tuple[float, float]]) -> None:
    """Sums of the ranks of |d| over the positive and the negative differences; zeros dropped, ties share a rank."""
    differences = np.array([0.03, -0.01, 0.05, 0.02])
    up, down = _two(call(fn, differences, takes="differences"))
    require((up, down) != (1, 9), "the two are swapped: first the ranks of the positive differences")
    require((up, down) == (9, 1), f"0.03, -0.01, 0.05, 0.02 have ranks 3, 1, 4, 2: 9 and 1, not {up:g} and {down:g}")
    up, down = _two(call(fn, np.array([0.0, 0.2, -0.1, 0.0]), takes="differences"))
    hint = f"zeros are dropped before ranking: 0, 0.2, -0.1, 0 make 2 and 1, not {up:g} and {down:g}"
    require((up, down) == (2, 1), hint)
    ties = np.array([0.25, -0.25, 0.5, -0.125])
    up, down = _two(call(fn, ties, takes="differences"))
    hint = f"equal sizes share the mean rank, here 2.5: 6.5 and 3.5, not {up:g} and {down:g}"
    require((up, down) == (6.5, 3.5), hint)
    random = np.random.default_rng(0).normal(0.2, 1, 12)
    found = _two(call(fn, random, takes="differences"))
    require(min(found) == stats.wilcoxon(random).statistic, "the smaller sum is not scipy.stats.wilcoxon's statistic")
    passed(fn, "signed_ranks: zeros dropped, ties shared, the smaller sum is scipy's statistic")


def _two(result: object) -> tuple[float, float]:
    require(isinstance(result, tuple | list | np.ndarray) and len(result) == 2, "return two numbers")
    return number(result[0]), number(result[1])


def reference_paired_bootstrap(a: np.ndarray, b: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    difference = a - b
    return difference[rng.integers(len(a), size=(draws, len(a)))].mean(axis=1)


def check_paired_bootstrap(fn: Callable[..., ArrayLike]) -> None:
    """Means of a - b over n pairs drawn with replacement, one a draw."""
    takes = "a, b, draws, rng"
    a = np.array([0.7, 0.8, 0.95, 0.6, 0.99, 0.85])
    shifted = call(fn, a, a - 0.02, 50, np.random.default_rng(0), takes=takes)
    hint = "b is a - 0.02 everywhere, so every draw gives 0.02: draw pairs, the same rows of a and of b"
    same(shifted, np.full(50, 0.02), hint)
    b = a - np.array([0.1, -0.05, 0.02, 0.08, 0.0, 0.03])
    draws = np.asarray(call(fn, a, b, 20_000, np.random.default_rng(1), takes=takes), dtype=float)
    require(draws.shape == (20_000,), f"20,000 draws make shape (20000,), not {draws.shape}")
    require(abs(draws.mean() - (a - b).mean()) < 2e-3, "the draws do not scatter about the mean of a - b")
    wanted = np.std(a - b) / np.sqrt(6)
    ratio = draws.std() / wanted
    require(ratio > 0.9, f"the draws scatter {ratio:.2f} times as much as they should: draw *with* replacement")
    require(ratio < 1.1, f"the draws scatter {ratio:.2f} times as much as they should: draw as many pairs as there are")
    passed(fn, "paired_bootstrap: pairs stay together, n of them are drawn with replacement")


def reference_holm(p_values: np.ndarray) -> np.ndarray:
    return np.array(statistics.holm(list(p_values)))


def check_holm(fn: Callable[..., ArrayLike]) -> None:
    """Adjusted p-values in the order given: the k-th smallest of m times m - k + 1, never below the one before, at most
    1."""
    result = call(fn, np.array([0.01, 0.04, 0.03, 0.005]), takes="p_values")
    same(
        result,
        [0.03, 0.06, 0.06, 0.02],
        "0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not fall below 0.03 x 2; in the order they came in",
    )
    capped = call(fn, np.array([0.9, 0.6, 0.7]), takes="p_values")
    same(capped, [1.0, 1.0, 1.0], "no p-value exceeds 1")
    same(call(fn, np.array([0.02]), takes="p_values"), [0.02], "a single test needs no correction")
    passed(fn, "holm: 0.005, 0.01, 0.03, 0.04 become 0.02, 0.03, 0.06, 0.06")

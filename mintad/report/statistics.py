"""Statistics of a difference between two methods: intervals, paired tests, many tests at once, digits.

Intervals over *seeds* ask about another training, those over *categories* about other products, those over *test
images* (`mintad.scoring.resampling`) about other photographs of these products.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Paired:
    """Comparison of two methods on the same categories, the second subtracted from the first."""

    categories: int  # n of the test and of the interval
    seeds_first: int  # runs behind each category's mean
    seeds_second: int
    same_seeds: bool  # so that they are drawn together
    difference: float  # mean over categories
    low: float  # 95 % interval of the difference, see `paired_bootstrap`
    high: float
    won: int  # categories in which the first is higher
    lost: int
    p_value: float  # of Wilcoxon's signed-rank test over categories, two-sided
    smallest_p: float  # that this many categories with a difference can give


def compare(first_CS: ArrayLike, second_CS: ArrayLike, *, same_seeds: bool) -> Paired:
    """Compare two methods by their values of C categories in S runs each; with `same_seeds` column s is the same seed.

    Raises:
        ValueError: the shapes do not fit, there is no category, or a value is not finite.
    """
    first, second = np.asarray(first_CS, dtype=float), np.asarray(second_CS, dtype=float)
    fit = first.ndim == second.ndim == 2 and first.shape[: 1 + same_seeds] == second.shape[: 1 + same_seeds]
    if not (fit and first.size and second.size and np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"finite values of the same categories are needed, not {first.shape} and {second.shape}")
    difference_C = first.mean(axis=1) - second.mean(axis=1)
    low, high = np.quantile(paired_bootstrap(first, second, same_seeds=same_seeds), [0.025, 0.975]).tolist()
    clear_C = np.where(np.abs(difference_C) < 1e-12, 0.0, difference_C)
    won, lost = int((clear_C > 0).sum()), int((clear_C < 0).sum())
    p_value, smallest_p = wilcoxon(clear_C), min(1.0, 2.0 ** (1 - won - lost))
    sizes, difference = (len(first), first.shape[1], second.shape[1]), float(difference_C.mean())
    return Paired(*sizes, same_seeds, difference, low, high, won, lost, p_value, smallest_p)


def wilcoxon(difference_C: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (scipy); 1 if all differences are zero.

    Differences of zero are dropped. Exact where no two are equally large.
    """
    difference = np.asarray(difference_C, dtype=float)
    difference = difference[difference != 0]
    return float(stats.wilcoxon(difference).pvalue) if len(difference) else 1.0


def paired_bootstrap(
    first_CS: np.ndarray, second_CS: np.ndarray, *, same_seeds: bool, draws: int = 5_000, seed: int = 0
) -> np.ndarray:
    """Draw the mean difference (draws,) anew from resampled categories and runs.

    Categories are drawn with replacement, the same for both methods. So are runs, the same for both if they have the
    same seeds. With 3 runs the part of the seeds is rough, and too small by a factor of about sqrt(2/3).
    """
    rng = np.random.default_rng(seed)
    categories, runs, second_runs = len(first_CS), first_CS.shape[1], second_CS.shape[1]
    rows = rng.integers(categories, size=(draws, categories))
    columns = rng.integers(runs, size=(draws, runs))
    second_columns = columns if same_seeds else rng.integers(second_runs, size=(draws, second_runs))
    means = first_CS[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    return means - second_CS[rows[:, :, None], second_columns[:, None, :]].mean(axis=(1, 2))


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean of a few independent values, from Student's t; NaN for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:  # scipy answers NaN for a scale of zero
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(level, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(low), float(high)


def power(std: float, difference: float, seeds: int, *, level: float = 0.05) -> float:
    """Return the probability that a true difference of two methods' means is found with this many seeds (>= 2) of each.

    By the two-sided two-sample t-test; `std` is over seeds. If it is zero: 1, or `level` without a difference.
    """
    if std == 0:
        return 1.0 if difference else level
    degrees, shift = 2 * seeds - 2, abs(difference) / (std * math.sqrt(2 / seeds))
    critical = stats.t.ppf(1 - level / 2, degrees)
    if shift > critical + 10:  # 1 to all digits, and scipy's noncentral t is not reliable far out
        return 1.0
    wrong_sign = stats.nct.cdf(-critical, degrees, shift) if shift < 3 else 0.0  # else below 1e-6; scipy may say NaN
    return float(stats.nct.sf(critical, degrees, shift) + wrong_sign)


def seeds_needed(std: float, difference: float, *, target: float = 0.8, most: int = 1000) -> int | None:
    """Return the least number of seeds per method, 2 to `most`, with which a difference has this `power`, else None."""
    numbers = range(2, most + 1)  # more seeds, more power
    place = bisect.bisect_left(numbers, True, key=lambda seeds: power(std, difference, seeds) >= target)
    return numbers[place] if place < len(numbers) else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down rule, so that the level holds for one false finding in the whole family."""
    p_values = np.asarray(p_values, dtype=float)
    order, n = np.argsort(p_values, kind="stable"), len(p_values)
    adjusted = np.empty(n)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, (n - np.arange(n)) * p_values[order]))
    return adjusted.tolist()


def mean_std(mean: float, std: float | None = None, *, digits: int = 3) -> str:
    """Write a mean with its standard deviation, if there is one: "0.916 ± 0.001", or "± <0.001" for a smaller one."""
    if std is None or not math.isfinite(std):
        return f"{mean:.{digits}f}"
    unit = 10.0**-digits
    return f"{mean:.{digits}f} ± {f'<{unit:.{digits}f}' if 0 < std < unit / 2 else f'{std:.{digits}f}'}"

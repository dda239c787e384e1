"""The statistics of the report, against scipy, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mintad.report.statistics import compare, holm, mean_std, paired_bootstrap, seeds_needed, t_interval, wilcoxon


def test_wilcoxon_is_exact_and_knows_zeros():
    assert wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    assert wilcoxon([0.0, 0.0]) == 1.0 and wilcoxon([0.0, 0.1, 0.2, 0.3]) == pytest.approx(2 / 8)


def test_a_comparison_counts_categories_and_drops_rounding():
    first = np.array([[0.9, 0.8], [0.7, 0.7], [0.3, 0.3]])
    second = np.array([[0.7, 0.8], [0.8, 0.8], [0.1 + 0.2, 0.1 + 0.2]])
    paired = compare(first, second, same_seeds=True)
    assert (paired.won, paired.lost, paired.categories, paired.seeds_first, paired.seeds_second) == (1, 1, 3, 2, 2)
    assert paired.difference == pytest.approx(0.0, abs=1e-12) and paired.smallest_p == 0.5


def test_what_cannot_be_compared_is_refused():
    ones = np.ones((3, 2))
    for first, second, same in ((ones, ones[:2], False), (ones, ones[:, :1], True), (ones[:0], ones[:0], False)):
        with pytest.raises(ValueError):
            compare(first, second, same_seeds=same)
    with pytest.raises(ValueError, match="finite"):
        compare(ones * np.nan, ones, same_seeds=True)


def test_pairing_seeds_narrows_the_interval():
    rng = np.random.default_rng(0)
    shift = rng.normal(0, 0.05, 6)
    first, second = 0.9 + shift + rng.normal(0, 0.001, (10, 6)), 0.88 + shift + rng.normal(0, 0.001, (10, 6))
    widths = []
    for same in (True, False):
        paired = compare(first, second, same_seeds=same)
        widths.append(paired.high - paired.low)
    assert widths[0] < widths[1] / 5


def test_the_bootstrap_covers_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for n in range(200):
        first = rng.normal(0, 1, (20, 1)) + rng.normal(0, 0.5, (20, 5))
        draws = paired_bootstrap(first, np.zeros((20, 5)), same_seeds=True, draws=400, seed=n)
        low, high = np.quantile(draws, [0.025, 0.975])
        hits += low < 0 < high
    assert 0.86 <= hits / 200 <= 0.99


def test_t_interval_by_hand():
    half = 4.302653 * np.std([0.90, 0.92, 0.95], ddof=1) / math.sqrt(3)  # Student's t with 2 degrees of freedom
    mean = np.mean([0.90, 0.92, 0.95])
    assert t_interval([0.90, 0.92, 0.95]) == pytest.approx((mean - half, mean + half))
    assert all(map(math.isnan, t_interval([0.9]))) and t_interval([0.9, 0.9]) == (0.9, 0.9)


def test_seeds_needed_gives_the_power_it_promises():
    n = seeds_needed(0.01, 0.015)
    rng = np.random.default_rng(2)

    def power(k: int) -> float:
        first, second = rng.normal(0.015, 0.01, (4000, k)), rng.normal(0, 0.01, (4000, k))
        return float((stats.ttest_ind(first, second, axis=1).pvalue < 0.05).mean())

    assert power(n) > 0.77 and power(n - 1) < 0.82
    assert seeds_needed(0.0, 0.1) == 2 and seeds_needed(0.01, 0.0) is None
    assert seeds_needed(0.01, 0.0001) is None
    needed = [seeds_needed(1.0, float(gap)) for gap in np.geomspace(0.15, 30, 60)]
    assert needed == sorted(needed, reverse=True)
    assert [seeds_needed(1.0, gap) for gap in (0.5, 1.0, 2.0)] == [64, 17, 6]  # as in tables of the two-sample test


def test_holm_by_hand_and_in_any_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_digits():
    assert mean_std(0.91649, 0.00124) == "0.916 ± 0.001"
    assert mean_std(0.9, 0.0001) == "0.900 ± <0.001" and mean_std(0.9, 0.0) == "0.900 ± 0.000"
    assert mean_std(0.9, math.nan) == mean_std(0.9) == "0.900"

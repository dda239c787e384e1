"""Thresholds and p-values by predicted class."""

import numpy as np
import pytest

from mintad.scoring.conformal import Calibration, fewest, p_value
from mintad.scoring.ranking import MetricError


def calibration(**counts):
    """Scores 0, 1, 2, ... of every class, from n images each."""
    return Calibration(
        np.concatenate([np.arange(n) for n in counts.values()]), [name for name, n in counts.items() for _ in range(n)]
    )


@pytest.mark.parametrize(("quantile", "n"), [(0.95, 19), (0.9, 9), (0.99, 99), (0.5, 1), (0.999, 999), (0.1, 1)])
def test_fewest_images_are_those_that_have_the_rank(quantile, n):
    assert fewest(quantile) == n
    alone = Calibration(np.arange(n), [""] * n)
    assert alone.pooled(quantile).reached
    if n > 1:
        assert not Calibration(np.arange(n - 1), [""] * (n - 1)).pooled(quantile).reached


def test_p_value_counts_equal_scores_as_higher():
    scores = np.array([1.0, 2.0, 2.0, 3.0])
    assert [p_value(scores, x) for x in (0, 2, 2.5, 3, 9)] == [1.0, 4 / 5, 2 / 5, 2 / 5, 1 / 5]
    assert p_value(np.empty(0), 1.0) == 1.0


def test_a_class_with_enough_images_has_its_own_threshold():
    fitted = calibration(smooth=20, rough=40)
    own = fitted.threshold("smooth", 0.95)
    assert (own.value, own.n, own.pooled) == (19.0, 20, False)  # rank ceil(21 * 0.95) = 20
    assert fitted.threshold("rough", 0.95).value == 38.0
    assert fitted.p_values([19.5, 19.5], ["smooth", "rough"], 0.95).tolist() == [1 / 21, 21 / 41]


def test_a_class_with_too_few_images_is_pooled_but_never_below_its_own_scores():
    scores = np.concatenate([np.arange(40), [100.0, 200.0], [5.0]])
    fitted = Calibration(scores, ["many"] * 40 + ["high"] * 2 + ["low"])
    pooled = fitted.pooled(0.95).value
    assert pooled == 100.0
    assert [fitted.threshold(name, 0.95).value for name in ("high", "low", "never seen")] == [200.0, pooled, pooled]
    assert [fitted.threshold(name, 0.95).pooled for name in ("many", "high", "never seen")] == [False, True, True]
    assert [fitted.threshold(name, 0.95).n for name in ("high", "never seen")] == [2, 0]
    high, above = fitted.p_values([150.0, 201.0], ["high", "high"], 0.95)
    assert high == 2 / 3 and above == 1 / 44  # 150 lies below an image of its class, 201 above all


@pytest.mark.parametrize("quantile", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_a_score_is_above_the_threshold_exactly_where_the_p_value_says_so(quantile):
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = dict(zip("abcd", rng.integers([1, 5, 30, 110], [5, 30, 110, 200]), strict=True))
        names = np.repeat(list(counts), list(counts.values()))
        fitted = Calibration(rng.normal(size=len(names)).round(1), list(names))
        new, predicted = rng.normal(size=200).round(1) * 2, rng.choice([*counts, "e"], 200)
        flagged = [s > fitted.threshold(k, quantile).value for s, k in zip(new, predicted, strict=True)]
        assert flagged == (fitted.p_values(new, predicted, quantile) <= 1 - quantile + 1e-12).tolist()


def test_p_values_fall_with_the_score():
    fitted, grid = calibration(few=4, many=60), np.linspace(-1, 70, 300)
    for name in ("few", "many", "none"):
        assert (np.diff(fitted.p_values(grid, [name] * 300, 0.95)) <= 0).all()


def test_false_alarms_by_class_are_those_promised():
    """A rough and a smooth product: one threshold flags 7 % of one and nothing of the other, two flag 5 % of each."""
    rng, rates = np.random.default_rng(0), {"own": np.zeros(2), "pooled": np.zeros(2)}
    for _ in range(300):
        scores = np.concatenate([rng.normal(0, 1, 39), rng.normal(10, 1, 39)])
        fitted = Calibration(scores, ["smooth"] * 39 + ["rough"] * 39)
        for k, (name, mean) in enumerate((("smooth", 0), ("rough", 10))):
            new = rng.normal(mean, 1, 100)
            rates["own"][k] += (new > fitted.threshold(name, 0.95).value).mean() / 300
            rates["pooled"][k] += (new > fitted.pooled(0.95).value).mean() / 300
    assert rates["own"] == pytest.approx([0.05, 0.05], abs=0.01)
    assert rates["pooled"][0] == 0 and rates["pooled"][1] > 0.06


def test_what_is_no_calibration_is_refused():
    for scores, classes in (([], []), ([np.nan], ["a"]), ([1.0], ["a", "b"])):
        with pytest.raises(MetricError):
            Calibration(scores, classes)

"""Checks of notebook 11: an honest split, a curve's plateau, an operating point, what a decision costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mintad.course.checks.grading import CheckFailed, call, number, passed, require, same


def reference_group_split(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    chosen = names[: max(1, round(share * len(names)))]
    return np.isin(groups, chosen)


def check_group_split(fn: Callable[..., np.ndarray]) -> None:
    """Which images are for test: whole products, about the share asked for, another choice with another seed."""
    groups = np.array([f"part {n // 4}" for n in range(80)])
    takes = "groups, share, seed"
    chosen = _booleans(call(fn, groups, 0.25, 0, takes=takes), len(groups))
    both = set(groups[chosen]) & set(groups[~chosen])
    require(not both, f"'{min(both, default='')}' has images on both sides: choose products, not images")
    require(0 < chosen.sum() < len(groups), "one side is empty")
    require(abs(chosen.mean() - 0.25) < 0.06, f"a share of 0.25 was asked for, {chosen.mean():.2f} is for test")
    again = _booleans(call(fn, groups, 0.25, 0, takes=takes), len(groups))
    require(bool((again == chosen).all()), "the same seed must give the same split: make a generator from the seed")
    others = [_booleans(call(fn, groups, 0.25, seed, takes=takes), len(groups)) for seed in range(1, 6)]
    require(any((other != chosen).any() for other in others), "another seed must give another split: shuffle first")
    passed(fn, "group_split: no product on both sides, 25 % for test, repeatable")


def _booleans(result: object, n: int) -> np.ndarray:
    values = np.asarray(result)
    if values.shape != (n,) or values.dtype != bool:
        raise CheckFailed(f"return one boolean an image, shape ({n},), true for test")
    return values


def reference_plateau(steps: np.ndarray, loss: np.ndarray, tolerance: float) -> int:
    near = np.abs(loss - loss[-1]) <= tolerance * abs(loss[-1])
    outside = np.flatnonzero(~near)
    return int(steps[outside[-1] + 1]) if len(outside) else int(steps[0])


def check_plateau(fn: Callable[..., int]) -> None:
    """First step from which on the loss stays within the tolerance of its last value."""
    steps, takes = np.array([20, 40, 60, 80, 100]), "steps, loss, tolerance"
    falling = number(call(fn, steps, np.array([9.0, 4.0, 2.1, 2.05, 2.0]), 0.1, takes=takes))
    require(falling == 60, f"9, 4, 2.1, 2.05, 2.0 with a tolerance of 10 %: from step 60 on, not {falling:g}")
    bump = number(call(fn, steps, np.array([2.1, 2.0, 5.0, 2.1, 2.0]), 0.1, takes=takes))
    require(bump == 80, f"2.1, 2.0, 5.0, 2.1, 2.0: it was near before, but did not *stay*: step 80, not {bump:g}")
    still = number(call(fn, steps, np.array([9.0, 8.0, 6.0, 4.0, 2.0]), 0.1, takes=takes))
    require(still == 100, f"a loss that still falls reaches its last value at the last step, 100, not {still:g}")
    flat = number(call(fn, steps, np.full(5, -3.0), 0.1, takes=takes))
    require(flat == 20, f"a loss that never moves is there from the first step, 20, not {flat:g} (it may be negative)")
    passed(fn, "plateau: the first step from which the loss stays near its end")


def reference_operating_point(scores: np.ndarray, labels: np.ndarray, rate: float) -> tuple[float, float]:
    normal = np.sort(scores[labels == 0])
    allowed = int(np.floor(rate * len(normal) + 1e-9))
    threshold = normal[len(normal) - 1 - allowed] if allowed < len(normal) else normal[0] - 1
    return float(threshold), float((scores[labels == 1] > threshold).mean())


def check_operating_point(fn: Callable[..., tuple[float, float]]) -> None:
    """Of all thresholds with a false alarm rate of at most `rate` one with the highest true positive rate."""
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.45, 0.55, 0.65, 0.05])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    takes = "scores, labels, rate"
    for rate, wanted in ((0.2, 0.6), (0.0, 0.4), (0.5, 0.8)):
        result = call(fn, scores, labels, rate, takes=takes)
        require(np.shape(result) == (2,), "return two numbers: the threshold and the true positive rate")
        threshold, hits = (float(value) for value in np.asarray(result, dtype=float))
        alarms, share = ((scores[labels == kind] > threshold).mean() for kind in (0, 1))
        require(alarms <= rate + 1e-9, f"rate {rate}: {alarms:.0%} of the normal images lie above {threshold:g}")
        require(abs(hits - share) < 1e-9, f"above {threshold:g} lie {share:.0%} of the anomalies, not {hits:.0%}")
        hint = f"rate {rate}: {wanted:.0%} of the anomalies can be found, you find {hits:.0%}; go lower"
        require(hits > wanted - 1e-9, hint)
    passed(fn, "operating_point: within the allowed false alarms, as many anomalies as possible")


def reference_expected_cost(
    scores: np.ndarray, labels: np.ndarray, threshold: float, defect_rate: float, miss: float, alarm: float
) -> float:
    missed = (scores[labels == 1] <= threshold).mean()
    alarms = (scores[labels == 0] > threshold).mean()
    return float(defect_rate * miss * missed + (1 - defect_rate) * alarm * alarms)


def check_expected_cost(fn: Callable[..., float]) -> None:
    """Cost per produced part: rates from the test images, but the share of defects from the production."""
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.8]), np.array([0, 0, 0, 0, 1, 1])
    takes = "scores, labels, threshold, defect_rate, miss, alarm"
    everything = number(call(fn, scores, labels, 0.5, 1.0, 100.0, 1.0, takes=takes))
    same(everything, 50.0, "if all parts are defective and half of the anomalies are missed, a part costs 50")
    nothing = number(call(fn, scores, labels, 0.5, 0.0, 100.0, 4.0, takes=takes))
    same(nothing, 1.0, "if no part is defective only false alarms cost: 1 in 4 normal images, at 4 each")
    real = number(call(fn, scores, labels, 0.5, 0.01, 100.0, 4.0, takes=takes))
    hint = "weigh the miss rate by the *production's* defect rate and the false alarm rate by the rest"
    same(real, 0.01 * 100 * 0.5 + 0.99 * 4 * 0.25, hint)
    edge = number(call(fn, scores, labels, 0.8, 1.0, 1.0, 1.0, takes=takes))
    same(edge, 1.0, "an image is called anomalous if its score is *above* the threshold; 0.8 at 0.8 is a miss")
    passed(fn, "expected_cost: what a produced part costs, not what a test image costs")

"""Checks of notebook 11: a split by product, a curve's plateau, an operating point, the expected cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mintad.course.checks.grading import CheckFailed, call, number, passed, require, same


def reference_group_split(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return which images are for test, by whole products."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    test_names = names[: max(1, round(share * len(names)))]
    return np.isin(groups, test_names)


def check_group_split(fn: Callable[..., np.ndarray]) -> None:
    """Check that whole products are chosen for test, about the given share, and others with another seed."""
    groups = np.array([f"part {n // 4}" for n in range(80)])
    takes = "groups, share, seed"
    chosen = _booleans(call(fn, groups, 0.25, 0, takes=takes), len(groups))
    both = set(groups[chosen]) & set(groups[~chosen])
    require(not both, f"'{min(both, default='')}' has images in training and in test: choose products, not images")
    require(0 < chosen.sum() < len(groups), "training or test has no images")
    require(abs(chosen.mean() - 0.25) < 0.06, f"with share = 0.25, {chosen.mean():.2f} of the images are for test")
    again = _booleans(call(fn, groups, 0.25, 0, takes=takes), len(groups))
    require(bool((again == chosen).all()), "the same seed must give the same split: use np.random.default_rng(seed)")
    others = [_booleans(call(fn, groups, 0.25, seed, takes=takes), len(groups)) for seed in range(1, 6)]
    require(
        any((other != chosen).any() for other in others),
        "another seed must give another split: shuffle the products first",
    )
    passed(fn, "group_split: no product in both parts, 25 % for test, repeatable")


def _booleans(result: object, n: int) -> np.ndarray:
    values = np.asarray(result)
    if values.shape != (n,) or values.dtype != bool:
        raise CheckFailed(f"return one boolean per image, shape ({n},), True for test")
    return values


def reference_plateau(steps: np.ndarray, loss: np.ndarray, tolerance: float) -> int:
    """Return the first step from which the loss stays near its end."""
    near = np.abs(loss - loss[-1]) <= tolerance * abs(loss[-1])
    outside = np.flatnonzero(~near)
    return int(steps[outside[-1] + 1]) if len(outside) else int(steps[0])


def check_plateau(fn: Callable[..., int]) -> None:
    """Check for the first step from which the loss stays within the tolerance of its last value."""
    steps, takes = np.array([20, 40, 60, 80, 100]), "steps, loss, tolerance"
    falling = number(call(fn, steps, np.array([9.0, 4.0, 2.1, 2.05, 2.0]), 0.1, takes=takes))
    require(falling == 60, f"losses 9, 4, 2.1, 2.05, 2.0 at steps 20 to 100, tolerance 10 %: step 60, not {falling:g}")
    bump = number(call(fn, steps, np.array([2.1, 2.0, 5.0, 2.1, 2.0]), 0.1, takes=takes))
    require(bump == 80, f"losses 2.1, 2.0, 5.0, 2.1, 2.0: the loss must *stay* near its end, so step 80, not {bump:g}")
    still = number(call(fn, steps, np.array([9.0, 8.0, 6.0, 4.0, 2.0]), 0.1, takes=takes))
    require(still == 100, f"a loss that still falls is near its end only at the last step, 100, not {still:g}")
    flat = number(call(fn, steps, np.full(5, -3.0), 0.1, takes=takes))
    require(
        flat == 20, f"a constant loss of -3 is near its end from the first step, 20, not {flat:g}; take absolute values"
    )
    passed(fn, "plateau: the first step from which the loss stays near its last value")


def reference_operating_point(scores: np.ndarray, labels: np.ndarray, rate: float) -> tuple[float, float]:
    """Return threshold and true positive rate."""
    normal = np.sort(scores[labels == 0])
    allowed = int(np.floor(rate * len(normal) + 1e-9))
    threshold = normal[len(normal) - 1 - allowed] if allowed < len(normal) else normal[0] - 1
    return float(threshold), float((scores[labels == 1] > threshold).mean())


def check_operating_point(fn: Callable[..., tuple[float, float]]) -> None:
    """Check for the threshold of highest true positive rate among those with a false alarm rate of at most `rate`."""
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.45, 0.55, 0.65, 0.05])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    takes = "scores, labels, rate"
    for rate, expected in ((0.2, 0.6), (0.0, 0.4), (0.5, 0.8)):
        result = call(fn, scores, labels, rate, takes=takes)
        require(np.shape(result) == (2,), "return two numbers: the threshold and the true positive rate")
        threshold, hits = (float(value) for value in np.asarray(result, dtype=float))
        alarms, share = ((scores[labels == kind] > threshold).mean() for kind in (0, 1))
        require(
            alarms <= rate + 1e-9,
            f"with rate = {rate}, {alarms:.0%} of the normal images are above your threshold {threshold:g}; go higher",
        )
        require(
            abs(hits - share) < 1e-9, f"{share:.0%} of the anomalous images are above {threshold:g}, not {hits:.0%}"
        )
        hint = f"with rate = {rate}, a lower threshold finds {expected:.0%} of the anomalous images, yours {hits:.0%}"
        require(hits > expected - 1e-9, hint)
    passed(fn, "operating_point: as many anomalous images as possible within the allowed false alarms")


def reference_expected_cost(
    scores: np.ndarray, labels: np.ndarray, threshold: float, defect_rate: float, miss: float, alarm: float
) -> float:
    """Return the expected cost per produced part."""
    missed = (scores[labels == 1] <= threshold).mean()
    alarms = (scores[labels == 0] > threshold).mean()
    return float(defect_rate * miss * missed + (1 - defect_rate) * alarm * alarms)


def check_expected_cost(fn: Callable[..., float]) -> None:
    """Check for the cost per produced part: error rates of the test images, share of defects of the production."""
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.8]), np.array([0, 0, 0, 0, 1, 1])
    takes = "scores, labels, threshold, defect_rate, miss, alarm"
    everything = number(call(fn, scores, labels, 0.5, 1.0, 100.0, 1.0, takes=takes))
    same(everything, 50.0, "if all parts are defective, half of them are missed and a miss costs 100, a part costs 50")
    nothing = number(call(fn, scores, labels, 0.5, 0.0, 100.0, 4.0, takes=takes))
    same(
        nothing,
        1.0,
        "if no part is defective, 1 in 4 normal images is a false alarm and an alarm costs 4, a part costs 1",
    )
    real = number(call(fn, scores, labels, 0.5, 0.01, 100.0, 4.0, takes=takes))
    hint = "weight the miss rate by the *production's* defect rate, and the false alarm rate by 1 minus it"
    same(real, 0.01 * 100 * 0.5 + 0.99 * 4 * 0.25, hint)
    edge = number(call(fn, scores, labels, 0.8, 1.0, 1.0, 1.0, takes=takes))
    same(edge, 1.0, "an image is flagged only if its score is *above* the threshold; 0.8 at 0.8 is a miss")
    passed(fn, "expected_cost: the cost of a produced part, not of a test image")

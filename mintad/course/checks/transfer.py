"""Checks of notebook 11: a split by product, a curve's plateau, an operating point, the expected cost."""

from __future__ import annotations

import numpy as np

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, require, same, two_numbers

Array = np.ndarray


def reference_group_split(groups: Array, share: float, seed: int) -> Array:
    """Return which images are for test, by whole products."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    return np.isin(groups, names[: max(1, round(share * len(names)))])


@exercise(reference_group_split, "no product in both parts, 25 % for test, repeatable")
def check_group_split(call: Call, rng: np.random.Generator) -> None:
    """Check that whole products are chosen for test, about the given share, and others with another seed."""
    groups = np.array([f"part {n // 4}" for n in range(80)])

    def split(seed: int) -> Array:
        chosen = np.asarray(call(groups, 0.25, seed))
        hint = f"return one boolean per image, shape ({len(groups)},), True for test"
        require(chosen.shape == groups.shape and chosen.dtype == bool, hint)
        both = set(groups[chosen]) & set(groups[~chosen])
        hint = f"'{min(both, default='')}' has images in training and in test: choose products, not images"
        require(not both, hint)
        require(0 < chosen.sum() < len(groups), "training or test has no images")
        number = len(set(groups[chosen]))
        hint = f"25 % of 20 products are 5, always; with seed = {seed} you chose {number}. Do not toss a coin for each"
        require(number == 5, hint)
        return chosen

    first = int(rng.integers(1000))
    chosen = split(first)
    require(
        bool((split(first) == chosen).all()), "the same seed must give the same split: use np.random.default_rng(seed)"
    )
    others = [split(first + n) for n in range(1, 6)]
    hint = "another seed must give another split: shuffle the products first"
    require(any((other != chosen).any() for other in others), hint)


def _near(loss: Array, tolerance: float) -> Array:
    return np.abs(loss - loss[-1]) <= tolerance * abs(loss[-1])


def reference_plateau(steps: Array, loss: Array, tolerance: float) -> int:
    """Return the first step from which the loss stays near its end."""
    outside = np.flatnonzero(np.abs(loss - loss[-1]) > tolerance * abs(loss[-1]))
    return int(steps[outside[-1] + 1]) if len(outside) else int(steps[0])


@exercise(
    reference_plateau,
    "the first step from which the loss stays near its last value",
    mistakes={
        "return the step, not its place in the list": lambda steps, loss, tolerance: list(steps).index(
            reference_plateau(steps, loss, tolerance)
        ),
        "this is the last step at which the loss is still outside; the next one is the first inside": (
            lambda steps, loss, tolerance: steps[np.flatnonzero(~_near(loss, tolerance))[-1]]
        ),
        "this is the first step at which the loss is near its end; it must also *stay* there": (
            lambda steps, loss, tolerance: steps[np.flatnonzero(_near(loss, tolerance))[0]]
        ),
    },
)
def check_plateau(call: Call, rng: np.random.Generator) -> None:
    """Check for the first step from which the loss stays within the tolerance of its last value."""
    bump = "losses 2.1, 2.0, 5.0, 2.1, 2.0: the loss must *stay* near its end, so step 80, not {:g}"
    flat = "a constant loss of -3 is near its end from the first step, 20, not {:g}; take absolute values"
    dip = "losses 9, 2, 0.5, 2, 2: 0.5 is not near 2 either, so step 80, not {:g}; take the difference's absolute value"
    for loss, step, hint in (
        ([9, 4, 2.1, 2.05, 2], 60, "losses 9, 4, 2.1, 2.05, 2.0 at steps 20 to 100, tolerance 10 %: step 60, not {:g}"),
        ([2.1, 2, 5, 2.1, 2], 80, bump),
        ([9, 8, 6, 4, 2], 100, "a loss that still falls is near its end only at the last step, 100, not {:g}"),
        ([-3, -3, -3, -3, -3], 20, flat),
        ([9, 2, 0.5, 2, 2], 80, dip),
    ):
        same(call(np.array([20, 40, 60, 80, 100]), np.array(loss, dtype=float), 0.1), step, hint)


def reference_operating_point(scores: Array, labels: Array, rate: float) -> tuple[float, float]:
    """Return threshold and true positive rate."""
    normal = np.sort(scores[labels == 0])
    allowed = int(np.floor(rate * len(normal) + 1e-9))
    threshold = normal[len(normal) - 1 - allowed] if allowed < len(normal) else normal[0] - 1
    return float(threshold), float((scores[labels == 1] > threshold).mean())


@exercise(reference_operating_point, "as many anomalous images as possible within the allowed false alarms")
def check_operating_point(call: Call, rng: np.random.Generator) -> None:
    """Check for the threshold of highest true positive rate among those with a false alarm rate of at most `rate`."""
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.45, 0.55, 0.65, 0.05])
    labels = np.repeat([0, 1], 5)
    for rate, expected in ((0.2, 0.6), (0.0, 0.4), (0.5, 0.8)):
        hint = "return two numbers: the threshold and the true positive rate"
        limit, hits = two_numbers(call(scores, labels, rate), hint)
        alarms, share = ((scores[labels == kind] > limit).mean() for kind in (0, 1))
        hint = f"{alarms:.0%} of the normal images are above your threshold {limit:g}; go higher"
        require(alarms <= rate + 1e-9, f"with rate = {rate}, {hint}")
        require(abs(hits - share) < 1e-9, f"{share:.0%} of the anomalous images are above {limit:g}, not {hits:.0%}")
        hint = f"with rate = {rate}, a lower threshold finds {expected:.0%} of the anomalous images, yours {hits:.0%}"
        require(hits > expected - 1e-9, hint)
    scores, labels = np.array([1.0, 2, 3, 4, 5, 6, 6, 5, 6.5, 1]), np.repeat([0, 1], [6, 4])
    limit, hits = two_numbers(call(scores, labels, 0.25), hint)
    alarms, share = (scores[:6] > limit).sum(), (scores[6:] > limit).mean()
    hint = f"of 6 normal images one may be above the threshold (rate 0.25); above {limit:g} are {alarms}"
    require(alarms <= 1, hint)
    hint = f"an image is flagged if its score is *above* the threshold, not at it: {share:.0%}, not {hits:.0%}"
    require(abs(hits - share) < 1e-9, hint)


def _cost(
    scores: Array, labels: Array, threshold: float, missed_share: float, alarm_share: float, costs: Array
) -> float:
    missed, alarms = (scores[labels == 1] <= threshold).mean(), (scores[labels == 0] > threshold).mean()
    return float(missed_share * missed * costs[0] + alarm_share * alarms * costs[1])


def reference_expected_cost(
    scores: Array, labels: Array, threshold: float, defect_rate: float, miss: float, alarm: float
) -> float:
    """Return the expected cost per produced part."""
    missed = (scores[labels == 1] <= threshold).mean()
    alarms = (scores[labels == 0] > threshold).mean()
    return float(defect_rate * miss * missed + (1 - defect_rate) * alarm * alarms)


@exercise(
    reference_expected_cost,
    "the cost of a produced part, not of a test image",
    mistakes={
        "this is the cost of a test image; the production has another share of defects, defect_rate": (
            lambda s, y, t, d, m, a: float(np.where(y == 1, m * (s <= t), a * (s > t)).mean())
        ),
        "the weights are exchanged: misses happen to the defective parts, a share defect_rate": (
            lambda s, y, t, d, m, a: _cost(s, y, t, 1 - d, d, (m, a))
        ),
        "the costs are exchanged: a miss costs `miss`, a false alarm `alarm`": (
            lambda s, y, t, d, m, a: _cost(s, y, t, d, 1 - d, (a, m))
        ),
        "false alarms happen to the good parts alone, a share 1 - defect_rate": (
            lambda s, y, t, d, m, a: _cost(s, y, t, d, 1, (m, a))
        ),
        "the defect rate is missing: weight the misses by it, the false alarms by 1 minus it": (
            lambda s, y, t, d, m, a: _cost(s, y, t, 1, 1, (m, a))
        ),
        "take the rates among the images of each kind: misses among the anomalous, alarms among the normal ones": (
            lambda s, y, t, d, m, a: float(
                d * m * ((s <= t) & (y == 1)).mean() + (1 - d) * a * ((s > t) & (y == 0)).mean()
            )
        ),
        "an image is flagged only if its score is *above* the threshold; at it, it is not": (
            lambda s, y, t, d, m, a: float(d * m * (s[y == 1] < t).mean() + (1 - d) * a * (s[y == 0] >= t).mean())
        ),
    },
)
def check_expected_cost(call: Call, rng: np.random.Generator) -> None:
    """Check for the cost per produced part: error rates of the test images, share of defects of the production."""
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.8]), np.array([0, 0, 0, 0, 1, 1])
    hint = "if all parts are defective, half of them are missed and a miss costs 100, a part costs 50"
    same(call(scores, labels, 0.5, 1.0, 100.0, 1.0), 50, hint)
    hint = "if no part is defective, 1 in 4 normal images is a false alarm and an alarm costs 4, a part costs 1"
    same(call(scores, labels, 0.5, 0.0, 100.0, 4.0), 1, hint)
    hint = "weight the miss rate by the *production's* defect rate, and the false alarm rate by 1 minus it"
    same(call(scores, labels, 0.5, 0.01, 100.0, 4.0), 0.01 * 100 * 0.5 + 0.99 * 4 * 0.25, hint)
    hint = "an image is flagged only if its score is *above* the threshold; 0.8 at 0.8 is a miss"
    same(call(scores, labels, 0.8, 1.0, 1.0, 1.0), 1, hint)

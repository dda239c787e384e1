"""The decision threshold, from normal images that did not train (not in the paper)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mintad.scoring.ranking import MetricError


@dataclass(frozen=True)
class Threshold:
    """An image is called anomalous if its score is above `value`."""

    value: float
    quantile: float  # share of new normal images that should pass, in (0, 1)
    n: int  # held-out normal images behind it
    rank: int  # the value is the score of this rank among them, the lowest being 1
    reached: bool  # False where n is too small for the quantile and the highest score stands in

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):  # no score is above NaN: every image would pass
            raise MetricError(f"the threshold is {self.value}, not a finite number")


def fit_threshold(normal_scores: np.ndarray, quantile: float) -> Threshold:
    """Fit the threshold to the scores (n,) of held-out normal training images; no test image is involved.

    The value is the k-th smallest of the n scores with k = ceil((n + 1) * quantile), split-conformal prediction's
    rank (Vovk et al., 2005). A new normal image, drawn like the held-out ones, is then called anomalous with a
    probability of at most 1 - quantile, on average over draws of the n. The plain quantile promises that only for
    large n. With k > n (n below quantile / (1 - quantile): 19 images for 0.95) no score is high enough. The maximum
    then stands in, which a new normal image exceeds with a probability of up to 1 / (n + 1), more than was asked for.

    Raises:
        MetricError: no scores, or some that are not finite.
    """
    n = len(normal_scores)
    if not n or not np.isfinite(normal_scores).all():
        raise MetricError(f"no threshold can be fitted to {n} scores, {np.sum(~np.isfinite(normal_scores))} not finite")
    rank = conformal_rank(n, quantile)
    return Threshold(float(np.sort(normal_scores)[min(rank, n) - 1]), quantile, n, min(rank, n), rank <= n)


def conformal_rank(n: int, quantile: float) -> int:
    """Return k = ceil((n + 1) * quantile), which is above n if n images are too few for the quantile; at least 1."""
    return max(1, math.ceil((n + 1) * quantile - 1e-9))  # 20 * 0.95 is 19, whatever rounding says

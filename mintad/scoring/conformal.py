"""Decisions by class, from the scores of held-out normal images: thresholds and p-values (not in the paper).

Split-conformal prediction (Vovk et al., 2005), conditional on the class that was *predicted*, because no other is known
when a new image is judged. If a new normal image of a predicted class is drawn like the held-out ones of that class,
its p-value is at most a with a probability of at most a, whatever the detector. Where the new images are drawn
otherwise, nothing is promised.

With n images no p-value is below 1 / (n + 1), so a quantile of 0.95 takes 19 images (`fewest`). A class with fewer is
judged by the images of all classes together, but no image is flagged that scores below one of the class's own: the
first alone promises nothing for the class, the second that at most one in n + 1 normal images is flagged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mintad.scoring.ranking import MetricError
from mintad.scoring.threshold import Threshold, conformal_rank, fit_threshold


@dataclass(frozen=True)
class ClassThreshold:
    """An image of a predicted class is flagged if its score is above `value`."""

    value: float
    n: int  # held-out normal images of which the class was predicted
    pooled: bool  # too few for the quantile: it rests on the images of all classes, see the module

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):  # no score is above NaN: every image would pass
            raise MetricError(f"the threshold is {self.value}, not a finite number")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores (n,) of held-out normal images, finite, and the class (n,) that was predicted for each.

    The class is '' where none is predicted, or the one that the model was given. The images trained neither the network
    nor what the score compares with; otherwise they would score lower than new ones.
    """

    scores_n: np.ndarray
    classes_n: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores_n", np.asarray(self.scores_n, dtype=float))
        if not len(self.scores_n) == len(self.classes_n):
            raise MetricError(f"{len(self.scores_n)} scores for {len(self.classes_n)} classes")
        if not len(self.scores_n) or not np.isfinite(self.scores_n).all():
            raise MetricError("no scores of held-out images, or some that are not finite")

    @cached_property
    def _of_class(self) -> dict[str, np.ndarray]:
        """Class -> its scores, sorted."""
        names = np.asarray(self.classes_n, dtype=object)
        return {str(name): np.sort(self.scores_n[names == name]) for name in sorted(set(self.classes_n))}

    def of_class(self, name: str) -> np.ndarray:
        """Return the sorted scores of the images of which a class was predicted; none of a class without any."""
        return self._of_class.get(name, np.empty(0))

    def pooled(self, quantile: float) -> Threshold:
        """Fit one threshold to the images of all classes, see `fit_threshold`."""
        return fit_threshold(self.scores_n, quantile)

    def threshold(self, name: str, quantile: float) -> ClassThreshold:
        """Fit the threshold of a predicted class, of which there may be no image; see the module."""
        own, pooled = self.of_class(name), len(self.of_class(name)) < fewest(quantile)
        if not pooled:
            return ClassThreshold(fit_threshold(own, quantile).value, len(own), False)
        return ClassThreshold(max([self.pooled(quantile).value, *own[-1:]]), len(own), True)

    def p_values(self, scores_B: np.ndarray, names_B: Sequence[str], quantile: float) -> np.ndarray:
        """Return the p-value (B,) of each score and predicted class: (1 + scores at least as high) / (n + 1).

        A score is above the threshold of its class exactly where its p-value is at most 1 - `quantile` (compare with a
        margin: 1 - 0.9 is less than 0.1 in floats), if there are enough images (`fewest`) in all. The n images are the
        class's own, or those of all classes where `threshold` pools them; the p-value is then not below the class's own
        while the score is not above all of the class.
        """
        p_B = np.empty(len(scores_B))
        for position, (score, name) in enumerate(zip(scores_B, names_B, strict=True)):
            own = self.of_class(name)
            p_B[position] = p_value(own, score)
            if len(own) < fewest(quantile):
                above_all = not len(own) or score > own[-1]
                p = p_value(self._sorted, score)
                p_B[position] = p if above_all else max(p, p_B[position])
        return p_B

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.scores_n)


def p_value(sorted_n: np.ndarray, score: float) -> float:
    """Return the conformal p-value of a score among sorted ones (n,): 1 / (n + 1) if it is higher than all."""
    n = len(sorted_n)
    return (1 + n - int(np.searchsorted(sorted_n, score, side="left"))) / (n + 1)


def fewest(quantile: float) -> int:
    """Return the smallest number of images to which a threshold of this quantile can be fitted; 19 for 0.95."""
    n = max(1, math.floor(quantile / (1 - quantile)) - 1)
    while conformal_rank(n, quantile) > n:
        n += 1
    return n

"""AUPRO: localisation in which every defect counts alike, whatever its size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from mintad.scoring.ranking import MetricError, StreamingRanking


class MapRanking(StreamingRanking):
    """Pixel metrics over anomaly maps and masks that arrive image by image.

    The area under the per-region overlap curve, too, changes only at scores of anomalous pixels, so it needs no more
    than the share that each of these has in its region.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shares: list[np.ndarray] = []
        self.regions = 0
        """Anomalous regions so far (8 neighbours)."""

    def update(self, scores: ArrayLike, labels: ArrayLike, counted: np.ndarray | None = None) -> MapRanking:
        """Add the anomaly map (H, W) and the mask (H, W) of one image; return the ranking.

        With `counted` (H, W), bool, the other pixels are left out, and parts of defects there.

        Raises:
            MetricError: not two-dimensional, and as `StreamingRanking.update`.
        """
        mask = np.asarray(labels)
        if mask.ndim != 2:
            raise MetricError(f"a mask has the shape (H, W), not {mask.shape}")
        if counted is None:
            super().update(scores, mask)
        else:
            super().update(np.asarray(scores)[counted], mask[counted])
            mask = np.where(counted, mask, 0)
        region_of_pixel, regions = ndimage.label(mask, structure=np.ones((3, 3)))
        region_of_pixel = region_of_pixel[region_of_pixel > 0]
        self._shares.append(1 / np.bincount(region_of_pixel)[region_of_pixel])
        self.regions += regions
        return self

    def aupro(self, fpr_limit: float = 0.3) -> float:
        """Return the area under the per-region overlap curve up to a false positive rate, divided by that rate.

        The overlap at a threshold is the share of a connected region (8 neighbours) that scores at or above it,
        averaged over all regions of all images; the false positive rate is that of all normal pixels. Exact: every
        distinct score is a threshold, the curve is linear in between and cut at the limit (0.3 in the literature).

        Raises:
            MetricError: no anomalous region, no normal pixel, or a limit outside (0, 1].
        """
        if not 0 < fpr_limit <= 1:
            raise MetricError(f"fpr_limit must be in (0, 1], not {fpr_limit}")
        counts = self.counts("AUPRO")
        position = np.searchsorted(counts.thresholds, np.concatenate(self._anomalous))
        gains = np.bincount(position, weights=np.concatenate(self._shares))[::-1] / self.regions
        pro = np.cumsum(gains)
        above = counts.normals - counts.normal_up_to[::-1]
        # Two points a threshold, from the highest: what lies above it, and that with the threshold itself.
        pro = np.stack([pro - gains, pro], axis=1).ravel()
        fpr = np.stack([above, counts.false_positives[::-1]], axis=1).ravel() / counts.normals
        pro, fpr = np.concatenate([[0.0], pro, [1.0]]), np.concatenate([[0.0], fpr, [1.0]])
        inside = fpr <= fpr_limit
        at_limit = np.interp(fpr_limit, fpr, pro)
        from scipy.integrate import trapezoid  # here, because it takes long to import

        return float(trapezoid(np.append(pro[inside], at_limit), np.append(fpr[inside], fpr_limit)) / fpr_limit)

    def _absorb(self, other: MapRanking) -> None:
        super()._absorb(other)
        self._shares += other._shares
        self.regions += other.regions


def aupro(maps: Iterable[np.ndarray], masks: Iterable[np.ndarray], fpr_limit: float = 0.3) -> float:
    """Return the area under the per-region overlap curve of maps and masks (H, W); see `MapRanking.aupro`."""
    ranking = MapRanking()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        ranking.update(anomaly_map, mask)
    return ranking.aupro(fpr_limit)

"""Which test images to look at (Figs 8 to 10): a typical example of every category, and the worst cases.

`scores` are the n test rows of a run, as `mintad.runs.directory.Run.scores` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from scipy.spatial.distance import cdist, pdist
from threadpoolctl import threadpool_limits

from mintad import plots
from mintad.data.images import read_image, read_mask_of, resize_mask
from mintad.data.records import category_keys
from mintad.plots.series import before_after, case_grid

SIDE = 160
"""Side of an image, a mask or a map in a figure of cases, in pixels."""


def examples(scores: pd.DataFrame) -> list[int]:
    """Return the positions of one anomalous test image per category, that of median score: neither best nor worst."""
    rows = scores.reset_index(drop=True)
    anomalous = rows[rows["label"] == 1].sort_values("pred_score", kind="stable")
    return [int(group.index[len(group) // 2]) for _, group in anomalous.groupby(category_keys(anomalous))]


def wrong_pairs(scores: pd.DataFrame) -> np.ndarray:
    """Return, for each test image, the share of the images of the *other* kind that it is ranked wrongly against.

    Only images of its own category count, and a tie counts half. The mean over a category's anomalous images is
    1 - AUROC, and so is the mean over its normal ones. NaN where a category has no images of the other kind.
    """
    shares, keys = np.full(len(scores), np.nan), category_keys(scores).to_numpy()
    label, score = scores["label"].to_numpy(), scores["pred_score"].to_numpy()
    for key in set(keys):
        normal, anomalous = (np.flatnonzero((keys == key) & (label == kind)) for kind in (0, 1))
        if len(normal) and len(anomalous):
            gap = score[anomalous][:, None] - score[normal]
            wrong = (gap < 0) + 0.5 * (gap == 0)
            shares[anomalous], shares[normal] = wrong.mean(axis=1), wrong.mean(axis=0)
    return shares


def worst(scores: pd.DataFrame, n: int) -> list[int]:
    """Return the positions of the n images with the most `wrong_pairs`, worst first, without those that have none."""
    shares = np.nan_to_num(wrong_pairs(scores))
    order = np.argsort(-shares, kind="stable")[:n]
    return [int(row) for row in order if shares[row] > 0]


def peaks_on_mask(scores: pd.DataFrame, maps_nHW: np.ndarray) -> np.ndarray:
    """Test whether the highest value of each image's interpolated map lies on its ground truth; False without one."""
    masks = _masks(scores)
    peaks = [plots.resize_map(grid, (SIDE, SIDE)).argmax() for grid in maps_nHW]
    return np.array([mask is not None and mask.flat[peak] for mask, peak in zip(masks, peaks, strict=True)], dtype=bool)


def mask_share(scores: pd.DataFrame) -> np.ndarray:
    """Return the share of each image that its ground truth covers, the chance of a random place to hit it."""
    return np.array([0.0 if mask is None else mask.mean() for mask in _masks(scores)])


def _masks(scores: pd.DataFrame) -> list[np.ndarray | None]:
    """Read the ground truth of every image, (SIDE, SIDE) bool; None where there is none."""
    return [
        resize_mask(read_mask_of(image, files), (SIDE, SIDE)) if files else None
        for image, files in zip(scores["image"], scores["masks"], strict=True)
    ]


def case_figure(scores: pd.DataFrame, maps_nHW: np.ndarray, rows: Sequence[int], *, title: str) -> go.Figure:
    """Draw image, ground truth and anomaly map of some test images, as in Figs 8 to 10.

    The colours range from the 1st to the 99th percentile of *all* maps, so that figures can be compared. (Up to the
    maximum, a few obvious defects would leave all the other maps dark.) `rows` are positions in scores and grid maps.
    """
    low, high = np.percentile(maps_nHW, (1, 99))
    chosen, cases = scores.iloc[list(rows)], {}
    for row, case, mask in zip(rows, chosen.itertuples(), _masks(chosen), strict=True):
        image = np.asarray(read_image(case.image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        heat = plots.overlay(image, plots.resize_map(maps_nHW[row], (SIDE, SIDE)), (float(low), float(high)))
        caption = f"{case.category} · {case.defect} · score {case.pred_score:.3g} · no. {row}"
        cases[caption] = (image, mask if case.label else np.zeros((SIDE, SIDE), dtype=bool), heat)
    return case_grid(cases, title=title)


def reconstruction_figure(
    before_nF: np.ndarray, after_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int], *, seed: int = 0
) -> go.Figure:
    """Draw a t-SNE of image features before and after reconstruction (Fig. 4a, b).

    Features are means over an image's tokens. Both are in one embedding, so that positions in the two panels can be
    compared. The title gives `class_separation` and `distance_ratio`, measured in feature space.
    """
    from sklearn.manifold import TSNE  # here, because it takes a second to import

    joint = np.concatenate([before_nF, after_nF])
    perplexity = min(30.0, (len(joint) - 1) / 3)
    with threadpool_limits(1):  # so few points: threads would only wait for each other
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(joint)
    apart, ratio = (
        [measure(features, classes, labels) for features in (before_nF, after_nF)]
        for measure in (class_separation, distance_ratio)
    )
    title = (
        f"Class separation {apart[0]:.1f} before, {apart[1]:.1f} after; anomalous images are {ratio[0]:.2f} and "
        f"{ratio[1]:.2f} times as far from the class mean as normal ones"
    )
    return before_after(*np.split(points, 2), classes, labels, title=title)


def class_separation(features_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> float:
    """Measure the mean distance between the means of the classes' normal images; NaN for a single class.

    The unit is the spread, the mean distance of a normal image from the mean of its own class.
    """
    normal = np.asarray(labels) == 0
    normal_nF, names = features_nF[normal], np.asarray(classes)[normal]
    groups = [normal_nF[names == name] for name in np.unique(names)]
    means = [group.mean(axis=0) for group in groups]
    if len(means) < 2:
        return float("nan")
    spread = np.mean([cdist(group, mean[None]).mean() for group, mean in zip(groups, means, strict=True)])
    return float(pdist(means).mean() / max(spread, 1e-12))


def distance_ratio(features_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> float:
    """Measure how much farther anomalous images lie from the mean of their class's normal images than normal ones do.

    The ratio of the median distances, averaged over the classes that have both kinds. 1 means that anomalous images lie
    where normal images lie.
    """
    names, labels, ratios = np.asarray(classes), np.asarray(labels), []
    for name in np.unique(names):
        normal, anomalous = (features_nF[(names == name) & (labels == kind)] for kind in (0, 1))
        if len(normal) > 1 and len(anomalous):
            near, far = (np.median(cdist(part, normal.mean(axis=0)[None])) for part in (normal, anomalous))
            # a normal image pulls the mean towards itself; from the mean of the others it is n / (n - 1) times as far
            ratios.append(far / max(near * len(normal) / (len(normal) - 1), 1e-12))
    return float(np.mean(ratios)) if ratios else float("nan")

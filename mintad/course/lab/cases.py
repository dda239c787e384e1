"""Which test images to look at (Figs 8 to 10): a typical example of every category, and the worst cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from threadpoolctl import threadpool_limits

from mintad import plots
from mintad.data.images import read_image, read_mask, resize_mask
from mintad.data.records import category_keys
from mintad.plots.series import before_after, case_grid

SIDE = 160
"""Side of an image, a mask or a map in a figure of cases, in pixels."""


def examples(scores: pd.DataFrame) -> list[int]:
    """Choose one anomalous test image per category, the one of median score: neither the best nor the worst.

    Args:
        scores: test rows with dataset, category, label, pred_score.

    Returns:
        Positions in `scores`.
    """
    chosen = []
    keys, label, score = category_keys(scores).to_numpy(), scores["label"].to_numpy(), scores["pred_score"].to_numpy()
    for key in sorted(set(keys)):
        anomalous = np.flatnonzero((keys == key) & (label == 1))
        if len(anomalous):
            order = anomalous[np.argsort(score[anomalous], kind="stable")]
            chosen.append(int(order[len(order) // 2]))
    return chosen


def wrong_pairs(scores: pd.DataFrame) -> np.ndarray:
    """Return, for each test image, the share of the images of the *other* kind that it is ranked wrongly against.

    Only images of its own category count, and a tie counts half. The mean over a category's anomalous images is
    1 - AUROC, and so is the mean over its normal ones.

    Args:
        scores: test rows with dataset, category, label, pred_score.

    Returns:
        (n,), NaN where a category has no images of the other kind.
    """
    shares = np.full(len(scores), np.nan)
    keys, label, score = category_keys(scores).to_numpy(), scores["label"].to_numpy(), scores["pred_score"].to_numpy()
    for key in set(keys):
        normal, anomalous = (np.flatnonzero((keys == key) & (label == value)) for value in (0, 1))
        if not len(normal) or not len(anomalous):
            continue
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
    """Test whether the highest value of each image's map, interpolated, lies on its ground truth; False without a mask.

    Args:
        scores: test rows with `masks`.
        maps_nHW: grid maps in the same order.
    """
    hits = np.zeros(len(scores), dtype=bool)
    for row, mask in _masks(scores):
        hits[row] = mask.flat[plots.resize_map(maps_nHW[row], mask.shape).argmax()]
    return hits


def mask_share(scores: pd.DataFrame) -> np.ndarray:
    """Return the share of each image that its ground truth covers, 0 without a mask.

    That is how often a random place would hit it.
    """
    shares = np.zeros(len(scores))
    for row, mask in _masks(scores):
        shares[row] = mask.mean()
    return shares


def _masks(scores: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    for row, files in enumerate(scores["masks"]):
        if files:
            yield row, resize_mask(read_mask(files), (SIDE, SIDE))


def case_figure(
    scores: pd.DataFrame,
    maps_nHW: np.ndarray,
    rows: Sequence[int],
    *,
    title: str,
    per_row: int = 2,
    value_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw image, ground truth and anomaly map of some test images, as in Figs 8 to 10.

    Args:
        scores: test rows with category, defect, label, image, masks, pred_score.
        maps_nHW: grid maps in the same order.
        rows: positions in both.
        title: title of the figure.
        per_row: cases side by side.
        value_range: range of the colours; None for the 1st and 99th percentile of *all* maps, so that figures can be
            compared. (With the maximum, a few obvious defects would leave all the other maps dark.)
    """
    low, high = np.percentile(maps_nHW, (1, 99))
    colours = value_range or (float(low), float(high))
    cases = {}
    for row in rows:
        case = scores.iloc[row]
        image = np.asarray(read_image(case["image"]).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        mask = resize_mask(read_mask(case["masks"]), (SIDE, SIDE)) if case["masks"] else None
        heat = plots.overlay(image, plots.resize_map(maps_nHW[row], (SIDE, SIDE)), colours)
        name = f"{case['category']} · {case['defect']} · score {case['pred_score']:.3g}"
        cases[f"{name} · no. {row}"] = (image, mask if case["label"] else np.zeros((SIDE, SIDE), dtype=bool), heat)
    return case_grid(cases, title=title, per_row=per_row)


def reconstruction_figure(
    before_nF: np.ndarray, after_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int], *, seed: int = 0
) -> go.Figure:
    """Draw a t-SNE of image features before and after reconstruction (Fig. 4a, b).

    Both are in one embedding, so that positions and distances in the two panels can be compared. The title says,
    measured in feature space, how far classes are apart and how far out anomalous images lie.

    Args:
        before_nF: features of n images, each the mean over its tokens.
        after_nF: features of their reconstructions.
        classes: (n,) class names.
        labels: (n,) 1 for anomalous.
        seed: seed of the embedding.
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
        f"Classes are {apart[0]:.1f} spreads apart before and {apart[1]:.1f} after; "
        f"anomalous images lie {ratio[0]:.2f} and {ratio[1]:.2f} times as far out as normal ones"
    )
    return before_after(*np.split(points, 2), classes, labels, title=title)


def class_separation(features_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> float:
    """Measure the mean distance between the means of the classes' normal images; NaN for a single class.

    The unit is the spread, the mean distance of a normal image from the mean of its own class.
    """
    names = np.where(np.asarray(labels) == 0, np.asarray(classes, dtype=object), "")
    groups = [features_nF[names == name] for name in sorted(set(names) - {""})]
    means = np.stack([group.mean(axis=0) for group in groups])
    if len(means) < 2:
        return float("nan")
    pairs = [np.linalg.norm(a - b) for a, b in itertools.combinations(means, 2)]
    spread = np.mean([np.linalg.norm(group - group.mean(axis=0), axis=1).mean() for group in groups])
    return float(np.mean(pairs) / max(spread, 1e-12))


def distance_ratio(features_nF: np.ndarray, classes: Sequence[str], labels: Sequence[int]) -> float:
    """Measure how much farther anomalous images lie from the mean of their class's normal images than normal ones do.

    The ratio of the median distances, averaged over the classes that have both kinds. 1 means that anomalous images lie
    where normal images lie.
    """
    names, labels, ratios = np.asarray(classes), np.asarray(labels), []
    for name in sorted(set(names)):
        normal, anomalous = (features_nF[(names == name) & (labels == value)] for value in (0, 1))
        if len(normal) < 2 or not len(anomalous):
            continue
        # measure a normal image from the mean of the others, because its own part would pull the mean towards it
        mean_of_others = (normal.sum(axis=0) - normal) / (len(normal) - 1)
        normal_distance = np.median(np.linalg.norm(normal - mean_of_others, axis=1))
        anomalous_distance = np.median(np.linalg.norm(anomalous - normal.mean(axis=0), axis=1))
        ratios.append(anomalous_distance / max(normal_distance, 1e-12))
    return float(np.mean(ratios)) if ratios else float("nan")

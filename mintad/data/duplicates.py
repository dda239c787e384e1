"""Pictures that are in a data set more than once: the same pixels in two files, or nearly the same in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from mintad.data.problems import Problem
from mintad.data.tree import Row

SIDE = 32  # of the thumbnails that are compared
CLOSE, CLOSEST_TO_OTHERS, ANYWHERE = 1.5, 0.5, 8
"""Two pictures are nearly the same if their thumbnails differ by less than CLOSE grey levels (root mean square), by
less than CLOSEST_TO_OTHERS of what a training picture usually differs from the next one, and nowhere by more than
ANYWHERE levels. Pictures of one product under one camera are alike, but not that much: of 60 test images of each of
six real categories none is closer than 2.8 levels to a training image; a copy saved as JPEG or scaled by 3/4 is within
0.5."""
SAMPLE, CHUNK = 500, 1000


def thumbnail(rgb: Image.Image) -> np.ndarray:
    """Return the grey thumbnail (SIDE, SIDE), uint8, by which pictures are compared."""
    return np.asarray(rgb.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L"))


def repeated_pictures(rows: Sequence[Row], digests: Iterable[bytes | None]) -> Iterator[Problem]:
    """List pictures in two files: a leak from training to test, contradicting labels, or a mere repetition.

    `digests` are of the images' pixels, row for row, None for an image that cannot be read.
    """
    groups: dict[bytes | None, list[Row]] = defaultdict(list)
    for row, digest in zip(rows, digests, strict=True):
        groups[digest].append(row)
    groups.pop(None, None)  # unreadable images
    for group in groups.values():
        first: dict[tuple[str, int], Row] = {}
        train = next((row for row in group if row["split"] == "train"), None)
        normal = {row["category"]: row["image"] for row in group if row["split"] == "test" and not row["label"]}
        for row in group:
            if train and row["split"] == "test":
                fix = f"remove one of the two; the other is {train['image']}"
                yield Problem("warning", row["image"], "test image that is also a training image", fix)
            if row["label"] and row["category"] in normal:
                fix = f"remove one of the two; as normal image it is {normal[row['category']]}"
                yield Problem("warning", row["image"], "picture that is also labelled normal", fix)
            other = first.setdefault((row["split"], row["label"]), row)
            if other is not row:
                problem = f"picture that occurs twice in {row['split']}"
                yield Problem("note", row["image"], problem, f"the other is {other['image']}")


def near_duplicates(
    rows: Sequence[Row], digests: Sequence[bytes | None], thumbnails: Sequence[np.ndarray | None]
) -> Iterator[Problem]:
    """List test images that are nearly a training image of their category: saved again, scaled, or a moment later.

    Images with the same pixels are left to `repeated_pictures`, and so are those of a single colour.
    """
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (row, small) in enumerate(zip(rows, thumbnails, strict=True)):
        if small is not None and small.min() < small.max():
            places[row["category"], row["split"]].append(place)
    for category in sorted({category for category, _ in places}):
        train, test = (np.array(places[category, split], dtype=int) for split in ("train", "test"))
        if len(train) < 3 or not len(test):
            continue
        train_nP, test_nP = (
            np.stack([thumbnails[k].ravel() for k in part]).astype(np.float32) for part in (train, test)
        )
        limit = min(CLOSE, CLOSEST_TO_OTHERS * _usual_distance(train_nP))
        for start in range(0, len(test), CHUNK):
            distance_nn = _distances(test_nP[start : start + CHUNK], train_nP)
            for place, nearest, distance in zip(
                range(start, start + CHUNK), distance_nn.argmin(axis=1), distance_nn.min(axis=1), strict=False
            ):
                row, other = rows[test[place]], rows[train[nearest]]
                same = digests[test[place]] == digests[train[nearest]]
                if not same and distance < limit and np.abs(test_nP[place] - train_nP[nearest]).max() <= ANYWHERE:
                    fix = f"keep both in one split; the other is {other['image']}"
                    yield Problem("warning", row["image"], "test image that is nearly a training image", fix)


def _usual_distance(train_nP: np.ndarray) -> float:
    """Return the median distance of a training image, of a sample, from the one most similar to it."""
    sample = np.unique(np.linspace(0, len(train_nP) - 1, min(SAMPLE, len(train_nP))).astype(int))
    distance_nn = _distances(train_nP[sample], train_nP)
    distance_nn[np.arange(len(sample)), sample] = np.inf
    return float(np.median(distance_nn.min(axis=1)))


def _distances(a_nP: np.ndarray, b_nP: np.ndarray) -> np.ndarray:
    """Return root mean square differences (n, m)."""
    squared = (a_nP**2).sum(1)[:, None] + (b_nP**2).sum(1) - 2 * a_nP @ b_nP.T
    return np.sqrt(np.maximum(squared, 0) / a_nP.shape[1])

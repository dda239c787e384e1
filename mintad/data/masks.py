"""Which mask file belongs to which image, decided by names alone."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection

from mintad.data.listing import Listing, list_folder
from mintad.data.problems import Problem, error


def match_masks(images: Listing, masks: Listing, problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Assign every mask of one kind of defect to its image.

    Args:
        images: the anomalous images.
        masks: their masks: STEM.*, STEM_mask*.* or a folder STEM/ of masks.
        problems: gets the masks without an image and the images without a mask.

    Returns:
        Paths of the masks by path of the image.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in images.images:
        by_stem[os.path.splitext(name)[0]].append(name)
    masks_of: dict[str, list[str]] = defaultdict(list)
    for name in masks.images:
        stem = _image_stem(os.path.splitext(name)[0], by_stem)
        if stem is None:
            fix = f"add the image it is named after to {images.folder}, or remove the mask"
            problems.append(error(masks.path(name), "mask without an anomalous image", fix))
        else:
            masks_of[stem].append(masks.path(name))
    for name in masks.folders:
        nested = list_folder(masks.path(name), problems)
        if name not in by_stem:
            fix = f"add the image '{name}' to {images.folder}, or remove the folder"
            problems.append(error(nested.folder, "mask folder without an anomalous image", fix))
        masks_of[name] += [nested.path(mask) for mask in nested.images]
    for name in masks.others:
        problems.append(Problem("warning", masks.path(name), "file without the ending of an image", "it is ignored"))
    for stem, names in by_stem.items():
        if len(names) > 1:
            problem = f"{', '.join(names)} share the name '{stem}', so that it is not clear whose mask is whose"
            problems.append(error(images.folder, problem, "rename all but one, and its mask"))
    unmatched = [name for stem, names in by_stem.items() for name in names if not masks_of[stem]]
    fix = f"add STEM_mask.png to {masks.folder}; to use no masks, remove the category's whole ground_truth/"
    if len(unmatched) == len(images.images) > 1:
        problems.append(error(images.folder, f"none of its {len(unmatched)} anomalous images has a mask", fix))
    else:
        problems += [error(images.path(name), "anomalous image without a mask", fix) for name in unmatched]
    return {
        images.path(name): tuple(sorted(masks_of[stem]))
        for stem, names in by_stem.items()
        for name in names
        if masks_of[stem]
    }


def _image_stem(stem: str, images: Collection[str]) -> str | None:
    """Return the mask's own stem, or the part before the last '_mask' that leaves the stem of an image."""
    ends = [match.start() for match in re.finditer("_mask", stem, re.IGNORECASE)]
    return next((stem[:end] for end in (len(stem), *reversed(ends)) if stem[:end] in images), None)

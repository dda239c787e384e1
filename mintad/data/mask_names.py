"""Which mask belongs to which image, by the names that people and tools give.

The masks of ``000.jpg`` may be called ``000.png``, ``000_mask.png`` (``000-mask``, ``000_gt``, ``000_label``, with
anything after it in a folder of masks, with a number among the images), ``mask_000.png`` or ``000.jpg.png``, or lie in
a folder ``000/``; any image format, any case of the added word.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import replace

from mintad.data.listing import Listing, list_folder
from mintad.data.problems import Problem, error

MASK_FOLDERS = ("ground_truth", "groundtruth", "ground-truth", "gt", "mask", "masks", "label", "labels")
_WORD = r"(?:mask|gt|label|seg|ground[-_ ]?truth)"
_BESIDE = re.compile(r"[-_. ](?:(?:mask|gt|ground[-_ ]?truth)\d*|label|seg)(?:[-_. ]\d+)?$", re.IGNORECASE)
"""The end of a mask's stem among images: stricter, because 000_labelled.png and 000_seg2.png may be photographs."""
_SUFFIX, _PREFIX = re.compile(rf"[-_. ]{_WORD}", re.IGNORECASE), re.compile(rf"{_WORD}s?[-_. ]", re.IGNORECASE)


def match_masks(
    images: Listing, masks: Listing, problems: list[Problem], *, required: bool | None = True
) -> dict[str, tuple[str, ...]]:
    """Assign every mask of one kind of defect to its image, by its name.

    Masks without an image and images without a mask go to `problems`. An image without a mask is an error if masks are
    `required`, and costs its pixel metrics if not; None for normal images, which need no mask.

    Returns:
        The masks' paths by the image's.
    """
    names = _Names(images)
    masks_of: dict[str, list[str]] = defaultdict(list)
    for name in masks.images:
        stem = names.stem_of_mask(name)
        if stem is None:
            fix = f"add the image it is named after to {images.folder}, or remove the mask"
            kind = "a normal" if required is None else "an anomalous"
            problems.append(error(masks.path(name), f"mask without {kind} image", fix))
        else:
            masks_of[stem].append(masks.path(name))
    for name in masks.folders:
        nested = list_folder(masks.path(name), problems)
        stem = composed(name)
        if stem not in names.by_stem:
            fix = f"add the image '{name}' to {images.folder}, or remove the folder"
            problems.append(error(nested.folder, "mask folder without an anomalous image", fix))
        masks_of[stem] += [nested.path(mask) for mask in nested.images]
    for name in masks.others:
        problems.append(Problem("warning", masks.path(name), "file without the ending of an image", "it is ignored"))
    for stem, twins in names.by_stem.items():
        if len(twins) > 1 and (required or masks_of[stem]):
            problem = f"{', '.join(twins)} share the name '{stem}', so that it is not clear whose mask is whose"
            problems.append(error(images.folder, problem, "rename all but one, and its mask"))
    if required is not None:
        _report_missing(
            images, masks, [name for name in images.images if not masks_of[_stem(name)]], required, problems
        )
    matched = {name: sorted(masks_of[_stem(name)]) for name in images.images}
    return {images.path(name): tuple(paths) for name, paths in matched.items() if paths}


def with_owner(masks: Listing, images: Listing) -> tuple[Listing, Listing]:
    """Split the masks of a folder into those that are named after one of `images`, and the rest."""
    names = _Names(images)
    own = [name for name in masks.images if names.stem_of_mask(name) is not None]
    rest = replace(masks, images=[name for name in masks.images if name not in own], folders=[], others=[])
    return replace(
        masks, images=own, folders=[name for name in masks.folders if composed(name) in names.by_stem]
    ), rest


def beside(images: Listing) -> tuple[Listing, Listing]:
    """Split a folder of anomalous images into the images, and masks that lie among them.

    These are ``000_mask.png``, ``000_mask_2.png`` or ``mask_000.png`` beside ``000.png``: nothing but a number may
    follow the word.
    """
    stems = {_stem(name) for name in images.images}
    marked = [name for name in images.images if any(head in stems for head in _heads_beside(_stem(name)))]
    return replace(images, images=[name for name in images.images if name not in marked]), Listing(
        images.folder, images=marked
    )


def _report_missing(
    images: Listing, masks: Listing, unmatched: list[str], required: bool, problems: list[Problem]
) -> None:
    severity = "error" if required else "warning"
    fix = f"add STEM_mask.png to {masks.folder}"
    fix += "; to use no masks, remove the category's whole ground_truth/" if required else ", or leave it out"
    if len(unmatched) == len(images.images) > 1:
        problem = f"none of its {len(unmatched)} anomalous images has a mask"
        problem += "" if required else ": they are left out of the pixel metrics"
        problems.append(Problem(severity, images.folder, problem, fix))
    else:
        problem = "anomalous image without a mask" + ("" if required else ", left out of the pixel metrics")
        problems += [Problem(severity, images.path(name), problem, fix) for name in unmatched]


class _Names:
    """The names of some images."""

    def __init__(self, images: Listing) -> None:
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for name in images.images:
            self.by_stem[_stem(name)].append(name)
        self.whole = {composed(os.path.basename(name)).lower(): _stem(name) for name in images.images}

    def stem_of_mask(self, mask: str) -> str | None:
        """Return the stem of the image that a mask is named after; None if there is none."""
        stem = _stem(mask)
        for head in (stem, *_heads(stem)):
            if head in self.by_stem:
                return head
            if head.lower() in self.whole:  # 000.jpg.png
                return self.whole[head.lower()]
        return None


def _stem(name: str) -> str:
    return composed(os.path.splitext(os.path.basename(name))[0])


def composed(name: str) -> str:
    """Return a name with each accent in one sign with its letter, as most systems write it; macOS writes two signs."""
    return unicodedata.normalize("NFC", name)


def _heads(stem: str) -> list[str]:
    """List what a mask's stem leaves without the word that says so: before the last such word first, then after it."""
    heads = [stem[: match.start()] for match in reversed(list(_SUFFIX.finditer(stem)))]
    prefix = _PREFIX.match(stem)
    return [*heads, *([stem[prefix.end() :]] if prefix else [])]


def _heads_beside(stem: str) -> list[str]:
    """List what `_heads` does, for a mask among images."""
    suffix, prefix = _BESIDE.search(stem), _PREFIX.match(stem)
    return [*([stem[: suffix.start()]] if suffix else []), *([stem[prefix.end() :]] if prefix else [])]

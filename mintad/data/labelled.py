"""Scanning a product whose folders say normal or not, without a split: good/ and bad/, OK/ and NG/, in any case.

PRODUCT/good/*            normal images; in one level of folders below, too
PRODUCT/bad/*             anomalous images
PRODUCT/bad/DEFECT/*      anomalous images; the folder names the defect
PRODUCT/masks/*           masks of them, also in folders bad/ or DEFECT/, or beside the images (`data.mask_names`)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mintad.data.listing import Listing, list_folder
from mintad.data.mask_names import MASK_FOLDERS, beside, match_masks, with_owner
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.tree import Row, Scan
from mintad.data.words import Words


def scan_labelled(folder: Path, words: Words, *, dataset: str) -> Scan:
    """Scan one product, an absolute path; the rows have no split yet (""), see `mintad.data.split`."""
    problems: list[Problem] = []
    inside = list_folder(folder, problems)
    normal = [name for name in inside.folders if words.is_normal(name)]
    abnormal = [name for name in inside.folders if words.is_abnormal(name)]
    masks = [name for name in inside.folders if name.lower() in MASK_FOLDERS and name not in (*normal, *abnormal)]
    for name in sorted(set(inside.folders) - {*normal, *abnormal, *masks}):
        fix = f"--abnormal {name} says that its images are anomalous, --normal {name} that they are normal; or move it"
        problems.append(error(folder / name, "neither a folder of normal nor of anomalous images", fix))
    if inside.images:
        problem = f"{len(inside.images)} image(s) beside the folders, e.g. {inside.images[0]}"
        problems.append(error(folder, problem, f"move them into {normal[0] if normal else GOOD}/ or away"))
    return scan_folders(
        [folder / name for name in normal],
        [folder / name for name in abnormal],
        [folder / name for name in masks],
        category=folder.name or "root",
        dataset=dataset,
        problems=problems,
    )


def scan_folders(
    normal: Iterable[Path],
    abnormal: Iterable[Path],
    masks: Iterable[Path],
    *,
    category: str,
    dataset: str,
    problems: list[Problem],
) -> Scan:
    """Return the rows of one product from its folders of normal images, of anomalous ones and of masks."""
    kinds: list[tuple[str, Listing]] = []
    masks_of: dict[str, tuple[str, ...]] = {}
    extra: list[Path] = []
    for folder in normal:
        kinds += [(GOOD, listing) for _, listing in _with_subfolders(folder, problems, extra)]
    for folder in abnormal:
        for name, listing in _with_subfolders(folder, problems, extra):
            name = _defect(folder.parent.name) if name == category else name  # NG/screw/000.png
            images, lying_beside = beside(listing)
            if lying_beside.images:
                masks_of |= match_masks(images, lying_beside, problems, required=None)
            kinds.append((name, images))
    for folder in (*masks, *extra):
        masks_of |= _match_folder(folder, kinds, masks_of, problems)
    if not any(listing.images for name, listing in kinds if name == GOOD):
        where = ", ".join(map(str, normal)) or f"{category}/{GOOD}"
        fix = "put normal images to train on there"
        problems.append(error(where, "no normal images", fix, untrained=category))
    if masks_of:
        fix = "add a mask named after it, or leave it out"
        problems += [
            Problem(
                "warning", listing.path(image), "anomalous image without a mask, left out of the pixel metrics", fix
            )
            for name, listing in kinds
            for image in listing.images
            if name != GOOD and listing.path(image) not in masks_of
        ]
    rows: list[Row] = [
        {
            "dataset": dataset,
            "category": category,
            "split": "",
            "label": int(name != GOOD),
            "defect": name,
            "image": listing.path(image),
            "masks": masks_of.get(listing.path(image), ()),
        }
        for name, listing in kinds
        for image in listing.images
    ]
    return rows, problems


def _with_subfolders(folder: Path, problems: list[Problem], masks: list[Path]) -> list[tuple[str, Listing]]:
    """Return a folder and those in it, each with the name of its defect; folders of masks go to `masks`."""
    inside = list_folder(folder, problems)
    found = [(_defect(folder.name), inside)]
    for name in inside.folders:
        if name.lower() in MASK_FOLDERS:
            masks.append(folder / name)
            continue
        below = list_folder(folder / name, problems)
        fix = "move its images up, or the folder away"
        problems += [error(below.path(sub), "folder among images, which is not read", fix) for sub in below.folders]
        found.append((_defect(name), below))
    for _, listing in found:
        problem, fix = "file without the ending of an image", "it is ignored; convert it if it is an image"
        problems += [Problem("warning", listing.path(other), problem, fix) for other in listing.others]
    return found


def _defect(name: str) -> str:
    return name if name != GOOD else f"{GOOD} (anomalous)"  # "good" is what normal images have


def _match_folder(
    folder: Path, kinds: list[tuple[str, Listing]], known: dict[str, tuple[str, ...]], problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Match a folder of masks: those in a folder named after a kind of image with it, the others with all images."""
    inside, found = list_folder(folder, problems), {}
    sorted_by_kind = set()
    for listing in (listing for _, listing in kinds):
        for name in {os.path.basename(listing.folder)} & set(inside.folders):
            sorted_by_kind.add(name)
            found |= match_masks(listing, list_folder(folder / name, problems), problems, required=None)
    rest = replace(inside, folders=[name for name in inside.folders if name not in sorted_by_kind])
    for anomalous in (True, False):  # a good and a bad image may have the same name: the mask is the bad one's
        names = [
            listing.path(image) for name, listing in kinds for image in listing.images if (name != GOOD) == anomalous
        ]
        names = [name for name in names if name not in known and name not in found]
        images = Listing("", images=names)
        owned, rest = with_owner(rest, images) if anomalous else (rest, Listing(""))
        if owned.images or owned.folders or owned.others:
            found |= match_masks(replace(images, folder=str(folder)), owned, problems, required=None)
    return found

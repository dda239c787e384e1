"""Your own images, however they lie: in MVTec layout, in folders of good and bad ones, or listed in a file.

Every product may lie in its own way: train/ and test/ as in `mintad.data.tree`, or good/ and bad/ as in
`mintad.data.labelled`; folders of images and nothing else are products of normal ones (`mintad.data.products`). A root
that holds these itself is one product, with the name of the root. A file with a column ``image``
(`mintad.data.list_file`), as the root or in it, is read instead of folders; if both could be meant, it is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.data.labelled import scan_folders, scan_labelled
from mintad.data.list_file import find_lists, scan_list
from mintad.data.listing import absolute, list_folder
from mintad.data.mask_names import MASK_FOLDERS
from mintad.data.problems import Problem, error, has_errors, summaries
from mintad.data.products import one_product, products_below_labels, products_of_images
from mintad.data.records import REMARKS
from mintad.data.registry import DATASETS
from mintad.data.split import UNTRAINED_FIX, assign_split
from mintad.data.tree import Layout, Row, Scan, build_records, images_beside, scan_category
from mintad.data.words import ABNORMAL, NORMAL, Words
from mintad.errors import ConfigError


def load_folder(
    root: str | Path,
    *,
    dataset: str = "folder",
    normal: str | Sequence[str] = (),
    abnormal: str | Sequence[str] = (),
    roots: Sequence[str] = (),
    test_share: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    """Load the record table of your own data; for the arguments see `scan_folder`.

    Raises:
        DataError: lists everything that cannot be read; no image is opened.

    Returns:
        The table; its ``attrs[REMARKS]`` has a line for every kind of thing that is unusual, or was decided.
    """
    folder = absolute(root)
    options = {"normal": normal, "abnormal": abnormal, "roots": roots, "test_share": test_share, "seed": seed}
    rows, problems = scan_folder(folder, dataset=dataset, **options)
    records = build_records((rows, problems), folder)
    records.attrs[REMARKS] = list(summaries(problems))
    return records


def scan_folder(
    root: Path,
    *,
    dataset: str = "folder",
    normal: str | Sequence[str] = (),
    abnormal: str | Sequence[str] = (),
    roots: Sequence[str] = (),
    test_share: float = 0.2,
    seed: int = 0,
) -> Scan:
    """Scan the user's own images.

    Args:
        root: absolute path of a folder of products, of one product, or of a list.
        dataset: the name in the table's `dataset` column.
        normal, abnormal: names of folders of normal and anomalous images besides `words.NORMAL` and `ABNORMAL`, in
            any case, several with commas between them. Paths, such as "line1/ok,line2/ok" or ".", make `root` one
            product.
        roots: further folders; products of the same name are one.
        test_share: share of the normal images that are tested where there is no split.
        seed: of this split.

    Raises:
        ConfigError: an option's value is not allowed.
    """
    if not (isinstance(test_share, int | float) and 0 < test_share < 1):
        raise ConfigError(f"data.options.test_share must be between 0 and 1, not {test_share!r}")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"data.options.seed must be a whole number, not {seed!r}")
    normal, abnormal = _names(normal, "normal"), _names(abnormal, "abnormal")
    if both := set(map(str.lower, normal)) & set(map(str.lower, abnormal)):
        raise ConfigError(f"data.options: '{min(both)}' is both normal and abnormal")
    paths = [name for name in (*normal, *abnormal) if os.sep in name or "/" in name or name == "."]
    rows, problems, folders = [], [], (root, *(absolute(path) for path in _names(roots, "roots")))
    for folder in folders:
        if paths:
            found = _scan_paths(folder, normal, abnormal, dataset)
        else:
            found = _scan_root(folder, _words(normal, abnormal), dataset)
        rows, problems = [*rows, *found[0]], [*problems, *found[1]]
    trained = {row["category"] for row in rows if row["label"] == 0 and row["split"] != "test"}
    problems = [problem for problem in problems if problem.untrained not in trained]
    bases = [folder.parent if folder.is_file() else folder for folder in folders]
    problems += assign_split(rows, share=test_share, seed=seed, roots=bases)
    if not has_errors(problems):
        problems += _untrained(rows, root)
        problems += [] if paths else _in_vain((*normal, *abnormal), rows, root)
    return rows, list(dict.fromkeys(problems))


def _untrained(rows: Sequence[Row], root: Path) -> Iterator[Problem]:
    """Yield a warning for every category without images to train on: a training that selects it is refused."""
    trained = {row["category"] for row in rows if row["split"] == "train"}
    for category in sorted({row["category"] for row in rows} - trained):
        labels = [row["label"] for row in rows if row["category"] == category]
        found = f"{labels.count(1)} anomalous and {labels.count(0)} normal ones, all tested"
        problem = f"the category '{category}' has no images to train on ({found})"
        yield Problem("warning", str(root), problem, UNTRAINED_FIX)


def _in_vain(names: Iterable[str], rows: Sequence[Row], root: Path) -> Iterator[Problem]:
    """Yield a warning for every name of folders in which no image lies: a misspelt one would change nothing."""
    if root.is_file() or find_lists(root):  # there they are labels
        return
    there = {part.lower() for row in rows for part in Path(row["image"]).parts}
    for name in (name for name in names if name.lower() not in there):
        fix = "check how it is spelt, or leave it out"
        yield Problem("warning", str(root), f"no image lies in a folder that is called '{name}', as was said", fix)


def _names(names: str | Sequence[str], option: str) -> tuple[str, ...]:
    names = names.split(",") if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"data.options.{option} must be names, not {names!r}")
    return tuple(name.strip().rstrip("/") for name in names if name.strip())


def _words(normal: Sequence[str], abnormal: Sequence[str]) -> Words:
    """Return the words in use: what the user calls normal is not anomalous, whatever it is called otherwise."""
    normal, abnormal = (tuple(name.lower() for name in names) for names in (normal, abnormal))
    return Words(
        (*normal, *(word for word in NORMAL if word not in abnormal)),
        (*abnormal, *(word for word in ABNORMAL if word not in normal)),
    )


def _scan_root(root: Path, words: Words, dataset: str) -> Scan:
    if root.is_file():
        return scan_list(root, words, dataset=dataset)
    if not root.is_dir():
        fix = "give data.root as the folder that holds the categories, or as a list of images"
        return [], [error(root, "no such folder", fix)]
    problems: list[Problem] = []
    inside = list_folder(root, problems)
    if lists := find_lists(root):
        if doubts := _doubts(root, lists, inside.folders, words):
            return [], doubts
        return scan_list(lists[0], words, dataset=dataset)
    products = products_below_labels(inside, words, problems) or products_of_images(inside, words, problems)
    if products:
        rows = []
        for name, folders in products.items():
            rows += scan_folders(*folders, category=name, dataset=dataset, problems=problems)[0]
        return rows, problems
    if _split_or_labelled(root, inside.folders, words):
        rows, found = _scan_product(root, words, dataset)
        return rows, [*found, *one_product(inside, words)]
    rows = []
    for name in inside.folders:
        found, more = _scan_product(root / name, words, dataset)
        rows, problems = [*rows, *found], [*problems, *more]
    if inside.folders:
        problems += images_beside(inside)
    elif not has_errors(problems):
        problem = f"{len(inside.images)} images, but no folders" if inside.images else "no categories"
        fix = f"expected folders CATEGORY/train/{words.normal[0]} and CATEGORY/test, or CATEGORY/good and CATEGORY/bad"
        fix += "; --normal . takes the images for normal ones of one category" if inside.images else ""
        problems.append(error(root, problem, fix))
    return rows, problems


def _doubts(root: Path, lists: Sequence[Path], names: Sequence[str], words: Words) -> list[Problem]:
    """Return an error where it is not clear which of several lists, or of list and folders, is meant."""
    if len(lists) > 1:
        found = ", ".join(file.name for file in lists)
        fix = f"give one as the root ({lists[0]}), or join them: the column split says train or test"
        return [error(root, f"{len(lists)} lists of images ({found}), of which one alone would be read", fix)]
    for folder in (root, *(root / name for name in names)):
        for part in (folder, folder / "train"):
            if normal := [name for name in list_folder(part).folders if words.is_normal(name)]:
                problem = f"both a list of images ({lists[0].name}) and folders of images ({part / normal[0]})"
                fix = f"give the list as the root ({lists[0]}), or move it away to have the folders read"
                return [error(root, problem, fix)]
    return []


def _split_or_labelled(folder: Path, names: Sequence[str], words: Words) -> bool:
    """Return whether a folder is a product itself: train/ or test/ lie in it, or a folder of normal images, or
    folders of anomalous ones and nothing else.

    A folder called good with train/ inside is a product of that name, though.
    """
    if {"train", "test"} & set(names):
        return True
    told = [name for name in names if words.is_normal(name)]
    if not told and all(words.is_abnormal(name) or name.lower() in MASK_FOLDERS for name in names):
        told = [name for name in names if words.is_abnormal(name)]  # the normal ones may lie in another root
    return any(not {"train", "test", *words.normal} & set(list_folder(folder / name).folders) for name in told)


def _scan_product(folder: Path, words: Words, dataset: str) -> Scan:
    names = list_folder(folder).folders
    if not {"train", "test"} & set(names) and any(words.is_normal(name) or words.is_abnormal(name) for name in names):
        return scan_labelled(folder, words, dataset=dataset)
    return scan_category(folder, Layout(dataset=dataset, normal=words.normal, abnormal=words.abnormal, own=True))


def _scan_paths(root: Path, normal: Sequence[str], abnormal: Sequence[str], dataset: str) -> Scan:
    """Scan folders that were named by their paths below `root`, as one product."""
    problems: list[Problem] = []
    folders = [[root / name for name in names] for names in (normal, abnormal)]
    for folder in (folder for part in folders for folder in part if not folder.is_dir()):
        problems.append(error(folder, "no such folder", f"paths in --normal and --abnormal start at {root}"))
    masks = [root / name for name in list_folder(root).folders if name.lower() in MASK_FOLDERS]
    return scan_folders(*folders, masks, category=root.name or "root", dataset=dataset, problems=problems)


DATASETS.add("folder", Dataset(name="folder", title="folder", load=load_folder, scan=scan_folder))

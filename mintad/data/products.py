"""Products whose folders do not say normal or anomalous inside: OK/PRODUCT and NG/PRODUCT, or PRODUCT/* alone.

OK/PRODUCT/*              normal images
NG/PRODUCT/*              anomalous images
masks/PRODUCT/*           masks of them

PRODUCT/*                 normal images, where every folder of the root holds images and nothing else
"""

from __future__ import annotations

import re
from pathlib import Path

from mintad.data.listing import Listing, list_folder
from mintad.data.mask_names import MASK_FOLDERS
from mintad.data.problems import Problem, error
from mintad.data.words import Words

DOUBTFUL = (
    *("train", "training", "test", "testing", "val", "valid", "validation", "pos", "positive", "neg", "negative"),
    *("broken", "crack", "cracked", "damage", "damaged", "dent", "fault", "faulty", "scrap", "scratch", "scratched"),
    *("gut", "schlecht", "fehler", "defekt", "ausschuss", "0", "1"),
)
"""Words in the name of a folder that say something else than a product, besides those of `Words` and masks."""
Product = tuple[list[Path], list[Path], list[Path]]
"""The folders of a product's normal images, of its anomalous ones and of its masks."""


def products_below_labels(root: Listing, words: Words, problems: list[Problem]) -> dict[str, Product]:
    """Find the products of a root by name; {} if it is no such root.

    It is one if a name is below both a folder of normal and one of anomalous images. Without folders of anomalous
    images, several folders below normal ones are products, too, with a warning; they might be parts of one. Everything
    in the root that belongs to no product goes to `problems`.
    """
    if {"train", "test"} & set(root.folders):
        return {}
    below = {name: list_folder(root.path(name)) for name in root.folders}
    normal = [name for name in below if words.is_normal(name)]
    abnormal = [name for name in below if words.is_abnormal(name)]
    masks = [name for name in below if name.lower() in MASK_FOLDERS and name not in (*normal, *abnormal)]
    products: dict[str, Product] = {}
    for part, names in enumerate((normal, abnormal)):
        for name in names:
            for product in _without_masks(below[name]):
                products.setdefault(product, ([], [], []))[part].append(Path(below[name].path(product)))
    if not any(good and bad for good, bad, _ in products.values()):
        if abnormal or len(products) < 2 or any(below[name].images for name in normal):
            return {}
        if any(map(words.is_normal, products)) or any(
            _is_category(folders[0][0], words) for folders in products.values()
        ):
            return {}
        paths = ",".join(f"{name}/{product}" for name in normal for product in _without_masks(below[name]))
        problem = f"{', '.join(products)} are taken for {len(products)} products"
        fix = f"nothing, if they are; --normal {paths} takes them for one"
        problems.append(Problem("warning", root.path(normal[0]), problem, fix))
    for name in masks:
        for product in below[name].folders:
            if product in products:
                products[product][2].append(Path(below[name].path(product)))
    _report_rest(root, below, {*normal, *abnormal}, set(masks), set(products), problems)
    return products


def products_of_images(root: Listing, words: Words, problems: list[Problem]) -> dict[str, Product]:
    """Find products whose folders hold normal images and no folders, {} if the root has anything else; with a warning.

    It needs two folders. None may have a name with a word of normal, anomalous, masks or `DOUBTFUL`, such as ng_parts:
    anomalous images would be learnt as normal ones.
    """
    inside = [list_folder(root.path(name)) for name in root.folders]
    if root.images or len(inside) < 2 or any(folder.folders or not folder.images for folder in inside):
        return {}
    if any(_says_no_product(name, words) for name in root.folders):
        return {}
    problem = f"{', '.join(root.folders)} are taken for {len(inside)} products, all their images for normal ones"
    fix = f"nothing, if they are; anomalous images belong into bad/, beside good/: {root.folders[0]}/bad"
    problems.append(Problem("warning", root.folder, problem, fix))
    return {name: ([Path(root.path(name))], [], []) for name in root.folders}


def _says_no_product(name: str, words: Words) -> bool:
    said = {*words.normal, *words.abnormal, *MASK_FOLDERS, *DOUBTFUL}
    parts = {name.lower(), *re.split(r"[\W_]+", name.lower())}
    return bool(
        said & (parts | {part.removesuffix("s") for part in parts} | {part.removesuffix("es") for part in parts})
    )


def one_product(root: Listing, words: Words) -> list[Problem]:
    """Return a note where several folders below one of normal images were taken for parts of one product."""
    if {"train", "test"} & set(root.folders):
        return []
    normal = [list_folder(root.path(name)) for name in root.folders if words.is_normal(name)]
    fix = (
        "nothing, if they are; products of their own are PRODUCT/good and PRODUCT/bad, or good/PRODUCT and bad/PRODUCT"
    )
    return [
        Problem("note", inside.folder, f"{', '.join(names)} are taken for parts of one product", fix)
        for inside in normal
        if len(names := _without_masks(inside)) > 1
    ]


def _without_masks(folder: Listing) -> list[str]:
    return [name for name in folder.folders if name.lower() not in MASK_FOLDERS]


def _is_category(folder: Path, words: Words) -> bool:
    names = list_folder(folder).folders
    return bool({"train", "test"} & set(names)) or any(map(words.is_normal, names))


def _report_rest(
    root: Listing,
    below: dict[str, Listing],
    labels: set[str],
    masks: set[str],
    products: set[str],
    problems: list[Problem],
) -> None:
    """Report the images and folders that belong to no product."""
    if root.images:
        problem = f"{len(root.images)} image(s) beside the folders, e.g. {root.images[0]}"
        problems.append(error(root.folder, problem, "move them into the folder of a product, or away"))
    for name, inside in below.items():
        if name in labels | masks:
            known = products if name in masks else set(_without_masks(inside))
            fix = f"move them into {name}/PRODUCT, for example {name}/{min(products)}"
            if inside.images:
                kind = "mask" if name in masks else "image"
                problem = f"{len(inside.images)} {kind}(s) beside the folders of the products, e.g. {inside.images[0]}"
                problems.append(error(inside.folder, problem, fix))
            fix = "move it into masks/PRODUCT, or away"
            problems += [
                error(inside.path(sub), "folder of no product", fix) for sub in inside.folders if sub not in known
            ]
            for other in inside.others:
                problem, fix = "file without the ending of an image", "it is ignored; convert it if it is an image"
                problems.append(Problem("warning", inside.path(other), problem, fix))
        else:
            fix = f"--normal {name} says that its images are normal, --abnormal {name} that they are not; or move it"
            problems.append(error(inside.folder, "neither a folder of normal nor of anomalous images", fix))

"""The check of a data set: its layout, every image and mask, and pictures that occur twice, all problems at once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mintad.data.dataset import Dataset
from mintad.data.images import (
    DEEP_GREY,
    LOSSY_MASK_FORMATS,
    image_header,
    one_large_at_a_time,
    open_image,
    read_mask,
    to_rgb,
)
from mintad.data.problems import SEVERITIES, Problem, Severity
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS, recognise, require_options
from mintad.data.tree import Row, absolute
from mintad.errors import DataError
from mintad.progress import track

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_EXAMPLES = 3  # files listed for a note; for errors and warnings all are
_ORIENTATION = 0x0112  # EXIF tag
_MODES = {
    **dict.fromkeys(DEEP_GREY, "16-bit grey: divided by 257"),
    "1": "1-bit image: read as black and white",
    **dict.fromkeys(("P", "PA"), "palette image: its colours are read"),
    "CMYK": "CMYK: converted without a colour profile",
}


@dataclass(frozen=True)
class Report:
    """Result of a check of the folder `root`, read as the data set `name`."""

    name: str
    root: str
    counts: pd.DataFrame
    """One row per category: train good, test good, test anomalous, masks (files), defects ({defect: images})."""
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether there are no errors; there may be warnings and notes."""
        return not self.of("error")

    def of(self, severity: str) -> list[Problem]:
        """Return the problems of one severity."""
        return [problem for problem in self.problems if problem.severity == severity]

    def to_rich(self) -> RenderableType:
        """Return tables and lists to print on a rich console."""
        groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in sorted(self.problems, key=lambda problem: SEVERITIES.index(problem.severity)):
            groups[problem.severity, problem.problem].append(problem)
        numbers = ", ".join(f"{len(self.of(severity))} {severity}(s)" for severity in SEVERITIES)
        summary = Text("\n" + (numbers if self.problems else "no problems"))
        return Group(_count_table(self), *(_group_text(group, self.root) for group in groups.values()), summary)


def check(
    root: str | Path,
    name: str | None = "auto",
    *,
    options: Mapping[str, Any] = {},
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Check the data set in `root` without stopping at the first problem.

    Args:
        root: its folder.
        name: a name in `DATASETS`, or "auto" to recognise the layout.
        options: of the data set, see its load function.
        workers: threads that decode images; None for one per core, at most 8.
        progress: show a bar on a terminal.

    Raises:
        DataError: unknown name, or nothing can be checked.
        ConfigError: an option that the data set does not have.
    """
    folder = absolute(root)
    name = recognise(folder) if name in (None, "auto") else name
    dataset = DATASETS[name]
    if dataset.scan is None:
        raise DataError(f"data set '{name}' cannot be checked as a whole", fix="check each of its data sets")
    require_options(name, dataset.scan, options)
    rows, problems = dataset.scan(folder, **options)
    problems = [*dict.fromkeys(problems), *_compare_with_published(dataset, folder, rows)]
    images = list({row["image"]: row for row in rows}.values())  # CIFAR-10 has its images in four categories
    digests: list[bytes | None] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        inspections = pool.map(lambda row: _inspect(row["image"], row.get("masks", ())), images)
        for digest, image_problems in track(inspections, "reading images", len(images), show=progress):
            digests.append(digest)
            problems += image_problems
    problems += _repeated_pictures(images, digests)
    return Report(name, str(folder), _count(rows), problems)


def _compare_with_published(dataset: Dataset, root: Path, rows: Sequence[Row]) -> Iterator[Problem]:
    published = dataset.source and dataset.source.images
    if not published or not rows:
        return
    title, categories, present = dataset.title, dataset.categories, {row["category"] for row in rows}
    for category in sorted(present - set(categories)):
        yield Problem("warning", str(root / category), f"not a category of {title}", "load it as 'folder'")
    missing = [category for category in categories if category not in present]
    splits = [row["split"] for row in rows if row["category"] in categories]
    counts = splits.count("train"), splits.count("test")
    if missing:
        problem = f"{len(missing)} of the {len(categories)} categories of {title} are not here: {', '.join(missing)}"
        yield Problem("note", str(root), problem)
    elif counts != published:
        problem = "{:,} training and {:,} test images; {} has {:,} and {:,}".format(*counts, title, *published)
        yield Problem("warning", str(root), problem, "unpack the data set again; otherwise results cannot be compared")


def _inspect(path: str, masks: Sequence[str] = ()) -> tuple[bytes | None, list[Problem]]:
    """Decode an image and its masks; return a hash of the RGB pixels (None if unreadable), and all problems."""
    try:
        with one_large_at_a_time(path):
            image = open_image(path)
            digest, size = _hash_pixels(to_rgb(image, path)), image.size
            problems = [Problem(severity, path, problem, fix) for severity, problem, fix in _unusual(path, image)]
            del image
            return digest, [*problems, *_inspect_masks(masks, size)]
    except DataError as fault:
        return None, [Problem("error", path, fault.problem, fault.fix), *_inspect_masks(masks, None)]


def _hash_pixels(rgb: Image.Image) -> bytes:
    digest, width = hashlib.blake2b(repr(rgb.size).encode(), digest_size=16), rgb.width
    for top in range(0, rgb.height, 256):  # not all at once, which would be another copy of the picture
        digest.update(rgb.crop((0, top, width, min(top + 256, rgb.height))).tobytes())
    return digest.digest()


def _unusual(path: str, image: Image.Image) -> Iterator[tuple[Severity, str, str]]:
    suffix = os.path.splitext(path)[1]
    if suffix != suffix.lower():
        yield "note", "file ending in capital letters", ""
    if image.mode in _MODES:
        yield "note", _MODES[image.mode], ""
    elif "A" in image.getbands():
        low, high = image.getchannel("A").getextrema()
        fix = "flatten the image onto a background if the hidden colours are not meant to be seen"
        varies = ("warning", "transparency that varies, which is ignored", fix)
        yield varies if low != high else ("note", "transparency channel, which is ignored", "")
    if image.mode in DEEP_GREY and (image.getextrema()[1] or 0) < 4096:
        fix = "scale the values to the whole range, by one factor for all images"
        yield "warning", "16-bit file with values below 4096 only, which comes out dark", fix
    with image_header(path) as header:  # decoding has lost how the pixels were stored
        if image.mode == "RGB" and any(";16" in str(tile) for tile in header.tile):
            yield "note", "16-bit colour: the high byte is read", ""
        if getattr(header, "is_animated", False):
            yield "warning", "several frames or pages: the first is read", "save the others as files of their own"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        fix = "rotate the pixels themselves and drop the tag, if image and mask do not fit"
        yield "warning", "EXIF orientation, which is ignored", fix


def _inspect_masks(masks: Sequence[str], size: tuple[int, int] | None) -> Iterator[Problem]:
    """List the problems of one image's masks; `size` is None when the image could not be read."""
    if len(masks) > 1:
        yield Problem("note", masks[0], "several masks for one image: their union is used", "")
    union = None
    for path in masks:
        try:
            mask = read_mask((path,), size)
        except DataError as fault:
            yield Problem("error", path, fault.problem, fault.fix)
            continue
        with image_header(path) as header:
            if header.format in LOSSY_MASK_FORMATS:
                yield Problem("warning", path, "JPEG mask: values from 128 on count", "save masks as PNG")
        union = mask if union is None or union.shape != mask.shape else union | mask
    if union is not None and not union.any():
        fix = "mark the defect: for the pixel metrics the image is normal as it is"
        yield Problem("warning", masks[0], "empty mask of an anomalous image", fix)
    elif union is not None and union.all():
        yield Problem("warning", masks[0], "mask that covers the whole image", "check that background is 0 in it")


def _repeated_pictures(rows: Sequence[Row], digests: Iterable[bytes | None]) -> Iterator[Problem]:
    """List pictures in two files: a leak from training to test, contradicting labels, or a mere repetition."""
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


def _count(rows: Sequence[Row]) -> pd.DataFrame:
    """Count images and mask files per category, see `Report.counts`."""
    table = pd.DataFrame(rows, columns=["category", "split", "defect", "masks"])
    kinds = table["split"] + table["defect"].map(lambda defect: " good" if defect == GOOD else " anomalous")
    columns = ["train good", "test good", "test anomalous"]
    counts = pd.crosstab(table["category"], kinds).reindex(columns=columns, fill_value=0)
    masks = table["masks"].map(lambda paths: len(paths) if isinstance(paths, tuple) else 0)
    counts["masks"] = masks.groupby(table["category"]).sum()
    defects = {name: Counter(part["defect"]) for name, part in table[table["defect"] != GOOD].groupby("category")}
    counts["defects"] = [dict(sorted(defects.get(name, {}).items())) for name in counts.index]
    return counts


def _count_table(report: Report) -> Table:
    table = Table(title=Text(f"{report.root}, read as '{report.name}'"), show_footer=len(report.counts) > 1)
    table.add_column("category", "total", overflow="fold")
    for name in report.counts.columns[:-1]:
        table.add_column(name, f"{report.counts[name].sum():,}", justify="right")
    table.add_column("by defect", overflow="fold")
    for category, *numbers, defects in report.counts.itertuples():
        shown = "\n".join(f"{defect} {number:,}" for defect, number in defects.items())
        table.add_row(Text(str(category)), *(f"{number:,}" for number in numbers), Text(shown))
    return table


def _group_text(group: Sequence[Problem], root: str) -> Text:
    """Return the text of one kind of problem: what it is, how to fix it, and the files that have it."""
    severity, problem, fixes = group[0].severity, group[0].problem, {problem.fix for problem in group}
    text = Text.assemble("\n", (f"{severity}: ", _STYLES[severity]))
    text.append(problem if len(group) == 1 else f"{problem} ({len(group)}x)", style="bold")
    if len(fixes) == 1 and group[0].fix:
        text.append(f"\n  {group[0].fix}", style="italic")
    shown = group if severity != "note" else group[:_EXAMPLES]
    for problem in shown:
        text.append(f"\n  - {problem.path.removeprefix(os.path.join(root, '')) or problem.path}")
        if len(fixes) > 1 and problem.fix:
            text.append(f": {problem.fix}", style="italic")
    if len(shown) < len(group):
        text.append(f"\n  - and {len(group) - len(shown)} more")
    return text

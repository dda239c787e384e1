"""Images listed in a file: CSV, or JSON with one object a line, with the columns image, category, split, label, mask.

All columns but ``image`` may be missing or empty: the category is then the folder's name, the split is made
(`mintad.data.split`), an image without a label is normal. Paths start at the file's folder. ``label`` is a word for
normal or anomalous (`mintad.data.words`), 0 or 1, or the name of a defect; ``mask`` may be several paths with ";"
between them.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mintad.data.listing import list_folder
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.tree import Row, Scan
from mintad.data.words import Words
from mintad.disk import naming, open_file
from mintad.errors import DataError, MintadError, nearest, visible

COLUMNS = ("image", "category", "split", "label", "mask")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
MAX_BYTES = 200_000_000  # of a list, which is read whole
_LISTED = 10  # columns that an error names
_HEAD = 10_000  # characters of damaged JSON that are looked at
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test", "": ""}
_TRUE, _FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")

Line = tuple[int, dict[str, str]]
"""A line's number and its cells, by lower-case column."""


def find_lists(root: Path) -> list[Path]:
    """Return the files in a folder that list images: one of `SUFFIXES` with a column ``image``.

    A list that cannot be read, in another encoding for example, is among them: `scan_list` says what is wrong with it.
    Predictions of ours are none.
    """
    found = []
    for name in list_folder(root).others:
        if name.lower().endswith(SUFFIXES):
            columns = _first_columns(root / name)
            if "image" in columns and not _predictions(columns):
                found.append(root / name)
    return found


def scan_list(file: Path, words: Words, *, dataset: str) -> Scan:
    """Scan the images that a file lists, an absolute path; rows without a split have ""."""
    try:
        lines = list(_lines(file))
    except (MintadError, ValueError, RecursionError, csv.Error) as fault:
        problem = getattr(fault, "problem", "") or f"cannot be read: {fault}"
        fix = fault.fix if isinstance(fault, DataError) else "save it as CSV (UTF-8), or as JSON with one object a line"
        return [], [error(file, problem, fix)]
    if not lines:
        return [], [error(file, "lists no images", f"add lines; the columns are {', '.join(COLUMNS)}")]
    columns = {name for _, line in lines for name in line}
    if "image" not in columns:
        names = [visible(name) for name in sorted(columns)[:_LISTED]]
        more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
        there = f", but {', '.join(names)}{more}" if columns else ""
        return [], [error(file, f"no column 'image'{there}", f"the columns are {', '.join(COLUMNS)}")]
    if _predictions(columns):
        fix = "make a list of the columns image and label alone, or give the folder of the images"
        return [], [error(file, "predictions of a model, not a list of images", fix)]
    problems = [
        Problem(
            "warning", str(file), f"the column '{name}' is not read.{nearest(name, COLUMNS)}", "rename or remove it"
        )
        for name in sorted(columns - set(COLUMNS))
    ]
    if "label" not in columns:
        fix = "add a column label (good, bad, or the name of a defect) if some are anomalous"
        problems.append(Problem("note", str(file), "no column 'label': all images are taken for normal", fix))
    rows, seen, present = [], {}, _Files()
    for number, line in lines:
        row, faults = _row(line, file, words, dataset, present)
        if row and row["image"] in seen:
            faults.append((f"the image is listed in line {seen[row['image']]}, too", "remove one of the two"))
        problems += [error(f"{file}, line {number}", problem, fix) for problem, fix in faults]
        if row and not faults:
            seen[row["image"]] = number
            rows.append(row)
    problems += _perhaps_normal(rows, file, words)
    return rows, problems


def _perhaps_normal(rows: Iterable[Row], file: Path, words: Words) -> Iterator[Problem]:
    """Yield a warning for each label that was read as the name of a defect and may well say normal."""
    labels = Counter(row["defect"] for row in rows if row["label"])
    for label in sorted(label for label in labels if words.perhaps_normal(label)):
        problem = f"'{label}' is read as the name of a defect, so that {labels[label]} image(s) are anomalous"
        yield Problem("warning", str(file), problem, "if they are normal, write good, or leave the label empty")


def _lines(file: Path) -> Iterator[Line]:
    """Yield the lines of a list; empty ones are left out."""
    with naming(file), open_file(file) as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    text = content.decode("utf-8-sig")
    if file.suffix.lower() in (".csv", ".tsv"):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        _refuse_repeated(reader.fieldnames or ())
        for cells in reader:
            if surplus := cells.pop(None, None):
                raise ValueError(f"line {reader.line_num} has more cells than there are columns ({surplus})")
            named = {_column(name): (value or "").strip() for name, value in cells.items()}
            named.pop("", None)  # the index of a table of pandas
            yield reader.line_num, named
        return
    whole = text.lstrip().startswith("[")
    entries = enumerate(json.loads(text, object_pairs_hook=_Entry) if whole else text.splitlines(), start=1)
    for number, entry in entries:
        if whole or entry.strip():
            entry = entry if whole else json.loads(entry, object_pairs_hook=_Entry)
            if not isinstance(entry, _Entry):
                raise ValueError(f"entry {number} is not an object with the key 'image'")
            _refuse_repeated(entry.names)
            yield number, {_column(name): _text(value) for name, value in entry.items()}


class _Entry(dict[str, Any]):
    """An object of JSON, and its keys as they were written, of which a dict keeps each once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _refuse_repeated(names: Sequence[str]) -> None:
    """Raise a DataError for two columns of one name, of which one would be read."""
    for name, times in Counter(map(_column, names)).items():
        if times > 1 and name in COLUMNS:
            raise DataError(f"{times} columns are called '{name}'", fix="rename or remove one of them")


def _first_columns(file: Path) -> set[str]:
    """Return the columns of a table, or the keys of its first entry, also where the rest of it cannot be read."""
    try:
        with naming(file), open_file(file) as stream:
            content = stream.read(MAX_BYTES)
    except MintadError:
        return set()
    text = content.decode("utf-16" if content[:2] in _UTF_16 else "latin-1", errors="replace").lstrip("\ufeffï»¿")
    head = next((line for line in text.splitlines() if line.strip()), "")
    try:
        if file.suffix.lower() in (".csv", ".tsv"):
            return set(map(_column, next(csv.reader([head], delimiter=_delimiter(head)), ())))
        whole = text.lstrip().startswith("[")
        entry = json.loads(text)[0] if whole else json.loads(head)
        return set(map(_column, entry)) if isinstance(entry, Mapping) else set()
    except (ValueError, RecursionError, IndexError, csv.Error):
        start = text[:_HEAD] if text.lstrip().startswith("[") else head[:_HEAD]
        return {_column(key) for key in re.findall(r'"([^"]*)"\s*:', start)}


def _predictions(columns: set[str]) -> bool:
    """Return whether a table is one of predictions; a line about an image that could not be read has no score."""
    return "pred_score" in columns or {"run", "error"} <= columns


def _delimiter(text: str) -> str:
    return max(",;\t", key=text.partition("\n")[0].count)


def _column(name: Any) -> str:
    return str(name).strip().lower()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(map(str, value))
    if value is None or value != value:  # NaN, as Python writes what is missing
        return ""
    return str(int(value) if isinstance(value, bool) else value).strip()


class _Files:
    """Which files exist, listing each folder once."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self.names:
            self.names[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        return name in self.names[folder] and not os.path.isdir(path)


def _absolute(name: str, folder: Path, present: _Files) -> str:
    path = os.path.normpath(os.path.join(folder, name))
    if path not in present and "\\" in name:  # written on Windows
        return os.path.normpath(os.path.join(folder, name.replace("\\", "/")))
    return path


def _row(
    line: dict[str, str], file: Path, words: Words, dataset: str, present: _Files
) -> tuple[Row | None, list[tuple[str, str]]]:
    """Return the row of a line, and what is wrong with it: texts and fixes."""
    image, masks = line.get("image", ""), [path for path in line.get("mask", "").split(";") if path.strip()]
    if not image:
        return None, [("no image is named", "fill in the column image, or remove the line")]
    path, *masks = (_absolute(name.strip(), file.parent, present) for name in (image, *masks))
    faults = [
        (f"no such file: {name}", f"paths start at {file.parent}") for name in (path, *masks) if name not in present
    ]
    split, label = line.get("split", ""), line.get("label", "")
    if split.lower() not in _SPLITS:
        faults.append((f"cannot read the split '{split}'", "write train or test, or leave it empty"))
    normal = not label or words.is_normal(label) or label.lower() in _FALSE
    defect = GOOD if normal else "anomalous" if label.lower() in _TRUE else label
    split = _SPLITS.get(split.lower(), "")
    if split == "train" and not normal:
        faults.append((f"a training image is labelled {label}", "training images are all normal: let it be tested"))
    row = {
        "dataset": dataset,
        "category": line.get("category", "") or file.parent.name or "root",
        "split": split,
        "label": int(not normal),
        "defect": defect,
        "image": path,
        "masks": tuple(masks),
    }
    return row, faults

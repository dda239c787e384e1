"""The folder of predictions: a line for each image as soon as it is done, so that an interruption loses none.

``predictions.jsonl`` has everything, an object a line, in the order in which images were done; an image that could not
be read has an "error". ``predictions.csv`` is the same as a table, without regions and unreadable images. Each line
says by "run" which model, settings and options it comes from, by "digest" which content it is about, and by "line" that
it is as it was written. So the same command goes on after the last complete line, and lines of other calls are told
apart and removed with their heatmaps. A spreadsheet takes a cell that begins with =, +, - or @ for a formula, so in the
table a text that begins with one of `FORMULA` has an apostrophe before it; `read_table` takes it off. Lines of `mintad
watch` have a "state" (size and time of the file), see `mintad.runs.watch`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pandas as pd

from mintad.disk import UNFINISHED, hash_file, naming, sync, write
from mintad.errors import DataError, MintadError
from mintad.lock import exclusive_lock

TABLE, LINES, WARNINGS, LOCK = "predictions.csv", "predictions.jsonl", "warnings.txt", ".lock"
FILES = {"heatmap": ".png", "map": ".npy"}
"""Columns that name a file in the folder -> the end of its name."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""How a text begins that gets an apostrophe; the apostrophe itself, so that reading is unambiguous."""
Row = dict[str, Any]


def identity(about: Mapping[str, Any]) -> str:
    """Return a short name for what predictions come from; equal if and only if it is equal."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:12]


class PredictionFolder:
    """A folder that predictions are added to, for the block of a `with`; another process is kept out.

    Entering raises MintadError where another process works, and where files of the user would be replaced.

    Args:
        path: the folder, made if missing.
        run: what the new predictions come from, see `identity`.
        columns: of the table.
    """

    def __init__(self, path: str | Path, run: str, columns: Sequence[str]) -> None:
        self.path, self.run, self.columns = Path(path), run, tuple(columns)
        self.rows: list[Row] = []
        """All predictions in the folder, in their order, without those that failed."""

    def __enter__(self) -> PredictionFolder:
        for name in (TABLE, WARNINGS):
            if os.path.lexists(self.path / name) and not os.path.lexists(self.path / LINES):
                problem = f"is not of mintad, because there is no {LINES} beside it, and would be replaced"
                raise MintadError(problem, path=self.path / name, fix="choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        busy = MintadError("another process writes predictions there", path=self.path, fix="choose another --out")
        self._lock = exclusive_lock(self.path / LOCK, busy)
        self._lock.__enter__()
        for file in self.path.glob(f"{UNFINISHED}*"):  # of a process that was killed
            file.unlink()
        self._files: list[BinaryIO] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in self._files:
                with naming(Path(file.name)):
                    file.close()
        finally:
            self._lock.__exit__(kind, error, trace)

    def read(self) -> list[Row]:
        """Return the complete lines that are there, unreadable images included; a line cut off is none.

        They may have been changed since they were written: ask `still_true` or `sound`.
        """
        file = self.path / LINES
        lines = file.read_bytes().splitlines() if file.is_file() and not file.is_symlink() else []
        return [row for row in map(_parsed, lines) if row is not None]

    def still_true(self, row: Row) -> bool:
        """Whether a line is as it was written, of this run, with its pictures, and of the image's present content."""
        if not sound(row) or row.get("run") != self.run or "error" in row:
            return False
        files = [self.path / row[name] for name in FILES if row.get(name)]
        try:
            there = all(file.is_file() and not file.is_symlink() for file in files)
            return there and hash_file(row["image"]) == row["digest"]
        except DataError:
            return False

    def begin(self, kept: Iterable[Row]) -> None:
        """Keep these of the rows that `read` gave; the others are removed with their files."""
        self.rows = list(kept)
        mine = {row.get(name) for row in self.rows for name in FILES}
        listed = {
            (row.get(name), end) for row in self.read() for name, end in FILES.items() if isinstance(row.get(name), str)
        }
        for file in list(self.path.iterdir()):  # nothing outside the folder, whatever a line says
            if file.name not in mine and (file.name, file.suffix) in listed and (file.is_symlink() or file.is_file()):
                file.unlink()
        self._write_all()
        for name in (LINES, TABLE):  # not through a link: both were just put there
            self._files.append(open(self.path / name, "ab"))

    def add(self, rows: Iterable[Row]) -> None:
        """Append predictions, complete lines at a time."""
        rows = [_signed({"run": self.run} | row) for row in rows]
        lines, table = self._files
        done = [row for row in rows if "error" not in row]
        contents = (b"".join(map(_line, rows)), _csv(done, self.columns))
        for name, file, content in zip((LINES, TABLE), (lines, table), contents, strict=True):
            with naming(self.path / name):
                file.write(content)
                file.flush()
        self.rows += done

    def finish(self, order: Mapping[str, int]) -> None:
        """Bring the rows into the `order` of their images, if resuming has changed it, and force all to the disk."""
        for file in self._files:
            file.flush()
        ordered = sorted(self.rows, key=lambda row: order[row["image"]])
        if ordered != self.rows:
            failed = [row for row in self.read() if "error" in row]
            self.rows = ordered
            self._write_all(failed)
        for name in (LINES, TABLE):
            with naming(self.path / name):
                sync(self.path / name)

    def _write_all(self, failed: Sequence[Row] = ()) -> None:
        write(self.path / LINES, b"".join(map(_line, [*self.rows, *failed])))
        head = (",".join(self.columns) + "\n").encode()
        write(self.path / TABLE, head + _csv(self.rows, self.columns))


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("image"), str) else None


def sound(row: Row) -> bool:
    """Whether a line that was read is as it was written."""
    return "line" in row and row["line"] == _signed(row)["line"]


def _signed(row: Row) -> Row:
    rest = {name: value for name, value in row.items() if name != "line"}
    return rest | {"line": hashlib.sha256(json.dumps(rest).encode()).hexdigest()[:12]}


def _line(row: Row) -> bytes:
    return json.dumps(_signed(row)).encode() + b"\n"


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_harmless(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def read_table(file: str | Path) -> pd.DataFrame:
    """Read a ``predictions.csv``: columns as `Predictor.columns`, texts as they were before `FORMULA`'s apostrophes.

    Raises:
        DataError: there is no such file, or it is none of predictions.
    """
    try:
        texts = {"image": str, "pred_class": str, "heatmap": str}
        table = pd.read_csv(file, encoding_errors="surrogateescape", keep_default_na=False, dtype=texts)
        return table.assign(**{name: table[name].map(lambda text: text.removeprefix("'")) for name in texts})
    except FileNotFoundError:
        raise DataError("no such file", path=file, fix="name the predictions.csv of mintad predict or watch") from None
    except (KeyError, ValueError) as error:
        problem = f"is not a table of predictions ({' '.join(str(error).split())})"
        raise DataError(problem, path=file, fix="the predictions.jsonl beside it has the same") from error

"""The folder of predictions: a line for each image as soon as it is done, so that an interruption loses none.

``predictions.jsonl`` has everything, an object a line, in the order in which images were done; an image that could not
be read has an "error". ``predictions.csv`` is the same as a table, without regions and unreadable images. Each line
says by "run" which model, settings and options it comes from, and by "digest" which content it is about. So the same
command goes on after the last complete line, and lines of other calls are told apart and removed with their heatmaps.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from mintad.disk import UNFINISHED, sync, write
from mintad.errors import MintadError
from mintad.lock import exclusive_lock

TABLE, LINES, LOCK = "predictions.csv", "predictions.jsonl", ".lock"
FILES = ("heatmap", "map")  # columns that name a file in the folder
Row = dict[str, Any]


def identity(about: Mapping[str, Any]) -> str:
    """Return a short name for what predictions come from; equal if and only if it is equal."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:12]


class PredictionFolder:
    """A folder that predictions are added to, for the block of a `with`; another process is kept out.

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
                file.close()
        finally:
            self._lock.__exit__(kind, error, trace)

    def read(self) -> list[Row]:
        """Return the complete lines that are there, unreadable images included; a line cut off is none."""
        file = self.path / LINES
        lines = file.read_bytes().splitlines() if file.is_file() and not file.is_symlink() else []
        return [row for row in map(_parsed, lines) if row is not None]

    def begin(self, kept: Iterable[Row]) -> None:
        """Keep these of the rows that `read` gave; the others are removed with their files."""
        self.rows = list(kept)
        mine = {row.get(name) for row in self.rows for name in FILES}
        for row in self.read():
            for name in (row.get(column) for column in FILES):
                if name and name not in mine and Path(name).name == name:  # nothing outside the folder
                    (self.path / name).unlink(missing_ok=True)
        self._write_all()
        for name in (LINES, TABLE):  # not through a link: both were just put there
            self._files.append(open(self.path / name, "ab"))

    def add(self, rows: Iterable[Row]) -> None:
        """Append predictions, complete lines at a time."""
        rows = [{"run": self.run} | row for row in rows]
        lines, table = self._files
        lines.write(b"".join(map(_line, rows)))
        lines.flush()
        done = [row for row in rows if "error" not in row]
        table.write(_csv(done, self.columns))
        table.flush()
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
            sync(self.path / name)

    def _write_all(self, failed: Sequence[Row] = ()) -> None:
        write(self.path / LINES, b"".join(map(_line, [*self.rows, *failed])))
        head = (",".join(self.columns) + "\n").encode()
        write(self.path / TABLE, head + _csv(self.rows, self.columns))


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("image"), str) else None


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.get(name, "") for name in columns] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")

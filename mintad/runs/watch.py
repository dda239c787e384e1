"""A folder that is watched: every new image is scored as soon as it is complete."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mintad.data.photographs import Photograph
from mintad.disk import write
from mintad.errors import DataError, MintadError
from mintad.runs.doubts import doubts_by_kind, few_images
from mintad.runs.new_images import find_images
from mintad.runs.predict import Predictor
from mintad.runs.predict_files import predict_rows
from mintad.runs.prediction_folder import WARNINGS, PredictionFolder, Row, identity, sound

State = tuple[int, int]
"""Size and time of change of a file."""
RECENT = 100  # images whose decisions are looked at together
log = logging.getLogger(__name__)


def watch_folder(
    predictor: Predictor,
    folder: str | Path,
    out: str | Path,
    *,
    overlays: bool = True,
    maps: bool = False,
    interval: float = 0.5,
    idle: float | None = None,
) -> Iterator[Row]:
    """Score the images in a folder, and each that comes, and yield their rows; see `mintad.runs.prediction_folder`.

    An image is taken when its size and time have not changed for `interval` seconds, so that none is read half-written;
    one whose content has changed is scored again. What stands in `out` from an earlier call, or from `mintad predict`
    with the same run and options, is not scored again, and stays when its image is gone.

    What makes decisions doubtful (`mintad.runs.doubts`) among the `RECENT` latest images of this call is logged when it
    begins, and written into ``warnings.txt`` of `out`, below the lines of a `mintad predict` whose predictions stay.

    Args:
        predictor: a run.
        folder: searched in depth, as `find_images` does; it may be empty.
        out: the folder of predictions.
        overlays, maps: write a heatmap over each photograph, and its map as numbers.
        interval: seconds between two looks.
        idle: end after so many seconds without a new image; None for never.

    Raises:
        DataError: there is no such folder, or it lies in `out`.
        MintadError: `out` has predictions of another run or other options, or another process writes there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder to watch", path=folder, fix="make it, or name another one")
    found = find_images([folder], exclude=out, empty=True)  # refused before anything is written into `out`
    if found.note():
        log.info(found.note())
    about = predictor.about() | {"overlays": overlays, "maps": maps}
    with PredictionFolder(out, identity(about), predictor.columns()) as results:
        before = results.read()
        if any(row.get("run") != results.run or "line" not in row for row in before):
            problem = "holds predictions of another run, threshold, options or version"
            raise MintadError(problem, path=out, fix="choose another --out")
        results.begin([row for row in before if "error" not in row and sound(row)])
        scored = {row["image"]: row for row in results.rows}  # the newest line of each image
        done = {row["image"]: tuple(row["state"]) for row in results.rows if "state" in row}
        since: dict[tuple[str, State], float] = {}  # when an image was first seen as it is
        remarks = Remarks(predictor, results.path, keep=any("state" not in row for row in results.rows))
        last = time.monotonic()
        while idle is None or time.monotonic() - last < idle:
            looked = time.monotonic()
            now = _states(folder, results.path)
            since = {item: since.get(item, time.monotonic()) for item in now.items()}  # a listing takes its time
            ready = [
                file for (file, state), when in since.items() if looked - when >= interval and state != done.get(file)
            ]
            files = [Path(file) for file in ready if file not in scored or not results.still_true(scored[file])]
            for row in predict_rows(predictor, files, results.path, overlays=overlays, maps=maps):
                row["state"] = now[row["image"]]
                results.add([row])
                scored.update({row["image"]: results.rows[-1]} if "error" not in row else {})
                remarks.add(row)
                yield row
                last = time.monotonic()
            remarks.look()
            done |= {file: now[file] for file in ready}  # those that are gone are kept: a drive may be away for a while
            if not ready:
                time.sleep(interval)


class Remarks:
    """What makes the latest predictions doubtful; each kind of doubt is said when it begins."""

    def __init__(self, predictor: Predictor, folder: Path, *, keep: bool = False) -> None:
        """Take whose predictions they are, and the folder for ``warnings.txt``, whose lines are kept or removed."""
        self.predictor, self.file = predictor, folder / WARNINGS
        self.recent: deque[Row] = deque(maxlen=RECENT)
        self.new = 0  # images since the last look
        self.classes: set[str] = set()
        self.lasting: set[str] = set()
        self.lines: dict[str, str] = {}
        if keep and self.file.is_file() and not self.file.is_symlink():
            self.lines = {line: line for line in self.file.read_text("utf-8", errors="replace").splitlines()}
        else:
            self.file.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        """Take one more prediction; none is left out of every look. An image that could not be read is none."""
        if "error" in row:
            return
        self.recent.append(row)
        self.classes.add(row["judged_class"])
        self.new += 1
        if self.new == RECENT:
            self.look()

    def look(self) -> None:
        """Look at the latest predictions together, if there are new ones."""
        if not self.new:
            return
        self.new = 0
        table, photographs = pd.DataFrame(self.recent), [Photograph(**one["photograph"]) for one in self.recent]
        found = doubts_by_kind(table, self.predictor.decisions, photographs, self.predictor.photographs)
        if "few" in found:  # of all classes so far, not only of the latest
            found["few"] = few_images(self.classes, self.predictor.decisions)
        for kind, line in found.items():
            if kind not in self.lasting:
                log.warning("warning: %s", line)
        if self.lines | found != self.lines:
            self.lines |= found
            write(self.file, "\n".join(dict.fromkeys(self.lines.values())) + "\n")
        # too few held-out images stay too few, and while no image has left the latest ones, no doubt has ended
        full = len(self.recent) == RECENT
        self.lasting = {k for k in self.lasting if k.startswith("few") or not full} | set(found)


def _states(folder: Path, out: Path) -> dict[str, State]:
    """Return size and time of change of every image in a folder; those that vanish meanwhile are left out."""
    try:
        files = find_images([folder], exclude=out, empty=True).files
    except DataError:
        if folder.is_dir():
            raise
        return {}  # removed, or a drive that is away: it may come back
    states = {}
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        states[str(file)] = (status.st_size, status.st_mtime_ns)
    return states

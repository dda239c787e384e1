"""Predictions for files: a line of CSV and JSON each, with a heatmap, written as they are done."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from mintad.data.photographs import Photograph
from mintad.disk import write
from mintad.errors import DataError, MintadError
from mintad.progress import track
from mintad.runs.doubts import doubts
from mintad.runs.heatmaps import write_map, write_overlay
from mintad.runs.new_images import find_images
from mintad.runs.predict import AS_THE_RUN, JudgingRules, Predictor
from mintad.runs.prediction_folder import WARNINGS, PredictionFolder, Row, identity

LONGEST_STEM = 40  # characters of an image's name in that of its heatmap, of up to four bytes
log = logging.getLogger(__name__)


def predict_files(
    run_path: str | Path,
    paths: Iterable[str | Path],
    out: str | Path,
    rules: JudgingRules = AS_THE_RUN,
    *,
    device: str = "auto",
    overlays: bool = True,
    maps: bool = False,
    progress: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """Score image files; each is in ``predictions.csv`` and ``predictions.jsonl`` of `out` as soon as it is done.

    After an interruption the same call goes on where it was; images that are done, and whose files have not changed,
    are not scored again. Afterwards `out` holds the predictions of these images alone: those that an earlier call made
    there of others, or with another run or other options, are removed with their heatmaps. A folder of `mintad watch`
    is refused (MintadError). What makes the decisions
    doubtful (`mintad.runs.doubts`) is logged, and written into ``warnings.txt``, which is there in this case only. See
    `mintad.runs.prediction_folder`, for `paths` `find_images`, for the other arguments `Predictor`; for errors see all
    three.

    Args:
        overlays: write a heatmap over each photograph, in its own size.
        maps: write the map of each photograph in its own size, as numbers, ``*.npy``.

    Returns:
        The table, columns `Predictor.columns`, and a message for each folder or file that cannot be read,
        which the table leaves out.
    """
    found = find_images(paths, exclude=out)
    if found.note():
        log.info(found.note())
    predictor = Predictor(run_path, rules, device=device)
    order = {str(file): number for number, file in enumerate(found.files)}
    problems = list(found.problems)
    about = predictor.about() | {"overlays": overlays, "maps": maps}
    with PredictionFolder(out, identity(about), predictor.columns()) as folder:
        before = folder.read()
        if any("state" in row for row in before):
            problem = "holds what mintad watch has scored, which predictions of other images would remove"
            raise MintadError(problem, path=out, fix="choose another --out")
        kept = {row["image"]: row for row in before if row["image"] in order and folder.still_true(row)}
        folder.begin(sorted(kept.values(), key=lambda row: order[row["image"]]))
        (folder.path / WARNINGS).unlink(missing_ok=True)
        if before:
            log.info("%d predictions are there already, %d others are removed", len(kept), len(before) - len(kept))
        files = [file for file in found.files if str(file) not in kept]
        rows = predict_rows(predictor, files, folder.path, overlays=overlays, maps=maps)
        for row in track(rows, "scoring", len(files), show=progress):
            folder.add([row])
            problems += [row["error"]] if "error" in row else []
        folder.finish(order)
        table, photographs = pd.DataFrame(folder.rows), [Photograph(**row["photograph"]) for row in folder.rows]
        lines = doubts(table, predictor.decisions, photographs, predictor.photographs) if len(table) else []
        for line in lines:
            log.warning("warning: %s", line)
        if lines:
            write(folder.path / WARNINGS, "\n".join(lines) + "\n")
    return table.reindex(columns=list(predictor.columns())), problems


def predict_rows(
    predictor: Predictor, files: Sequence[Path], out: Path, *, overlays: bool = True, maps: bool = False
) -> Iterator[Row]:
    """Score image files, write their pictures into `out`, and yield their rows; of unreadable files the error."""
    for file, found in zip(files, predictor.judge_all(files), strict=True):
        try:
            if isinstance(found, DataError):
                raise found
            row = found.row()
            name = f"{file.stem[:LONGEST_STEM]}_{identity({'file': str(file), 'digest': found.digest})}"
            if overlays:
                row["heatmap"] = f"{name}.png"
                write_overlay(out / row["heatmap"], file, found.map_SS, predictor.map_range, predictor.region)
            if maps:
                row["map"] = f"{name}.npy"
                write_map(out / row["map"], found.map_SS, found.size)
            yield row
        except DataError as error:
            yield {"image": str(file), "error": str(error)}

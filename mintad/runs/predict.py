"""Predictions of a trained run for any images: scores, decisions and heatmaps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mintad.data.images import image_size
from mintad.errors import ConfigError, DataError, nearest
from mintad.features.backbone import read_pixels
from mintad.features.cache import hash_file
from mintad.features.extract import full_precision
from mintad.features.table import FeatureTable
from mintad.progress import track
from mintad.runs.directory import Run
from mintad.runs.heatmaps import Region, regions, write_map, write_overlay
from mintad.runs.new_images import find_images
from mintad.runs.prediction_folder import FILES, PredictionFolder, Row, identity
from mintad.runs.prepare import configured_backbone
from mintad.runs.train import trained_detector, trained_model
from mintad.scoring.evaluate import predict_classes
from mintad.scoring.maps import grid_maps, image_scores, upsample
from mintad.training.device import pick_device

BATCH_SIZE = 16
COLUMNS = ("image", "pred_score", "anomalous", "pred_class", "heatmap", "width", "height", "seconds")
LONGEST_STEM = 40  # characters of an image's name in that of its heatmap, of up to four bytes
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a run says about one image file."""

    image: str
    size: tuple[int, int]  # (width, height) of the file's picture, in pixels
    pred_score: float
    anomalous: bool | None  # None where the run has no threshold
    pred_class: str  # '' where the model predicts none
    map_SS: np.ndarray  # (S, S) anomaly map, S pixels a side, as the detector sees the image
    regions: list[Region]  # of an anomalous image, where the map is above the threshold; in the picture's own pixels
    digest: str  # of the file's content
    seconds: float  # to read it, and its share of its batch's computation

    def row(self) -> Row:
        """Return what a line of ``predictions.jsonl`` says."""
        return {
            "image": self.image,
            "pred_score": self.pred_score,
            "anomalous": "" if self.anomalous is None else self.anomalous,
            "pred_class": self.pred_class,
            "width": self.size[0],
            "height": self.size[1],
            "regions": self.regions,
            "seconds": round(self.seconds, 4),
            "digest": self.digest,
        }


class Predictor:
    """A trained run's newest checkpoint, ready for images; it computes in float32.

    `device` is 'auto', 'cpu' or 'cuda', `category` the class of all images, for a model that must be given it; with
    `any_category` each call gives the classes.

    Raises:
        MintadError: not a run directory, missing weights, no such device or class.
    """

    def __init__(
        self, path: str | Path, *, device: str = "auto", category: str | None = None, any_category: bool = False
    ) -> None:
        run = Run(Path(path))
        self.config, self.device = run.config(), pick_device(device)
        self.classes, self.threshold = run.read("classes"), run.threshold()
        self.backbone = configured_backbone(self.config.features).to(self.device)
        self.model = trained_model(run, self.backbone, self.device)
        self.detector = trained_detector(run, self.model)
        self.weights = run.checkpoint().weights_digest
        if category is not None and not self.model.needs_labels:
            log.warning(
                "the category '%s' is not used: model.variant=%s needs none", category, self.config.model.variant
            )
        told = self.model.needs_labels and not any_category
        self.label = class_index(self.classes, category) if told else None
        low, high = np.percentile(np.load(run.path / "maps.npy"), (1, 99.9))
        self.map_range = (float(low), float(high))  # of the heatmaps' colours, from the run's own test maps

    @torch.no_grad()
    def __call__(
        self, images: list[Image.Image], labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return scores (B,), grid maps (B, H, W) and class names ('' without a class head) of RGB images.

        `labels` (B,) are class indices, for a model that must be given the class, instead of its category.
        """
        batch = self.backbone.prepare(images).to(self.device)
        with full_precision():
            features = FeatureTable.from_tensor(self.backbone(batch))
        rows, scoring = np.arange(len(images)), self.config.scoring
        if self.label is not None:
            labels = np.full(len(images), self.label)
        maps_BHW = grid_maps(self.detector, features, rows, scoring, labels=labels)
        names = predict_classes(self.model, features, rows, self.classes)
        return image_scores(maps_BHW, self.config.features.image_size, scoring), maps_BHW, names

    def judge(self, file: str | Path) -> Prediction:
        """Score one image file; a DataError says why it cannot be read."""
        (found,) = self.judge_all([file])
        if isinstance(found, DataError):
            raise found
        return found

    def judge_all(self, files: Sequence[str | Path]) -> Iterator[Prediction | DataError]:
        """Score image files, some at a time; yield for each what is found, or why it cannot be read."""
        for start in range(0, len(files), BATCH_SIZE):
            yield from self._judge_batch(files[start : start + BATCH_SIZE])

    def _judge_batch(self, files: Sequence[str | Path]) -> list[Prediction | DataError]:
        size, scoring, found, readable = self.config.features.image_size, self.config.scoring, {}, {}
        for number, file in enumerate(files):
            began = time.perf_counter()
            try:
                about = {"image": str(file), "size": image_size(file), "digest": hash_file(file)}
                readable[number] = (read_pixels(file, size), about, time.perf_counter() - began)
            except DataError as error:
                found[number] = error
        if readable:
            began = time.perf_counter()
            scores, maps_BHW, names = self([Image.fromarray(pixels) for pixels, *_ in readable.values()])
            maps_BSS = upsample(maps_BHW, size, blur=scoring.blur, align_corners=scoring.align_corners)
            share = (time.perf_counter() - began) / len(readable)
            for number, score, map_SS, name in zip(readable, scores, maps_BSS, names, strict=True):
                _, about, spent = readable[number]
                limit = None if self.threshold is None else self.threshold.value
                anomalous = None if limit is None else bool(score > limit)
                boxes = regions(map_SS, limit, about["size"]) if anomalous else []
                own = {"pred_score": float(score), "anomalous": anomalous, "pred_class": name, "regions": boxes}
                found[number] = Prediction(**about, **own, map_SS=map_SS, seconds=spent + share)
        return [found[number] for number in range(len(files))]

    def about(self) -> dict[str, Any]:
        """Return all that decides about predictions: weights, settings, threshold."""
        settings = {
            key: value for key, value in self.config.flat().items() if key.startswith(("features.", "scoring."))
        }
        threshold = self.threshold and asdict(self.threshold)
        return settings | {"weights": self.weights, "threshold": threshold, "label": self.label}


def class_index(classes: Sequence[str], category: str | None) -> int:
    """Return the index of a class named as in the run, "visa/candle", or without its data set, "candle".

    No category, or an unknown one, raises ConfigError.
    """
    matching = [k for k, name in enumerate(classes) if category in (name, name.rsplit("/", 1)[-1])]
    if len(matching) != 1:
        given = "none was given" if category is None else f"'{category}' names {len(matching)} classes"
        problem = f"this model must be given the class of the images (--category), and {given}."
        raise ConfigError(problem + nearest(str(category), classes))
    return matching[0]


def predict_files(
    run_path: str | Path,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    device: str = "auto",
    category: str | None = None,
    overlays: bool = True,
    maps: bool = False,
    progress: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """Score image files; each is in ``predictions.csv`` and ``predictions.jsonl`` of `out` as soon as it is done.

    After an interruption the same call goes on where it was; images that are done, and whose files have not changed,
    are not scored again. Afterwards `out` holds the predictions of these images alone: those that an earlier call made
    there of others, or with another run or other options, are removed with their heatmaps. See
    `mintad.runs.prediction_folder`, for `paths` `find_images`, for the run, `device` and `category` `Predictor`; for
    errors see all three.

    Args:
        overlays: write a heatmap over each photograph, in its own size.
        maps: write the map of each photograph in its own size, as numbers, ``*.npy``.

    Returns:
        The table, columns `COLUMNS`, and a message for each folder or file that cannot be read, which the table leaves
        out.
    """
    found = find_images(paths, exclude=out)
    if found.note():
        log.info(found.note())
    predictor = Predictor(run_path, device=device, category=category)
    order = {str(file): number for number, file in enumerate(found.files)}
    problems = list(found.problems)
    about = predictor.about() | {"overlays": overlays, "maps": maps}
    with PredictionFolder(out, identity(about), COLUMNS) as folder:
        before = folder.read()
        kept = {row["image"]: row for row in before if row["image"] in order and _still_true(row, folder)}
        folder.begin(sorted(kept.values(), key=lambda row: order[row["image"]]))
        if before:
            log.info("%d predictions are there already, %d others are removed", len(kept), len(before) - len(kept))
        files = [file for file in found.files if str(file) not in kept]
        rows = predict_rows(predictor, files, folder.path, overlays=overlays, maps=maps)
        for row in track(rows, "scoring", len(files), show=progress):
            folder.add([row])
            problems += [row["error"]] if "error" in row else []
        folder.finish(order)
    return pd.DataFrame(folder.rows, columns=list(COLUMNS)), problems


def _still_true(row: Row, folder: PredictionFolder) -> bool:
    """Whether a prediction is of this run, with the same options, and of the file's present content."""
    if row.get("run") != folder.run or "error" in row:
        return False
    try:
        files = [folder.path / row[name] for name in FILES if row.get(name)]
        there = all(file.is_file() and not file.is_symlink() for file in files)
        return there and hash_file(row["image"]) == row["digest"]
    except DataError:
        return False


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
                write_overlay(out / row["heatmap"], file, found.map_SS, predictor.map_range)
            if maps:
                row["map"] = f"{name}.npy"
                write_map(out / row["map"], found.map_SS, found.size)
            yield row
        except DataError as error:
            yield {"image": str(file), "error": str(error)}

"""Predictions of a trained run for any images: scores, decisions and heatmaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mintad.data.images import IMAGE_SUFFIXES
from mintad.disk import published, write
from mintad.errors import ConfigError, DataError, nearest
from mintad.features.backbone import read_pixels
from mintad.features.extract import full_precision
from mintad.features.table import FeatureTable
from mintad.plots import overlay
from mintad.progress import track
from mintad.runs.directory import Run
from mintad.runs.prepare import configured_backbone
from mintad.runs.train import trained_detector, trained_model
from mintad.scoring.evaluate import predict_classes
from mintad.scoring.maps import grid_maps, image_scores, upsample
from mintad.training.device import pick_device

BATCH_SIZE = 16


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


def find_images(paths: Iterable[str | Path], *, exclude: str | Path | None = None) -> list[Path]:
    """List image files; folders are searched in depth, in sorted order.

    The folder `exclude` of the results is not searched, because its heatmaps are no images to score.

    Raises:
        DataError: a path does not exist, there is no image, or a folder to search lies in `exclude`.
    """

    def is_result(path: Path) -> bool:
        return exclude is not None and path.resolve().is_relative_to(Path(exclude).resolve())

    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"{path} does not exist")
        if path.is_dir() and is_result(path):
            raise DataError(f"{path} lies in the folder of the results, {exclude}; choose another --out")
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        files += [file for file in inside if not is_result(file)] if path.is_dir() else [path]
    if not files:
        raise DataError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {', '.join(map(str, paths))}")
    return files


def predict_files(
    run_path: str | Path,
    paths: Iterable[str | Path],
    out: str | Path,
    *,
    device: str = "auto",
    category: str | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """Score image files; write ``predictions.csv`` and one heatmap overlay per image into `out`.

    For `paths` see `find_images`, for the run, `device` and `category` see `Predictor`, for errors see both.

    Returns:
        The table (image, pred_score, anomalous, pred_class, heatmap), and a message for each unreadable file, which
        the table leaves out.
    """
    files = find_images(list(paths), exclude=out)
    predictor = Predictor(run_path, device=device, category=category)
    size, threshold = predictor.config.features.image_size, predictor.threshold
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "predictions.csv").unlink(missing_ok=True)  # it may list heatmaps that are replaced now
    rows, problems = [], []
    batches = range(0, len(files), BATCH_SIZE)
    for start in track(batches, "scoring", len(batches), show=progress):
        readable: list[tuple[Path, np.ndarray]] = []
        for file in files[start : start + BATCH_SIZE]:
            try:
                readable.append((file, read_pixels(file, size)))
            except DataError as error:
                problems.append(str(error))
        if not readable:
            continue
        predictions = predictor([Image.fromarray(pixels) for _, pixels in readable])
        for (file, pixels), score, grid_map, name in zip(readable, *predictions, strict=True):
            heatmap = out / f"{len(rows):05d}_{file.stem}.png"
            scoring = predictor.config.scoring
            full_map = upsample(grid_map[None], size, blur=scoring.blur, align_corners=scoring.align_corners)[0]
            with published(heatmap, durable=False) as picture:
                Image.fromarray(overlay(pixels, full_map, predictor.map_range)).save(picture, "PNG")
            anomalous = "" if threshold is None else bool(score > threshold.value)
            rows.append((str(file), float(score), anomalous, name, heatmap.name))
    table = pd.DataFrame(rows, columns=["image", "pred_score", "anomalous", "pred_class", "heatmap"])
    write(out / "predictions.csv", table.to_csv(index=False))
    return table, problems

"""Predictions of a trained run for any images: scores, decisions and heatmaps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mintad.data.images import IMAGE_SUFFIXES
from mintad.data.photographs import photograph
from mintad.disk import published, write
from mintad.errors import ConfigError, DataError, nearest
from mintad.features.backbone import read_pixels
from mintad.features.extract import full_precision
from mintad.features.table import FeatureTable
from mintad.plots import overlay
from mintad.progress import track
from mintad.runs.directory import Run
from mintad.runs.doubts import doubts
from mintad.runs.prepare import configured_backbone
from mintad.runs.train import trained_detector, trained_model
from mintad.scoring.decisions import COLUMNS, Decisions
from mintad.scoring.evaluate import predict_classes
from mintad.scoring.known_products import pooled
from mintad.scoring.maps import grid_maps, image_scores, upsample
from mintad.training.device import pick_device

BATCH_SIZE = 16
WARNINGS = "warnings.txt"
TABLE = (
    *("image", "pred_score", "threshold", "p_value", "anomalous", "pred_class"),
    *("product_p_value", "unknown_product", "wrong_product", "heatmap"),
)
log = logging.getLogger(__name__)


class Predictor:
    """A trained run's newest checkpoint, ready for images; it computes in float32.

    `device` is 'auto', 'cpu' or 'cuda', `category` the class of all images, for a model that must be given it.

    Raises:
        MintadError: not a run directory, missing weights, no such device or class.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", category: str | None = None) -> None:
        run = Run(Path(path))
        self.config, self.device = run.config(), pick_device(device)
        run.require_scoring()
        self.classes, self.decisions = run.read("classes"), run.decisions()
        self.products = self.decisions and run.known_products(self.decisions)
        self.photographs = run.photographs()
        self.backbone = configured_backbone(self.config.features).to(self.device)
        self.model = trained_model(run, self.backbone, self.device)
        self.detector = trained_detector(run, self.model)
        self.label = class_index(self.classes, category) if self.model.needs_labels else None
        if category is not None and self.label is None:
            log.warning("warning: the category %s is not used, because this model needs none", category)
        low, high = np.percentile(run.maps(), (1, 99.9))
        self.map_range = (float(low), float(high))  # of the heatmaps' colours, from the run's own test maps

    @torch.no_grad()
    def __call__(self, images: list[Image.Image]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return scores (B,), grid maps (B, H, W) and class names ('' without a class head) of RGB images."""
        return self.score(self.features(images))

    @torch.no_grad()
    def features(self, images: list[Image.Image]) -> FeatureTable:
        """Compute the features of RGB images."""
        batch = self.backbone.prepare(images).to(self.device)
        with full_precision():
            return FeatureTable.from_tensor(self.backbone(batch))

    @torch.no_grad()
    def score(self, features: FeatureTable) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return what a call returns, of images with these features."""
        rows, scoring = np.arange(len(features)), self.config.scoring
        labels = None if self.label is None else np.full(len(features), self.label)
        maps_BHW = grid_maps(self.detector, features, rows, scoring, labels=labels)
        names = predict_classes(self.model, features, rows, self.classes)
        return image_scores(maps_BHW, self.config.features.image_size, scoring), maps_BHW, names

    def expected(self, category: str) -> str:
        """Return the name of the class that is expected; see `class_index` for what it may be called.

        Raises:
            ConfigError: there is no such class, or the model predicts none.
        """
        if not self.model.predicts_class:
            problem = f"model.variant={self.config.model.variant} predicts no class that could be the expected one"
            raise ConfigError(problem, fix="leave out --expect, or take a variant that predicts it, such as mint_ad")
        matching = classes_named(self.classes, category)
        if len(matching) != 1:
            problem = f"the expected product '{category}' names {len(matching)} classes."
            raise ConfigError(problem + nearest(category, self.classes))
        return self.classes[matching[0]]

    def rules(self, quantile: float | None = None, threshold: float | None = None) -> Decisions | None:
        """Return the run's rules of decision, adjusted as `Decisions.adjusted` says; None where there are none."""
        without = Decisions(None, None, tuple(self.classes), self.config.scoring.threshold_quantile)
        rules = (self.decisions or without).adjusted(quantile=quantile, threshold=threshold)
        return None if rules.calibration is None and rules.fixed is None else rules

    def decide(
        self, rules: Decisions | None, features: FeatureTable, scores_B: np.ndarray, names: Sequence[str]
    ) -> pd.DataFrame:
        """Return what is decided about images: judged_class, threshold, and the columns of `Decisions.of`.

        The class by which an image is judged is the predicted one, or that which the model was given.
        """
        judged = list(names) if self.label is None else [self.classes[self.label]] * len(features)
        if rules is None:
            return pd.DataFrame({"judged_class": judged}).assign(threshold="", **dict.fromkeys(COLUMNS, ""))
        distances = self.products.distance(pooled(features, np.arange(len(features)))) if self.products else []
        table = rules.of(scores_B, judged, distances)
        return table.assign(judged_class=judged, threshold=[rules.threshold(name) for name in judged])


def class_index(classes: Sequence[str], category: str | None) -> int:
    """Return the index of a class named as in the run, "visa/candle", or without its data set, "candle".

    No category, or an unknown one, raises ConfigError.
    """
    matching = classes_named(classes, category)
    if len(matching) != 1:
        given = "none was given" if category is None else f"'{category}' names {len(matching)} classes"
        problem = f"this model must be given the class of the images (--category), and {given}."
        raise ConfigError(problem + nearest(str(category), classes))
    return matching[0]


def classes_named(classes: Sequence[str], category: str | None) -> list[int]:
    """Return the indices of the classes of this name, with or without the data set."""
    return [k for k, name in enumerate(classes) if category in (name, name.rsplit("/", 1)[-1])]


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
    quantile: float | None = None,
    threshold: float | None = None,
    expect: str | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """Score image files; write ``predictions.csv`` and one heatmap overlay per image into `out`.

    For `paths` see `find_images`, for the run, `device` and `category` see `Predictor`, for errors see both. `quantile`
    and `threshold` replace the run's, see `Decisions.adjusted`. With `expect`, a class as in `class_index`, an image of
    another class or of an unknown product is a wrong product. What makes the decisions doubtful
    (`mintad.runs.doubts`) is logged, and written into ``warnings.txt``, which is there in this case only.

    Returns:
        The table (image, pred_score, threshold, p_value, anomalous, pred_class, product_p_value, unknown_product,
        wrong_product if a class is expected, heatmap), and a message for each unreadable file, which the table leaves
        out.
    """
    files = find_images(list(paths), exclude=out)
    predictor = Predictor(run_path, device=device, category=category)
    size, rules = predictor.config.features.image_size, predictor.rules(quantile, threshold)
    expected = None if expect is None else predictor.expected(expect)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("predictions.csv", WARNINGS):  # the first may list heatmaps that are replaced now
        (out / name).unlink(missing_ok=True)
    parts, photographs, problems, count = [], [], [], 0
    batches = range(0, len(files), BATCH_SIZE)
    for start in track(batches, "scoring", len(batches), show=progress):
        readable: list[tuple[Path, np.ndarray]] = []
        for file in files[start : start + BATCH_SIZE]:
            try:
                pixels = read_pixels(file, size)
                photographs.append(photograph(file, pixels))
                readable.append((file, pixels))
            except DataError as error:
                problems.append(str(error))
        if not readable:
            continue
        features = predictor.features([Image.fromarray(pixels) for _, pixels in readable])
        scores_B, maps_BHW, names = predictor.score(features)
        heatmaps = []
        for (file, pixels), grid_map in zip(readable, maps_BHW, strict=True):
            heatmap = out / f"{count + len(heatmaps):05d}_{file.stem}.png"
            scoring = predictor.config.scoring
            full_map = upsample(grid_map[None], size, blur=scoring.blur, align_corners=scoring.align_corners)[0]
            with published(heatmap, durable=False) as picture:
                Image.fromarray(overlay(pixels, full_map, predictor.map_range)).save(picture, "PNG")
            heatmaps.append(heatmap.name)
        count += len(readable)
        own = {"image": [str(file) for file, _ in readable], "pred_score": scores_B.astype(float), "pred_class": names}
        parts.append(predictor.decide(rules, features, scores_B, names).assign(**own, heatmap=heatmaps))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*TABLE, "judged_class"])
    if expected is not None:
        table["wrong_product"] = (table["pred_class"] != expected) | table["unknown_product"].isin([True])
    lines = doubts(table, rules, photographs, predictor.photographs)
    for line in lines:
        log.warning("warning: %s", line)
    if lines:
        write(out / WARNINGS, "\n".join(lines) + "\n")
    table = table[[name for name in TABLE if name in table]]
    write(out / "predictions.csv", table.to_csv(index=False))
    return table, problems

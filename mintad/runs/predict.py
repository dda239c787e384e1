"""What a trained run says about any images: scores, decisions, maps and regions."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mintad.data.photographs import Photograph, photograph
from mintad.disk import hash_file
from mintad.errors import ConfigError, DataError, nearest
from mintad.features.backbone import read_pixels, to_pixels
from mintad.features.extract import features_of
from mintad.features.table import FeatureTable
from mintad.runs.directory import Run
from mintad.runs.heatmaps import Region, regions
from mintad.runs.load import trained_detector, trained_model
from mintad.runs.prediction_folder import Row
from mintad.runs.prepare import configured_backbone
from mintad.runs.region import stored_region
from mintad.scoring.decisions import COLUMNS as DECIDED
from mintad.scoring.decisions import Decisions
from mintad.scoring.detect import detect
from mintad.scoring.known_products import median_over_tokens
from mintad.scoring.maps import full_maps, image_scores
from mintad.scoring.region_of_interest import share_of_cells
from mintad.training.device import pick_device

BATCH_SIZE = 16
COLUMNS = (
    *("image", "pred_score", "threshold", "p_value", "anomalous", "pred_class", "product_p_value", "unknown_product"),
    *("wrong_product", "heatmap", "width", "height", "seconds"),
)
"""Of ``predictions.csv``; without an expected product there is no wrong one."""
CLASSES = ("pred_class", "judged_class")  # '' where a model predicts no class
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a run says about one image file; None for what it cannot decide."""

    image: str
    photograph: Photograph
    pred_score: float
    pred_class: str  # '' where the model predicts none
    judged_class: str  # the predicted class, or the one that the model was given
    threshold: float | None  # of the judged class
    p_value: float | None
    anomalous: bool | None
    product_p_value: float | None  # of the distance from the known products
    unknown_product: bool | None
    wrong_product: bool | None  # unknown, or another than the expected one
    map_SS: np.ndarray  # (S, S) anomaly map, S pixels a side, as the detector sees the image
    regions: list[Region]  # of an anomalous image, where the map is above the threshold; in the picture's own pixels
    digest: str  # of the file's content
    seconds: float  # to read it, and its share of its batch's computation

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the file's picture, in pixels."""
        return self.photograph.width, self.photograph.height

    def row(self) -> Row:
        """Return what a line of ``predictions.jsonl`` says; '' for None."""
        named = {name: getattr(self, name) for name in ("image", "pred_score", "pred_class", "judged_class")}
        decided = {name: getattr(self, name) for name in ("threshold", *DECIDED, "wrong_product")}
        return {
            **named,
            **{name: "" if value is None else value for name, value in decided.items()},
            "width": self.size[0],
            "height": self.size[1],
            "regions": self.regions,
            "seconds": round(self.seconds, 4),
            "digest": self.digest,
            "photograph": asdict(self.photograph),
        }


@dataclass(frozen=True)
class JudgingRules:
    """How images are judged otherwise than the run says."""

    category: str | None = None
    """The class of all images, for a model that must be given it."""
    quantile: float | None = None
    """See `Decisions.adjusted`."""
    threshold: float | None = None
    """See `Decisions.adjusted`."""
    expect: str | None = None
    """The product that all images should show, a class as in `class_index`."""


AS_THE_RUN = JudgingRules()


class Predictor:
    """A trained run's newest checkpoint, ready for images; it computes in float32.

    Args:
        path: the run directory.
        rules: how images are judged.
        device: 'auto', 'cpu' or 'cuda'.
        any_category: of a model that must be given the class, each call gives the classes instead of `rules`.

    Raises:
        MintadError: not a run directory, missing weights, no such device or class.
    """

    def __init__(
        self,
        path: str | Path,
        rules: JudgingRules = AS_THE_RUN,
        *,
        device: str = "auto",
        any_category: bool = False,
    ) -> None:
        run = Run(Path(path))
        self.config, self.device = run.config(), pick_device(device)
        run.require_scoring()
        self.classes, fitted = run.read("classes"), run.decisions()
        self.products = fitted and run.known_products(fitted)
        self.photographs = run.photographs()
        self.region = stored_region(run)
        """(S, S) bool, where anomalies count; None: everywhere."""
        without = Decisions(None, None, tuple(self.classes), self.config.scoring.threshold_quantile)
        adjusted = (fitted or without).adjusted(quantile=rules.quantile, threshold=rules.threshold)
        self.decisions = None if adjusted.calibration is None and adjusted.fixed is None else adjusted
        """The rules of decision; None where no images were held out, and no threshold is given."""
        self.backbone = configured_backbone(self.config.features).to(self.device)
        self.model = trained_model(run, self.backbone, self.device)
        self.detector = trained_detector(run, self.model)
        self.weights = run.checkpoint().weights_digest
        if rules.category is not None and not self.model.needs_labels:
            text = "the category '%s' is not used: model.variant=%s needs none"
            log.warning(text, rules.category, self.config.model.variant)
        told = self.model.needs_labels and not any_category
        self.label = class_index(self.classes, rules.category) if told else None
        self.expected = None if rules.expect is None else self._expected(rules.expect)
        maps_nHW = run.maps()
        if self.region is not None:
            maps_nHW = maps_nHW[:, share_of_cells(self.region, maps_nHW.shape[1:]) > 0]
        low, high = np.percentile(maps_nHW, (1, 99.9))
        self.map_range = (float(low), float(high))  # of the heatmaps' colours, from the run's own test maps

    def __call__(
        self, images: list[Image.Image], labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return scores (B,), grid maps (B, H, W) and class names ('' without a class head) of RGB images.

        `labels` (B,) are class indices, for a model that must be given the class, instead of its category.
        """
        return self.score(self.features(images), labels)[:3]

    def features(self, images: list[Image.Image]) -> FeatureTable:
        """Compute the features of RGB images."""
        pixels = [to_pixels(image, self.config.features.image_size) for image in images]
        return FeatureTable.from_tensor(features_of(self.backbone, pixels))

    def score(
        self, features: FeatureTable, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
        """Return what a call returns, of images with these features, and the classes by which they are judged."""
        rows, scoring = np.arange(len(features)), self.config.scoring
        if self.label is not None:
            labels = np.full(len(features), self.label)
        inputs = self.model, [self.detector], features, rows, self.classes, scoring
        [maps_BHW], names, judged = detect(*inputs, labels=labels)
        return image_scores(maps_BHW, self.config.features.image_size, scoring, self.region), maps_BHW, names, judged

    def full_maps(self, maps_BHW: np.ndarray) -> np.ndarray:
        """Return grid maps in the size in which they are scored (B, S, S), zero outside the region of interest."""
        return full_maps(maps_BHW, self.config.features.image_size, self.config.scoring, self.region)

    def decide(
        self, features: FeatureTable, scores_B: np.ndarray, names: Sequence[str], judged: Sequence[str]
    ) -> pd.DataFrame:
        """Return what is decided about images: judged_class, threshold, the columns of `Decisions.of`, wrong_product.

        `names` and `judged` are the predicted classes, and those by which the images are judged.
        """
        if self.decisions is None:
            table = pd.DataFrame({"judged_class": judged}).assign(threshold="", **dict.fromkeys(DECIDED, ""))
        else:
            rows = np.arange(len(features))
            distances = self.products.distance(median_over_tokens(features, rows)) if self.products else []
            table = self.decisions.of(scores_B, judged, distances)
            table = table.assign(judged_class=judged, threshold=[self.decisions.threshold(name) for name in judged])
        if self.expected is None:
            return table.assign(wrong_product="")
        return table.assign(wrong_product=(np.array(names) != self.expected) | table["unknown_product"].isin([True]))

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
        size, found, readable = self.config.features.image_size, {}, {}
        for number, file in enumerate(files):
            began = time.perf_counter()
            try:
                pixels = read_pixels(file, size)
                about = {"image": str(file), "photograph": photograph(file, pixels), "digest": hash_file(file)}
                readable[number] = (pixels, about, time.perf_counter() - began)
            except DataError as error:
                found[number] = error
        if readable:
            began = time.perf_counter()
            features = self.features([Image.fromarray(pixels) for pixels, *_ in readable.values()])
            scores, maps_BHW, names, judged = self.score(features)
            table = self.decide(features, scores, names, judged)
            table = table.assign(pred_score=scores.astype(float), pred_class=names)
            maps_BSS = self.full_maps(maps_BHW)
            share = (time.perf_counter() - began) / len(readable)
            for number, row, map_SS in zip(readable, table.to_dict("records"), maps_BSS, strict=True):
                _, about, spent = readable[number]
                own = {name: None if value == "" and name not in CLASSES else value for name, value in row.items()}
                photo = about["photograph"]
                boxes = regions(map_SS, own["threshold"], (photo.width, photo.height)) if own["anomalous"] else []
                found[number] = Prediction(**about, **own, map_SS=map_SS, regions=boxes, seconds=spent + share)
        return [found[number] for number in range(len(files))]

    def about(self) -> dict[str, Any]:
        """Return all that decides about predictions: weights, settings, threshold."""
        settings = {
            key: value for key, value in self.config.flat().items() if key.startswith(("features.", "scoring."))
        }
        rules = self.decisions
        decided = rules and (rules.quantile, rules.fixed, rules.calibration and rules.to_json()["digest"])
        told = {"label": self.label, "expected": self.expected}
        told |= {} if self.region is None else {"region": hashlib.sha256(np.packbits(self.region)).hexdigest()}
        return settings | {"weights": self.weights, "decisions": decided, **told}

    def columns(self) -> tuple[str, ...]:
        """Return the columns of a table of predictions."""
        return tuple(name for name in COLUMNS if name != "wrong_product" or self.expected is not None)

    def _expected(self, category: str) -> str:
        """Return the name of the class that is expected.

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

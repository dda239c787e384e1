"""The exported model beside the run that it comes from, on real images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mintad.errors import MintadError
from mintad.export.graph import INPUT, LABEL
from mintad.features.backbone import read_pixels
from mintad.progress import track
from mintad.runs.predict import BATCH_SIZE, Predictor

TOLERANCE = 1e-4
"""Largest difference that is accepted: of a map in shares of its largest value, of a score in shares of itself."""
SMALL_BATCH = 5  # images at a time in the exported model, after one alone; the run takes `BATCH_SIZE`
FEWEST = 3  # images that make two sizes of batches: one alone, and two
REPORT = "report it with the run's config.json and the versions of torch and onnxruntime"


@dataclass
class Agreement:
    """How an exported model differs from its run on some images."""

    images: int = 0
    map_difference: float = 0.0  # largest of a map, in shares of the map's largest value
    score_difference: float = 0.0  # largest, in shares of the score
    p_value_difference: float = 0.0  # largest; p-values go in steps of 1 / (n + 1), for n held-out images of a class
    p_values_impossible: int = 0  # not finite, below 0 or above 1
    decisions_changed: int = 0
    classes_changed: int = 0
    torch_seconds: float = 0.0  # of the run's model, for all images, without reading them
    onnx_seconds: float = 0.0

    def require(self, path: Path) -> None:
        """Refuse a model that is not what the run is, within `TOLERANCE`; `path` is where it was to be written."""
        differences = {"map": self.map_difference, "score": self.score_difference}
        problems = [f"a {name} differs by {value:.1e}" for name, value in differences.items() if not value <= TOLERANCE]
        counts = {"decisions": self.decisions_changed, "classes": self.classes_changed}
        problems += [f"{count} {name} changed" for name, count in counts.items() if count]
        if self.p_values_impossible or not np.isfinite(self.p_value_difference):
            problems.append("a p-value is not a number from 0 to 1")
        if problems:
            problem = f"not written, because on {self.images} images the exported model is not the run: "
            problem += f"{', '.join(problems)} (accepted: {TOLERANCE:.0e}, no change)"
            raise MintadError(problem, path=path, fix=REPORT)


def compare(
    session: Any,
    predictor: Predictor,
    images: Sequence[str | Path],
    labels: np.ndarray | None = None,
    *,
    progress: bool = True,
) -> Agreement:
    """Run an exported model, an onnxruntime session, and its run on the same image files.

    The exported model is given one image alone and several at a time, however few there are. `labels` (n,) are the
    class indices, for a model that must be given them. Of what is not finite the difference is infinite.

    Raises:
        DataError: a file cannot be read.
        MintadError: the exported model cannot be run.
    """
    agreement, count = Agreement(), len(images)
    if 0 < count < FEWEST:
        images, labels = list(images) * FEWEST, None if labels is None else np.tile(labels, FEWEST)
    starts = range(0, len(images), BATCH_SIZE)
    for start in track(starts, "comparing", len(starts), show=progress):
        batch = slice(start, start + BATCH_SIZE)
        labels_B = None if labels is None else np.asarray(labels[batch], dtype=np.int64)
        _compare_batch(agreement, session, predictor, images[batch], labels_B)
    share, agreement.images = count / max(1, len(images)), count  # each counts once
    agreement.torch_seconds, agreement.onnx_seconds = agreement.torch_seconds * share, agreement.onnx_seconds * share
    return agreement


def _compare_batch(
    agreement: Agreement, session: Any, predictor: Predictor, images: Sequence[str | Path], labels: np.ndarray | None
) -> None:
    size = predictor.config.features.image_size
    pixels_BHW3 = np.stack([read_pixels(image, size) for image in images])
    began = time.perf_counter()
    features = predictor.features([Image.fromarray(pixels) for pixels in pixels_BHW3])
    scores, maps_BHW, names, judged = predictor.score(features, labels)
    maps_BSS = predictor.full_maps(maps_BHW)
    agreement.torch_seconds += time.perf_counter() - began
    began = time.perf_counter()
    given = _run(session, pixels_BHW3, labels)
    agreement.onnx_seconds += time.perf_counter() - began
    largest = np.abs(maps_BSS).max(axis=(1, 2)).clip(min=1e-12)
    map_difference = _largest(np.abs(given["anomaly_map"] - maps_BSS).max(axis=(1, 2)) / largest)
    score_difference = _largest(np.abs(given["score"] - scores) / np.abs(scores).clip(min=1e-12))
    agreement.map_difference = max(agreement.map_difference, map_difference)
    agreement.score_difference = max(agreement.score_difference, score_difference)
    if (rules := predictor.decisions) is not None:
        flags, p_values = rules.flags(scores, judged), rules.calibration.p_values(scores, judged, rules.quantile)
        agreement.decisions_changed += int(np.sum(flags != given["anomalous"]))
        agreement.p_value_difference = max(agreement.p_value_difference, _largest(np.abs(given["p_value"] - p_values)))
        possible = (given["p_value"] >= 0) & (given["p_value"] <= 1)
        agreement.p_values_impossible += int(np.sum(~possible))
    if "class" in given:
        given_names = [predictor.classes[index] for index in given["class"]]
        agreement.classes_changed += sum(a != b for a, b in zip(names, given_names, strict=True))


def _run(session: Any, pixels_BHW3: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the outputs of an exported model by name, of the first image alone and then of `SMALL_BATCH` at a time."""
    parts = []
    for batch in (slice(0, 1), *(slice(k, k + SMALL_BATCH) for k in range(1, len(pixels_BHW3), SMALL_BATCH))):
        inputs = {INPUT: pixels_BHW3[batch].transpose(0, 3, 1, 2).astype(np.float32)}
        inputs |= {} if labels is None else {LABEL: labels[batch]}
        try:
            parts.append(session.run(None, inputs))
        except Exception as error:  # onnxruntime's errors have no other base
            images = len(inputs[INPUT])
            problem = f"the exported model cannot be run on a batch of {images} ({' '.join(str(error).split())})"
            raise MintadError(problem, fix=REPORT) from error
    names = [output.name for output in session.get_outputs()]
    return {name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def _largest(differences: np.ndarray) -> float:
    return float(differences.max()) if np.isfinite(differences).all() else float("inf")

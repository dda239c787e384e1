"""A sweep's results as one long table, in the terms of the paper's tables (`mintad.report.paper`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mintad.errors import MintadError
from mintad.runs.files import PARAMETERS
from mintad.sweep.status import WORK, read_plan, read_status

if TYPE_CHECKING:
    import pandas as pd

METRICS = "metrics.json"
MEAN = "mean"
"""Category of a mean over categories, `mintad.report.paper.MEAN`; of the class accuracy, over all test images."""
IMAGE, PIXEL, SWAP, ACCURACY = "I-AUROC", "P-AUPR", "swap I-AUROC", "class accuracy"
"""Image AUROC, pixel average precision (as in `mintad.report.paper`), image AUROC of "swap" defects alone, and the share of
test images whose class the model's head tells."""
NORMAL_ACCURACY = "class accuracy, normal images"
"""The same of the normal test images; for the mean alone."""
BY_CLASSIFIER = "I-AUROC, by classifier"
"""Image AUROC of separate models where the nearest class mean chooses the model (App. A.1); `IMAGE` is told."""
OWN = ("run", "category", "metric", "value", "seconds")
"""Columns that are not parameters."""


def collect(folder: str | Path) -> pd.DataFrame:
    """The metrics of all finished runs of a sweep.

    Args:
        folder: the sweep's `out`.

    Returns:
        One row a run, category and metric. Columns: run; every parameter of the notebook (mappings and lists as JSON
        text) and every axis of the grid; an axis of labelled values has the label, the values are in ``AXIS.value``;
        category ("dataset/category", or "mean"); metric (`IMAGE`, `PIXEL`, `SWAP`, `ACCURACY`, `NORMAL_ACCURACY`,
        `BY_CLASSIFIER`); value in 0..1; seconds (of the run's last attempt). A parameter called like one of `OWN` has
        an underscore behind its name. Empty where nothing is finished. A run without ``metrics.json`` gives no rows.

    Raises:
        MintadError: no sweep has begun there, or a result is damaged.
    """
    import pandas as pd  # here, so that a run's process does not wait for it

    folder = Path(folder)
    if not (folder / WORK).is_dir():
        raise MintadError(f"{folder} is no sweep's folder: mintad sweep SPEC.yaml makes one")
    labels, rows = read_plan(folder), []
    for path in sorted(folder.iterdir()):
        if path.name == WORK or read_status(path).state != "finished" or not (path / METRICS).exists():
            continue
        known = _columns(labels.get(path.name, {}), _json(path / PARAMETERS))
        seconds = read_status(path).seconds
        for category, metric, value in values_of(_json(path / METRICS)):
            own = {"category": category, "metric": metric, "value": value, "seconds": seconds}
            rows.append({"run": path.name, **known, **own})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(OWN))


def _columns(labels: Mapping[str, str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name: _cell(value) for name, value in parameters.items()}
    for axis, label in labels.items():
        if axis in columns and label != str(parameters[axis]):
            columns[f"{axis}.value"] = columns[axis]
        if axis not in columns or f"{axis}.value" in columns:
            columns[axis] = label
    return {f"{name}_" if name in OWN else name: value for name, value in columns.items()}


def _cell(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def values_of(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(category, metric, value) of a run's metrics; what is not defined is left out."""
    parts = {IMAGE: metrics["image"]["auroc"]}
    if metrics.get("pixel"):
        parts[PIXEL] = metrics["pixel"]["average_precision"]
    swaps = {key: found["swap"]["auroc"] for key, found in metrics.get("defects", {}).items() if "swap" in found}
    if swaps:
        parts[SWAP] = {"per_category": swaps, "mean": sum(swaps.values()) / len(swaps)}
    if accuracy := metrics.get("class_accuracy"):
        parts[ACCURACY] = {"per_category": accuracy["per_class"], "mean": accuracy["mean"]}
        parts[NORMAL_ACCURACY] = {"per_category": {}, "mean": accuracy.get("normal")}  # not in older runs
    if chosen := metrics.get("by_classifier"):
        parts[BY_CLASSIFIER] = chosen["image"]["auroc"]
    for metric, part in parts.items():
        for category, value in {**part["per_category"], MEAN: part["mean"]}.items():
            if value is not None:
                yield category, metric, float(value)


def _json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MintadError(f"cannot read {file}: {error}") from error

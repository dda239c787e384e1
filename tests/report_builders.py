"""Run directories as training leaves them, without training."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from mintad.config import preset

MVTEC = (
    "bottle cable capsule hazelnut metal_nut pill screw toothbrush transistor zipper carpet grid leather tile wood"
).split()


def write_run(
    folder: Path,
    values: dict[str, float],
    *,
    data: str = "mvtec",
    name: str = "paper",
    pixel: float | None = 0.5,
    swap: dict[str, float] | None = None,
    baselines: dict[str, dict[str, float]] | None = None,
    finished: bool = True,
    **changes: object,
) -> Path:
    """A run whose categories have these image AUROCs; `changes` with two underscores for the dot of a key."""
    folder.mkdir(parents=True)
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    config = preset(name).override(**{"data.name": data, **keys})
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    if not finished:
        return folder
    per_category = {key if "/" in key else f"{data}/{key}": value for key, value in values.items()}
    mean = sum(values.values()) / len(values)
    metrics = {"image": {"auroc": {"per_category": per_category, "mean": mean}}, "pixel": None, "defects": {}}
    if pixel is not None:
        part = {"per_category": dict.fromkeys(per_category, pixel), "mean": pixel}
        metrics["pixel"] = {"average_precision": part}
    for category, value in (swap or {}).items():
        metrics["defects"][f"{data}/{category}"] = {"swap": {"auroc": value, "n": 4}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "report.html").write_text("page")
    if baselines:
        rows = {config.model.variant: {f"I {key}": value for key, value in per_category.items()}}
        for baseline, part in baselines.items():
            rows[baseline] = {f"I {data}/{key}": value for key, value in part.items()}
            rows[baseline]["I mean"] = sum(part.values()) / len(part)
        pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").to_csv(folder / "baselines.csv")
    return folder


def mvtec(base: float, step: float = 0.0) -> dict[str, float]:
    """Fifteen categories that rise from `base` by `step`."""
    return {name: base + n * step for n, name in enumerate(MVTEC)}

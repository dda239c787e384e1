"""Run directories as training leaves them, without training, and single values of their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from mintad.config import preset
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.table_values import table_values
from mintad.runs.files import PAGE, RESULTS
from mintad.scoring.metrics import MEAN, RESULT_COLUMNS

MVTEC = (
    "bottle cable capsule hazelnut metal_nut pill screw toothbrush transistor zipper carpet grid leather tile wood"
).split()


def write_run(
    folder: Path,
    values: dict[str, float],
    *,
    data: str = "mvtec",
    name: str = "paper",
    setting: str = "unified",
    pixel: float | None = 0.5,
    swap: dict[str, float] | None = None,
    baselines: dict[str, dict[str, float]] | None = None,
    finished: bool = True,
    **changes: object,
) -> Path:
    """Write a run whose categories have these image AUROCs; in `changes` two underscores stand for the dot of a key."""
    folder.mkdir(parents=True)
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    config = preset(name).override(**{"data.name": data, **keys})
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    if not finished:
        return folder
    methods = {config.model.variant: {"image_auroc": values, "image_auroc_swap": swap or {}}}
    if pixel is not None:
        methods[config.model.variant]["pixel_ap"] = dict.fromkeys(values, pixel)
    methods |= {baseline: {"image_auroc": part} for baseline, part in (baselines or {}).items()}
    rows = [
        (method, setting, config.train.seed, category, metric, value)
        for method, metrics in methods.items()
        for metric, part in metrics.items()
        for category, value in _with_mean(part, data).items()
    ]
    pd.DataFrame(rows, columns=list(RESULT_COLUMNS)).to_csv(folder / RESULTS, index=False)
    (folder / PAGE).write_text("page")
    return folder


def _with_mean(values: dict[str, float], data: str) -> dict[str, float]:
    keys = {key if "/" in key else f"{data}/{key}": value for key, value in values.items()}
    return keys | ({MEAN: sum(values.values()) / len(values)} if values else {})


def mvtec(base: float, step: float = 0.0) -> dict[str, float]:
    """Fifteen categories that rise from `base` by `step`."""
    return {name: base + n * step for n, name in enumerate(MVTEC)}


def only_row(table: pd.DataFrame, **expected: object) -> pd.Series:
    """The one row of a table that has these values."""
    for column, value in expected.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def table_of(path, number: int) -> pd.DataFrame:
    """The values of a table of the paper for the runs below a folder."""
    return table_values(select_runs(read_runs([path]), number))

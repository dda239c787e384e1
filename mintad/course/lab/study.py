"""What notebook 12 takes from runs: which runs, one table of them, their intervals over images and seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mintad.data.records import category_keys
from mintad.errors import DataError
from mintad.model import VARIANTS
from mintad.report.runs import Runs, read_runs
from mintad.report.select_runs import TableRuns
from mintad.report.table_values import by_seed
from mintad.runs.directory import Run
from mintad.runs.experiment import configure, resolve_folder
from mintad.runs.shared import shared_model, shared_model_dir
from mintad.scoring.metrics import MEAN
from mintad.scoring.resampling import resampled_aurocs

TRAINED = ("mint_ad", "uniad")
"""Variants that are trained if they are absent; the others are taken if they are there."""


def runs_or_shared_models(runs: str = "", *, preset: str = "lesson", seed: int = 0, device: str = "auto") -> Runs:
    """All runs of a folder, or the lessons that notebooks share.

    Args:
        runs: a folder of runs, see `resolve_folder`; '' for the lessons of every variant that are finished, and those
            of `TRAINED`, trained now if need be.
        preset, seed, device: of the lessons.

    Raises:
        DataError: no finished run is there.
    """
    if runs:
        return read_runs([resolve_folder(runs)])
    found = []
    for variant in VARIANTS:
        config = configure(preset=preset, variant=variant, seed=seed, device=device)
        if variant in TRAINED:
            shared_model(config)
        if Run(shared_model_dir(config)).finished:
            found.append(shared_model_dir(config))
    return read_runs(found)


def by_category(table_runs: TableRuns, metric: str = "image_auroc") -> pd.DataFrame:
    """Categories by methods: means over seeds of a metric, methods in the table's order."""
    rows = by_seed(table_runs)
    rows = rows[(rows["category"] != MEAN) & (rows["metric"] == metric)]
    return rows.pivot_table(index="category", columns="method", values="value", sort=False)


def means_by_seed(table_runs: TableRuns, metric: str = "image_auroc") -> dict[str, np.ndarray]:
    """Method -> its mean over categories in each run."""
    rows = by_seed(table_runs)
    rows = rows[(rows["category"] == MEAN) & (rows["metric"] == metric)]
    return {method: group["value"].to_numpy() for method, group in rows.groupby("method", sort=False)}


def image_draws(
    table_runs: TableRuns, methods: tuple[str, str], *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Mean image AUROC of one run of each of two methods, those of the smallest seed they share, and its bootstrap over
    their test images; see `mintad.scoring.resampling`.

    Raises:
        DataError: a method was not run, they share no seed, or were tested on different images.
    """
    rows = table_runs.rows[["paper_method", "seed", "run"]].drop_duplicates()
    of = {method: rows[rows["paper_method"] == method].set_index("seed")["run"] for method in methods}
    shared = sorted(set.intersection(*(set(one.index) for one in of.values())))
    if not shared:
        raise DataError(f"{' and '.join(methods)} have no seed in common")
    tested = {}
    for method, one in of.items():
        if not (Path(one[shared[0]]) / "scores.csv").exists():
            raise DataError(f"{one[shared[0]]} keeps no scores; the bootstrap over images needs a run directory")
        tested[method] = Run(Path(one[shared[0]])).scores()
    return paired_draws(tested, draws=draws, seed=seed)


def paired_draws(
    tested: dict[str, pd.DataFrame], *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`mintad.scoring.resampling.resampled_aurocs` of the tables of scores that runs keep, by name.

    Raises:
        DataError: they are not of the same images.
    """
    first = next(iter(tested.values()))
    if not all(table["image"].equals(first["image"]) for table in tested.values()):
        raise DataError(f"{' and '.join(tested)} were not tested on the same images")
    scores = {name: table["pred_score"].to_numpy() for name, table in tested.items()}
    return resampled_aurocs(scores, first["label"], category_keys(first), draws=draws, seed=seed)

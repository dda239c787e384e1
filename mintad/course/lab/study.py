"""Runs to compare, and intervals of their metrics over images and seeds (notebook 12)."""

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
from mintad.runs.shared import shared_model_dir, train_shared
from mintad.scoring.metrics import MEAN
from mintad.scoring.resampling import resampled_aurocs

TRAINED = ("mint_ad", "uniad")
"""Variants whose shared models are trained if they are missing; the others are read if they exist."""


def runs_or_shared_models(runs: str = "", *, preset: str = "lesson", seed: int = 0, device: str = "auto") -> Runs:
    """Read all runs of a folder, or the shared models of the notebooks.

    Args:
        runs: a folder of runs, see `mintad.runs.experiment.resolve_folder`; '' for the finished shared models of all
            variants, after training those of `TRAINED` that are not finished.
        preset: configuration of the shared models, with `seed` and `device`.

    Raises:
        DataError: no finished run is there.
    """
    if runs:
        return read_runs([resolve_folder(runs)])
    configs = {name: configure(preset=preset, variant=name, seed=seed, device=device) for name in VARIANTS}
    for variant in TRAINED:
        train_shared(configs[variant])
    folders = [shared_model_dir(config) for config in configs.values()]
    return read_runs([folder for folder in folders if Run(folder).finished])


def by_category(table_runs: TableRuns, metric: str = "image_auroc") -> pd.DataFrame:
    """Return a metric's means over seeds: categories as rows, methods as columns in the table's order."""
    rows = by_seed(table_runs)
    rows = rows[(rows["category"] != MEAN) & (rows["metric"] == metric)]
    return rows.pivot_table(index="category", columns="method", values="value", sort=False)


def means_by_seed(table_runs: TableRuns, metric: str = "image_auroc") -> dict[str, np.ndarray]:
    """Return, for each method, its mean over categories in each run (one value per seed)."""
    rows = by_seed(table_runs)
    rows = rows[(rows["category"] == MEAN) & (rows["metric"] == metric)]
    return {method: group.to_numpy() for method, group in rows.groupby("method", sort=False)["value"]}


def image_draws(
    table_runs: TableRuns, methods: tuple[str, str], *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Compute the mean image AUROC of one run of each of two methods, and its bootstrap over the test images.

    The runs are those of the smallest seed that both methods have. See `mintad.scoring.resampling`.

    Raises:
        DataError: a method was not run, the two share no seed, or they were tested on different images.
    """
    rows = table_runs.rows.pivot_table(index="seed", columns="paper_method", values="run", aggfunc="last")
    shared_seeds = rows.reindex(columns=list(methods)).dropna()
    if shared_seeds.empty:
        raise DataError(f"{' and '.join(methods)} have no seed in common")
    tested = {}
    for method, folder in shared_seeds.iloc[0].items():
        if not (Path(folder) / "scores.csv").exists():
            raise DataError(f"{folder} keeps no scores; the bootstrap over images needs a run directory")
        tested[method] = Run(Path(folder)).scores()
    return paired_draws(tested, draws=draws, seed=seed)


def paired_draws(
    tested: dict[str, pd.DataFrame], *, draws: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Bootstrap the image AUROC of several runs (name -> table of scores) on the same test images.

    Returns:
        Name -> image AUROC, and name -> its draws; see `mintad.scoring.resampling.resampled_aurocs`.

    Raises:
        DataError: the runs were not tested on the same images.
    """
    first = next(iter(tested.values()))
    if not all(table["image"].equals(first["image"]) for table in tested.values()):
        raise DataError(f"{' and '.join(tested)} were not tested on the same images")
    scores = {name: table["pred_score"].to_numpy() for name, table in tested.items()}
    return resampled_aurocs(scores, first["label"], category_keys(first), draws=draws, seed=seed)

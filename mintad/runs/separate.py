"""The separate setting of Table 1: one model a category.

Which model judges a test image? Table 1's separate setting is *told* the category. App. A.1 has it chosen by a
classifier, which is what an ensemble of separate models needs where nobody tells; here the nearest class mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mintad.config import Config
from mintad.data.records import categories, category_keys
from mintad.errors import TrainingError
from mintad.scoring.evaluate import pixels
from mintad.features.table import FeatureTable
from mintad.model import require_variant
from mintad.scoring import class_accuracy, summarise
from mintad.scoring.metrics import image_metrics
from mintad.baselines import PaDiM, PerCategory
from mintad.runs.train import require_baselines, train_run, trained_model
from mintad.runs.prepare import PreparedData, load_records, prepare_data, resolve_paths
from mintad.runs.page import write_report
from mintad.runs.directory import Run, open_run, versions
from mintad.scoring.maps import Told, grid_maps, image_scores
from mintad.training.device import pick_device

FOLDER = "categories"
"""Inside the run directory: a run a category."""


def train_separate(
    config: Config, out: str | Path, *, baseline_names: Sequence[str] = (), progress: bool = True
) -> Run:
    """Train one model per category and evaluate them together; interrupted, the same call goes on.

    Every model is trained exactly as `config` says: with `train.epochs` all settings see each image equally often (the
    paper's way), with `train.steps` every single model gets that many.

    Args:
        config: the whole configuration; its categories are trained one by one.
        out: run directory; each category's run lies in ``out/categories``.
        baseline_names: of `mintad.baselines.BASELINES`, fitted per category, too.
        progress: show bars on a terminal.

    Returns:
        A run whose scores, maps and metrics are those of the told setting. In ``metrics.json`` beside what
        `mintad.scoring.summarise` gives: ``setting``, ``thresholds`` (one a category), and ``by_classifier``, the image
        and pixel metrics where the nearest class mean chooses the model. ``scores.csv`` has both scores of each image.

    Raises:
        MintadError: see `mintad.runs.train.train_run`; the directory holds a unified run.
    """
    require_baselines(baseline_names)
    require_variant(config.model)
    config = resolve_paths(config)
    records = load_records(config)
    out = Path(out)
    if (out / "checkpoints").exists():
        raise TrainingError(f"{out} holds a unified training; choose another folder for the separate one")
    with open_run(out, config) as run:
        (out / FOLDER).mkdir(exist_ok=True)
        runs = {}
        for key in categories(records):
            alone = config.override(**{"data.categories": (key,)})
            folder = out / FOLDER / key.replace("/", "__")
            runs[key] = train_run(alone, folder, baseline_names=baseline_names, progress=progress)
        if not run.finished or not set(baseline_names) <= set(run.baselines().index):
            _finish(run, runs, prepare_data(config, records, progress=progress), config)
    return run


def padim_settings(prepared: PreparedData, config: Config) -> dict[str, dict[str, float]]:
    """Image AUROC per category of PaDiM, which is fitted in seconds, in three settings: one model for all, one a
    category with the category told, and one a category with the nearest class mean choosing (App. A.1)."""
    keys = category_keys(prepared.records).to_numpy()
    rows = np.flatnonzero((prepared.records["split"] == "test").to_numpy())
    train_rows, features = prepared.train_rows, prepared.features
    grid = prepared.backbone.grid
    alone = PerCategory(lambda: PaDiM(grid), keys).fit(features, train_rows)
    detectors = {
        "unified": PaDiM(grid).fit(features, train_rows),
        "separate, told": alone.told(rows),
        "separate, chosen": Told(alone, nearest_mean(features, train_rows, keys[train_rows], rows)),
    }
    scores, found = prepared.records.iloc[rows].reset_index(drop=True), {}
    for name, detector in detectors.items():
        maps_nHW = grid_maps(detector, features, rows, config.scoring)
        scores["pred_score"] = image_scores(maps_nHW, config.features.image_size, config.scoring)
        found[name] = image_metrics(scores)["auroc"]["per_category"]
    return found


def nearest_mean(features: FeatureTable, train_rows: np.ndarray, names: Sequence[str], rows: np.ndarray) -> list[str]:
    """The class whose training images' mean is nearest to each row: features averaged over tokens, every channel in
    units of its deviation over the training images.

    Args:
        features: of all rows.
        train_rows: normal training images.
        names: class of each of `train_rows`.
        rows: to classify.
    """
    pooled_nF = _pooled(features, np.concatenate([train_rows, rows]))
    known_nF, asked_nF = pooled_nF[: len(train_rows)], pooled_nF[len(train_rows) :]
    deviation_F = known_nF.std(axis=0)
    deviation_F[deviation_F < 1e-6] = 1.0
    classes, of_class = sorted(set(names)), np.asarray(names, dtype=object)
    mean_NF = np.stack([known_nF[of_class == name].mean(axis=0) for name in classes])
    distance_nN = np.linalg.norm((asked_nF[:, None] - mean_NF) / deviation_F, axis=-1)
    return [classes[k] for k in distance_nN.argmin(axis=1)]


def _pooled(features: FeatureTable, rows: np.ndarray, batch: int = 256) -> np.ndarray:
    parts = [features.gather(rows[k : k + batch]).mean(dim=1) for k in range(0, len(rows), batch)]
    return torch.cat(parts).double().numpy()


def _finish(run: Run, runs: Mapping[str, Run], prepared: PreparedData, config: Config) -> None:
    scores = pd.concat([one.scores() for one in runs.values()], ignore_index=True)
    maps_nHW = np.concatenate([np.load(one.path / "maps.npy") for one in runs.values()])
    row_of = {image: row for row, image in enumerate(prepared.records["image"])}
    rows = np.array([row_of[image] for image in scores["image"]])
    train_keys = category_keys(prepared.records.iloc[prepared.train_rows]).to_numpy()
    scores["pred_class"] = nearest_mean(prepared.features, prepared.train_rows, train_keys, rows)
    chosen_maps = _maps_of_chosen(scores, maps_nHW, rows, runs, prepared, config)
    chosen_scores = image_scores(chosen_maps, config.features.image_size, config.scoring)
    metrics = {"setting": "separate", **_measured(scores, maps_nHW, config)}
    metrics["by_classifier"] = _measured(scores.assign(pred_score=chosen_scores), chosen_maps, config)
    metrics["class_accuracy"] = class_accuracy(scores.assign(prompt_class=category_keys(scores)))
    metrics["thresholds"] = {key: one.read("metrics")["threshold"] for key, one in runs.items()}
    metrics["threshold"] = None  # there is one a category
    run.write("classes", sorted(runs))
    run.write("versions", versions())
    run.note_seconds("training", sum(one.seconds().get("training", 0.0) for one in runs.values()))
    kept = scores.assign(masks=scores["masks"].map(";".join), pred_score_by_classifier=chosen_scores)
    run.write_table("scores", kept)
    np.save(run.path / "maps.npy", maps_nHW)
    baselines = _merged_baselines(runs)
    if not baselines.empty:
        run.write_table("baselines", baselines.rename_axis("method"), index=True)
    _write_page(run, scores, maps_nHW, metrics, config, baselines)
    run.write("metrics", metrics)


def _measured(scores: pd.DataFrame, maps_nHW: np.ndarray, config: Config) -> dict[str, Any]:
    return summarise(scores, pixels(scores, maps_nHW, config.features.image_size))


def _maps_of_chosen(
    scores: pd.DataFrame,
    maps_nHW: np.ndarray,
    rows: np.ndarray,
    runs: Mapping[str, Run],
    prepared: PreparedData,
    config: Config,
) -> np.ndarray:
    """The map of the model that the classifier chose: the told one where it is right, computed now where it is not."""
    chosen_maps = maps_nHW.copy()
    device = pick_device(config.train.device)
    astray = (scores["pred_class"] != category_keys(scores)).to_numpy()
    for key in sorted(set(scores.loc[astray, "pred_class"])):
        inside = np.flatnonzero(astray & (scores["pred_class"] == key).to_numpy())
        model = trained_model(runs[key], prepared.backbone, device)
        detector = Told(model, np.zeros(len(inside), dtype=int)) if model.needs_labels else model
        chosen_maps[inside] = grid_maps(detector, prepared.features, rows[inside], config.scoring)
    return chosen_maps


def _merged_baselines(runs: Mapping[str, Run]) -> pd.DataFrame:
    """The categories' comparisons side by side, with means over categories; methods that all of them have."""
    tables = [one.baselines() for one in runs.values()]
    if any(table.empty for table in tables):
        return pd.DataFrame()
    joined = pd.concat([table.drop(columns=table.filter(regex=r"^[IP] mean$")) for table in tables], axis=1).dropna()
    for letter in ("I", "P"):
        columns = joined.filter(regex=f"^{letter} ")
        if len(columns.columns):
            joined[f"{letter} mean"] = columns.mean(axis=1)
    return joined


def _write_page(
    run: Run, scores: pd.DataFrame, maps_nHW: np.ndarray, metrics: dict[str, Any], config: Config, baselines: pd.DataFrame
) -> None:
    write_report(
        run.report,
        scores=scores,
        grid_maps=maps_nHW,
        metrics=metrics,
        history=None,
        config=config.to_dict(),
        threshold=None,
        title=f"{config.model.variant} on {config.data.name}, one model a category",
        baselines=None if baselines.empty else baselines,
        versions=run.read("versions"),
    )

"""The separate setting of Table 1: one model per category.

Which model judges a test image? In Table 1's separate setting the category is given ("separate" in the results). In
App. A.1 a classifier picks the model, as it must when the category is unknown ("separate_chosen"). We use the nearest
class mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mintad.config import Config
from mintad.data.records import categories, category_keys
from mintad.disk import refuse_link
from mintad.errors import MintadError, TrainingError
from mintad.features.table import FeatureTable
from mintad.model import require_variant
from mintad.runs.baselines import is_comparable, require_baselines, require_comparable
from mintad.runs.directory import Run
from mintad.runs.files import CATEGORIES
from mintad.runs.load import trained_detector, trained_model
from mintad.runs.opening import open_run, versions
from mintad.runs.prepare import (
    PreparedData,
    load_records,
    prepare_data,
    require_outside_data,
    require_trained,
    resolve_paths,
)
from mintad.runs.save import RunResults, save_results
from mintad.runs.train import train_run
from mintad.scoring.evaluate import results_of
from mintad.scoring.maps import grid_maps, image_scores
from mintad.scoring.metrics import MEAN, POOLED, RESULT_COLUMNS
from mintad.scoring.sharp_prior import score_method
from mintad.training.device import pick_device


def train_separate(
    config: Config, out: str | Path, *, baseline_names: Sequence[str] = (), progress: bool = True
) -> Run:
    """Train one model per category and evaluate them together; the same call resumes an interrupted one.

    With `train.epochs` all settings see each image equally often (the paper's way), with `train.steps` every single
    model gets that many.

    Each category's run lies in ``out/categories``. The baselines, of `mintad.baselines.BASELINES`, are fitted per
    category, too.

    Returns:
        A run whose results hold the settings "separate" and "separate_chosen". Its maps and pred_score are those with
        the category given; ``scores.csv`` has pred_score_chosen, too. Each category's run has its own threshold.

    Raises:
        MintadError: see `mintad.runs.train.train_run`; the directory holds a unified run.
    """
    require_baselines(baseline_names, config)
    require_variant(config.model)
    config = resolve_paths(config)
    require_outside_data(Path(out), config)
    records = load_records(config)
    require_comparable(baseline_names, records)
    out = Path(out)
    if (out / "checkpoints").exists():
        raise TrainingError(f"{out} holds a unified training; choose another folder for the separate one")
    if not Run(out).finished:
        require_trained(records, config)
    with open_run(out, config) as run:
        refuse_link(out / CATEGORIES)
        (out / CATEGORIES).mkdir(exist_ok=True)
        runs = {}
        for key in categories(records):
            category_config = config.override(**{"data.categories": (key,)})
            folder = out / CATEGORIES / key.replace("/", "__")
            names = baseline_names if is_comparable(load_records(category_config)) else ()
            runs[key] = train_run(category_config, folder, baseline_names=names, progress=progress)
        if not run.finished or not set(baseline_names) <= set(run.baselines()):
            _evaluate_and_save(run, runs, prepare_data(config, records, progress=progress), config)
    return run


def nearest_mean(features: FeatureTable, train_rows: np.ndarray, names: Sequence[str], rows: np.ndarray) -> list[str]:
    """Classify rows by the class whose training images have the nearest mean.

    Features are averaged over tokens; channels are in units of their standard deviation over the training images.
    `names` is the class of each of `train_rows`.
    """
    mean_nF = _mean_over_tokens(features, np.concatenate([train_rows, rows]))
    train_nF, row_nF = mean_nF[: len(train_rows)], mean_nF[len(train_rows) :]
    std_F = train_nF.std(axis=0)
    std_F[std_F < 1e-6] = 1.0
    classes, class_n = sorted(set(names)), np.asarray(names, dtype=object)
    mean_NF = np.stack([train_nF[class_n == name].mean(axis=0) for name in classes])
    distance_nN = np.linalg.norm((row_nF[:, None] - mean_NF) / std_F, axis=-1)
    return [classes[index] for index in distance_nN.argmin(axis=1)]


def _mean_over_tokens(features: FeatureTable, rows: np.ndarray, batch: int = 256) -> np.ndarray:
    parts = [features.gather(rows[k : k + batch]).mean(dim=1) for k in range(0, len(rows), batch)]
    return torch.cat(parts).double().numpy()


def _evaluate_and_save(run: Run, runs: Mapping[str, Run], data: PreparedData, config: Config) -> None:
    """Evaluate the categories' models with the category given and with the category predicted, and write both."""
    for category_run in runs.values():
        if category_run.region:
            problem, fix = (
                "has results of a region of interest alone",
                f"mintad evaluate {category_run.path} --whole-image",
            )
            raise MintadError(problem, path=category_run.path, fix=fix)
    run.write("classes", sorted(runs))
    run.write("versions", versions())
    run.note_seconds("training", sum(category_run.seconds().get("training", 0.0) for category_run in runs.values()))
    scores = pd.concat([category_run.scores() for category_run in runs.values()], ignore_index=True)
    maps_nHW = np.concatenate([category_run.maps() for category_run in runs.values()])
    if (tested := (scores["split"] == "test").to_numpy()).any():  # of the others only held-out images are scored
        scores, maps_nHW = scores[tested].reset_index(drop=True), maps_nHW[tested]
    made = [table for table in (category_run.made_defects() for category_run in runs.values()) if table is not None]
    row_of = {image: row for row, image in enumerate(data.records["image"])}
    rows = scores["image"].map(row_of).to_numpy()
    train_keys = category_keys(data.records.iloc[data.train_rows]).to_numpy()
    scores = scores.assign(pred_class=nearest_mean(data.features, data.train_rows, train_keys, rows))
    chosen_maps = _maps_of_chosen(scores, maps_nHW, rows, runs, data, config)
    scores["pred_score_chosen"] = image_scores(chosen_maps, config.features.image_size, config.scoring)
    category_given = scores.assign(pred_class="")  # so there is no class to predict
    chosen = scores.assign(pred_score=scores["pred_score_chosen"], prompt_class=category_keys(scores))
    method = score_method(config.model.variant, config.scoring.score)
    results = [
        results_of(category_given, maps_nHW, config, method=method, setting="separate"),
        results_of(chosen, chosen_maps, config, method=method, setting="separate_chosen"),
        *_other_results(runs, method),
    ]
    made = pd.concat(made, ignore_index=True) if made else None
    results = pd.concat(results, ignore_index=True)
    save_results(run, RunResults(results, scores, maps_nHW, decisions=None, made=made, region=None))


def _maps_of_chosen(
    scores: pd.DataFrame,
    maps_nHW: np.ndarray,
    rows: np.ndarray,
    runs: dict[str, Run],
    data: PreparedData,
    config: Config,
) -> np.ndarray:
    """Return the maps of the predicted categories' models, computed only where the prediction is wrong."""
    chosen_maps, device = maps_nHW.copy(), pick_device(config.train.device)
    wrong = scores["pred_class"].where(scores["pred_class"] != category_keys(scores))
    for key, positions in wrong.groupby(wrong).indices.items():
        model = trained_model(runs[key], data.backbone, device)
        labels = np.zeros(len(positions), dtype=int) if model.needs_labels else None  # such a model knows one class
        detector = trained_detector(runs[key], model)
        chosen_maps[positions] = grid_maps(detector, data.features, rows[positions], config.scoring, labels=labels)
    return chosen_maps


def _other_results(runs: Mapping[str, Run], method: str) -> list[pd.DataFrame]:
    """Return the results of all other methods that every category's run has, with means over the categories.

    These are the baselines, and the model's scores that do not decide.
    """
    results, tables = pd.concat([run.results() for run in runs.values()], ignore_index=True), []
    measured = (run.results() for run in runs.values())
    names = [list(table["method"].unique()) for table in measured if "image_auroc" in set(table["metric"])] or [[]]
    for name in (name for name in names[0] if name != method and all(name in others for others in names)):
        rows = results[(results["method"] == name) & ~results["category"].isin([MEAN, POOLED])]
        means = rows.groupby(["metric", "seed"], sort=False, as_index=False)["value"].mean()
        table = pd.concat([rows, means.assign(method=name, category=MEAN)], ignore_index=True)
        tables.append(table.assign(setting="separate")[list(RESULT_COLUMNS)])
    return tables

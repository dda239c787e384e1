"""From a trained model to results: scores, decisions, baselines on the same images, and the run's files."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mintad.config import Config
from mintad.data.photographs import describe
from mintad.errors import ConfigError, MintadError, TrainingError
from mintad.features.table import FeatureTable
from mintad.model import ReconstructionModel, require_variant
from mintad.model.precision import joined_in_float16
from mintad.runs.baselines import evaluate_baseline, require_baselines, require_comparable
from mintad.runs.calibrate import calibrate, decide
from mintad.runs.changes import record_training_images, row_hashes, with_hashes
from mintad.runs.directory import Run
from mintad.runs.files import PRODUCTS, SHARP_PRIOR
from mintad.runs.load import trained_model
from mintad.runs.made import rows_without_defects, score_made_defects
from mintad.runs.opening import log_to, versions
from mintad.runs.prepare import PreparedData, image_list, prepare_data, resolve_paths
from mintad.runs.region import new_region, stored_region
from mintad.runs.save import RunResults, save_results
from mintad.scoring.detect import detect
from mintad.scoring.evaluate import Evaluation, results_of
from mintad.scoring.known_products import KnownProducts
from mintad.scoring.maps import grid_maps, image_scores
from mintad.scoring.metrics import value_of
from mintad.scoring.sharp_prior import ModelDetector, SharpPrior, SharpPriorDetector, score_method
from mintad.training.device import pick_device

SAMPLE = 256  # training images whose reconstruction error gives its unit for the score 'both'
log = logging.getLogger(__name__)


def add_baselines(
    run: Run, data: PreparedData, names: Sequence[str], *, device: torch.device, progress: bool = True
) -> None:
    """Evaluate baselines that a finished run lacks, and add each to its results before the next one begins."""
    for name in names:
        [table] = baseline_results(run, [name], data, run.config(), device, progress=progress)
        found = RunResults.of(run)
        results = pd.concat([found.results, table], ignore_index=True)
        save_results(run, dataclasses.replace(found, results=results))


def evaluate_run(
    path: str | Path,
    *,
    baseline_names: Sequence[str] = (),
    root: str | Path | None = None,
    region: str | Path | None = None,
    whole_image: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Run:
    """Evaluate the newest checkpoint of a run again, in float32, and write its results anew.

    The run may have been trained on another device. The baselines are evaluated together with those that the run was
    compared with before. Where the data have moved, `root` is their new folder, which the run then remembers; the
    training images must be the same.

    With a `region` of interest, an image file, anomalies count in this part of the images alone from now on, in scores,
    thresholds, metrics and new predictions; `whole_image` ends that. Labels stay: an image whose only defect lies
    outside counts as anomalous.

    Raises:
        MintadError: not a run directory, the training is not finished, a baseline of the run is not registered any
            more, or the training images have changed since.
    """
    run = Run(Path(path))
    config, torch_device, checkpoint = run.config(), pick_device(device), run.checkpoint()
    if region is not None and whole_image:
        raise ConfigError("a region of interest and the whole image are asked for", fix="leave out one")
    config = config if root is None else resolve_paths(config.override(**{"data.root": str(root)}))
    if checkpoint.step < checkpoint.state()["steps"]:
        problem = f"{checkpoint.step} of {checkpoint.state()['steps']} steps are trained"
        raise TrainingError(problem, path=run.path, fix=f"mintad train --out {run.path} finishes it")
    require_variant(config.model)
    names = list(dict.fromkeys([*_former_baselines(run), *baseline_names]))
    require_baselines(names, config)
    with run.locked(), log_to(run):
        data = prepare_data(config, device=torch_device, progress=progress)
        require_comparable(baseline_names, data.records)
        record_training_images(run, image_list(data, config))
        if root is not None:
            run.write("config", config.to_dict())
        chosen = None if whole_image else stored_region(run) if region is None else new_region(run, region)
        data = dataclasses.replace(data, classes=run.read("classes"), region=chosen)
        model = trained_model(run, data.backbone, torch_device)
        evaluate_and_save(run, model, data, config, baseline_names=names, progress=progress)
    return run


def _former_baselines(run: Run) -> list[str]:
    """Return the baselines of a run's results, and none where the results are damaged, which is said."""
    try:
        return run.baselines()
    except MintadError as error:
        log.warning("%s (name the baselines again, which stood there, with --baselines)", error)
        return []


def evaluate_and_save(
    run: Run,
    model: ReconstructionModel,
    data: PreparedData,
    config: Config,
    *,
    baseline_names: Sequence[str] = (),
    progress: bool = False,
) -> None:
    """Evaluate a trained model, fit the thresholds to held-out normal images, evaluate the baselines, and write all."""
    run.write("versions", versions())
    trained = data.records.iloc[data.train_rows]
    run.write("photographs", describe(trained["image"], trained["prompt_class"]))
    model.eval()
    rows, variant = data.scored_rows, config.model.variant
    with run.timing("evaluation"):
        detectors, labels = run_detectors(run, model, data, config), data.labels_for(model, rows)
        inputs = data.features, rows, data.classes, config.scoring
        found = detect(model, detectors.values(), *inputs, labels=labels)
        evaluations = {}
        for score, maps_nHW in zip(detectors, found.maps, strict=True):
            scores_n = image_scores(maps_nHW, config.features.image_size, config.scoring, data.region)
            scores = data.records.iloc[rows].reset_index(drop=True)
            scores = scores.assign(pred_score=scores_n, pred_class=found.predicted)
            about = {"method": score_method(variant, score), "region": data.region}
            evaluations[score] = Evaluation(scores, maps_nHW, results_of(scores, maps_nHW, config, **about))
        decisive, decisions = evaluations[config.scoring.score], None
        if len(data.holdout_rows):
            products = KnownProducts.fit(data.features, data.train_rows, seed=config.train.seed)
            products.save(run.path / PRODUCTS)
            decisions = calibrate(products, detectors[config.scoring.score], model, data, config)
            decisive.scores = decide(decisions, products, decisive.scores, found.judged, data)
    with run.timing("made defects") if len(rows_without_defects(data)) else contextlib.nullcontext():
        made = score_made_defects(detectors[config.scoring.score], model, data, config, decisions)
    tables = [evaluation.results for evaluation in evaluations.values()]
    tables += baseline_results(run, baseline_names, data, config, model.output.weight.device, progress=progress)
    results = pd.concat(tables, ignore_index=True)
    scores = with_hashes(decisive.scores, row_hashes(data.features.hashes, data.scored_rows))
    save_results(run, RunResults(results, scores, decisive.grid_maps, decisions, made, data.region))
    auroc = value_of(results, "image_auroc")
    log.info(
        "image AUROC, mean over categories: %s", "no category has both kinds of images" if auroc is None else auroc
    )


def run_detectors(run: Run, model: ReconstructionModel, data: PreparedData, config: Config) -> dict[str, ModelDetector]:
    """Return the detector of every score that a run measures, the decisive one first (`scoring.score`).

    The sharp prior is fitted to the training images, and its file written into the run directory.
    """
    if config.scoring.score == "reconstruction":
        return {"reconstruction": model}
    labels = data.train_labels if model.predicts_class or model.needs_labels else np.zeros_like(data.train_labels)
    with run.timing("sharp prior"):
        if config.scoring.sharp_prior.input == "residuals":
            inputs = residuals(model, data), np.arange(len(labels)), labels, model.grid
        else:
            inputs = data.features, data.train_rows, labels, data.backbone.grid
        prior = SharpPrior.fit(*inputs, config.scoring.sharp_prior, seed=config.train.seed)
        sample = data.train_rows[:: max(1, len(data.train_rows) // SAMPLE)]
        squared = dataclasses.replace(config.scoring, distance="squared")
        errors_nHW = grid_maps(model, data.features, sample, squared, labels=data.labels_for(model, sample))
        prior.typical_error.fill_(float(errors_nHW.mean()))
        prior.save(run.path / SHARP_PRIOR, run.checkpoint().weights_digest)
    ours = {score: SharpPriorDetector(model, prior, score=score) for score in ("gaussian", "both")}
    decisive = config.scoring.score
    return {decisive: ours.pop(decisive), "reconstruction": model, **ours}


@torch.no_grad()
def residuals(model: ReconstructionModel, data: PreparedData) -> FeatureTable:
    """Return what a trained model's reconstruction leaves of the training images' features."""
    device, parts = model.output.weight.device, []
    for rows in np.array_split(data.train_rows, max(1, len(data.train_rows) // 64)):
        labels = data.labels_for(model, rows)
        labels_B = None if labels is None else torch.as_tensor(labels, device=device)
        parts.append(model(data.features.gather(rows).to(device), labels_B=labels_B).residual.cpu())
    return FeatureTable.from_tensor(joined_in_float16(parts))


def baseline_results(
    run: Run, names: Sequence[str], data: PreparedData, config: Config, device: torch.device, *, progress: bool
) -> list[pd.DataFrame]:
    """Fit baselines to the same images and return the results of each; the run records their seconds."""
    tables = []
    for name in names:
        log.info("fitting baseline %s", name)
        with run.timing(name):
            tables.append(evaluate_baseline(name, data, config, device=device, progress=progress).results)
    return tables

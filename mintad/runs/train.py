"""From a configuration to a finished run: prepared data -> model -> scoring -> report."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mintad import baselines
from mintad.config import Config
from mintad.errors import ConfigError, nearest
from mintad.scoring.evaluate import evaluate, predict_classes
from mintad.features.backbone import Backbone
from mintad.scoring import class_accuracy
from mintad.model import ReconstructionModel, build_model, require_variant
from mintad.runs.prepare import PreparedData, image_list, load_records, prepare_data, resolve_paths
from mintad.runs.page import write_report
from mintad.runs.directory import Run, log_to, open_run, versions
from mintad.scoring.maps import fit_threshold, grid_maps, image_scores
from mintad.training import load_weights, train
from mintad.training.device import make_accelerator, pick_device

log = logging.getLogger(__name__)


def new_model(config: Config, prepared: PreparedData) -> ReconstructionModel:
    """A model freshly initialised from `config.train.seed`, its standardisation fitted on the training rows."""
    torch.manual_seed(config.train.seed)
    backbone = prepared.backbone
    model = build_model(config.model, channels=backbone.channels, grid=backbone.grid, classes=len(prepared.classes))
    if config.features.standardise:
        parts = np.array_split(prepared.train_rows, max(1, len(prepared.train_rows) // 256))
        model.standardise.fit(prepared.features.gather(part) for part in parts)
    model.learn_names(prepared.classes)
    return model


def trained_model(run: Run, backbone: Backbone, device: torch.device) -> ReconstructionModel:
    """The model of a run's newest checkpoint, for `backbone`'s features and the run's own classes.

    Raises:
        MintadError: a file of the run is missing or damaged.
    """
    checkpoint, classes = run.checkpoint(), run.read("classes")
    model = build_model(run.config().model, channels=backbone.channels, grid=backbone.grid, classes=len(classes))
    load_weights(model, checkpoint)
    return model.to(device).eval()


def train_run(
    config: Config,
    out: str | Path,
    *,
    baseline_names: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train, evaluate and report. A run that was interrupted is resumed; a finished one is returned as it is, or with
    the baselines added that it lacks.

    Args:
        config: the whole configuration.
        out: run directory.
        baseline_names: of `mintad.baselines.BASELINES`, evaluated on the same features.
        overwrite: remove a run that is already there.
        progress: show bars on a terminal.

    Raises:
        MintadError: see `prepare_data`, `train` and `open_run`.
    """
    require_baselines(baseline_names)
    require_variant(config.model)
    config = resolve_paths(config)
    accelerator = make_accelerator(config.train)
    records = load_records(config)  # before a run directory is made: a mistake in the data leaves none behind
    run = Run(Path(out))
    with contextlib.ExitStack() as main_alone:
        if accelerator.is_main_process:
            main_alone.enter_context(open_run(out, config, overwrite=overwrite))
        accelerator.wait_for_everyone()
        finished = run.finished
        if accelerator.is_main_process:
            main_alone.enter_context(log_to(run))
            if finished:
                add_baselines(run, records, baseline_names, device=accelerator.device, progress=progress)
        if finished:
            return run
        with accelerator.main_process_first():  # the others then read its cache
            timing = run.timing("features", add=True) if accelerator.is_main_process else contextlib.nullcontext()
            with timing:
                prepared = prepare_data(config, records, device=accelerator.device, progress=progress)
        log.info(
            "%d training images, %d held out, %d classes, %d x %d tokens of %d channels",
            len(prepared.train_rows),
            len(prepared.holdout_rows),
            len(prepared.classes),
            *prepared.backbone.grid,
            prepared.backbone.channels,
        )
        model = new_model(config, prepared)
        if accelerator.is_main_process:
            run.record_training_images(image_list(prepared, config))
            run.write("classes", prepared.classes)
        history = train(
            model,
            prepared.features,
            prepared.train_rows,
            prepared.train_labels,
            config.train,
            run.path,
            accelerator=accelerator,
            progress=progress,
        )
        if accelerator.is_main_process:
            run.note_seconds("training", history["seconds"].iloc[-1])
            evaluate_and_save(run, model, prepared, config, baseline_names=baseline_names)
        accelerator.wait_for_everyone()
    return run


def add_baselines(
    run: Run, records: pd.DataFrame, names: Sequence[str], *, device: torch.device, progress: bool = True
) -> None:
    """Evaluate the baselines that a finished run lacks, and them only, and add them to its comparison and page."""
    missing = [name for name in names if name not in run.baselines().index]
    if not missing:
        return
    config, metrics = run.config(), run.read("metrics")
    prepared = prepare_data(config, records, device=device, progress=progress)
    run.record_training_images(image_list(prepared, config))
    compare_baselines(run, metrics, prepared, config, missing)
    write_page(run, config, run.scores(), np.load(run.path / "maps.npy"), metrics)


def evaluate_run(
    path: str | Path, *, baseline_names: Sequence[str] = (), device: str = "auto", progress: bool = True
) -> Run:
    """Evaluate the newest checkpoint of a run again, in float32, and rewrite its results.

    Args:
        path: run directory.
        baseline_names: evaluated too, as are those that the run was compared with before.
        device: 'auto', 'cpu' or 'cuda', whatever the run was trained on.
        progress: show bars on a terminal.

    Raises:
        MintadError: not a run directory, no checkpoint, or the training images have changed since.
    """
    require_baselines(baseline_names)
    run = Run(Path(path))
    config, chosen = run.config(), pick_device(device)
    run.checkpoint()  # refused before anything is computed
    with run.held(), log_to(run):
        prepared = prepare_data(config, device=chosen, progress=progress)
        run.record_training_images(image_list(prepared, config))
        prepared = dataclasses.replace(prepared, classes=run.read("classes"))
        model = trained_model(run, prepared.backbone, chosen)
        names = dict.fromkeys([*run.baselines().index[1:], *baseline_names])
        evaluate_and_save(run, model, prepared, config, baseline_names=list(names))
    return run


def require_baselines(names: Sequence[str]) -> None:
    """Refuse unknown baselines by name."""
    for name in names:
        if name not in baselines.BASELINES:
            raise ConfigError(f"unknown baseline '{name}'." + nearest(name, baselines.BASELINES))


def evaluate_and_save(
    run: Run, model: ReconstructionModel, prepared: PreparedData, config: Config, *, baseline_names: Sequence[str] = ()
) -> None:
    """Evaluate a trained model, fit the threshold, run the baselines, and write every result file and the page."""
    features = prepared.features
    for stale in ("metrics.json", "baselines.csv"):  # a crash from here on leaves an unfinished run, not a mixed one
        (run.path / stale).unlink(missing_ok=True)
    run.write("versions", versions())
    model.eval()
    with run.timing("evaluation"):
        test_rows = np.flatnonzero((prepared.records["split"] == "test").to_numpy())
        result = evaluate(prepared.detector(model, test_rows), features, prepared.records, config)
        result.scores["pred_class"] = predict_classes(model, features, test_rows, prepared.classes)
        result.metrics["class_accuracy"] = class_accuracy(result.scores)
        result.metrics["threshold"] = find_threshold(model, prepared, config, result.scores)
    run.write_table("scores", result.scores.assign(masks=result.scores["masks"].map(";".join)))
    np.save(run.path / "maps.npy", result.grid_maps)
    compare_baselines(run, result.metrics, prepared, config, baseline_names)
    write_page(run, config, result.scores, result.grid_maps, result.metrics)
    run.write("metrics", result.metrics)
    log.info("image AUROC, mean over categories: %s", result.metrics["image"]["auroc"]["mean"])


def find_threshold(
    model: ReconstructionModel, prepared: PreparedData, config: Config, scores: pd.DataFrame
) -> dict[str, Any] | None:
    """The threshold from the held-out normal images, with its rates on the test images; None without held-out ones."""
    if not len(prepared.holdout_rows):
        return None
    rows = prepared.holdout_rows
    normal_maps = grid_maps(prepared.detector(model, rows), prepared.features, rows, config.scoring)
    normal_scores = image_scores(normal_maps, config.features.image_size, config.scoring)
    threshold = fit_threshold(normal_scores, config.scoring.threshold_quantile)
    flagged = scores["pred_score"] > threshold["value"]
    threshold["false_positive_rate"] = float(flagged[scores["label"] == 0].mean())  # NaN without such images
    threshold["true_positive_rate"] = float(flagged[scores["label"] == 1].mean())
    return threshold


def compare_baselines(
    run: Run, metrics: dict[str, Any], prepared: PreparedData, config: Config, baseline_names: Sequence[str]
) -> None:
    """Fit baselines on the very same features and add their image AUROC and pixel AP to the run's ``baselines.csv``, method
    by category; the model's row comes first."""
    for name in baseline_names:
        log.info("fitting baseline %s", name)
        with run.timing(name):
            baseline = baselines.BASELINES[name](prepared.backbone.grid).fit(prepared.features, prepared.train_rows)
            row = table_row(evaluate(baseline, prepared.features, prepared.records, config).metrics)
        table = run.baselines()
        table = (
            pd.DataFrame.from_dict({config.model.variant: table_row(metrics)}, orient="index") if table.empty else table
        )
        table = pd.concat([table, pd.DataFrame.from_dict({name: row}, orient="index")])
        run.write_table("baselines", table.rename_axis("method"), index=True)


def write_page(run: Run, config: Config, scores: pd.DataFrame, maps_nHW: np.ndarray, metrics: dict[str, Any]) -> None:
    """The results page of a run."""
    history, table = run.path / "history.csv", run.baselines()
    write_report(
        run.report,
        scores=scores,
        grid_maps=maps_nHW,
        metrics=metrics,
        history=pd.read_csv(history) if history.exists() else None,
        config=config.to_dict(),
        threshold=metrics["threshold"],
        title=f"{config.model.variant} on {config.data.name}",
        baselines=None if table.empty else table,
        versions=run.read("versions"),
    )


def table_row(metrics: dict[str, Any]) -> dict[str, float]:
    """One line of a comparison: image AUROC (I) and pixel AP (P) per category and their means."""
    parts = {"I": metrics["image"]["auroc"]}
    if metrics["pixel"]:
        parts["P"] = metrics["pixel"]["average_precision"]
    row = {}
    for letter, part in parts.items():
        row |= {f"{letter} {key}": value for key, value in part["per_category"].items()}
        row[f"{letter} mean"] = part["mean"]
    return row

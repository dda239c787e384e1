"""From a configuration to a finished run: data -> features -> model -> scoring -> report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mintad import data, peers
from mintad.config import Config, FeatureConfig
from mintad.data.records import select
from mintad.errors import ConfigError, DataError, nearest
from mintad.evaluation import Evaluation, evaluate, predict_classes
from mintad.features.backbone import Backbone, build_backbone
from mintad.features.extract import extract
from mintad.features.table import FeatureTable
from mintad.metrics import class_accuracy
from mintad.model import ReconstructionModel, build_model
from mintad.report import write_report
from mintad.run import Run, log_to, open_run, remove_run, versions
from mintad.scoring import fit_threshold, grid_maps, image_scores
from mintad.training import load_weights, train
from mintad.training.loop import make_accelerator

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """Data and features of a configuration."""

    records: pd.DataFrame
    backbone: Backbone
    features: FeatureTable
    train_rows: np.ndarray
    holdout_rows: np.ndarray
    """Normal training images kept back for the threshold."""
    classes: list[str]
    """Class names that the head learns, sorted."""

    @property
    def train_labels(self) -> np.ndarray:
        """Class index of each of `train_rows`."""
        names = self.records["prompt_class"].iloc[self.train_rows]
        return names.map({name: k for k, name in enumerate(self.classes)}).to_numpy()


def load_records(config: Config) -> pd.DataFrame:
    """The record table that `config.data` names, restricted to its categories."""
    records = data.load(config.data.name, config.data.root, **config.data.options)
    return select(records, config.data.categories) if config.data.categories else records


def prepare(
    config: Config,
    records: pd.DataFrame | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Prepared:
    """Extract (or read) the features of the records, and split the normal training images.

    Args:
        config: the whole configuration.
        records: loaded as `config.data` says if not given.
        device: where to compute features.
        progress: show a bar on a terminal.

    Raises:
        DataError, WeightsError: see the loaders and `build_backbone`.
    """
    records = load_records(config) if records is None else records
    backbone = configured_backbone(config.features)
    features = extract(records, backbone, device=device, dtype=config.features.dtype, progress=progress)
    train_rows, holdout_rows = split_holdout(records, config.data.holdout, config.train.seed)
    classes = sorted(set(records["prompt_class"].iloc[train_rows]))
    return Prepared(records, backbone, features, train_rows, holdout_rows, classes)


def configured_backbone(wanted: FeatureConfig, *, weights: str | None = None) -> Backbone:
    """The backbone that a configuration names; `weights` replaces its weights."""
    return build_backbone(
        wanted.backbone,
        image_size=wanted.image_size,
        grid=wanted.grid,
        weights=weights or wanted.weights,
        reductions=wanted.reductions,
        resize=wanted.resize,
    )


def split_holdout(records: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the normal training images, split into (training, held out) within every class.

    Raises:
        DataError: a class would keep no training image.
    """
    rows = np.flatnonzero((records["split"] == "train").to_numpy())
    if share == 0:
        return rows, rows[:0]
    rng = np.random.default_rng([seed, 1])
    names = records["prompt_class"].to_numpy()[rows]
    kept, held = [], []
    for name in sorted(set(names)):
        order = rng.permutation(rows[names == name])
        n_held = max(1, round(share * len(order)))
        if n_held >= len(order):
            raise DataError(f"{name} has {len(order)} training image(s), too few for data.holdout={share}; set it to 0")
        held.append(order[:n_held])
        kept.append(order[n_held:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def new_model(config: Config, prepared: Prepared) -> ReconstructionModel:
    """A model freshly initialised from `config.train.seed`, its standardisation fitted on the training rows."""
    torch.manual_seed(config.train.seed)
    backbone = prepared.backbone
    model = build_model(config.model, channels=backbone.channels, grid=backbone.grid, classes=len(prepared.classes))
    if config.features.standardise:
        parts = np.array_split(prepared.train_rows, max(1, len(prepared.train_rows) // 256))
        model.standardise.fit(prepared.features.gather(part) for part in parts)
    return model


def train_run(
    config: Config,
    out: str | Path,
    *,
    peer_names: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train, evaluate and report; a run that was interrupted is resumed, a finished one returned as it is.

    Args:
        config: the whole configuration.
        out: run directory.
        peer_names: of `mintad.peers.PEERS`, evaluated on the same features.
        overwrite: remove a run that is already there.
        progress: show bars on a terminal.

    Raises:
        MintadError: see `prepare`, `train` and `open_run`.
    """
    unknown = [name for name in peer_names if name not in peers.PEERS]
    if unknown:
        raise ConfigError(f"unknown peer '{unknown[0]}'." + nearest(unknown[0], peers.PEERS))
    accelerator = make_accelerator(config.train)
    records = load_records(config)  # before a run directory is made: a mistake in the data leaves none behind
    if accelerator.is_main_process:
        if overwrite:
            remove_run(out)
        open_run(out, config, beside_others=overwrite)
    accelerator.wait_for_everyone()
    run = Run(Path(out))
    if run.finished:
        return run
    with log_to(run):
        with accelerator.main_process_first():  # the others then read its cache
            prepared = prepare(config, records, device=accelerator.device, progress=progress)
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
            run.write("classes", prepared.classes)
        train(
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
            finish_run(run, model, prepared, config, peer_names=peer_names)
        accelerator.wait_for_everyone()
    return run


def evaluate_run(path: str | Path, *, peer_names: Sequence[str] = (), progress: bool = True) -> Run:
    """Evaluate the newest checkpoint of a run again and rewrite its results.

    Raises:
        MintadError: not a run directory, or no checkpoint.
    """
    run = Run(Path(path))
    config = run.config()
    device = make_accelerator(config.train).device
    checkpoint = run.checkpoint()
    with log_to(run):
        prepared = prepare(config, device=device, progress=progress)
        model = new_model(config, prepared)
        load_weights(model, checkpoint)
        finish_run(run, model.to(device).eval(), prepared, config, peer_names=peer_names)
    return run


def finish_run(
    run: Run, model: ReconstructionModel, prepared: Prepared, config: Config, *, peer_names: Sequence[str] = ()
) -> None:
    """Evaluate a trained model, fit the threshold, run the peers, and write every result file and the page."""
    features = prepared.features
    for stale in ("metrics.json", "peers.csv"):  # a crash from here on leaves an unfinished run, not a mixed one
        (run.path / stale).unlink(missing_ok=True)
    run.write("versions", versions())
    model.eval()
    result = evaluate(model, features, prepared.records, config)
    test_rows = np.flatnonzero((prepared.records["split"] == "test").to_numpy())
    result.scores["pred_class"] = predict_classes(model, features, test_rows, prepared.classes)
    result.metrics["class_accuracy"] = class_accuracy(result.scores)
    threshold = None
    if len(prepared.holdout_rows):
        normal_maps = grid_maps(model, features, prepared.holdout_rows, config.scoring)
        normal_scores = image_scores(normal_maps, config.features.image_size, config.scoring)
        threshold = fit_threshold(normal_scores, config.scoring.threshold_quantile)
        flagged = result.scores["pred_score"] > threshold["value"]
        threshold["false_positive_rate"] = float(flagged[result.scores["label"] == 0].mean())
        threshold["true_positive_rate"] = float(flagged[result.scores["label"] == 1].mean())
    result.metrics["threshold"] = threshold
    peer_table = compare_peers(result, config.model.variant, prepared, config, peer_names)
    if peer_table is not None:
        peer_table.to_csv(run.path / "peers.csv")

    history_path = run.path / "history.csv"
    result.scores.assign(masks=result.scores["masks"].map(";".join)).to_csv(run.path / "scores.csv", index=False)
    np.save(run.path / "maps.npy", result.grid_maps)
    write_report(
        run.report,
        scores=result.scores,
        grid_maps=result.grid_maps,
        metrics=result.metrics,
        history=pd.read_csv(history_path) if history_path.exists() else None,
        config=config.to_dict(),
        threshold=threshold,
        title=f"{config.model.variant} on {config.data.name}",
        peers=peer_table,
        versions=run.read("versions"),
    )
    run.write("metrics", result.metrics)
    log.info("image AUROC, mean over categories: %s", result.metrics["image"]["auroc"]["mean"])


def compare_peers(
    result: Evaluation, name: str, prepared: Prepared, config: Config, peer_names: Sequence[str]
) -> pd.DataFrame | None:
    """Image AUROC and pixel AP, method by category, of the model and of peers on the very same features; None
    without peers."""
    if not peer_names:
        return None
    rows: dict[str, Any] = {name: table_row(result.metrics)}
    for peer_name in peer_names:
        log.info("fitting peer %s", peer_name)
        peer = peers.PEERS[peer_name](prepared.backbone.grid).fit(prepared.features, prepared.train_rows)
        rows[peer_name] = table_row(evaluate(peer, prepared.features, prepared.records, config).metrics)
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "method"
    return table


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

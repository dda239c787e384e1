"""From a configuration to a finished run: data -> features -> model -> scoring -> report."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mintad import data, peers
from mintad.config import Config, FeatureConfig
from mintad.data.records import category_keys, select
from mintad.data.tree import absolute
from mintad.errors import ConfigError, DataError, nearest
from mintad.evaluation import evaluate, predict_classes
from mintad.features.backbone import Backbone, build_backbone
from mintad.features.extract import extract
from mintad.features.table import FeatureTable
from mintad.metrics import class_accuracy
from mintad.model import ReconstructionModel, build_model
from mintad.model.class_aware import TextPrompt
from mintad.report import write_report
from mintad.run import Run, log_to, open_run, versions
from mintad.scoring import Detector, Told, fit_threshold, grid_maps, image_scores
from mintad.training import load_weights, train
from mintad.training.loop import make_accelerator, pick_device

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
        return self.labels(self.train_rows)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Class index of each of these rows.

        Raises:
            DataError: an image of a class that was not trained.
        """
        names = self.records["prompt_class"].iloc[rows]
        unknown = sorted(set(names) - set(self.classes))
        if unknown:
            raise DataError(
                f"{unknown[0]} is no class that was trained ({', '.join(self.classes)}), so a model that must be told "
                "the class cannot judge its images; take a variant that predicts it, such as model.variant=mint_ad"
            )
        return names.map({name: k for k, name in enumerate(self.classes)}).to_numpy(copy=True)

    def detector(self, model: ReconstructionModel, rows: np.ndarray) -> Detector:
        """The model as a detector for exactly these rows, in this order; told their classes if it needs them."""
        return Told(model, self.labels(rows)) if model.needs_labels else model


def resolve_paths(config: Config) -> Config:
    """The same configuration with absolute paths, '~' expanded, so that its run works from any working directory."""
    options, weights = dict(config.data.options), config.features.weights
    if isinstance(options.get("roots"), dict):
        options["roots"] = {name: root and str(absolute(root)) for name, root in options["roots"].items()}
    return config.override(
        **{
            "data.root": None if config.data.root is None else absolute(config.data.root),
            "data.options": options,
            "features.weights": weights if weights in ("auto", "random") else absolute(weights),
        }
    )


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


def image_list(prepared: Prepared, config: Config) -> pd.DataFrame:
    """The normal training images: image, category, role ('train' or 'holdout') and hash of the content.

    Paths are relative to the root of the data that holds the image, else to the folder common to all.
    """
    rows = np.concatenate([prepared.train_rows, prepared.holdout_rows])
    records = prepared.records.iloc[rows]
    roots = [config.data.root, *(config.data.options.get("roots") or {}).values()]
    folders = [Path(root) for root in roots if root] + [
        Path(os.path.commonpath(map(os.path.dirname, records["image"])))
    ]
    names = []
    for image in map(Path, records["image"]):
        folder = next((folder for folder in folders if image.is_relative_to(folder)), Path())
        names.append(image.relative_to(folder).as_posix())
    hashes = prepared.features.hashes or [""] * len(prepared.features)
    table = pd.DataFrame(
        {
            "image": names,
            "category": category_keys(records).to_numpy(),
            "role": np.repeat(["train", "holdout"], [len(prepared.train_rows), len(prepared.holdout_rows)]),
            "hash": [hashes[row] for row in rows],
        }
    )
    return table.sort_values(["category", "image"], ignore_index=True)


def new_model(config: Config, prepared: Prepared) -> ReconstructionModel:
    """A model freshly initialised from `config.train.seed`, its standardisation fitted on the training rows."""
    torch.manual_seed(config.train.seed)
    backbone = prepared.backbone
    model = build_model(config.model, channels=backbone.channels, grid=backbone.grid, classes=len(prepared.classes))
    if config.features.standardise:
        parts = np.array_split(prepared.train_rows, max(1, len(prepared.train_rows) // 256))
        model.standardise.fit(prepared.features.gather(part) for part in parts)
    if isinstance(model, TextPrompt):
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
    peer_names: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train, evaluate and report. A run that was interrupted is resumed; a finished one is returned as it is, or with
    the peers added that it lacks.

    Args:
        config: the whole configuration.
        out: run directory.
        peer_names: of `mintad.peers.PEERS`, evaluated on the same features.
        overwrite: remove a run that is already there.
        progress: show bars on a terminal.

    Raises:
        MintadError: see `prepare`, `train` and `open_run`.
    """
    require_peers(peer_names)
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
                add_peers(run, records, peer_names, device=accelerator.device, progress=progress)
        if finished:
            return run
        with accelerator.main_process_first():  # the others then read its cache
            timing = run.timing("features", add=True) if accelerator.is_main_process else contextlib.nullcontext()
            with timing:
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
            run.keep_images(image_list(prepared, config))
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
            finish_run(run, model, prepared, config, peer_names=peer_names)
        accelerator.wait_for_everyone()
    return run


def add_peers(
    run: Run, records: pd.DataFrame, names: Sequence[str], *, device: torch.device, progress: bool = True
) -> None:
    """Evaluate the peers that a finished run lacks, and them only, and add them to its comparison and page."""
    missing = [name for name in names if name not in run.peers().index]
    if not missing:
        return
    config, metrics = run.config(), run.read("metrics")
    prepared = prepare(config, records, device=device, progress=progress)
    run.keep_images(image_list(prepared, config))
    compare_peers(run, metrics, prepared, config, missing)
    write_page(run, config, run.scores(), np.load(run.path / "maps.npy"), metrics)


def evaluate_run(
    path: str | Path, *, peer_names: Sequence[str] = (), device: str = "auto", progress: bool = True
) -> Run:
    """Evaluate the newest checkpoint of a run again, in float32, and rewrite its results.

    Args:
        path: run directory.
        peer_names: evaluated too, as are those that the run was compared with before.
        device: 'auto', 'cpu' or 'cuda', whatever the run was trained on.
        progress: show bars on a terminal.

    Raises:
        MintadError: not a run directory, no checkpoint, or the training images have changed since.
    """
    require_peers(peer_names)
    run = Run(Path(path))
    config, chosen = run.config(), pick_device(device)
    run.checkpoint()  # refused before anything is computed
    with run.held(), log_to(run):
        prepared = prepare(config, device=chosen, progress=progress)
        run.keep_images(image_list(prepared, config))
        prepared = dataclasses.replace(prepared, classes=run.read("classes"))
        model = trained_model(run, prepared.backbone, chosen)
        names = dict.fromkeys([*run.peers().index[1:], *peer_names])
        finish_run(run, model, prepared, config, peer_names=list(names))
    return run


def require_peers(names: Sequence[str]) -> None:
    """Refuse unknown peers by name."""
    for name in names:
        if name not in peers.PEERS:
            raise ConfigError(f"unknown peer '{name}'." + nearest(name, peers.PEERS))


def finish_run(
    run: Run, model: ReconstructionModel, prepared: Prepared, config: Config, *, peer_names: Sequence[str] = ()
) -> None:
    """Evaluate a trained model, fit the threshold, run the peers, and write every result file and the page."""
    features = prepared.features
    for stale in ("metrics.json", "peers.csv"):  # a crash from here on leaves an unfinished run, not a mixed one
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
    compare_peers(run, result.metrics, prepared, config, peer_names)
    write_page(run, config, result.scores, result.grid_maps, result.metrics)
    run.write("metrics", result.metrics)
    log.info("image AUROC, mean over categories: %s", result.metrics["image"]["auroc"]["mean"])


def find_threshold(
    model: ReconstructionModel, prepared: Prepared, config: Config, scores: pd.DataFrame
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


def compare_peers(
    run: Run, metrics: dict[str, Any], prepared: Prepared, config: Config, peer_names: Sequence[str]
) -> None:
    """Fit peers on the very same features and add their image AUROC and pixel AP to the run's ``peers.csv``, method
    by category; the model's row comes first."""
    for name in peer_names:
        log.info("fitting peer %s", name)
        with run.timing(name):
            peer = peers.PEERS[name](prepared.backbone.grid).fit(prepared.features, prepared.train_rows)
            row = table_row(evaluate(peer, prepared.features, prepared.records, config).metrics)
        table = run.peers()
        table = (
            pd.DataFrame.from_dict({config.model.variant: table_row(metrics)}, orient="index") if table.empty else table
        )
        table = pd.concat([table, pd.DataFrame.from_dict({name: row}, orient="index")])
        run.write_table("peers", table.rename_axis("method"), index=True)


def write_page(run: Run, config: Config, scores: pd.DataFrame, maps_nHW: np.ndarray, metrics: dict[str, Any]) -> None:
    """The results page of a run."""
    history, table = run.path / "history.csv", run.peers()
    write_report(
        run.report,
        scores=scores,
        grid_maps=maps_nHW,
        metrics=metrics,
        history=pd.read_csv(history) if history.exists() else None,
        config=config.to_dict(),
        threshold=metrics["threshold"],
        title=f"{config.model.variant} on {config.data.name}",
        peers=None if table.empty else table,
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

"""Data and features of a configuration: records -> features -> training and held-out rows."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mintad import data
from mintad.config import Config, FeatureConfig
from mintad.data.images import require_masks_fit
from mintad.data.mask_check import check_masks
from mintad.data.problems import summaries
from mintad.data.records import REMARKS, category_keys, select, tested_rows
from mintad.data.split import UNTRAINED_FIX
from mintad.data.tree import absolute
from mintad.disk import real_path
from mintad.errors import ConfigError, DataError, visible
from mintad.features.backbone import Backbone, build_backbone
from mintad.features.extract import extract
from mintad.features.table import FeatureTable
from mintad.model import ReconstructionModel

SHOWN = 3  # copied images that are named
log = logging.getLogger(__name__)


@dataclass
class PreparedData:
    """Data and features of a configuration."""

    records: pd.DataFrame
    backbone: Backbone
    features: FeatureTable
    train_rows: np.ndarray
    holdout_rows: np.ndarray  # normal training images kept back for the threshold
    classes: list[str]  # class names that the head learns, sorted
    region: np.ndarray | None = None  # (S, S) bool, where anomalies count; None: everywhere

    @property
    def test_rows(self) -> np.ndarray:
        """Rows of the test split."""
        return tested_rows(self.records)

    @property
    def scored_rows(self) -> np.ndarray:
        """Rows whose scores and maps a run keeps: the test split, or without one the held-out images."""
        return self.test_rows if len(self.test_rows) else self.holdout_rows

    @property
    def train_labels(self) -> np.ndarray:
        """Class index of each of `train_rows`."""
        return self.labels(self.train_rows)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Return the class index of each of these rows; raise DataError for a class that was not trained."""
        names = self.records["prompt_class"].iloc[rows]
        unknown = sorted(set(names) - set(self.classes))
        if unknown:
            trained = f"{unknown[0]} is not a class that was trained ({', '.join(self.classes)}), but"
            raise DataError(f"{trained} the model must be given the class; take one that predicts it, such as mint_ad")
        return names.map({name: index for index, name in enumerate(self.classes)}).to_numpy(copy=True)

    def labels_for(self, model: ReconstructionModel, rows: np.ndarray) -> np.ndarray | None:
        """Return `labels` for a model that must be given the class, None for the others."""
        return self.labels(rows) if model.needs_labels else None


def resolve_paths(config: Config) -> Config:
    """Return the configuration with absolute paths, so that its run works from any working directory."""
    options, weights = dict(config.data.options), config.features.weights
    roots = options.get("roots")
    if isinstance(roots, dict):
        options["roots"] = {name: root and str(absolute(root)) for name, root in roots.items()}
    elif isinstance(roots, list | tuple):
        options["roots"] = [str(absolute(root)) for root in roots]
    changes = {"data.root": config.data.root and absolute(config.data.root), "data.options": options}
    if weights not in ("auto", "random"):
        changes["features.weights"] = absolute(weights)
    if outliers := config.baselines.options.get("fcdd_oe", {}).get("outliers"):
        changes["baselines.options.fcdd_oe.outliers"] = str(absolute(outliers))
    return config.override(**changes)


def data_roots(config: Config) -> list[Path]:
    """Return the folders that the data lie in, as far as they were given."""
    roots = config.data.options.get("roots") or ()
    further = roots.values() if isinstance(roots, dict) else roots if isinstance(roots, list | tuple) else ()
    return [Path(root) for root in (config.data.root, *further) if root]


def require_outside_data(out: Path, config: Config) -> None:
    """Raise ConfigError for a run directory inside the data, where its pictures would be taken for data."""
    for root in data_roots(config):
        if root.is_dir() and real_path(out).is_relative_to(real_path(root)):
            problem = f"lies in the folder of the data, {root}, and would be taken for a category the next time"
            raise ConfigError(problem, path=out, fix="choose an --out elsewhere")


def log_remarks(records: pd.DataFrame) -> None:
    """Log what is unusual about the user's own data (`REMARKS`), and what its masks hold."""
    if REMARKS in records.attrs:
        for line in (*records.attrs[REMARKS], *summaries(check_masks(records))):
            log.warning("%s", line)


def load_records(config: Config) -> pd.DataFrame:
    """Load the record table that `config.data` names, restricted to its categories.

    Raises:
        DataError: see the loaders; or there are neither test images nor images to hold out.
    """
    records = data.load(config.data.name, config.data.root, **config.data.options)
    records = select(records, config.data.categories) if config.data.categories else records
    if config.data.holdout == 0 and not (records["split"] == "test").any():
        problem = "there are no test images, and none are held out, so that nothing could be said about the model"
        names = records["prompt_class"]
        single = [name for name in sorted(set(names)) if (names == name).sum() == 1]
        fix = f"; of {', '.join(single)} there is a single image: add some, or leave it out (data.categories)"
        raise DataError(problem, path=config.data.root, fix="set data.holdout=0.1" + (fix if single else ""))
    return records


def require_trained(records: pd.DataFrame, config: Config) -> None:
    """Raise DataError for classes that are tested without an image to train on, after the selection of categories.

    A training refuses them; a run that has them already may be evaluated.
    """
    names = records["prompt_class"]
    if untrained := sorted(set(names) - set(names[records["split"] == "train"]) - {""}):
        problem = f"there are no images to train on of {', '.join(map(visible, untrained))}"
        raise DataError(problem, path=config.data.root, fix=UNTRAINED_FIX)


def prepare_data(
    config: Config, records: pd.DataFrame | None = None, *, device: torch.device | str = "cpu", progress: bool = True
) -> PreparedData:
    """Extract the features of the records, or read them from the cache, and split the normal training images.

    The records are loaded as `config.data` says if not given.

    Raises:
        DataError, WeightsError: see the loaders and `build_backbone`; a mask is not of its image's size; a class has
            too few images to hold one out.
    """
    records = load_records(config) if records is None else records
    train_rows, holdout_rows = split_holdout(records, config.data.holdout, config.train.seed)
    backbone, features = extract_features(config.features, records, device=device, progress=progress)
    for image, masks in zip(records["image"], records["masks"], strict=True):  # before time goes into a training
        require_masks_fit(image, masks)
    log_leaks(records, train_rows, holdout_rows, features.hashes)
    classes = sorted(set(records["prompt_class"].iloc[train_rows]))
    counts, shape = map(len, (train_rows, holdout_rows, classes)), (*backbone.grid, backbone.channels)
    log.info("%d training images, %d held out, %d classes, %d x %d tokens of %d channels", *counts, *shape)
    return PreparedData(records, backbone, features, train_rows, holdout_rows, classes)


def log_leaks(records: pd.DataFrame, train_rows: np.ndarray, holdout_rows: np.ndarray, hashes: Sequence[str]) -> None:
    """Log how many held-out and test images are the same file as a normal training image, and name some.

    Such a score is that of an image which the model, or its threshold, was fitted to: a threshold comes out too low, an
    AUROC too high. `hashes` are those of all rows of the record table.
    """
    images, test_rows = records["image"].tolist(), np.flatnonzero((records["split"] == "test").to_numpy())
    for name, rows, normal_rows in (
        ("held-out", holdout_rows, train_rows),
        ("test", test_rows, [*train_rows, *holdout_rows]),
    ):
        originals = {hashes[row]: images[row] for row in normal_rows}
        copies = [row for row in rows if hashes[row] in originals]
        if copies:
            pairs = [f"{images[row]} is the same file as {originals[hashes[row]]}" for row in copies[:SHOWN]]
            more = "" if len(copies) <= SHOWN else f", and {len(copies) - SHOWN} more"
            text = "warning: %d %s images are training images, too (%s%s); remove one of each pair"
            log.warning(text, len(copies), name, ", ".join(pairs), more)


def extract_features(
    config: FeatureConfig, records: pd.DataFrame, *, device: torch.device | str = "cpu", progress: bool = True
) -> tuple[Backbone, FeatureTable]:
    """Build the backbone that a configuration names, and extract the features of the records or read them."""
    backbone = configured_backbone(config)
    return backbone, extract(records, backbone, device=device, dtype=config.dtype, progress=progress)


def configured_backbone(config: FeatureConfig, *, weights: str | None = None) -> Backbone:
    """Build the backbone that a configuration names; `weights` replaces its weights."""
    names = ("image_size", "grid", "reductions", "local_mean", "resize")
    settings = {name: getattr(config, name) for name in names}
    return build_backbone(config.backbone, weights=weights or config.weights, **settings)


def split_holdout(records: pd.DataFrame, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the rows of the normal training images into (training, held out), within every class.

    One generator draws for all classes in turn, so what is held out of a class depends on the classes before it. A
    class that would keep no training image raises DataError.
    """
    rows = np.flatnonzero((records["split"] == "train").to_numpy())
    if share == 0:
        return rows, rows[:0]
    rng = np.random.default_rng([seed, 1])
    names = records["prompt_class"].to_numpy()[rows]
    held_out, few = [], {}
    for name in sorted(set(names)):
        order = rng.permutation(rows[names == name])
        count = max(1, round(share * len(order)))
        if count >= len(order):
            few[name] = len(order)
        held_out.append(order[:count])
    if few:
        counts = ", ".join(f"{name} has {number} training image(s)" for name, number in few.items())
        fix = f"add normal images of {', '.join(few)}, or leave it out (data.categories)"
        fix += ", or choose a smaller data.holdout" if max(few.values()) > 1 else ""
        fix += ", or set data.holdout=0" if (records["split"] == "test").any() else ""  # else nothing is scored
        raise DataError(f"{counts}, too few for data.holdout={share}", fix=fix)
    holdout_rows = np.sort(np.concatenate(held_out))
    return np.setdiff1d(rows, holdout_rows), holdout_rows


def image_list(prepared: PreparedData, config: Config) -> pd.DataFrame:
    """List the normal training images: image, category, role ('train' or 'holdout') and hash of the content.

    Paths are relative to the data's root that holds the image, else to the folder common to all images.
    """
    hashes = prepared.features.hashes or [""] * len(prepared.features)
    return list_images(prepared.records, prepared.train_rows, prepared.holdout_rows, hashes, config)


def list_images(
    records: pd.DataFrame, train_rows: np.ndarray, holdout_rows: np.ndarray, hashes: Sequence[str], config: Config
) -> pd.DataFrame:
    """List training images as `image_list` does; `hashes` are those of all rows of the record table."""
    rows = np.concatenate([train_rows, holdout_rows])
    records = records.iloc[rows]
    folders = [*data_roots(config), Path(os.path.commonpath(map(os.path.dirname, records["image"])))]
    columns = {
        "image": [_relative(Path(image), folders) for image in records["image"]],
        "category": category_keys(records).to_numpy(),
        "role": np.repeat(["train", "holdout"], [len(train_rows), len(holdout_rows)]),
        "hash": [hashes[row] for row in rows],
    }
    return pd.DataFrame(columns).sort_values(["category", "image"], ignore_index=True)


def _relative(image: Path, folders: Sequence[Path]) -> str:
    folder = next((folder for folder in folders if image.is_relative_to(folder)), Path())
    return image.relative_to(folder).as_posix()

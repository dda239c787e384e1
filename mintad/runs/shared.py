"""Trained models that notebooks and commands share: trained once, named by configuration and code, then loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_data_dir

from mintad.config import Config
from mintad.disk import BESIDE_PACKAGE, IN_CLONE, real_path
from mintad.errors import ConfigError, nearest
from mintad.features.table import FeatureTable
from mintad.lock import exclusive_lock
from mintad.model import ReconstructionModel
from mintad.runs.directory import Run
from mintad.runs.files import LOCK
from mintad.runs.fingerprint import code_fingerprint
from mintad.runs.load import trained_model
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import train_run

RUNS = "MINTAD_RUNS"  # environment variable: folder of the runs that notebooks make


def runs_dir() -> Path:
    """Return the folder of the notebooks' runs: $MINTAD_RUNS, else runs/ of the repository, else the user's data."""
    if os.environ.get(RUNS):
        return real_path(os.environ[RUNS])
    return (BESIDE_PACKAGE if IN_CLONE else Path(user_data_dir("mintad"))) / "runs"


@dataclass
class TrainedRun:
    """A finished run with its data and its model, as most notebooks take it apart."""

    run: Run
    config: Config
    prepared: PreparedData
    model: ReconstructionModel  # in evaluation mode, on the CPU

    @classmethod
    def load(cls, run: Run, config: Config | None = None) -> TrainedRun:
        """Load the model of a finished run and the data of its configuration; PyTorch's random state stays as it was.

        Args:
            run: a run of one model; of a separate training, one of its folders.
            config: the configuration as it was before paths were resolved; None for the run's own.

        Raises:
            MintadError: the run is not finished, or a file of it is damaged.
        """
        config = config or run.config()
        with torch.random.fork_rng():
            prepared = prepare_data(config, progress=False)
            return cls(run, config, prepared, trained_model(run, prepared.backbone, torch.device("cpu")))

    @property
    def features(self) -> FeatureTable:
        """The features of all images, row for row as in the record table."""
        return self.prepared.features

    def rows(self, **conditions: Any) -> np.ndarray:
        """Return the row numbers of the records whose columns have these values: ``rows(split="test", label=1)``."""
        records = self.prepared.records
        mask = np.ones(len(records), dtype=bool)
        for column, value in conditions.items():
            if column not in records:
                raise ConfigError(f"records have no column '{column}'." + nearest(column, records.columns))
            mask &= (records[column] == value).to_numpy()
        return np.flatnonzero(mask)


def shared_model(config: Config, *, baselines: Iterable[str] = ()) -> TrainedRun:
    """Load the shared model of this configuration; see `train_shared`, which trains it if nobody has done so."""
    return TrainedRun.load(train_shared(config, baselines=baselines), config)


def train_shared(config: Config, *, baselines: Iterable[str] = ()) -> Run:
    """Return the finished run of a shared model; train it now, or wait for the process that does.

    The random state of PyTorch stays as it was, so that a notebook does not depend on whether the model was trained.
    For `baselines` and errors see `mintad.runs.train.train_run`.
    """
    run, names = Run(shared_model_dir(config)), tuple(baselines)
    if run.finished and not names:
        return run
    with torch.random.fork_rng(), nobody_trains(run):
        if not run.finished:
            print(f"training {config.model.variant} on {config.data.name} once; kept in runs/{run.path.name}")
        elif not names:  # another process has trained it meanwhile
            return run
        return train_run(config, run.path, baseline_names=names, progress=False)


@contextlib.contextmanager
def nobody_trains(run: Run) -> Iterator[None]:
    """Wait for processes that train this shared model, which is said, and keep others out while the block runs."""

    def say() -> None:
        print(f"waiting for another process that trains runs/{run.path.name}; if it was stopped, end it", flush=True)

    run.path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(run.path.with_suffix(".lock"), on_wait=say):
        if run.path.is_dir():  # `mintad train --out` knows this lock alone
            with exclusive_lock(run.path / LOCK, on_wait=say):
                pass
        yield


def shared_model_dir(config: Config) -> Path:
    """Return the run directory of a shared model; its name holds a hash, so that no model of older code is loaded.

    Baselines beside a model do not change it.
    """
    of_the_model = {section: values for section, values in config.to_dict().items() if section != "baselines"}
    text = json.dumps(of_the_model, sort_keys=True, default=list) + code_fingerprint()
    return runs_dir() / f"{config.model.variant}-{config.data.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

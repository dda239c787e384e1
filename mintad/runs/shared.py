"""Trained models that several notebooks and commands share: named by their configuration, trained once, then loaded."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_data_dir

import mintad
from mintad.config import Config
from mintad.errors import ConfigError, MintadError, nearest
from mintad.features.table import FeatureTable
from mintad.lock import exclusive_lock
from mintad.model import ReconstructionModel
from mintad.runs.directory import Run
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model, train_run
from mintad.training import load_weights

RUNS = "MINTAD_RUNS"
"""Environment variable: folder of the runs that notebooks make."""


def runs_dir() -> Path:
    """Where notebooks keep their runs: $MINTAD_RUNS, else runs/ of the repository the package lies in, else the user's
    data folder; never relative to the working directory, which differs between JupyterLab, papermill and nbval."""
    if os.environ.get(RUNS):
        return Path(os.environ[RUNS]).expanduser().resolve()
    repository = Path(mintad.__file__).resolve().parent.parent
    return (repository if (repository / "pyproject.toml").exists() else Path(user_data_dir("mintad"))) / "runs"


@dataclass
class TrainedRun:
    """A finished run, loaded: what most notebooks take apart."""

    run: Run
    config: Config
    prepared: PreparedData
    model: ReconstructionModel
    """In evaluation mode, on the CPU."""

    @property
    def features(self) -> FeatureTable:
        return self.prepared.features

    def rows(self, **wanted: Any) -> np.ndarray:
        """Row numbers of the records whose columns have these values: ``rows(split="test", label=1)``.

        Raises:
            ConfigError: a column that the record table does not have.
        """
        chosen = np.ones(len(self.prepared.records), dtype=bool)
        for name, value in wanted.items():
            if name not in self.prepared.records:
                raise ConfigError(f"records have no column '{name}'." + nearest(name, self.prepared.records.columns))
            chosen &= (self.prepared.records[name] == value).to_numpy()
        return np.flatnonzero(chosen)


class _Busy(MintadError):
    """Another notebook holds the run."""


def shared_model(config: Config, *, baselines: Iterable[str] = ()) -> TrainedRun:
    """The run of this configuration: loaded if a notebook or `mintad train` has finished it in `runs_dir`, else trained
    now (a line says so). PyTorch's random numbers go on as if nothing had happened, so that the rest of a notebook does
    not depend on which of the two it was.

    Args:
        config: the whole configuration; its fingerprint names the run directory.
        baselines: of `mintad.baselines.BASELINES`, evaluated with it.
    """
    with torch.random.fork_rng():
        return _shared_model(config, tuple(baselines))


def _shared_model(config: Config, baselines: tuple[str, ...]) -> TrainedRun:
    run = Run(shared_model_dir(config))
    run.path.parent.mkdir(parents=True, exist_ok=True)
    while not run.finished:
        try:
            with exclusive_lock(run.path.with_suffix(".lock"), _Busy(f"{run.path} is being trained")):
                if not run.finished:
                    print(f"training {config.model.variant} on {config.data.name} once; kept in runs/{run.path.name}")
                    train_run(config, run.path, baseline_names=baselines, progress=False)
        except _Busy:  # another notebook trains it: wait
            time.sleep(1)
    prepared = prepare_data(config, progress=False)
    model = new_model(config, prepared)
    load_weights(model, run.checkpoint())
    return TrainedRun(run, config, prepared, model.eval())


def shared_model_dir(config: Config) -> Path:
    """Run directory of a configuration below `runs_dir`, named by variant, data and fingerprint."""
    text = json.dumps(config.to_dict(), sort_keys=True, default=list)
    return runs_dir() / f"{config.model.variant}-{config.data.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

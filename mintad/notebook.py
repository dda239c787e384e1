"""What every notebook begins with, where its results go, and the trained models that several notebooks share."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.io as pio
import torch
from platformdirs import user_data_dir
from plotly.io.base_renderers import MimetypeRenderer

import mintad
from mintad.config import Config
from mintad.errors import ConfigError, MintadError, nearest
from mintad.features.table import FeatureTable
from mintad.lock import only_one
from mintad.model import ReconstructionModel
from mintad.pipeline import new_model, train_run
from mintad.plots import template
from mintad.preparation import Prepared, prepare
from mintad.run import Run
from mintad.training import load_weights
from mintad.training.loop import make_accelerator

RUNS = "MINTAD_RUNS"
"""Environment variable: folder of the runs that notebooks make."""
RENDERER = "MINTAD_RENDERER"
"""Environment variable: plotly's renderer; 'pages' writes figures as HTML for `mintad.pages`."""
INJECTED = "# Parameters"
"""How papermill marks the cell it injects after the one tagged `parameters`."""


def setup(*, seed: int = 0, device: str = "auto") -> torch.device:
    """Begin a notebook: refuse misspelt parameters, seed everything, choose device and look, print one line.

    Args:
        seed: of Python, NumPy and PyTorch.
        device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    Raises:
        ConfigError: papermill injected a parameter that the notebook does not have, or a device that is none.
        TrainingError: cuda is asked for where there is none.
    """
    refuse_unknown_parameters(_cells_run())
    chosen = make_accelerator(Config().override(**{"train.device": device}).train).device
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    pio.templates["mintad"] = template()
    pio.templates.default = "mintad"
    pio.renderers["pages"] = _PageRenderer()
    if os.environ.get(RENDERER):
        pio.renderers.default = os.environ[RENDERER]
    machine = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"mintad {mintad.__version__} · torch {torch.__version__} · {chosen.type} ({machine}) · seed {seed}")
    return chosen


class _PageRenderer(MimetypeRenderer):
    """Figures as HTML without scripts of their own: the page loads plotly once, see `mintad.pages`."""

    def to_mimebundle(self, figure: dict) -> dict[str, str]:
        html = pio.to_html(
            figure, full_html=False, include_plotlyjs=False, include_mathjax=False, auto_play=False, validate=False
        )
        return {"text/html": html}


def refuse_unknown_parameters(cells: Sequence[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have; papermill itself only warns.

    Args:
        cells: sources of the cells run so far. The injected cell follows the one tagged `parameters`.

    Raises:
        ConfigError: names the unknown parameter and the nearest one there is.
    """
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell.lstrip().startswith(INJECTED):
            allowed = _assigned(before)
            for name in _assigned(cell):
                if name not in allowed:
                    raise ConfigError(f"this notebook has no parameter '{name}'." + nearest(name, allowed))


def _assigned(source: str) -> list[str]:
    targets = []
    for node in ast.parse(source).body:
        targets += node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _cells_run() -> list[str]:
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return list(shell.user_ns.get("In", [])) if shell is not None else []


def runs_dir() -> Path:
    """Where notebooks keep their runs: $MINTAD_RUNS, else runs/ of the repository the package lies in, else the user's
    data folder; never relative to the working directory, which differs between JupyterLab, papermill and nbval."""
    if os.environ.get(RUNS):
        return Path(os.environ[RUNS]).expanduser().resolve()
    repository = Path(mintad.__file__).resolve().parent.parent
    return (repository if (repository / "pyproject.toml").exists() else Path(user_data_dir("mintad"))) / "runs"


@dataclass
class Lesson:
    """A finished run, loaded: what most notebooks take apart."""

    run: Run
    config: Config
    prepared: Prepared
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


def lesson(config: Config, *, peers: Iterable[str] = ()) -> Lesson:
    """The run of this configuration: loaded if a notebook or `mintad train` has finished it in `runs_dir`, else trained
    now (a line says so). PyTorch's random numbers go on as if nothing had happened, so that the rest of a notebook does
    not depend on which of the two it was.

    Args:
        config: the whole configuration; its fingerprint names the run directory.
        peers: of `mintad.peers.PEERS`, evaluated with it.
    """
    with torch.random.fork_rng():
        return _lesson(config, tuple(peers))


def _lesson(config: Config, peers: tuple[str, ...]) -> Lesson:
    run = Run(lesson_dir(config))
    run.path.parent.mkdir(parents=True, exist_ok=True)
    while not run.finished:
        try:
            with only_one(run.path.with_suffix(".lock"), _Busy(f"{run.path} is being trained")):
                if not run.finished:
                    print(f"training {config.model.variant} on {config.data.name} once; kept in runs/{run.path.name}")
                    train_run(config, run.path, peer_names=peers, progress=False)
        except _Busy:  # another notebook trains it: wait
            time.sleep(1)
    prepared = prepare(config, progress=False)
    model = new_model(config, prepared)
    load_weights(model, run.checkpoint())
    return Lesson(run, config, prepared, model.eval())


def lesson_dir(config: Config) -> Path:
    """Run directory of a configuration below `runs_dir`, named by variant, data and fingerprint."""
    text = json.dumps(config.to_dict(), sort_keys=True, default=list)
    return runs_dir() / f"{config.model.variant}-{config.data.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

"""Test scores during training: what nobody may choose a model by, kept to measure what choosing by it gains."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mintad.config import Config
from mintad.model import ReconstructionModel
from mintad.runs.directory import Run
from mintad.runs.prepare import PreparedData
from mintad.runs.shared import nobody_trains, shared_model_dir
from mintad.runs.train import train_run
from mintad.scoring.maps import grid_maps, image_scores
from mintad.training.schedule import total_steps


@dataclass(frozen=True)
class ScoresByStep:
    """The test scores of one training at several of its steps."""

    steps: np.ndarray
    """(K,) optimiser steps done; 0 is the model before training, the last one the finished model."""
    scores: np.ndarray
    """(K, n) image scores of the test rows, in the order of the record table."""


def scores_by_step(config: Config, every: int = 20) -> ScoresByStep:
    """Return the scores that the test images have every `every` steps of a shared model's training.

    They are also scored before training and at its end; the last scores are those of the finished run. The result is
    kept beside the shared model, under its name. `mintad notebooks train` makes both in one training. A shared model
    that was trained without these scores is trained once more, which takes under a minute with the lesson preset on
    two CPU cores.

    Raises:
        MintadError: see `mintad.runs.train.train_run`.
    """
    run, file = Run(shared_model_dir(config)), scores_file(config, every)
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(), nobody_trains(run):
        if not file.exists():
            again = "once more, because its scores by step were not kept" if run.finished else "once"
            print(f"training {config.model.variant} on {config.data.name} {again}; kept in runs/{file.name}")
            with tempfile.TemporaryDirectory() as folder:
                steps, scores = _train(config, Path(folder) / "run" if run.finished else run.path, every)
            part = file.with_suffix(".part.npz")  # renamed when complete
            np.savez(part, steps=steps, scores=scores)
            part.replace(file)
    with np.load(file) as values:
        return ScoresByStep(values["steps"], values["scores"])


def scores_file(config: Config, every: int = 20) -> Path:
    """Return where `scores_by_step` keeps its result."""
    folder = shared_model_dir(config)
    return folder.with_name(f"{folder.name}.scores-by-step-{every}.npz")


def _train(config: Config, out: Path, every: int) -> tuple[list[int], list[np.ndarray]]:
    """Train from the first step, whatever lies in `out`, and return the steps and their scores."""
    steps, scores = [], []

    def score(model: ReconstructionModel, data: PreparedData, done: int) -> None:
        if done % every and done != total_steps(len(data.train_rows), config.train):
            return
        rows = data.test_rows
        model.eval()
        maps_nHW = grid_maps(model, data.features, rows, config.scoring, labels=data.labels_for(model, rows))
        model.train()
        steps.append(done)
        scores.append(image_scores(maps_nHW, config.features.image_size, config.scoring))

    train_run(config, out, overwrite=True, progress=False, after_step=score)
    return steps, scores

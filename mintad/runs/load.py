"""The trained model of a run, and what its weights are worth nothing without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mintad.config import Config
from mintad.features.backbone import Backbone
from mintad.model import ReconstructionModel, build_model
from mintad.runs.directory import Run
from mintad.runs.files import SHARP_PRIOR
from mintad.scoring.sharp_prior import ModelDetector, SharpPrior, SharpPriorDetector
from mintad.training import load_weights

FREE = (
    *("features.weights", "features.dtype"),  # of these the weights themselves are compared, whatever file holds them
    *("train.device", "train.precision", "train.log_every", "train.checkpoint_every"),
)
"""Settings that a trained run may change."""


def identity_of(config: Config, classes: Sequence[str], backbone: Backbone) -> dict[str, Any]:
    """Describe what a run's weights are worth nothing without: settings, class names in order, backbone's weights.

    The data are left out, because they may move; ``images.csv`` has the hashes of their files.
    """
    bound = {key: value for key, value in config.flat().items() if key.startswith(("model.", "features.", "train."))}
    settings = {key: value for key, value in bound.items() if key not in FREE}
    return settings | {"classes": list(classes), "backbone": backbone.weights_id}


def trained_model(run: Run, backbone: Backbone, device: torch.device) -> ReconstructionModel:
    """Load the model of a run's newest checkpoint in evaluation mode, for features of `backbone`.

    Raises:
        TrainingError: there is no checkpoint, or it is damaged, or of another configuration, classes or backbone.
    """
    checkpoint, classes, config = run.checkpoint(), run.read("classes"), run.config()
    checkpoint.require(identity_of(config, classes, backbone))
    model = build_model(config.model, channels=backbone.channels, grid=backbone.grid, classes=len(classes))
    load_weights(model, checkpoint)
    return model.to(device).eval()


def trained_detector(run: Run, model: ReconstructionModel) -> ModelDetector:
    """Return what gives the decisive score of a run (`scoring.score`), with the model of `trained_model`."""
    score = run.config().scoring.score
    if score == "reconstruction":
        return model
    return SharpPriorDetector(
        model, SharpPrior.load(run.path / SHARP_PRIOR, run.checkpoint().weights_digest), score=score
    )

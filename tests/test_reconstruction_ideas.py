"""benchmarks/reconstruction_ideas.py: a training there obeys the settings, as one of the package does."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import small

from mintad.runs.prepare import prepare_data
from mintad.runs.train import new_model
from mintad.training import train

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("changes", [{}, {"train.clip_norm": 0.0}, {"train.ce_weights": "balanced"}])
def test_without_an_idea_it_is_the_packages_training(products, tmp_path, monkeypatch, changes):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    ideas = importlib.import_module("reconstruction_ideas")
    config = small(products, **{"train.steps": 3, **changes})
    data = prepare_data(config, progress=False)
    data = dataclasses.replace(data, train_rows=data.train_rows[3:])  # the classes differ in size
    expected = new_model(config, data)
    at_first = torch.nn.utils.parameters_to_vector(expected.parameters())
    train(expected, data.features, data.train_rows, data.train_labels, config.train, tmp_path, progress=False)
    found, right = (
        torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        for model in (ideas.trained(ideas.Idea(), data, config), expected)
    )
    moved = (right - at_first.detach()).abs().mean()
    assert (found - right).abs().mean() < 0.02 * moved
    assert np.bincount(data.train_labels).min() < np.bincount(data.train_labels).max()

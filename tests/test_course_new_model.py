"""The hidden case of notebook 02's open exercise, on any number of classes."""

import numpy as np
import pytest
import torch
from torch import nn

from mintad.course.checks.cases import interference as cases
from mintad.course.grade import open_exercises
from toy.layers import mlp


class Gated(nn.Module):
    """The solution that notebook 02 prints."""

    def __init__(self, classes, settings):
        super().__init__()
        self.encoder = mlp(2, settings.width, settings, 1)
        self.gate = nn.Parameter(torch.randn(classes, settings.width))
        self.decoder = mlp(settings.width, 2, settings, 2)

    def forward(self, x, label):
        return self.decoder(self.encoder(x) * (label @ self.gate))


class Here:
    """A student whose functions run in this process."""

    def apply(self, name, *arguments):
        return getattr(open_exercises, name.rpartition(".")[2])(Gated, *arguments)


@pytest.mark.parametrize("classes", [3, 4, 5])
def test_the_printed_solution_gets_its_points_with_any_number_of_classes(monkeypatch, classes):
    """200 points are not always a multiple of the classes."""
    monkeypatch.setattr(cases, "whole", lambda rng, low, high: classes if (low, high) == (3, 5) else low)
    cases.new_model(Here(), np.random.default_rng(0))

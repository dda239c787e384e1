"""The prior alone shrinks the adapter's output to a point; reconstruction holds it open, if it weighs enough."""

from __future__ import annotations

import pytest
import torch

from mintad.config import TrainConfig
from mintad.course.lab.collapse import AdapterAndPrior, fit_prior, spread_within


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2).repeat_interleave(24)
    place = torch.randn(2, 4, 6, generator=generator)
    return place[labels] + torch.randn(48, 4, 6, generator=generator), labels


def trained(data, *, floor=-10.0, reconstruct=True, **settings):
    torch.manual_seed(0)
    model = AdapterAndPrior(2, 4, 6, width=6, min_log_variance=floor)
    config = TrainConfig(**{"epochs": None, "steps": 150, "lr": 1e-2, "batch_size": 24, **settings})
    return fit_prior(model, *data, config, reconstruct=reconstruct, record_every=50)


def test_the_prior_alone_collapses_the_adapter(data):
    history = trained(data, reconstruct=False)
    assert history["variance_kept"].iloc[0] == 1 and history["variance_kept"].iloc[-1] < 0.05
    assert history["prior"].iloc[-1] < history["prior"].iloc[0] - 1
    assert list(history["step"]) == [0, 50, 100, 150]


def test_a_floor_bounds_the_loss_but_not_the_collapse(data):
    history = trained(data, reconstruct=False, floor=-2.0)
    assert history["log_variance"].min() >= -2
    least = 0.5 * (torch.log(torch.tensor(2 * torch.pi)).item() - 2)
    assert history["prior"].min() >= least - 1e-5
    assert history["variance_kept"].iloc[-1] < 0.1


def test_reconstruction_decides_by_its_weight(data):
    held_open = trained(data, mse_reduction="token", prior_reduction="element")
    assert held_open["variance_kept"].iloc[-1] > 0.5 and held_open["mse"].iloc[-1] < 0.5 * held_open["mse"].iloc[0]
    overrun = trained(data, mse_reduction="element", prior_reduction="sum")
    assert overrun["variance_kept"].iloc[-1] < 0.2 * held_open["variance_kept"].iloc[-1]


def test_training_repeats_and_depends_on_the_seed(data):
    assert trained(data, steps=20).equals(trained(data, steps=20))
    assert not trained(data, steps=20).equals(trained(data, steps=20, seed=1))


def test_spread_is_within_classes_and_between_images():
    labels = torch.tensor([0, 0, 1, 1])
    adapted = torch.tensor([0.0, 2.0, 100.0, 104.0]).view(4, 1, 1) + torch.arange(3.0).view(1, 3, 1)
    assert spread_within(adapted, labels) == pytest.approx((2 + 8) / 2)

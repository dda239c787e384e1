"""Copied share and influence, on functions whose answers are known beforehand."""

from __future__ import annotations

import pytest
import torch

from mintad.config import preset
from mintad.course.lab.identity_shortcut import (
    Twins,
    copied_share,
    influence,
    make_twins,
    token_errors,
)
from mintad.data.mini import DEFECTS
from mintad.errors import ConfigError
from mintad.features.backbone import build_backbone


@pytest.fixture
def twins():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(3, 4, 5, generator=generator)
    under = torch.zeros(3, 4, dtype=torch.bool)
    under[:, 1] = True
    spoiled = clean + 2 * under[..., None] * torch.randn(3, 4, 5, generator=generator)
    return Twins(spoiled, clean, under, [("a", "scratch")] * 3)


def test_copied_share_of_a_copy_a_projection_and_half_of_each(twins):
    assert copied_share(lambda x: x, twins) == pytest.approx(1)
    assert copied_share(lambda x: x * 0 + 7, twins) == 0
    assert copied_share(lambda x: 0.5 * x + 3, twins) == pytest.approx(0.5)


def test_transformed_twins_keep_their_masks(twins):
    half = twins.transformed(lambda x: x / 2)
    assert torch.equal(half.spoiled, twins.spoiled / 2) and torch.equal(half.clean, twins.clean / 2)
    assert half.under is twins.under and half.names == twins.names


def test_copied_share_ignores_tokens_beside_the_defect_and_other_directions(twins):
    def elsewhere(x):
        return torch.where(twins.under[..., None], 0.0, 100 * x)

    def across(x):
        change = twins.spoiled - twins.clean
        turned = torch.stack([-change[..., 1], change[..., 0], *[0 * change[..., 0]] * 3], dim=-1)
        return turned if torch.equal(x, twins.spoiled) else 0 * turned

    assert copied_share(elsewhere, twins) == 0
    assert copied_share(across, twins) == pytest.approx(0, abs=1e-6)


def test_token_errors_are_squared_norms():
    tokens = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    assert token_errors(torch.zeros_like, tokens).tolist() == [[25.0, 1.0]]


def test_influence_of_a_copy_and_of_a_mean():
    tokens = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert influence(lambda x: 2 * x, tokens, at=1).tolist() == pytest.approx([0, 1, 0, 0, 0])
    assert influence(lambda x: x.mean(1, keepdim=True).expand_as(x), tokens, at=1).tolist() == pytest.approx([0.2] * 5)


def test_influence_weighs_tokens_by_their_jacobian():
    matrix = torch.tensor([[1.0, 3.0], [0.0, 1.0]])  # output 0 takes 1 of token 0 and 3 of token 1
    shares = influence(lambda x: matrix @ x, torch.randn(2, 4), at=0)
    assert shares.tolist() == pytest.approx([0.25, 0.75])


def test_twins_differ_under_the_mask():
    config = preset("lesson").override(**{"data.categories": ["button"], "data.options": {"size": 96}})
    backbone = build_backbone(image_size=96, grid=6, weights="random", resize="area", reductions=(2,))  # sees little
    twins = make_twins(config, backbone)
    assert twins.names == [("button", defect) for defect in DEFECTS]
    assert twins.spoiled.shape == twins.clean.shape == (len(DEFECTS), 36, backbone.channels)
    assert twins.under.any(dim=1).all() and not twins.under.all()
    change = (twins.spoiled - twins.clean).norm(dim=-1)
    assert change[twins.under].mean() > 10 * change[~twins.under].mean()


def test_twins_exist_for_mini_alone():
    with pytest.raises(ConfigError, match="data.name=mini"):
        make_twins(preset("fast"), backbone=None)

"""UTRAD: its windows, its losses and map against naive loops, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, fitted, normal_images
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.baselines.utrad import UTRAD, UTransformer, from_windows, to_windows, window_sides
from mintad.config import preset

SMALL = {"width": 16, "heads": 2, "hidden": 16}
OPTIONS = {"heads": 2, "layers": 1, "hidden": 16, "dropout": 0.0, "squeeze": 4}


@pytest.mark.parametrize(
    ("length", "sides"), [(1, []), (2, [2]), (5, [5]), (14, [7, 2]), (16, [4, 4]), (28, [4, 7]), (64, [4, 4, 4])]
)
def test_windows_divide_the_grid(length, sides):
    assert window_sides(length) == sides


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_windows_are_the_naive_ones_and_can_be_put_together(rows, columns, height, width):
    x_BHWD = torch.randn(2, rows * height, columns * width, 3)
    windows = to_windows(x_BHWD, (height, width))
    expected = [
        x_BHWD[b, r * height : (r + 1) * height, c * width : (c + 1) * width].flatten(0, 1)
        for b in range(2)
        for r in range(rows)
        for c in range(columns)
    ]
    assert torch.equal(windows, torch.stack(expected))
    assert torch.equal(from_windows(windows, (height, width), (rows, columns)), x_BHWD)


@pytest.mark.parametrize("grid", [GRID, (4, 4), (8, 8), (6, 16), (1, 3)])
def test_shapes_and_finite_gradients_on_any_grid(grid):
    torch.manual_seed(0)
    network = UTransformer(CHANNELS, grid, 16, **OPTIONS)
    feat_BLF = torch.randn(3, grid[0] * grid[1], CHANNELS)
    reconstruction, usual = network(feat_BLF)
    assert reconstruction.shape == feat_BLF.shape and usual.shape == feat_BLF.shape[:2] and (usual > 0).all()
    (reconstruction.square().sum() + usual.sum()).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None)
    assert network.project.weight.grad.abs().max() > 0


def test_a_window_hands_others_nothing_but_its_one_token():
    torch.manual_seed(0)
    network = UTransformer(CHANNELS, (8, 8), 16, **OPTIONS).eval()
    level, x_NSD = network.levels[0], torch.randn(4, 16, 16)
    changed = x_NSD.clone()
    changed[2] += 1
    (token, skip), (other_token, other_skip) = level.down(x_NSD), level.down(changed)
    for ours, theirs in ((token, other_token), (skip, other_skip)):
        same = torch.isclose(ours, theirs, atol=1e-5).flatten(1).all(1)
        assert same.tolist() == [True, True, False, True]
    assert level.bottleneck[0].out_features == 4


def test_the_loss_is_the_naive_one_and_the_predicted_error_does_not_train_the_decoder():
    images = normal_images(4)
    baseline = fitted(UTRAD(GRID, steps=1, **SMALL), images)
    target = (images - baseline.mean_F) / baseline.std_F
    reconstruction, usual = baseline.network(target)
    error = (reconstruction - target).detach()
    expected = error.square().mean() + (usual - error.square().sum(-1).sqrt()).square().mean()
    torch.testing.assert_close(baseline.loss(images), expected)
    baseline.network.zero_grad()
    usual.sum().backward()
    trained = {
        name.partition(".")[0] for name, weight in baseline.network.named_parameters() if weight.grad is not None
    }
    assert trained == {"scale"}


def test_the_map_is_the_relative_error_averaged_with_its_means_over_windows():
    train, test = normal_images(6), normal_images(2, seed=1)
    baseline = fitted(UTRAD(GRID, steps=2, **SMALL), train)
    target = (test - baseline.mean_F) / baseline.std_F
    with torch.no_grad():
        reconstruction, usual = baseline.network(target)
    relative = ((reconstruction - target).norm(dim=-1) / usual).view(2, *GRID)
    expected = (relative + relative.mean((1, 2), keepdim=True)) / 2  # the grid is one window
    torch.testing.assert_close(baseline.anomaly_map(test), expected)
    wide = fitted(UTRAD((8, 8), steps=1, **SMALL), torch.randn(3, 64, CHANNELS))
    assert len(wide.network.levels) == 2 and wide.anomaly_map(torch.randn(2, 64, CHANNELS)).shape == (2, 8, 8)


def test_a_small_defect_is_found_although_another_place_is_always_restless():
    """The error is larger where normal images are noisy, the relative error where the defect is."""
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(TOKENS, CHANNELS, generator=generator)
    images = place + 0.05 * torch.randn(70, TOKENS, CHANNELS, generator=generator)
    images[:, 2] += 3 * torch.randn(70, CHANNELS, generator=generator)
    train, test = images[:60], images[60:].clone()
    test[:5, 17] += 0.8
    baseline = fitted(UTRAD(GRID, steps=120, dropout=0.0, **SMALL, rate=5e-3), train)
    with torch.no_grad():
        plain = baseline._compare(test)[0].norm(dim=-1)
    maps = baseline.anomaly_map(test).flatten(1)
    assert (plain[:5, 2] > plain[:5, 17]).all() and (maps[:5, 17] > maps[:5, 2]).sum() >= 4
    assert maps[:5, 17].min() > 2 * maps[5:, 17].max()


def test_dropout_is_off_in_the_map():
    train = normal_images(6)
    baseline = fitted(UTRAD(GRID, steps=2, dropout=0.5, **SMALL), train)
    np.testing.assert_array_equal(baseline.anomaly_map(train), baseline.anomaly_map(train))


def test_published_settings():
    features = UTRAD.published_features(preset("fast").features)
    assert (features.reductions, features.grid) == ((4, 8, 16), 16)

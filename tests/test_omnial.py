"""OmniAL: its anomalies, attention, neck and map against naive loops, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import fitted_on_images, quick_on_images, stripes

from mintad.baselines.noticeable import (
    LEVELS,
    PANEL,
    local_mean,
    noticeable_difference,
    random_panel,
    spoil_in_panel,
)
from mintad.baselines.omnial import WEIGHT, ChannelAndSpatialAttention, Comparison

CPU = torch.device("cpu")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_noticeable_difference_is_that_of_a_naive_loop():
    images = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    grey = np.pad(255 * images[0].double().mean(0).numpy(), 2, mode="reflect")
    expected = np.empty((9, 9))
    for row, column in np.ndindex(9, 9):
        window = grey[row : row + 5, column : column + 5]
        mean, contrast = window.mean(), window.std()
        dark, bright = 17 * (1 - np.sqrt(mean / 127)) + 3, 3 * (mean - 127) / 128 + 3
        luminance = dark if mean <= 127 else bright
        masking = 0.115 * 16 * contrast**2.4 / (contrast**2 + 26**2)
        expected[row, column] = (luminance + masking - 0.3 * min(luminance, masking)) / 255
    np.testing.assert_allclose(noticeable_difference(images)[0, 0].numpy(), expected, rtol=1e-3)


def test_a_change_is_least_noticed_in_the_dark_and_where_contrast_is_high():
    black, middle, busy = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 3, 16, 16)
    busy[..., ::2] = 1
    dark, flat, textured = (noticeable_difference(image)[..., 8, 8].item() for image in (black, middle, busy))
    assert dark > flat and textured > 1.5 * flat and dark == pytest.approx(20 / 255)


def test_the_local_mean_keeps_the_size_and_a_window_of_one_changes_nothing():
    x = torch.rand(1, 2, 7, 8)
    assert torch.equal(local_mean(x, 1), x) and local_mean(x, 5).shape == x.shape
    assert local_mean(x, 3)[0, 1, 3, 4].item() == pytest.approx(x[0, 1, 2:5, 3:6].mean().item(), rel=1e-5)


def test_a_panel_is_a_side_of_the_image_or_all_of_it():
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        panel = random_panel(100, CPU).numpy()
        rows, columns = np.flatnonzero(panel.any(1)), np.flatnonzero(panel.any(0))
        assert panel.sum() == len(rows) * len(columns)  # a rectangle
        seen.add((rows[0] == 0, rows[-1] == 99, columns[0] == 0, columns[-1] == 99))
        assert panel.all() or round(100 * PANEL[0]) <= min(len(rows), len(columns)) <= round(100 * PANEL[1])
    assert len(seen) == 5


@pytest.mark.parametrize("size", [96, 17])
def test_only_what_the_mask_could_show_is_spoiled_and_what_is_alike_is_not_anomalous(size):
    torch.manual_seed(0)
    image, masks = stripes(1, side=size)[0], []
    for _ in range(30):
        spoiled, mask = spoil_in_panel(image, stripes(1, seed=1, side=size)[0])
        changed = (spoiled != image).any(0)
        assert mask.dtype == torch.bool and torch.isfinite(spoiled).all() and 0 <= spoiled.min() <= spoiled.max() <= 1
        assert not (mask & ~changed).any()
        masks.append(mask)
    assert 0 < torch.stack(masks).float().mean() < 0.4


def test_an_anomaly_like_the_image_is_not_called_one(monkeypatch):
    image = torch.full((3, 32, 32), 0.4)
    monkeypatch.setattr("mintad.baselines.noticeable.source", lambda other: image.clone())
    for seed in range(5):
        torch.manual_seed(seed)
        spoiled, mask = spoil_in_panel(image, image)
        torch.testing.assert_close(spoiled, image)
        assert not mask.any()


def test_the_attention_is_that_of_a_naive_loop():
    torch.manual_seed(0)
    block, x = ChannelAndSpatialAttention(4).double(), torch.randn(1, 4, 5, 6).double()
    first, second = block.channel[0], block.channel[2]
    pooled = x[0].mean((1, 2)).numpy()
    hidden = np.maximum(first.weight[:, :, 0, 0].detach().numpy() @ pooled + first.bias.detach().numpy(), 0)
    weights = sigmoid(second.weight[:, :, 0, 0].detach().numpy() @ hidden + second.bias.detach().numpy())
    weighed = x[0].numpy() * weights[:, None, None]
    both = np.stack([weighed.mean(0), weighed.max(0)])
    expected = np.empty_like(weighed)
    for row, column in np.ndindex(5, 6):
        total = 0.0
        for layer, distance, share in (block.near, 1, 1.0), (block.far, 2, WEIGHT):
            value = layer.bias.item()
            for k, i, j in np.ndindex(2, 3, 3):
                r, c = row + (i - 1) * distance, column + (j - 1) * distance
                if 0 <= r < 5 and 0 <= c < 6:
                    value += layer.weight[0, k, i, j].item() * both[k, r, c]
            total += share * value
        expected[:, row, column] = weighed[:, row, column] * sigmoid(total)
    np.testing.assert_allclose(block(x)[0].detach().numpy(), expected, rtol=1e-9)


def test_the_neck_sees_differences_alone_in_its_first_parts():
    torch.manual_seed(0)
    neck = Comparison(2)
    image, seen, other = torch.rand(1, 3, 6, 6), torch.rand(1, 1, 6, 6), torch.rand(1, 3, 6, 6)
    parts = neck(image, seen, image, seen)
    constant = neck(other, seen, other, seen)
    assert parts.shape == (1, 6, 6, 6) and torch.equal(parts[:, :4], constant[:, :4])
    assert not torch.equal(parts[:, 4:], constant[:, 4:])


def test_attention_stands_behind_every_layer_of_the_first_network_alone():
    baseline = fitted_on_images(quick_on_images("omnial", steps=1), stripes(3))
    layers = [*baseline.repair.down, *baseline.repair.up]
    with torch.no_grad():
        before = baseline.repair(stripes(1))
        for layer in layers:
            (attention,) = (part for part in layer.modules() if isinstance(part, ChannelAndSpatialAttention))
            bias = attention.near.bias.clone()
            attention.near.bias.fill_(-100.0)  # nothing passes
            assert not torch.equal(baseline.repair(stripes(1)), before)
            attention.near.bias.copy_(bias)
    assert not any(isinstance(part, ChannelAndSpatialAttention) for part in baseline.find.modules())


def test_anomalies_come_at_every_level(monkeypatch):
    """With all of the image in mask and panel, what the source adds at least is the level's opacity."""
    image, everywhere = torch.full((3, 32, 32), 0.4), torch.ones(32, 32, dtype=torch.bool)
    monkeypatch.setattr("mintad.baselines.noticeable.source", torch.ones_like)
    monkeypatch.setattr("mintad.baselines.noticeable.noticeable_difference", lambda x: torch.eye(32)[None, None] / 100)
    for part in ("random_mask", "random_panel"):
        monkeypatch.setattr(f"mintad.baselines.noticeable.{part}", lambda size, device: everywhere)
    torch.manual_seed(0)
    least = {round(((spoil_in_panel(image, image)[0] - 0.4) / 0.6).min().item(), 4) for _ in range(40)}
    assert least == {opacity for opacity, _ in LEVELS} and len(least) == 3


def test_the_first_networks_norms_do_not_mix_the_images_of_a_batch():
    baseline = fitted_on_images(quick_on_images("omnial", steps=1), stripes(3))
    first, other = stripes(1), 1 - stripes(1, seed=5)
    with torch.no_grad():
        alone, beside = baseline.repair.train()(first), baseline.repair(torch.cat([first, other]))[:1]
    torch.testing.assert_close(alone, beside, rtol=1e-3, atol=1e-4)


def test_the_map_is_the_probability_of_the_mask():
    baseline, test = fitted_on_images(quick_on_images("omnial"), stripes(6)), stripes(2, seed=1)
    with torch.no_grad():
        repaired, noticed = baseline.repair(test).split([3, 1], dim=1)
        seen = noticeable_difference(test) / 0.1
        logits = baseline.find(baseline.neck(test, seen, repaired, noticed)).exp()
    maps = baseline.anomaly_map(test)
    torch.testing.assert_close(maps, logits[:, 1] / logits.sum(1))
    assert maps.shape == (2, 32, 32) and baseline.image_score(test, maps).shape == (2,)


def test_its_state_can_be_saved_and_loaded(tmp_path):
    images = stripes(4)
    baseline = fitted_on_images(quick_on_images("omnial"), images)
    torch.save(baseline.networks.state_dict(), tmp_path / "omnial.pt")
    other = fitted_on_images(quick_on_images("omnial", seed=1), images)
    assert not torch.equal(other.anomaly_map(images), baseline.anomaly_map(images))
    other.networks.load_state_dict(torch.load(tmp_path / "omnial.pt", weights_only=True))
    assert torch.equal(other.anomaly_map(images), baseline.anomaly_map(images))

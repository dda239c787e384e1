"""DRAEM: its noise, losses and map against naive loops, and what its idea must find."""

import math

import numpy as np
import pytest
import torch
from baseline_builders import fitted_on_images, quick_on_images, stripes

from mintad.baselines.draem import Hourglass, dissimilarity, focal_loss
from mintad.baselines.perlin import perlin_noise, random_mask, random_texture, spoil


def test_perlins_noise_is_that_of_a_naive_loop():
    torch.manual_seed(0)
    gradient = torch.nn.functional.normalize(torch.randn(3, 5, 2), dim=-1)
    noise = perlin_noise(8, (2, 4), gradient)
    for row in range(8):
        for column in range(8):
            y, x = (row + 0.5) * 2 / 8, (column + 0.5) * 4 / 8
            total = 0.0
            for down in (0, 1):
                for right in (0, 1):
                    way = np.array([y - int(y) - down, x - int(x) - right])
                    fade = [6 * t**5 - 15 * t**4 + 10 * t**3 for t in 1 - np.abs(way)]
                    total += fade[0] * fade[1] * (gradient[int(y) + down, int(x) + right].numpy() @ way)
            assert noise[row, column].item() == pytest.approx(math.sqrt(2) * total, abs=1e-5)


@pytest.mark.parametrize("size", [96, 7, 1])
def test_masks_and_textures_of_any_size(size):
    torch.manual_seed(0)
    device = torch.device("cpu")
    masks = torch.stack([random_mask(size, device) for _ in range(40)])
    assert masks.dtype == torch.bool and masks.shape == (40, size, size) and masks.float().mean() < 0.4
    assert size < 8 or masks.any()
    textures = torch.stack([random_texture(size, device) for _ in range(10)])
    assert textures.shape == (10, 3, size, size) and 0 <= textures.min() and textures.max() <= 1


def test_only_what_the_mask_shows_is_spoiled():
    torch.manual_seed(0)
    image = torch.rand(3, 32, 32)
    for _ in range(20):
        spoiled, mask = spoil(image)
        assert torch.equal(spoiled[:, ~mask], image[:, ~mask]) and 0 <= spoiled.min() and spoiled.max() <= 1
        assert not mask.any() or (spoiled[:, mask] != image[:, mask]).any(0).float().mean() > 0.9


def test_the_dissimilarity_is_that_of_a_naive_loop():
    a, b = torch.rand(2, 1, 2, 12, 13, generator=torch.Generator().manual_seed(0))
    values = []
    for channel in range(2):
        for row in range(2):
            for column in range(3):
                p, q = (x[0, channel, row : row + 11, column : column + 11].double().numpy() for x in (a, b))
                s = ((p - p.mean()) * (q - q.mean())).mean()
                over = (2 * p.mean() * q.mean() + 0.01**2) * (2 * s + 0.03**2)
                values.append(over / ((p.mean() ** 2 + q.mean() ** 2 + 0.01**2) * (p.var() + q.var() + 0.03**2)))
    assert dissimilarity(a, b).item() == pytest.approx(1 - np.mean(values), rel=1e-4)
    assert dissimilarity(a, a).abs() < 1e-6


def test_the_focal_loss_is_that_of_a_naive_loop():
    torch.manual_seed(0)
    logits, mask, values = torch.randn(2, 2, 3, 3), torch.rand(2, 3, 3) < 0.5, []
    for b, row, column in np.ndindex(2, 3, 3):
        weights = np.exp(logits[b, :, row, column].double().numpy())
        p = weights[int(mask[b, row, column])] / weights.sum()
        values.append(-((1 - p) ** 2) * np.log(p))
    assert focal_loss(logits, mask).item() == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("size", [32, 45])
def test_a_network_keeps_the_size_and_skips_carry_what_the_narrow_place_cannot(size):
    torch.manual_seed(0)
    for skips in (False, True):
        network = Hourglass(3, 2, 4, skips=skips).eval()
        image = torch.rand(1, 3, size, size)
        assert network(image).shape == (1, 2, size, size)
        wide = sum(weight.numel() for weight in network.parameters())
        assert (wide > sum(w.numel() for w in Hourglass(3, 2, 4, skips=False).parameters())) == skips


@pytest.mark.parametrize(("name", "steps"), [("draem", 15), ("omnial", 25)])
def test_gradients_reach_all_networks_and_the_loss_falls(name, steps):
    images = stripes(6)
    short, long = (fitted_on_images(quick_on_images(name, steps=n), images) for n in (1, steps))
    losses = []
    for baseline in (short, long):
        torch.manual_seed(3)
        baseline.networks.train()
        losses.append(baseline.loss(images))
    assert losses[1] < 0.8 * losses[0]
    losses[0].backward()
    for part, weight in short.networks.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, part


def test_the_map_is_the_probability_and_the_score_its_largest_mean():
    train, test = stripes(6), stripes(2, seed=1)
    baseline = fitted_on_images(quick_on_images("draem"), train)
    with torch.no_grad():
        repaired = baseline.repair(test)
        expected = baseline.tell(torch.cat([repaired, test], dim=1)).exp()
    maps = baseline.anomaly_map(test)
    torch.testing.assert_close(maps, expected[:, 1] / expected.sum(1))
    side = 3  # 21 of 256, of 32
    means = [maps[0, r : r + side, c : c + side].mean() for r, c in np.ndindex(32 - side + 1, 32 - side + 1)]
    assert baseline.image_score(test, maps)[0].item() == pytest.approx(max(means).item(), rel=1e-5)

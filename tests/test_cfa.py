"""CFA: its loss and map against naive loops, its memory, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, fitted, normal_images

from mintad.baselines import cfa as cfa_module
from mintad.baselines.cfa import CFA, hypersphere_loss, squared_distances
from mintad.config import preset


def naive_loss(tokens, memory, radius, near, far, margin):
    attraction, repulsion = [], []
    for token in tokens:
        distances = sorted(sum((token - centre) ** 2) for centre in memory)
        attraction += [max(0.0, distance - radius**2) for distance in distances[:near]]
        repulsion += [max(0.0, radius**2 - distance - margin) for distance in distances[near : near + far]]
    return np.mean(attraction) + (np.mean(repulsion) if far else 0.0)


@pytest.mark.parametrize(("radius", "near", "far"), [(1e-5, 3, 3), (1.5, 2, 4), (1.5, 5, 0)])
def test_the_loss_is_that_of_a_naive_loop(radius, near, far):
    generator = torch.Generator().manual_seed(0)
    tokens, memory = (torch.randn(n, 3, generator=generator).double() + 2 for n in (17, 9))
    actual = hypersphere_loss(
        squared_distances(tokens, memory), torch.tensor(radius).double(), near=near, far=far, margin=0.1
    )
    expected = naive_loss(tokens.numpy(), memory.numpy(), torch.tensor(radius).double().item(), near, far, 0.1)
    assert actual.item() == pytest.approx(expected, rel=1e-9) and expected > 0


def test_gradients_are_finite_and_reach_descriptor_and_radius():
    images = normal_images(4)
    baseline = fitted(CFA(GRID, steps=0), images)
    with torch.no_grad():
        baseline.descriptor.radius.fill_(2.0)  # of which repulsion is not zero
    baseline.loss(images).backward()
    for name, weight in baseline.descriptor.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, name


def test_the_memory_is_the_mean_descriptor_of_every_position_before_the_training(monkeypatch):
    monkeypatch.setattr(cfa_module, "CHUNK", 3)
    images = normal_images(8)
    untrained, trained = (fitted(CFA(GRID, steps=steps), images) for steps in (0, 3))
    described = untrained.descriptor((images - untrained.mean_F) / untrained.std_F).detach()
    torch.testing.assert_close(untrained.memory_MF, described.mean(0), rtol=1e-4, atol=1e-5)
    assert torch.equal(trained.memory_MF, untrained.memory_MF)
    assert not torch.equal(trained.descriptor.linear.weight, untrained.descriptor.linear.weight)


def test_the_memory_has_one_centre_for_several_positions_if_asked_and_never_grows_with_images():
    for count in (2, 30):
        assert fitted(CFA(GRID, steps=1), normal_images(count)).memory_MF.shape == (TOKENS, CHANNELS)
        assert fitted(CFA(GRID, steps=1, compression=4), normal_images(count)).memory_MF.shape == (5, CHANNELS)
    tiny = fitted(CFA(GRID, steps=1, compression=100), normal_images(2))
    assert tiny.memory_MF.shape == (1, CHANNELS) and torch.isfinite(tiny.anomaly_map(normal_images(1))).all()


def test_the_map_is_the_nearest_distance_times_its_softmin_weight(monkeypatch):
    train, test = normal_images(10), normal_images(2, seed=1)
    baseline = fitted(CFA(GRID, steps=3), train)
    described = baseline.descriptor((test - baseline.mean_F) / baseline.std_F).detach().double().numpy()
    memory, expected = baseline.memory_MF.double().numpy(), np.empty((2, TOKENS))
    for image in range(2):
        for token in range(TOKENS):
            nearest = np.sort(np.linalg.norm(described[image, token] - memory, axis=1))[:3]
            expected[image, token] = nearest[0] * np.exp(-nearest[0]) / np.exp(-nearest).sum()
    for entries in (cfa_module.MATRIX_ENTRIES, 3 * TOKENS):  # few distances at a time change nothing
        monkeypatch.setattr(cfa_module, "MATRIX_ENTRIES", entries)
        np.testing.assert_allclose(baseline.anomaly_map(test).flatten(1).numpy(), expected, rtol=1e-3)


def test_training_learns_to_ignore_how_normal_images_vary():
    """Half of the channels vary from image to image, which hides a defect in the others until phi has learned it."""
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(TOKENS, 6, generator=generator)
    light = 2 * torch.randn(60, 1, 6, generator=generator).expand(-1, TOKENS, -1)
    images = torch.cat([place + 0.1 * torch.randn(60, TOKENS, 6, generator=generator), light], dim=-1)
    train, test = images[:50], images[50:].clone()
    test[:5, 7, :6] += 1.5

    def scores(steps):
        maps = fitted(CFA(GRID, steps=steps, images=8, rate=1e-2), train).anomaly_map(test)
        return maps.flatten(1).amax(1), maps.flatten(1).argmax(1)

    (before, _), (after, where) = scores(0), scores(100)
    assert before[:5].min() < before[5:].max()
    assert after[:5].min() > after[5:].max() and (where[:5] == 7).all()


def test_published_settings():
    config = preset("fast")
    features, scoring = CFA.published_features(config.features), CFA.published_scoring(config.scoring)
    assert (features.reductions, features.grid, features.local_mean) == ((4, 8, 16), 28, 3)
    assert (scoring.image_score, scoring.blur) == ("max", 4.0)

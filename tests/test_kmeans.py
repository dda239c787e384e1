"""The k-means baseline against naive loops, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, fitted, normal_images

from mintad.baselines import memory
from mintad.baselines.kmeans import KMeans, assign, lloyd


def distances(tokens, centres):
    return np.linalg.norm(tokens[:, None].double().numpy() - centres[None].double().numpy(), axis=-1)


def test_every_token_is_given_to_its_nearest_centre(monkeypatch):
    monkeypatch.setattr(memory, "MATRIX_ENTRIES", 70)  # several chunks
    points = torch.randn(57, 4, generator=torch.Generator().manual_seed(0)) + 3
    assert assign(points, points[:9]).tolist() == distances(points, points[:9]).argmin(1).tolist()


def test_an_iteration_is_the_naive_one_and_an_empty_centre_stays():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    centres = torch.cat([points[:4], torch.full((1, 3), 100.0)])
    nearest = distances(points, centres).argmin(1)
    expected = [points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(5)]
    moved = lloyd(points, centres, 1)
    torch.testing.assert_close(moved, torch.stack(expected))
    torch.testing.assert_close(moved[4], centres[4])


def test_iterations_lower_the_sum_of_squares_and_end_at_a_fixed_point():
    points = normal_images(10).flatten(0, 1)
    first = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(2))[:12]]
    costs = [np.square(distances(points, lloyd(points, first, n)).min(1)).sum() for n in range(6)]
    assert all(later <= earlier + 1e-3 for earlier, later in zip(costs, costs[1:], strict=False))
    assert costs[5] < 0.9 * costs[0]
    final = lloyd(points, first, 1000)
    torch.testing.assert_close(lloyd(points, final, 1), final)


def test_the_map_is_the_distance_to_the_nearest_centre_and_memory_is_bounded():
    train, test = normal_images(30), normal_images(3, seed=1)
    baseline = fitted(KMeans(GRID, clusters=7, limit=100), train)
    assert baseline.centres_KF.shape == (7, CHANNELS)
    expected = distances(test.flatten(0, 1), baseline.centres_KF).min(1).reshape(3, *GRID)
    np.testing.assert_allclose(baseline.anomaly_map(test).numpy(), expected, rtol=1e-4)
    few = fitted(KMeans(GRID, clusters=500), train[:1])
    assert few.centres_KF.shape == (20, CHANNELS) and few.anomaly_map(train[:1]).max() < 1e-2


def test_centres_find_separate_groups_and_what_lies_between_them():
    generator = torch.Generator().manual_seed(0)
    groups = 10 * torch.eye(CHANNELS)[:3]
    train = groups[torch.arange(400) % 3].view(20, 20, CHANNELS) + 0.1 * torch.randn(
        20, 20, CHANNELS, generator=generator
    )
    baseline = fitted(KMeans(GRID, clusters=12), train)
    between = train[:2].clone()
    between[0, 7] = groups[:2].mean(0)  # the mean of two normal groups, which a single Gaussian would accept
    map_BHW = baseline.anomaly_map(between)
    assert map_BHW[0].argmax() == 7 and map_BHW[0].max() > 5 > 1 > map_BHW[1].max()


@pytest.mark.parametrize("entries", [1, 50])
def test_few_distances_at_a_time_change_nothing(entries, monkeypatch):
    train = normal_images(6)
    whole = fitted(KMeans(GRID, clusters=5), train).anomaly_map(train)
    monkeypatch.setattr(memory, "MATRIX_ENTRIES", entries)
    torch.testing.assert_close(fitted(KMeans(GRID, clusters=5), train).anomaly_map(train), whole)

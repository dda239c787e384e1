"""PaDiM, PatchCore and one baseline per category, against direct computations and planted anomalies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.baselines import BASELINES
from mintad.baselines import padim as padim_module
from mintad.baselines.padim import PaDiM
from mintad.baselines.patchcore import PatchCore, greedy_coreset
from mintad.baselines.per_category import PerCategory
from mintad.config import preset
from mintad.errors import ConfigError, DataError
from mintad.features.table import FeatureTable
from mintad.model import VARIANTS
from mintad.scoring.maps import grid_maps

GRID = (4, 5)
TOKENS, CHANNELS = 20, 12


def normal_images(count, seed=0, offset=0.0):
    """Every position has its own mean, every pair of channels its correlation."""
    base = torch.Generator().manual_seed(99)
    mean = torch.randn(TOKENS, CHANNELS, generator=base)
    mix = torch.randn(CHANNELS, CHANNELS, generator=base) / 4
    noise = torch.randn(count, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))
    return mean + offset + noise @ mix


def fitted(baseline, images):
    return baseline.fit(FeatureTable.from_tensor(images), np.arange(len(images)))


def naive_mahalanobis(train_NLF, feat_BLF, kept, shrinkage):
    result = np.empty(feat_BLF.shape[:2])
    for position in range(TOKENS):
        normal = train_NLF[:, position, kept].double().numpy()
        covariance = np.cov(normal, rowvar=False) + shrinkage * np.eye(len(kept))
        difference = feat_BLF[:, position, kept].double().numpy() - normal.mean(0)
        solved = np.linalg.solve(covariance, difference.T).T
        result[:, position] = np.sqrt((difference * solved).sum(1))
    return result.reshape(-1, *GRID)


@pytest.mark.parametrize("channels", [5, 100])
def test_padim_is_the_mahalanobis_distance_at_every_position(channels, monkeypatch):
    monkeypatch.setattr(padim_module, "CHUNK", 7)  # statistics over several chunks
    train, test = normal_images(40), normal_images(3, seed=1)
    padim = fitted(PaDiM(GRID, channels=channels, seed=3), train)
    assert len(padim.chosen) == min(channels, CHANNELS) == len(set(padim.chosen.tolist()))
    expected = naive_mahalanobis(train, test, padim.chosen.numpy(), 0.01)
    np.testing.assert_allclose(padim.anomaly_map(test).numpy(), expected, rtol=1e-3)


def test_padim_with_fewer_images_than_channels():
    train, test = normal_images(3), normal_images(2, seed=1)
    padim = fitted(PaDiM(GRID, shrinkage=0.5), train)
    expected = naive_mahalanobis(train, test, padim.chosen.numpy(), 0.5)
    np.testing.assert_allclose(padim.anomaly_map(test).numpy(), expected, rtol=1e-3)
    alone = fitted(PaDiM(GRID), train[:1])
    assert alone.anomaly_map(train[:1]).abs().max() == 0


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_coreset_is_the_naive_k_centre(seed, size):
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed))
    chosen = [seed % 60]
    exact = points.double().numpy()
    while len(chosen) < size:
        nearest = np.linalg.norm(exact[:, None] - exact[chosen], axis=-1).min(1)
        chosen.append(int(nearest.argmax()))
    assert greedy_coreset(points, size, seed % 60).tolist() == chosen


def test_coreset_of_everything_has_no_repeats_even_among_equal_points():
    points = torch.zeros(6, 2)
    points[3:] = 1
    chosen = greedy_coreset(points, 6, 0).tolist()
    assert sorted(chosen) == list(range(6)) and chosen[1] >= 3


def neighbourhood_means(images_BLF):
    maps = images_BLF.unflatten(1, GRID).numpy()
    result = np.empty_like(maps)
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            square = maps[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            result[:, row, column] = square.mean((1, 2))
    return result


@pytest.mark.parametrize("neighbourhood", [1, 3])
def test_patchcore_with_everything_remembered_is_the_nearest_neighbour_distance(neighbourhood):
    train, test = normal_images(6), normal_images(3, seed=1)
    patchcore = fitted(PatchCore(GRID, share=1.0, neighbourhood=neighbourhood), train)
    assert patchcore.memory_MF.shape == (6 * TOKENS, CHANNELS)
    smooth = neighbourhood_means if neighbourhood == 3 else lambda images: images.unflatten(1, GRID).numpy()
    memory, queries = smooth(train).reshape(-1, CHANNELS), smooth(test)
    expected = np.linalg.norm(queries[..., None, :] - memory, axis=-1).min(-1)
    np.testing.assert_allclose(patchcore.anomaly_map(test).numpy(), expected, rtol=1e-3, atol=1e-3)


def test_patchcores_memory_is_a_coreset_of_sampled_normal_patches():
    train = normal_images(70)  # more than a chunk
    patchcore = fitted(PatchCore(GRID, share=0.5, limit=30, candidates=100, projection=0, neighbourhood=1), train)
    assert patchcore.memory_MF.shape == (30, CHANNELS)
    distance = torch.cdist(patchcore.memory_MF, train.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.amin(1).max() == 0  # each is a training token, unchanged
    assert len(set(distance.argmin(1).tolist())) == 30
    assert len({n // TOKENS for n in distance.argmin(1).tolist()}) > 10  # from all over the training set
    small = fitted(PatchCore(GRID, share=0.1), train[:4])
    assert len(small.memory_MF) == 8


def test_a_coreset_covers_better_than_a_random_sample():
    train = torch.cat([normal_images(30), normal_images(1, offset=20.0)])  # a rare kind of normal image
    patchcore = fitted(PatchCore(GRID, share=0.05, projection=4), train)
    rare = patchcore.anomaly_map(train[-1:]).max()
    sampled = PatchCore(GRID)
    sampled.memory_MF = sampled._smooth(train[:2]).flatten(0, 1)
    assert rare < sampled.anomaly_map(train[-1:]).max() / 2


@pytest.mark.parametrize(
    "baseline", [lambda: PaDiM(GRID), lambda: PatchCore(GRID, share=0.2)], ids=["padim", "patchcore"]
)
def test_planted_anomalies_are_found_where_they_are(baseline):
    train, test = normal_images(60), normal_images(8, seed=1)
    positions = [7, 0, 19, 12]
    for n, position in enumerate(positions):
        test[n, position] += 9.0
    maps_BHW = fitted(baseline(), train).anomaly_map(test)
    assert maps_BHW.shape == (8, *GRID) and maps_BHW.dtype == torch.float32
    scores = maps_BHW.flatten(1).amax(1)
    assert scores[:4].min() > scores[4:].max()
    for n, position in enumerate(positions):
        row, column = divmod(int(maps_BHW[n].argmax()), GRID[1])
        assert max(abs(row - position // GRID[1]), abs(column - position % GRID[1])) <= 1


@pytest.mark.parametrize("name", BASELINES.names())
def test_baselines_are_deterministic_and_seeded(name):
    train, test = normal_images(20), normal_images(2, seed=1)
    options = {"channels": 6} if name == "padim" else {"share": 0.1, "projection": 4}

    def map_of(seed):
        torch.manual_seed(np.random.randint(1000))  # the global generator must not matter
        return fitted(BASELINES[name](GRID, seed=seed, **options), train).anomaly_map(test)

    assert torch.equal(map_of(0), map_of(0))
    assert not torch.equal(map_of(0), map_of(1))


@pytest.mark.parametrize("name", BASELINES.names())
def test_baselines_use_the_given_rows_only_and_any_batch(name):
    images = torch.cat([normal_images(20), normal_images(5, offset=50.0)])
    table = FeatureTable.from_tensor(images.half())
    rows = np.arange(20)
    baseline = BASELINES[name](GRID).fit(table, rows)
    feat = table.gather(rows[::-1])
    again = BASELINES[name](GRID).fit(FeatureTable.from_tensor(images[:20].half()), rows)
    torch.testing.assert_close(baseline.anomaly_map(feat), again.anomaly_map(feat))
    one_by_one = torch.cat([baseline.anomaly_map(feat[n : n + 1]) for n in range(20)])
    torch.testing.assert_close(baseline.anomaly_map(feat), one_by_one, rtol=1e-3, atol=2e-2)
    with pytest.raises(DataError, match="at least one"):
        BASELINES[name](GRID).fit(table, rows[:0])


def two_categories():
    images = torch.cat([normal_images(30), -2 * normal_images(30, seed=2)])
    return FeatureTable.from_tensor(images), np.array(["nut"] * 30 + ["bolt"] * 30), np.arange(60)


def test_per_category_scores_each_image_with_its_own_baseline():
    table, categories, rows = two_categories()
    separate = PerCategory(lambda: PaDiM(GRID), categories).fit(table, rows)
    mixed = np.array([40, 3, 50, 2])
    maps = separate.anomaly_map(table.gather(mixed), categories[mixed])
    nut = PaDiM(GRID).fit(table, rows[:30])
    torch.testing.assert_close(maps[[1, 3]], nut.anomaly_map(table.gather([3, 2])))
    # An image of the other category is normal to the unified baseline and anomalous to its own category's.
    other = separate.anomaly_map(table.gather([40]), ["nut"]).max()
    unified = PaDiM(GRID).fit(table, rows).anomaly_map(table.gather([40])).max()
    assert other > 3 * unified
    with pytest.raises(DataError, match="Did you mean 'nut'"):
        separate.anomaly_map(table.gather([0]), ["nuts"])


def test_per_category_takes_its_labels_in_any_batches():
    table, categories, rows = two_categories()
    separate = PerCategory(lambda: PatchCore(GRID, share=0.2), categories).fit(table, rows)
    test = np.array([40, 3, 50, 2, 59])
    scoring = preset("fast").scoring
    maps = grid_maps(separate, table, test, scoring, labels=categories[test], batch_size=2)
    whole = separate.anomaly_map(table.gather(test), categories[test])
    np.testing.assert_allclose(maps, whole.numpy(), rtol=1e-3, atol=2e-2)  # cdist loses digits near zero
    with pytest.raises(DataError, match="category of every image"):
        separate.anomaly_map(table.gather(test))


def test_a_neighbourhood_is_averaged_over_the_part_inside_the_grid():
    feat = torch.zeros(1, TOKENS, 1)
    feat[0, 0] = 4.0
    smooth = PatchCore(GRID)._smooth(feat).unflatten(1, GRID)[0, ..., 0]
    assert smooth[0, 0] == 1.0 and smooth[1, 1] == pytest.approx(4 / 9) and smooth[2, 2] == 0
    assert smooth.count_nonzero() == 4
    with pytest.raises(ValueError, match="odd"):
        PatchCore(GRID, neighbourhood=2)


@pytest.mark.parametrize("name", ["mint_ad", "plain_variant"])
def test_a_baseline_named_like_a_model_variant_is_refused(name, monkeypatch):
    BASELINES.require(iter(["padim", "patchcore"]))
    monkeypatch.setitem(VARIANTS._entries, "plain_variant", VARIANTS["uniad"])
    monkeypatch.setitem(BASELINES._entries, name, PaDiM)
    with pytest.raises(ConfigError, match=f"'{name}'"):
        BASELINES.require(["padim", name])

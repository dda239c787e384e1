"""PaDiM, PatchCore and one baseline per category, against direct computations, planted anomalies and anomalib."""

import dataclasses

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, MemoryImages, fitted, normal_images, quick, stripes
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.baselines import BASELINES, coreset
from mintad.baselines import padim as padim_module
from mintad.baselines.base import Baseline
from mintad.baselines.coreset import greedy_coreset
from mintad.baselines.nearest import NearestNeighbour
from mintad.baselines.padim import PaDiM
from mintad.baselines.patchcore import PatchCore
from mintad.baselines.per_category import PerCategory
from mintad.config import preset
from mintad.errors import ConfigError, DataError
from mintad.features.backbone import build_backbone
from mintad.features.table import FeatureTable
from mintad.model import VARIANTS
from mintad.scoring.maps import grid_maps, maps_and_scores, upsample


def naive_mahalanobis(train_NLF, feat_BLF, kept, shrinkage):
    result = np.empty(feat_BLF.shape[:2])
    for position in range(TOKENS):
        normal = train_NLF[:, position, kept].double().numpy()
        covariance = np.cov(normal, rowvar=False) + shrinkage * np.eye(len(kept))
        difference = feat_BLF[:, position, kept].double().numpy() - normal.mean(0)
        solved = np.linalg.solve(covariance, difference.T).T
        result[:, position] = np.sqrt((difference * solved).sum(1))
    return result.reshape(-1, *GRID)


@pytest.mark.parametrize("channels", [5, 550])
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


def naive_coreset(points_NP, size, first):
    """Compare every point with every choice."""
    exact, chosen = points_NP.numpy(), [first]
    nearest_N = np.full(len(exact), np.inf)
    while len(chosen) < size:
        nearest_N = np.minimum(nearest_N, np.square(exact - exact[chosen[-1]]).sum(1))
        chosen.append(int(nearest_N.argmax()))
    return chosen


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_coreset_is_the_naive_k_centre(seed, size, pool):
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed)).double() + 5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "POOL", pool)
        assert greedy_coreset(points, size, seed % 60).tolist() == naive_coreset(points, size, seed % 60)


def test_coreset_of_many_points_in_clusters_is_the_naive_one():
    generator = torch.Generator().manual_seed(0)
    centres, spread = 9 * torch.randn(20, 16, generator=generator), torch.rand(20, 1, generator=generator)
    kind = torch.randint(20, (6_000,), generator=generator)  # more than two pools
    points = (centres[kind] + spread[kind] * torch.randn(6_000, 16, generator=generator)).double()
    assert greedy_coreset(points, 500, 17).tolist() == naive_coreset(points, 500, 17)


@pytest.mark.parametrize("pool", [1, 2, 4, 100])
def test_coreset_of_everything_has_no_repeats_even_among_equal_points(pool, monkeypatch):
    monkeypatch.setattr(coreset, "POOL", pool)
    points = torch.zeros(6, 2)
    points[3:] = 1
    chosen = greedy_coreset(points, 6, 0).tolist()
    assert sorted(chosen) == list(range(6)) and chosen[1] >= 3
    assert points[0].sum() == 0 and greedy_coreset(points[:1], 1, 0).tolist() == [0]


def naive_distances(memory, queries):
    return np.linalg.norm(queries[..., None, :].double().numpy() - memory.double().numpy(), axis=-1)


@pytest.mark.parametrize("new", [lambda: PatchCore(GRID, share=1.0), lambda: NearestNeighbour(GRID)])
def test_with_everything_remembered_the_distance_is_to_the_nearest_neighbour(new):
    train, test = normal_images(6, offset=3.0), normal_images(3, seed=1, offset=3.0)
    baseline = fitted(new(), train)
    assert baseline.memory_MF.shape == (6 * TOKENS, CHANNELS)
    expected = naive_distances(train.flatten(0, 1), test).min(-1).reshape(-1, *GRID)
    np.testing.assert_allclose(baseline.anomaly_map(test).numpy(), expected, rtol=1e-4)
    assert baseline.anomaly_map(train).abs().max() < 5e-3


def test_the_nearest_neighbours_memory_is_limited():
    train = normal_images(70)
    first, again, other = (fitted(NearestNeighbour(GRID, limit=30, seed=seed), train).memory_MF for seed in (0, 0, 1))
    assert first.shape == (30, CHANNELS) and torch.equal(first, again) and not torch.equal(first, other)
    distance = torch.cdist(first, train.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.amin(1).max() == 0 and len(set(distance.argmin(1).tolist())) == 30


@pytest.mark.parametrize("neighbours", [1, 3, 9, 500])
def test_patchcores_image_score_is_equation_7(neighbours):
    train, test = normal_images(6), normal_images(5, seed=1)
    patchcore = fitted(PatchCore(GRID, share=0.5, neighbours=neighbours), train)
    memory = patchcore.memory_MF
    actual = patchcore.image_score(test, patchcore.anomaly_map(test))
    for tokens, score in zip(test, actual.tolist(), strict=True):
        distances = naive_distances(memory, tokens)
        token = distances.min(1).argmax()  # the most anomalous patch, m^test,*
        nearest = distances[token].argmin()  # m*
        around = naive_distances(memory, memory[nearest]).argsort()[:neighbours]  # N_b(m*)
        weight = 1 - np.exp(distances[token, nearest]) / np.exp(distances[token, around]).sum()
        expected = distances[token, nearest] * (weight if neighbours > 1 else 1)
        assert score == pytest.approx(expected, rel=1e-4)


def test_patchcores_image_score_does_not_overflow_and_survives_repeated_tokens():
    train = normal_images(4).repeat(3, 1, 1)  # every token three times
    patchcore = fitted(PatchCore(GRID, share=1.0), train)
    far = train[:1] + 1e4
    score, distances = patchcore.image_score(far, patchcore.anomaly_map(far)), patchcore.anomaly_map(far)
    assert torch.isfinite(score).all() and 0.6 * distances.max() < score < distances.max()


def test_patchcores_memory_is_a_coreset_of_sampled_normal_patches():
    train = normal_images(70)  # more than a chunk
    patchcore = fitted(PatchCore(GRID, share=0.5, limit=30, candidates=100, projection=0), train)
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
    sampled.memory_MF = train[:2].flatten(0, 1)
    assert rare < sampled.anomaly_map(train[-1:]).max() / 2


def test_published_features_and_scores():
    config = preset("fast").override(**{"scoring.image_score": "mean"})
    features = PatchCore.published_features(config.features)
    assert (features.reductions, features.grid, features.local_mean, features.resize) == ((8, 16), 28, 3, "half_pixel")
    assert (features.backbone, features.image_size) == (config.features.backbone, 224)
    assert PatchCore.published_features(dataclasses.replace(config.features, image_size=100)).grid == 13
    assert PaDiM.published_features(config.features) == config.features
    scoring = PaDiM.published_scoring(config.scoring)
    assert (scoring.image_score, scoring.blur) == ("max", 4.0) and PatchCore.published_scoring(scoring).blur == 4.0


def test_padim_takes_all_channels_of_a_small_backbone_and_draws_from_a_large_one():
    train = normal_images(30)
    maps = [fitted(PaDiM(GRID, seed=seed), train).anomaly_map(train) for seed in (0, 1)]
    assert torch.equal(*maps)
    assert len(fitted(PaDiM((1, 1)), torch.randn(3, 1, 448)).chosen) == 448
    first, second = (fitted(PaDiM((1, 1), seed=seed), torch.randn(3, 1, 600)).chosen.tolist() for seed in (0, 1))
    assert len(set(first)) == 550 and first != second


@pytest.mark.parametrize(
    "baseline",
    [lambda: PaDiM(GRID), lambda: PatchCore(GRID, share=0.2), lambda: NearestNeighbour(GRID)],
    ids=["padim", "patchcore", "nearest"],
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


@pytest.mark.parametrize("name", BASELINES.on_features())
def test_baselines_are_deterministic_and_seeded(name):
    train, test = normal_images(20), normal_images(2, seed=1)

    def map_of(seed):
        torch.manual_seed(np.random.randint(1000))  # the global generator must not matter
        return fitted(quick(name, seed=seed), train).anomaly_map(test)

    assert torch.equal(map_of(0), map_of(0))
    assert not torch.equal(map_of(0), map_of(1))


@pytest.mark.parametrize("name", BASELINES.on_features())
def test_baselines_use_the_given_rows_only_and_any_batch(name):
    images = torch.cat([normal_images(20), normal_images(5, offset=50.0)])
    table = FeatureTable.from_tensor(images.half())
    rows = np.arange(20)
    baseline = quick(name).fit(table, rows)
    feat = table.gather(rows[::-1])
    again = quick(name).fit(FeatureTable.from_tensor(images[:20].half()), rows)
    torch.testing.assert_close(baseline.anomaly_map(feat), again.anomaly_map(feat))
    one_by_one = torch.cat([baseline.anomaly_map(feat[n : n + 1]) for n in range(20)])
    torch.testing.assert_close(baseline.anomaly_map(feat), one_by_one, rtol=1e-3, atol=2e-2)
    with pytest.raises(DataError, match="at least one"):
        quick(name).fit(table, rows[:0])


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
    _, scores = maps_and_scores(separate, table, test, 32, scoring, labels=categories[test], batch_size=2)
    own = separate.image_score(table.gather(test), whole, categories[test])
    np.testing.assert_allclose(scores, own.numpy(), rtol=1e-3, atol=2e-2)
    nut = PatchCore(GRID, share=0.2).fit(table, rows[:30])
    feat_BLF = table.gather([3, 2])
    torch.testing.assert_close(own[[1, 3]], nut.image_score(feat_BLF, nut.anomaly_map(feat_BLF)))
    gaussians = PerCategory(lambda: PaDiM(GRID), categories).fit(table, rows)
    assert gaussians.image_score(table.gather(test), whole, categories[test]) is None
    with pytest.raises(DataError, match="category of every image"):
        separate.anomaly_map(table.gather(test))


class MeanImage(Baseline):
    """Stands for a baseline on images: the distance to their mean, its largest value as the score."""

    def fit(self, table, rows):
        self.mean_3SS = table.gather(rows).mean(0)
        return self

    def anomaly_map(self, images_B3SS, labels=None):
        return (images_B3SS - self.mean_3SS).norm(dim=1)

    def image_score(self, images_B3SS, map_BHW, labels=None):
        return map_BHW.amax((1, 2))


def test_per_category_gives_images_to_their_own_baseline_too():
    table, rows = MemoryImages(torch.cat([stripes(4), 1 - stripes(4, seed=1)])), np.arange(8)
    categories = np.array(["nut"] * 4 + ["bolt"] * 4)
    separate = PerCategory(lambda: MeanImage((32, 32)), categories).fit(table, rows)
    mixed = np.array([5, 1, 7])
    images = table.gather(mixed)
    maps = separate.anomaly_map(images, categories[mixed])
    scores = separate.image_score(images, maps, categories[mixed])
    for name, places in (("nut", [1]), ("bolt", [0, 2])):
        own = MeanImage((32, 32)).fit(table, rows[categories == name])
        assert torch.equal(maps[places], own.anomaly_map(images[places]))
        assert torch.equal(scores[places], own.image_score(images[places], maps[places]))


@pytest.mark.parametrize("name", ["mint_ad", "plain_variant"])
def test_a_baseline_named_like_a_model_variant_is_refused(name, monkeypatch):
    BASELINES.require(iter(["padim", "patchcore"]))
    monkeypatch.setitem(VARIANTS._entries, "plain_variant", VARIANTS["uniad"])
    monkeypatch.setitem(BASELINES._entries, name, PaDiM)
    with pytest.raises(ConfigError, match=f"'{name}'"):
        BASELINES.require(["padim", name])


@pytest.mark.filterwarnings("ignore")
def test_patchcore_is_anomalibs():
    """The same weights, memory and images: features, map and image score agree; anomalib enlarges by repetition."""
    torch_model = pytest.importorskip("anomalib.models.image.patchcore.torch_model")
    settings = {"reductions": (8, 16), "grid": 8, "local_mean": 3, "resize": "half_pixel"}
    backbone = build_backbone("resnet18", image_size=64, weights="random", **settings)
    theirs = torch_model.PatchcoreModel(layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False)
    theirs.feature_extractor.feature_extractor.load_state_dict(backbone.network.state_dict(), strict=False)
    theirs.train().feature_extractor.eval()
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    feat_BLF = backbone(images)
    torch.testing.assert_close(theirs(images).view_as(feat_BLF), feat_BLF, rtol=1e-4, atol=1e-5)

    ours = fitted(PatchCore((8, 8), share=0.2), feat_BLF[:4])
    theirs.eval().memory_bank = ours.memory_MF
    map_BHW, expected = ours.anomaly_map(feat_BLF[4:]), theirs(images[4:])
    torch.testing.assert_close(ours.image_score(feat_BLF[4:], map_BHW), expected.pred_score, rtol=1e-4, atol=1e-5)
    enlarged = theirs.anomaly_map_generator(map_BHW[:, None], (64, 64))
    torch.testing.assert_close(enlarged, expected.anomaly_map, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_padim_is_anomalibs():
    components = pytest.importorskip("anomalib.models.components")
    anomaly_map = pytest.importorskip("anomalib.models.image.padim.anomaly_map")
    train, test = normal_images(40), normal_images(3, seed=1)
    images = [feat.transpose(1, 2).unflatten(2, GRID) for feat in (train, test)]
    gaussian, generator = components.MultiVariateGaussian(), anomaly_map.AnomalyMapGenerator(sigma=4)
    gaussian.fit(images[0])
    expected = generator.compute_distance(images[1], [gaussian.mean, gaussian.inv_covariance])[:, 0]
    map_BHW = fitted(PaDiM(GRID), train).anomaly_map(test)
    torch.testing.assert_close(map_BHW, expected, rtol=1e-3, atol=1e-4)
    size = 64
    known = {"mean": gaussian.mean, "inv_covariance": gaussian.inv_covariance}
    theirs = generator(embedding=images[1], image_size=(size, size), **known)[:, 0].numpy()
    inside = np.s_[:, 16:-16, 16:-16]  # the two reflect the border differently
    np.testing.assert_allclose(upsample(map_BHW.numpy(), size, blur=4.0)[inside], theirs[inside], rtol=1e-3)

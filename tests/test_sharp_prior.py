"""The sharp prior: estimator and distances against naive loops, what class and neighbours bring, its file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from synthetic import CHANNELS, GRID, changed_model, fresh_model, small, two_categories

from mintad.config import ScoringConfig, SharpPriorConfig
from mintad.data.images import read_image
from mintad.errors import ConfigError, MintadError
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.model.reconstruction import pooled_grid
from mintad.runs.load import trained_detector, trained_model
from mintad.runs.predict import Predictor
from mintad.runs.prepare import prepare_data
from mintad.runs.train import train_run
from mintad.scoring import auroc, value_of
from mintad.scoring.class_gaussians import ClassGaussians, mahalanobis, whitening
from mintad.scoring.detect import detect
from mintad.scoring.maps import grid_maps, image_scores
from mintad.scoring.sharp_prior import SCORES, SharpPrior, SharpPriorDetector, score_method, split_method


def features(n: int, tokens: int = 4, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing_FF = torch.randn(channels, channels, generator=generator)
    values = torch.randn(n, tokens, channels, generator=generator) @ mixing_FF
    return values + torch.randn(tokens, channels, generator=generator)


def naive_covariances(residual_nLF: np.ndarray, ridge: float) -> np.ndarray:
    n, tokens, channels = residual_nLF.shape
    samples = [np.mean([np.outer(r, r) for r in residual_nLF[:, k]], axis=0) for k in range(tokens)]
    pooled = np.mean(samples, axis=0)
    error = sum(
        np.mean([np.sum((np.outer(r, r) - samples[k]) ** 2) for r in residual_nLF[:, k]]) / n for k in range(tokens)
    )
    weight = min(1.0, error / sum(np.sum((sample - pooled) ** 2) for sample in samples))
    mixed = [(1 - weight) * sample + weight * pooled for sample in samples]
    return np.stack([(1 - ridge) * c + ridge * np.trace(pooled) / channels * np.eye(channels) for c in mixed])


def test_the_covariance_is_ledoit_and_wolfs_towards_the_mean_over_positions():
    residual_nLF = features(20) - features(20).mean(0)
    covariances = naive_covariances(residual_nLF.double().numpy(), 0.05)
    distance_nL = mahalanobis(residual_nLF, whitening(residual_nLF, 0.05)).numpy()
    for n in range(3):
        for k in range(4):
            r = residual_nLF[n, k].double().numpy()
            assert distance_nL[n, k] == pytest.approx(r @ np.linalg.inv(covariances[k]) @ r, rel=1e-4)


def naive_distance(images_nLF, token_LF, neighbours, ridge):
    """Recentre by the nearest images in units of the channels' deviations; one scale, a grid of at most 7 x 7."""
    deviation_F = images_nLF.reshape(-1, images_nLF.shape[2]).std(axis=0)

    def expected(image_LF, others):
        order = sorted(range(len(others)), key=lambda n: np.sum(((image_LF - others[n]) / deviation_F) ** 2))
        return np.mean([others[n] for n in order[:neighbours]], axis=0)

    own = [x - expected(x, np.delete(images_nLF, n, axis=0)) for n, x in enumerate(images_nLF)]
    own = np.stack(own)
    inverses = np.linalg.inv(naive_covariances(own, ridge))
    folds = [
        (own[fold::5], np.linalg.inv(naive_covariances(np.delete(own, slice(fold, None, 5), axis=0), ridge)))
        for fold in range(5)
    ]
    typical = np.mean([r[k] @ inverse[k] @ r[k] for rest, inverse in folds for r in rest for k in range(len(r))])
    residual_LF = token_LF - expected(token_LF, images_nLF)
    return np.array([r @ inverse @ r for r, inverse in zip(residual_LF, inverses, strict=True)]) / typical


def test_distances_are_from_the_mean_of_the_nearest_images():
    images_nLF, new_BLF = features(15).half().float(), features(4, seed=1)
    gaussians = ClassGaussians(images_nLF.half(), (2, 2), SharpPriorConfig(neighbours=3, scales=(1,))).fit()
    distances = gaussians.distance(new_BLF).numpy()
    for b, image_LF in enumerate(new_BLF):
        expected = naive_distance(images_nLF.double().numpy(), image_LF.double().numpy(), 3, 0.01)
        np.testing.assert_allclose(distances[b], expected, rtol=2e-3)


def test_scales_are_averaged_in_their_own_units():
    images_nLF, new_BLF = features(15, tokens=16).half(), features(2, tokens=16, seed=1)
    one, two, both = (
        ClassGaussians(images_nLF, (4, 4), SharpPriorConfig(scales=scales)).fit() for scales in ((1,), (2,), (1, 2))
    )
    mean_BL = (one.distance(new_BLF) + two.distance(new_BLF)) / 2
    torch.testing.assert_close(both.distance(new_BLF), mean_BL)
    assert one.distance(images_nLF.float()).mean() < 1, "an image that is its own neighbour lies closer than new ones"


@pytest.mark.parametrize(("n", "neighbours"), [(1, 5), (2, 5), (1, 0), (3, 0)])
def test_few_images_give_finite_distances(n, neighbours):
    images_nLF = features(n, channels=8)
    gaussians = ClassGaussians(images_nLF.half(), (2, 2), SharpPriorConfig(neighbours=neighbours)).fit()
    distance_BL = gaussians.distance(features(3, channels=8, seed=1))
    assert torch.isfinite(distance_BL).all() and (distance_BL > 0).all()


@pytest.mark.parametrize("images", [10, 40, 400])
def test_new_normal_images_lie_at_one_whatever_the_number_of_images(images):
    """Otherwise no threshold could serve a small class and a large one."""
    values = features(images + 200, tokens=16, channels=24)
    gaussians = ClassGaussians(values[:images].half(), (4, 4), SharpPriorConfig()).fit()
    assert gaussians.distance(values[images:]).mean() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_are_pooled_over_the_positions(n):
    """Their own error cannot be estimated, so every position has the same covariance."""
    whiten_LFF = whitening(torch.randn(1, 5, 3).expand(n, 5, 3), ridge=0.1)
    torch.testing.assert_close(whiten_LFF, whiten_LFF[:1].expand_as(whiten_LFF))


def test_a_texture_without_fixed_positions_needs_neighbours():
    """Each image is a stripe at a place of its own; a defect is a token of another texture."""
    rng = np.random.default_rng(0)
    phases = rng.integers(0, 4, 60)
    images = np.stack([np.eye(4)[(np.arange(16) + phase) % 4] for phase in phases]) + 0.05 * rng.normal(
        size=(60, 16, 4)
    )
    images = torch.as_tensor(images, dtype=torch.float32)
    defective = images[40:].clone()
    defective[:, 5] = 0.5 * images[40:, 5] + 0.5 * images[40:, 6]
    margins = {}
    for neighbours in (0, 5):
        config = SharpPriorConfig(neighbours=neighbours, scales=(1,))
        gaussians = ClassGaussians(images[:40].half(), (4, 4), config).fit()
        margins[neighbours] = gaussians.distance(defective)[:, 5].min() / gaussians.distance(images[40:])[:, 5].max()
    assert margins[5] > 5 and margins[0] < 1


@pytest.fixture
def prior():
    table, labels = two_categories()
    features = FeatureTable.from_tensor(table.array)
    return SharpPrior.fit(features, np.arange(len(labels)), labels, GRID, SharpPriorConfig()), table.array, labels


def test_the_class_decides_what_is_normal(prior):
    gaussians, feat_nLF, labels = prior
    right, wrong = (gaussians.distance(feat_nLF, torch.eye(2)[order]) for order in (labels, 1 - labels))
    assert right.max() < wrong.min()
    shared = gaussians.distance(feat_nLF, torch.full((len(labels), 2), 0.5))
    torch.testing.assert_close(shared, (right + wrong) / 2)


def test_a_head_chooses_the_class_and_labels_replace_it(prior, monkeypatch):
    gaussians, feat_nLF, labels = prior
    model = fresh_model().eval()
    monkeypatch.setattr(model.prompt_mapper.head, "forward", lambda token: torch.eye(2)[1 - labels] * 9)
    detector = SharpPriorDetector(model, gaussians)
    told, head = detector.anomaly_map(feat_nLF, labels), detector.anomaly_map(feat_nLF)
    assert told.shape == (len(labels), *GRID) and told.max() < head.min(), "the head is always wrong here"
    both = SharpPriorDetector(model, gaussians, score="both").anomaly_map(feat_nLF, labels)
    torch.testing.assert_close(both, (told + model.anomaly_map(feat_nLF)) / 2)


def test_detectors_that_share_a_model_share_its_run(prior):
    gaussians, feat_nLF, labels = prior
    model, rows, scoring = fresh_model().eval(), np.arange(len(labels)), ScoringConfig()
    features = FeatureTable.from_tensor(feat_nLF)
    detectors = [model, *(SharpPriorDetector(model, gaussians, score=score) for score in ("gaussian", "both"))]
    with torch.no_grad():
        named = [("nut", "bolt")[k] for k in model(feat_nLF).class_logits.argmax(-1)]
    for told in (None, labels):
        found = detect(model, detectors, features, rows, ["nut", "bolt"], scoring, labels=told, batch_size=10)
        for detector, maps_nHW in zip(detectors, found.maps, strict=True):
            alone = grid_maps(detector, features, rows, scoring, labels=told, batch_size=10)
            np.testing.assert_array_equal(maps_nHW, alone)
        assert found.predicted == named
        assert found.judged == (named if told is None else [("nut", "bolt")[k] for k in labels])
    with pytest.raises(ValueError, match="4 labels for 48 rows"):
        detect(model, detectors, features, rows, ["nut", "bolt"], scoring, labels=labels[:4])


def test_the_file_gives_the_same_distances(prior, tmp_path):
    gaussians, feat_nLF, labels = prior
    gaussians.typical_error.fill_(3.0)
    gaussians.save(tmp_path / "prior.safetensors")
    loaded = SharpPrior.load(tmp_path / "prior.safetensors")
    weights_BN = torch.eye(2)[labels]
    torch.testing.assert_close(loaded.distance(feat_nLF, weights_BN), gaussians.distance(feat_nLF, weights_BN))
    assert loaded.typical_error == 3 and loaded.classes[0].config == SharpPriorConfig()
    (tmp_path / "damaged").write_bytes(b"no tensors")
    for file in "damaged", "missing":
        with pytest.raises(MintadError, match=file):
            SharpPrior.load(tmp_path / file)


def test_gaussians_that_were_changed_or_belong_to_another_model_are_refused(prior, tmp_path):
    file = tmp_path / "prior.safetensors"
    prior[0].save(file, "ours")
    SharpPrior.load(file, "ours"), SharpPrior.load(file)
    with pytest.raises(MintadError, match="belong to the weights of another model"):
        SharpPrior.load(file, "theirs")
    sound = file.read_bytes()
    for place in (-1, -1000, len(sound) // 2, sound.index(b"neighbours") + 14):
        content = bytearray(sound)
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(MintadError, match="prior.safetensors"):
            SharpPrior.load(file, "ours")
    file.write_bytes(sound)
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()["about"]
    save_file(load_file(file), tmp_path / "unsealed", metadata={"about": about})
    with pytest.raises(MintadError, match="digest"):
        SharpPrior.load(tmp_path / "unsealed", "ours")


def test_more_images_than_allowed_are_drawn_from_the_seed():
    table, labels = two_categories(n=20)
    features, rows, config = FeatureTable.from_tensor(table.array), np.arange(40), SharpPriorConfig(images=8)
    first, again, other = (SharpPrior.fit(features, rows, labels, GRID, config, seed=seed) for seed in (0, 0, 1))
    kept = [prior.classes[1].normal.images_nLF for prior in (first, again, other)]
    assert len(kept[0]) == 8 and torch.equal(kept[0], kept[1]) and not torch.equal(kept[0], kept[2])


def test_chosen_channels_are_those_of_smaller_features(tmp_path):
    values, new_BLF = features(20, channels=6), features(3, channels=6, seed=1)
    rows, labels = np.arange(20), np.zeros(20, int)
    config = SharpPriorConfig(channels=4)
    few, other = (
        SharpPrior.fit(FeatureTable.from_tensor(values), rows, labels, (2, 2), config, seed=seed) for seed in (0, 1)
    )
    kept = few.channels_K
    assert len(set(kept.tolist())) == 4 and not torch.equal(kept, other.channels_K)
    smaller = SharpPrior.fit(FeatureTable.from_tensor(values[..., kept]), rows, labels, (2, 2), SharpPriorConfig())
    expected = smaller.distance(new_BLF[..., kept], torch.ones(3, 1))
    torch.testing.assert_close(few.distance(new_BLF, torch.ones(3, 1)), expected)
    few.save(tmp_path / "prior.safetensors")
    loaded = SharpPrior.load(tmp_path / "prior.safetensors")
    torch.testing.assert_close(loaded.distance(new_BLF, torch.ones(3, 1)), expected)


def test_features_beyond_float16_are_kept():
    values = torch.cat([features(6), features(6) * 1e5])
    fitted = SharpPrior.fit(
        FeatureTable.from_tensor(values), np.arange(12), np.zeros(12, int), (2, 2), SharpPriorConfig()
    )
    assert fitted.classes[0].normal.images_nLF.dtype == torch.float32
    assert torch.isfinite(fitted.distance(values, torch.ones(12, 1))).all()


@given(st.integers(1, 6), st.floats(0.001, 1), st.integers(0, 99))
def test_the_top_mean_is_the_mean_of_the_highest_tokens(side, share, seed):
    maps_BHW = np.random.default_rng(seed).normal(size=(3, side, side)).astype(np.float32)
    scores = image_scores(maps_BHW, 32, ScoringConfig(image_score="top_mean", top_share=share))
    count = max(1, round(share * side * side))
    for values, score in zip(maps_BHW.reshape(3, -1).tolist(), scores, strict=True):
        assert score == pytest.approx(sum(sorted(values, reverse=True)[:count]) / count, abs=1e-5)


def test_a_pooling_model_is_the_model_on_pooled_features():
    pooling, plain = (
        build_model(changed_model(pool=pool), channels=CHANNELS, grid=grid, classes=2).eval()
        for pool, grid in ((2, (8, 8)), (1, GRID))
    )
    plain.load_state_dict(pooling.state_dict())
    feat_BLF = torch.randn(3, 64, CHANNELS)
    cells = feat_BLF.view(3, 4, 2, 4, 2, CHANNELS).mean(dim=(2, 4)).flatten(1, 2)
    torch.testing.assert_close(pooling.anomaly_map(feat_BLF), plain.anomaly_map(cells))
    assert pooled_grid((6, 4), 2) == (3, 2)
    with pytest.raises(ConfigError, match=r"model\.pool = 2"):
        pooled_grid((7, 7), 2)


def test_a_run_measures_every_score_and_the_decisive_one_decides(finished, products, tmp_path):
    results, scores = finished.results(), finished.scores()
    assert finished.config().scoring.score == "gaussian"
    means = results[(results["category"] == "mean") & (results["metric"] == "image_auroc")].set_index("method")["value"]
    own = {key: auroc(rows["pred_score"], rows["label"]) for key, rows in scores.groupby("category")}
    assert means["mint_ad+gaussian"] == pytest.approx(np.mean(list(own.values())))
    assert len(set(means[["mint_ad+gaussian", "mint_ad", "mint_ad+both"]])) > 1
    page = finished.page.read_text(encoding="utf-8")
    assert "mint_ad, sharp prior (ours)" in page and "the 5 most similar normal images" in page

    only = train_run(small(products, **{"scoring.score": "reconstruction"}), tmp_path / "paper", progress=False)
    assert (
        list(only.results()["method"].unique()) == ["mint_ad"] and not (only.path / "sharp_prior.safetensors").exists()
    )
    assert value_of(only.results(), "image_auroc") == pytest.approx(means["mint_ad"])


@pytest.mark.parametrize("score", SCORES)
def test_a_methods_name_tells_variant_and_score(score):
    assert split_method(score_method("mint_ad", score)) == ("mint_ad", score)
    assert split_method("padim") == ("padim", "reconstruction")


def test_predicting_gives_the_scores_of_the_evaluation(finished):
    scores, predictor = finished.scores(), Predictor(finished.path, device="cpu")
    predicted, maps_BHW, names = predictor([read_image(path) for path in scores["image"]])
    np.testing.assert_allclose(predicted, scores["pred_score"], rtol=5e-3)  # cached features are float16
    assert names == list(scores["pred_class"]) and maps_BHW.shape == (16, 4, 4)


def test_the_gaussians_may_describe_residuals(products, tmp_path):
    config = small(products, **{"scoring.sharp_prior.input": "residuals", "scoring.sharp_prior.neighbours": 0})
    run = train_run(config, tmp_path / "run", progress=False)
    data = prepare_data(config, progress=False)
    model = trained_model(run, data.backbone, torch.device("cpu"))
    with torch.no_grad():
        output = model(data.features.gather(data.train_rows))
    residual_nLF = (output.target - output.reconstruction).half()
    detector, images = trained_detector(run, model), residual_nLF[data.train_labels == 0]
    torch.testing.assert_close(detector.prior.classes[0].normal.images_nLF, images, rtol=1e-2, atol=1e-3)
    feat_BLF = data.features.gather(data.train_rows[data.train_labels == 0])
    expected = ClassGaussians(images, model.grid, config.scoring.sharp_prior).fit().distance(images.float())
    labels = np.zeros(len(feat_BLF), int)
    torch.testing.assert_close(detector.anomaly_map(feat_BLF, labels).flatten(1), expected, rtol=2e-2, atol=1e-3)

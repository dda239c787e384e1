"""From maps to image scores and a threshold."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from baseline_builders import quick
from PIL import Image
from scipy import ndimage

from mintad.baselines import BASELINES
from mintad.config import ScoringConfig, preset
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.scoring.evaluate import pixels
from mintad.scoring.maps import grid_maps, image_scores, maps_and_scores, upsample
from mintad.scoring.ranking import MetricError
from mintad.scoring.threshold import Threshold, fit_threshold


def test_threshold_has_the_conformal_rank():
    scores = np.arange(100.0)[::-1]
    assert fit_threshold(scores, 0.95) == Threshold(95.0, 0.95, n=100, rank=96, reached=True)  # ceil(101 * 0.95)
    assert fit_threshold(np.arange(19.0), 0.95) == Threshold(18.0, 0.95, n=19, rank=19, reached=True)
    assert fit_threshold(scores, 1e-12).rank == 1, "the lowest score, not the highest"
    short = fit_threshold(np.arange(18.0), 0.95)  # rank 19 of 18: the maximum stands in
    assert short == Threshold(17.0, 0.95, n=18, rank=18, reached=False)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_no_threshold_from_scores_that_are_not_finite(spoiled):
    for k in range(3):
        scores = np.arange(3.0)
        scores[k] = spoiled
        with pytest.raises(MetricError, match="1 not finite"):
            fit_threshold(scores, 0.5)
    with pytest.raises(MetricError):
        Threshold(spoiled, 0.95, n=100, rank=96, reached=True)


def test_threshold_keeps_its_promise_on_average():
    """A new normal image is above the threshold in at most 5 % of many repetitions; the plain quantile of 30 scores
    breaks that promise."""
    rng = np.random.default_rng(0)
    normal, new = rng.normal(size=(4000, 30)), rng.normal(size=4000)
    above = np.mean([x > fit_threshold(scores, 0.95).value for scores, x in zip(normal, new, strict=True)])
    plain = np.mean(new > np.quantile(normal, 0.95, axis=1))
    assert above <= 0.05 < plain


def test_root_is_taken_of_squared_errors_and_not_of_the_baselines_distances():
    torch.manual_seed(0)
    features = FeatureTable.from_tensor(torch.randn(6, 4, 8))
    rows = np.arange(6)
    squared = preset("small").scoring
    root = dataclasses.replace(squared, distance="root")
    model = build_model(preset("small").model, channels=8, grid=(2, 2), classes=2).eval()
    np.testing.assert_allclose(
        grid_maps(model, features, rows, root), np.sqrt(grid_maps(model, features, rows, squared)), rtol=1e-6
    )
    for name in BASELINES.on_features():
        fitted = quick(name, (2, 2)).fit(features, rows[:4])
        np.testing.assert_array_equal(
            grid_maps(fitted, features, rows, root), grid_maps(fitted, features, rows, squared)
        )


def test_image_scores():
    config = ScoringConfig()
    maps = np.zeros((2, 4, 4), dtype=np.float32)
    maps[1, 2, 1] = 8.0
    assert image_scores(maps, 32, config)[0] == 0
    assert image_scores(maps, 32, config)[1] == upsample(maps, 32)[1].max() <= 8.0
    assert image_scores(maps, 32, dataclasses.replace(config, image_score="mean"))[1] == 0.5
    pooled = image_scores(maps, 32, dataclasses.replace(config, image_score="pooled_max", pool=4))[1]
    full_map = upsample(maps, 32)[1]
    windows = [full_map[r : r + 4, c : c + 4].mean() for r in range(29) for c in range(29)]
    assert pooled == pytest.approx(max(windows), rel=1e-5)


def test_maps_with_aligned_corners_as_in_uniads_code(tmp_path):
    """The corners of grid and image coincide; image scores and pixels both use the configuration's choice."""
    ramp = np.array([[[0.0, 1.0], [2.0, 3.0]]], dtype=np.float32)
    expected = [[2 * row / 3 + column / 3 for column in range(4)] for row in range(4)]
    np.testing.assert_allclose(upsample(ramp, 4, align_corners=True)[0], expected, atol=1e-6)
    spike = np.zeros((1, 4, 4), dtype=np.float32)
    spike[0, 1, 2] = 1.0
    config = preset("small").override(**{"features.image_size": 37, "scoring.align_corners": True})
    assert image_scores(spike, 37, config.scoring)[0] == 1.0  # a grid point is a pixel
    assert image_scores(spike, 37, preset("small").scoring)[0] < 1.0
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    mask = str(tmp_path / "mask.png")
    scores = pd.DataFrame({"dataset": ["a"], "category": ["b"], "label": 1, "image": mask, "masks": [[mask]]})
    (_, full_map, _), *_ = pixels(scores, spike, config)
    assert full_map.argmax() == 12 * 37 + 24 and full_map.max() == 1.0


@pytest.mark.parametrize("shape", [(2, 7, 7), (3, 5, 9)])
def test_a_blur_is_a_gaussian_of_the_full_size_map(shape):
    maps = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = [ndimage.gaussian_filter(pixels, 4.0) for pixels in upsample(maps, 64)]
    np.testing.assert_allclose(upsample(maps, 64, blur=4.0), expected, atol=1e-5)
    config = ScoringConfig(blur=4.0)
    np.testing.assert_allclose(image_scores(maps, 64, config), np.max(expected, axis=(1, 2)), atol=1e-5)


def test_the_blur_reaches_the_pixel_metrics():
    scores = pd.DataFrame({"dataset": "d", "category": "c", "label": 1, "image": "x.png", "masks": [("mask.png",)]})
    maps = np.random.default_rng(0).random((1, 4, 4), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mintad.scoring.evaluate.read_mask_of", lambda image, masks: np.zeros((32, 32), dtype=bool))
        small = preset("small").override(**{"features.image_size": 32})
        small, blurring = (small.override(**{"scoring.blur": blur}) for blur in (0.0, 2.0))
        ((_, plain, _),), ((_, blurred, _),) = pixels(scores, maps, small), pixels(scores, maps, blurring)
    np.testing.assert_array_equal(plain, upsample(maps, 32)[0])
    np.testing.assert_array_equal(blurred, upsample(maps, 32, blur=2.0)[0])


def test_a_detectors_own_image_score_is_preferred_to_its_maps():
    class Opinionated:
        returns_squared_error = False

        def anomaly_map(self, feat_BLF, labels=None):
            return feat_BLF.mean(-1).unflatten(1, (2, 2))

        def image_score(self, feat_BLF, map_BHW, labels=None):
            return feat_BLF[:, 0, 0] + 10 if self.own else None

    detector, rows, scoring = Opinionated(), np.array([4, 1, 2]), preset("fast").scoring
    features = FeatureTable.from_tensor(torch.randn(5, 4, 3))
    for detector.own in (True, False):
        maps, scores = maps_and_scores(detector, features, rows, 8, scoring, batch_size=2)
        np.testing.assert_array_equal(maps, grid_maps(detector, features, rows, scoring))
        own = features.gather(rows)[:, 0, 0].numpy() + 10
        np.testing.assert_array_equal(scores, own if detector.own else image_scores(maps, 8, scoring))


def test_labels_travel_with_their_rows_through_batches():
    class Labelled:
        """Gives every image its label for a map."""

        returns_squared_error = False

        def anomaly_map(self, feat_BLF, labels=None):
            return torch.as_tensor(labels, dtype=torch.float32)[:, None, None].expand(-1, 2, 2)

    features, rows = FeatureTable.from_tensor(torch.randn(9, 4, 3)), np.array([8, 0, 3, 7, 1])
    maps = grid_maps(Labelled(), features, rows, preset("small").scoring, labels=rows, batch_size=2)
    np.testing.assert_array_equal(maps[:, 0, 0], rows)
    with pytest.raises(ValueError, match="4 labels for 5 rows"):
        grid_maps(Labelled(), features, rows, preset("small").scoring, labels=rows[:4])

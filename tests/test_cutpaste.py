"""CutPaste: its pasted defects, its Gaussian and map against naive loops, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import fitted_on_images, quick_on_images, stripes
from sklearn.covariance import LedoitWolf

from mintad.baselines import pasting
from mintad.baselines.cutpaste import CutPaste
from mintad.baselines.pasting import colour_jitter, cut_paste, paste, scar
from mintad.errors import DataError


def test_what_is_pasted_is_a_part_of_the_image_and_all_else_is_untouched(monkeypatch):
    monkeypatch.setattr(pasting, "JITTER", 0.0)
    monkeypatch.setattr(pasting, "colour_jitter", lambda image: image)
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    image = torch.stack([rows, columns, torch.zeros_like(rows)])
    for _ in range(20):
        pasted, mask = paste(image, 5, 9, 0.0)
        assert torch.equal(pasted[:, ~mask], image[:, ~mask])
        assert mask.any(1).sum() in (4, 5, 6) and mask.any(0).sum() in (8, 9, 10)
        assert mask.sum() == mask.any(1).sum() * mask.any(0).sum()
        source = pasted[:2, mask] - image[:2, mask]  # one offset for all of the rectangle, up to rounding
        assert (source.amax(1) - source.amin(1)).max() <= 1


def test_a_turned_rectangle_lies_along_its_direction():
    torch.manual_seed(0)
    for degrees in (30.0, -45.0):
        mask = paste(torch.rand(3, 64, 64), 4, 20, degrees)[1]
        y, x = (axis.double() - axis.double().mean() for axis in torch.nonzero(mask).T)
        values, vectors = torch.linalg.eigh(torch.cov(torch.stack([x, y])))
        direction = torch.rad2deg(torch.atan(vectors[1, 1] / vectors[0, 1])).item()
        assert direction == pytest.approx(degrees, abs=4) and mask.sum().item() == pytest.approx(80, rel=0.15)
        assert (12 * values[1]).sqrt().item() == pytest.approx(20, rel=0.1)


def test_sizes_are_the_published_ones():
    torch.manual_seed(0)
    image = torch.rand(3, 256, 256)
    shares = [cut_paste(image)[1].float().mean().item() for _ in range(60)]
    assert 0.019 < min(shares) < 0.05 and 0.11 < max(shares) < 0.151
    areas = [scar(image)[1].sum().item() for _ in range(60)]
    assert 15 < min(areas) and max(areas) < 16 * 25 * 1.1
    for change in (cut_paste, scar):
        assert not torch.equal(change(image)[0], image) and change(torch.rand(3, 8, 8))[1].any()


def test_the_jitter_stays_in_range_and_at_no_strength_changes_nothing():
    image = torch.rand(3, 9, 7)
    torch.testing.assert_close(colour_jitter(image, 0.0), image)
    changed = colour_jitter(image)
    assert 0 <= changed.min() and changed.max() <= 1 and 0.001 < (changed - image).abs().mean() < 0.15


def test_gradients_reach_every_weight_and_are_finite():
    baseline = fitted_on_images(quick_on_images("cutpaste", steps=1), stripes(4))
    baseline.network.train()
    baseline.network.zero_grad()
    baseline.loss(stripes(4)).backward()
    for name, weight in baseline.network.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
    assert baseline.network.stages.conv_stem.weight.grad.abs().max() > 0
    assert baseline.network.head[0].weight.grad.abs().max() > 0


def test_the_score_is_the_naive_mahalanobis_distance_and_the_maps_mean():
    train, test = stripes(12), stripes(3, seed=1)
    baseline = fitted_on_images(quick_on_images("cutpaste"), train)
    with torch.no_grad():
        embeddings, ours = (baseline._maps(images).mean((2, 3)).double().numpy() for images in (train, test))
    expected = LedoitWolf().fit(embeddings)
    maps = baseline.anomaly_map(test)
    assert maps.shape == (3, 2, 2) and 0 < baseline.shrinkage <= 1
    np.testing.assert_allclose(baseline.image_score(test, maps), expected.mahalanobis(ours), rtol=1e-2)


def test_the_map_is_the_scores_gradient_times_the_maps():
    train, test = stripes(8), stripes(2, seed=1)
    baseline = fitted_on_images(quick_on_images("cutpaste"), train)
    with torch.no_grad():
        maps = baseline._maps(test).double()
    maps.requires_grad_()
    offset = maps.mean((2, 3)) - baseline.embedding_F
    (offset @ baseline.precision_FF * offset).sum().backward()
    expected = (maps.grad * (maps - baseline.embedding_F[:, None, None])).sum(1) * maps.shape[2] * maps.shape[3] / 2
    torch.testing.assert_close(baseline.anomaly_map(test), expected.detach().float(), rtol=1e-3, atol=1e-3)


def test_training_learns_to_see_a_misplaced_part():
    """A pasted square of the image's own stripes, out of phase: its colours are normal everywhere."""
    train, test = stripes(40), stripes(20, seed=1)
    test[:10, :, 10:22, 8:20] = test[:10, :, 10:22, 12:24]
    baseline = fitted_on_images(quick_on_images("cutpaste", steps=30, images=6, width=16, rate=0.02), train)
    scores = baseline.image_score(test, baseline.anomaly_map(test))
    wins = (scores[:10, None] > scores[None, 10:]).float().mean()
    assert wins > 0.9


def test_one_image_is_too_few_and_equal_images_are_not():
    with pytest.raises(DataError, match="CutPaste needs at least two"):
        fitted_on_images(quick_on_images("cutpaste"), stripes(1))
    same = stripes(1).repeat(3, 1, 1, 1)
    assert torch.isfinite(fitted_on_images(quick_on_images("cutpaste"), same).anomaly_map(same)).all()


def test_published_settings():
    assert CutPaste.settings["paper"].image_size == 256
    assert CutPaste.trained and CutPaste.reads_images and CutPaste.cosine

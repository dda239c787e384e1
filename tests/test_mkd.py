"""MKD: its discrepancy and map against naive computations, and what its idea must find."""

import pytest
import torch
from baseline_builders import fitted_on_images, quick_on_images, stripes

from mintad.baselines.images import normalised
from mintad.baselines.mkd import JUDGES, MAGNITUDE, MKD, Cloner, discrepancy
from mintad.config import preset


def test_the_discrepancy_is_that_of_a_naive_loop():
    torch.manual_seed(0)
    clones, sources = ([torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)] for _ in range(2))
    expected = []
    for b in range(2):
        total = 0.0
        for clone, source in zip(clones, sources, strict=True):
            c, s = (map_BFHW[b].double().numpy().ravel() for map_BFHW in (clone, source))
            total += 1 - c @ s / ((c @ c) * (s @ s)) ** 0.5 + MAGNITUDE * ((c - s) ** 2).mean()
        expected.append(total)
    assert discrepancy(clones, sources).tolist() == pytest.approx(expected, rel=1e-5)
    assert discrepancy(clones, clones).abs().max() < 1e-6


@pytest.mark.parametrize("size", [32, 45])
def test_the_clone_has_the_shapes_of_the_source(size):
    baseline = fitted_on_images(quick_on_images("mkd", image_size=size, steps=1), stripes(3, side=size))
    clones, sources = baseline._activations(stripes(2, side=size))
    assert [clone.shape for clone in clones] == [source.shape for source in sources] and len(clones) == 4


def test_the_sources_channels_are_standardised_and_it_does_not_learn():
    images = stripes(7)
    baseline = fitted_on_images(quick_on_images("mkd"), images)
    _, sources = baseline._activations(images)
    for source in sources:
        values = source.transpose(0, 1).flatten(1)
        assert values.mean(1).abs().max() < 1e-3
        varies = values.std(1) > 1e-3
        torch.testing.assert_close(
            values.std(1, correction=0)[varies], torch.ones(int(varies.sum())), rtol=1e-2, atol=0
        )
    assert not any(weight.requires_grad for weight in baseline.source.parameters())


def test_gradients_reach_every_weight_of_the_clone_and_are_finite():
    torch.manual_seed(0)
    clone = Cloner((3, 5), 4)
    clones = clone(torch.rand(2, 3, 16, 16))
    discrepancy(clones, [torch.randn_like(map_BFHW) for map_BFHW in clones]).sum().backward()
    for name, weight in clone.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, name


def test_the_score_is_of_the_last_stages_and_the_map_its_gradient():
    train, test = stripes(6), stripes(2, seed=1)
    baseline = fitted_on_images(quick_on_images("mkd"), train)
    inputs = normalised(test, baseline.source)
    sources = [
        (map_BFHW - mean) / std
        for map_BFHW, (mean, std) in zip(baseline.source.network(inputs), baseline.scales, strict=True)
    ]
    expected = discrepancy(baseline.clone(inputs)[1:], sources[1:])
    with torch.no_grad():  # as a run calls it
        maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    torch.testing.assert_close(scores, expected.detach())
    assert JUDGES == 3 and not scores.requires_grad and maps.shape == (2, 32, 32)
    moved = test.clone()
    place = int(maps[0].argmax())
    moved[0, :, place // 32, place % 32] += 1e-3
    others = test.clone()
    others[0, :, int(maps[0].argmin()) // 32, int(maps[0].argmin()) % 32] += 1e-3
    change, small = ((baseline.image_score(image, maps) - scores).abs()[0] for image in (moved, others))
    assert change > small


def test_a_texture_that_was_never_seen_is_found():
    train, test = stripes(30), stripes(10, seed=1)
    test[:5, :, 16:, 16:] = test[:5, :, 16:, 16:].mT  # the same stripes, turned
    baseline = fitted_on_images(quick_on_images("mkd", steps=60, images=6, width=16, rate=5e-3), train)
    maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    assert scores[:5].min() > scores[5:].max()
    assert maps[:5, 16:, 16:].mean() > maps[:5, :16, :16].mean()


def test_published_settings():
    assert MKD.published_scoring(preset("fast").scoring).blur == 4.0 and MKD.settings["paper"].image_size == 224

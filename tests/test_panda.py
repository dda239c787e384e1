"""PANDA: its loss, score and map against naive loops, its clipping, and what its idea must find."""

import numpy as np
import torch
from baseline_builders import fitted_on_images, quick_on_images, stripes

from mintad.baselines.panda import CLIP, NEIGHBOURS, PANDA


def embeddings(baseline, images):
    with torch.no_grad():
        return baseline._maps(images).mean((2, 3))


def test_the_loss_is_the_distance_to_the_centre_before_the_training():
    images = stripes(6)
    untrained, trained = (fitted_on_images(quick_on_images("panda", steps=steps), images) for steps in (0, 3))
    torch.testing.assert_close(trained.centre_F, embeddings(untrained, images).mean(0), rtol=1e-4, atol=1e-5)
    expected = np.mean([float((f - trained.centre_F) @ (f - trained.centre_F)) for f in embeddings(trained, images)])
    np.testing.assert_allclose(trained.loss(images).item(), expected, rtol=1e-4)


def test_the_last_half_of_the_weights_learns_with_finite_gradients_and_the_norms_do_not():
    images = stripes(6)
    baseline = fitted_on_images(quick_on_images("panda", steps=3, rate=1.0), images)
    before = quick_on_images("panda")
    before.begin(type("Table", (), {"device": "cpu"}), None)
    fresh = dict(before.new_backbone().network.named_parameters())
    same = [torch.equal(weight, fresh[name]) for name, weight in baseline.backbone.network.named_parameters()]
    assert all(same[: len(same) // 2]) and not any(same[-10:])
    assert not baseline.backbone.network.bn1.training
    baseline.loss(images).backward()
    for weight in baseline.backbone.network.parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all()


def test_a_step_is_no_longer_than_clipping_allows():
    images = stripes(6)
    still, moved = (fitted_on_images(quick_on_images("panda", steps=steps, rate=1.0), images) for steps in (0, 1))
    ways = [
        (a - b).square().sum()
        for a, b in zip(still.backbone.network.parameters(), moved.backbone.network.parameters(), strict=True)
    ]
    weights = [w.square().sum() for w in still.backbone.network.parameters()]
    longest = CLIP + 5e-5 * sum(weights).sqrt().item()  # the weight decay is not clipped
    assert 0 < sum(ways).sqrt().item() <= 1.001 * longest


def test_the_score_is_the_naive_distance_to_the_nearest_images_and_the_maps_mean():
    train, test = stripes(9), stripes(3, seed=1)
    baseline = fitted_on_images(quick_on_images("panda"), train)
    memory = embeddings(baseline, train).double().numpy()
    torch.testing.assert_close(baseline.memory_NF, embeddings(baseline, train))
    maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    for score, f in zip(scores.tolist(), embeddings(baseline, test).double().numpy(), strict=True):
        nearest = sorted(((f - n) ** 2).sum() for n in memory)[:NEIGHBOURS]
        np.testing.assert_allclose(score, np.mean(nearest), rtol=1e-2, atol=1e-6)


def test_another_colour_is_found():
    train, test = stripes(20), stripes(10, seed=1)
    test[:5] = test[:5].flip(1)
    baseline = fitted_on_images(quick_on_images("panda", steps=10), train)
    scores = baseline.image_score(test, baseline.anomaly_map(test))
    assert scores[:5].min() > scores[5:].max()


def test_one_training_image_is_its_own_neighbour():
    image = stripes(1)
    baseline = fitted_on_images(quick_on_images("panda"), image)
    assert baseline.anomaly_map(image).abs().max() < 1e-3 and baseline.memory_NF.shape[0] == 1


def test_published_settings():
    assert PANDA.settings["paper"].steps == 2355 and NEIGHBOURS == 2

"""SimpleNet: its loss against a naive loop, its training, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, fitted, normal_images

from mintad.baselines import training
from mintad.baselines.simplenet import Discriminator, SimpleNet, truncated_l1
from mintad.baselines.training import channel_scale, descend
from mintad.config import preset
from mintad.errors import TrainingError
from mintad.features.table import FeatureTable


def table_of(images):
    return FeatureTable.from_tensor(images)


def test_the_loss_is_the_truncated_one_of_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    normal, noisy = torch.randn(2, 30, generator=generator)
    expected = sum(max(0.0, 0.5 - value) for value in normal.tolist()) / 30
    expected += sum(max(0.0, 0.5 + value) for value in noisy.tolist()) / 30
    assert truncated_l1(normal, noisy, 0.5).item() == pytest.approx(expected, rel=1e-6)
    assert truncated_l1(torch.tensor([0.5, 9.0]), torch.tensor([-0.5, -9.0]), 0.5) == 0


def test_gradients_reach_every_weight_and_stop_where_the_loss_is_truncated():
    images = normal_images(4)
    baseline = fitted(SimpleNet(GRID, steps=1, hidden=16), images)
    baseline.network.train()
    loss = baseline.loss(images)
    loss.backward()
    for name, weight in baseline.network.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        # a bias before the batch norm has no effect; the adaptor's only through the norm's statistics
        assert weight.grad.abs().max() > 0 or name in ("hidden.bias", "adaptor.bias"), name
    certain = torch.full((5,), 3.0, requires_grad=True)
    truncated_l1(certain, -certain, 0.5).backward()
    assert certain.grad.abs().max() == 0


def test_the_map_is_minus_the_discriminators_score_of_standardised_tokens():
    train, test = normal_images(20), normal_images(3, seed=1)
    baseline = fitted(SimpleNet(GRID, steps=5, hidden=16), train)
    mean, std = train.flatten(0, 1).mean(0), train.flatten(0, 1).std(0, correction=0)
    torch.testing.assert_close(baseline.mean_F, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(baseline.std_F, std, rtol=1e-4, atol=1e-5)
    network = baseline.network
    for image, map_HW in zip(test, baseline.anomaly_map(test), strict=True):
        adapted = network.adaptor((image - mean) / std)
        expected = -network.discriminate(adapted).detach().view(GRID)
        torch.testing.assert_close(map_HW, expected, rtol=1e-3, atol=1e-4)
    maps = baseline.anomaly_map(test)
    assert torch.equal(baseline.image_score(test, maps), maps.flatten(1).max(1).values)
    assert not maps.requires_grad


def test_tokens_off_the_normal_ones_are_found_where_they_are():
    """Normal channels are the same number twice; a defect has each value in its range, but the two differ."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(60, TOKENS, CHANNELS // 2, generator=generator)
    images = torch.cat([half, half], dim=-1) + 0.02 * torch.randn(60, TOKENS, CHANNELS, generator=generator)
    train, test = images[:50], images[50:].clone()
    position = 13
    test[:5, position, : CHANNELS // 2] = -test[:5, position, : CHANNELS // 2]
    baseline = fitted(SimpleNet(GRID, noise=0.3, hidden=64, steps=250, images=8, adaptor_rate=1e-3, rate=5e-3), train)
    maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    assert (maps[:5].flatten(1).argmax(1) == position).sum() >= 4
    assert scores[:5].min() > scores[5:].max()


def test_training_lowers_the_loss():
    images = normal_images(20)
    short, long = (fitted(SimpleNet(GRID, steps=steps, hidden=32, rate=1e-2), images) for steps in (1, 120))
    with torch.no_grad():
        assert long.loss(images) < 0.8 * short.loss(images)


def test_images_take_turns_and_a_batch_is_never_larger_than_the_data():
    table, seen = table_of(torch.arange(5.0)[:, None, None].expand(5, 2, 3)), []
    weight = torch.nn.Parameter(torch.ones(3))

    def loss(feat_BLF, rows):
        assert feat_BLF[:, 0, 0].tolist() == rows.tolist()
        seen.append(feat_BLF[:, 0, 0].int().tolist())
        return (feat_BLF * weight).mean()

    optimizer = torch.optim.SGD([weight], lr=0.0)
    rows = np.array([4, 1, 2, 0])
    descend(loss, optimizer, table, rows, steps=4, images=2, title="test")
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == [0, 1, 2, 4]
    seen.clear()
    descend(loss, optimizer, table, rows[:3], steps=1, images=64, title="test")
    assert sorted(*seen) == [1, 2, 4]


def test_the_error_of_a_loss_that_is_not_finite_names_method_and_step():
    weight = torch.nn.Parameter(torch.ones(1))
    losses = iter([weight.sum(), weight.sum() / 0])
    arguments = (torch.optim.SGD([weight], lr=0.0), table_of(normal_images(4)), np.arange(4))
    with pytest.raises(TrainingError, match="SimpleNet: the loss is inf at step 2 of 3.*learning rate"):
        descend(lambda feat_BLF, rows: next(losses), *arguments, steps=3, images=2, title="SimpleNet")


def test_the_scale_of_channels_comes_from_any_number_of_chunks(monkeypatch):
    images = normal_images(9, offset=30.0)
    images[..., 4] = 5.0
    monkeypatch.setattr(training, "CHUNK", 2)
    mean, std = channel_scale(table_of(images), np.arange(7))
    expected = images[:7].flatten(0, 1).double()
    np.testing.assert_allclose(mean, expected.mean(0), rtol=1e-5)
    assert std[4] == 1
    others = np.arange(CHANNELS) != 4
    np.testing.assert_allclose(std[others], expected.std(0, correction=0)[others], rtol=1e-4)


def test_one_image_and_constant_features_train():
    baseline = fitted(SimpleNet(GRID, steps=2, hidden=8), torch.ones(1, TOKENS, CHANNELS))
    assert torch.isfinite(baseline.anomaly_map(torch.ones(2, TOKENS, CHANNELS))).all()


def test_published_settings():
    config = preset("fast")
    features, scoring = SimpleNet.published_features(config.features), SimpleNet.published_scoring(config.scoring)
    assert (features.reductions, features.grid, features.local_mean) == ((8, 16), 28, 3) and scoring.blur == 4.0
    assert SimpleNet(GRID).margin == 0.5
    weights = Discriminator(CHANNELS, 8)
    assert weights.score.bias is None and weights.adaptor.weight.shape == (CHANNELS, CHANNELS)

"""FCDD: its confetti, loss and map against naive loops, and what its idea must find."""

import math

import pytest
import torch
from baseline_builders import QUICK_SETTING, fitted_on_images, quick_on_images, stripes

from mintad.baselines.fcdd import FCDD, PIECES, confetti, deviation_loss, pseudo_huber
from mintad.config import preset


@pytest.mark.parametrize("side", [224, 32, 3])
def test_confetti_has_one_colour_a_piece_and_leaves_the_rest(side):
    torch.manual_seed(0)
    image = torch.rand(3, side, side)
    for _ in range(20):
        thrown, mask = confetti(image)
        assert mask.any() and torch.equal(thrown[:, ~mask], image[:, ~mask])
        assert len(thrown[:, mask].T.unique(dim=0)) <= PIECES and 0 <= thrown.min() and thrown.max() <= 1
    assert side < 224 or 8 * 8 <= mask.sum() <= PIECES * 54 * 54


def test_the_loss_is_that_of_a_naive_loop_and_finite_at_no_deviation():
    normal, anomalous = torch.tensor([0.1, 2.0]), torch.tensor([0.3, 5.0])
    expected = sum(normal.tolist()) + sum(-math.log(1 - math.exp(-s)) for s in anomalous.tolist())
    assert deviation_loss(normal, anomalous).item() == pytest.approx(expected / 4, rel=1e-5)
    zero = torch.zeros(2, requires_grad=True)
    loss = deviation_loss(zero, zero)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(zero.grad).all()


def test_the_pseudo_huber_loss_is_a_square_near_0_and_an_absolute_value_far_away():
    near, far = torch.tensor([[[0.01]]]), torch.tensor([[[-1000.0]]])
    assert pseudo_huber(near).item() == pytest.approx(0.01**2 / 2, rel=2e-2)
    assert pseudo_huber(far).item() == pytest.approx(999, rel=1e-3)


def test_the_first_half_is_kept_and_gradients_are_finite():
    baseline = fitted_on_images(quick_on_images("fcdd"), stripes(5))
    torch.manual_seed(0)
    baseline.loss(stripes(5)).backward()
    weights = list(baseline.backbone.network.parameters())
    assert all(weight.grad is None for weight in weights[: len(weights) // 2])
    for weight in [*weights[len(weights) // 2 :], *baseline.head.parameters()]:
        assert torch.isfinite(weight.grad).all()
    assert baseline.head[0].weight.grad.abs().max() > 0 and not baseline.backbone.network.bn1.training


def test_a_position_sees_a_part_of_the_image_alone_and_the_score_is_the_maps_mean():
    baseline = fitted_on_images(quick_on_images("fcdd", image_size=128, steps=1), stripes(3, side=128))
    image = stripes(1, side=128)
    spoiled = image.clone()
    spoiled[..., :16, :16] = 1 - spoiled[..., :16, :16]
    change = (baseline.anomaly_map(image) - baseline.anomaly_map(spoiled)).abs()[0]
    assert change.shape == (16, 16) and change[:2, :2].max() > 0 and change[12:, 12:].max() == 0
    maps = baseline.anomaly_map(spoiled)
    assert baseline.image_score(spoiled, maps).item() == pytest.approx(maps.mean().item()) and maps.min() >= 0


def test_a_stain_is_found_where_it_is():
    train, test = stripes(30), stripes(10, seed=1)
    test[:5, :, 16:24, 16:24] = torch.tensor([0.1, 0.9, 0.9]).view(3, 1, 1)
    pretrained = FCDD(preset("fast").features, **(QUICK_SETTING | {"steps": 60, "images": 6, "rate": 0.01}))
    baseline = fitted_on_images(pretrained, train)
    maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    assert scores[:5].min() > scores[5:].max()
    assert (maps[:5].flatten(1).argmax(1) == 2 * 4 + 2).sum() >= 4


def test_published_settings():
    assert FCDD.settings["paper"].rate == 1e-3 and FCDD.settings["paper"].image_size == 224

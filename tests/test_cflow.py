"""CFLOW: the flow's inverse and log-determinant, its likelihood and map, and what its idea must find."""

import math

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, fitted, normal_images

from mintad.baselines.base import Context
from mintad.baselines.cflow import CFLOW, Coupling, Flow, position_encoding
from mintad.config import preset
from mintad.errors import ConfigError

CONDITION = 8


def random_flow(channels, seed=0):
    """A flow far from the identity, in float64."""
    torch.manual_seed(seed)
    flow = Flow(channels, CONDITION, blocks=3, clamp=1.9).double()
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
        for block in flow.blocks:
            block.rotation = torch.linalg.qr(block.rotation).Q  # orthogonal to float64's digits
    return flow, torch.randn(6, channels).double(), torch.randn(6, CONDITION).double()


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_the_log_determinant_is_that_of_autograds_jacobian(channels):
    flow, x_NC, c_NP = random_flow(channels)
    _, log_det_N = flow(x_NC, c_NP)
    for x, c, log_det in zip(x_NC, c_NP, log_det_N, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v, c=c: flow(v[None], c[None])[0][0], x)
        assert log_det.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-9)
    assert log_det_N.std() > 0.01


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_a_flow_can_be_inverted_and_depends_on_the_condition(channels):
    flow, x_NC, c_NP = random_flow(channels)
    z_NC, _ = flow(x_NC, c_NP)
    torch.testing.assert_close(flow.inverse(z_NC, c_NP), x_NC)
    assert (z_NC - x_NC).abs().max() > 0.1 and not torch.allclose(flow(x_NC, c_NP + 1)[0], z_NC)


def test_half_of_the_channels_decide_how_the_others_change_within_the_clamp():
    torch.manual_seed(0)
    block = Coupling(6, CONDITION, clamp=1.9)
    with torch.no_grad():
        block.network[-1].bias.fill_(1e4)
    x_NC, c_NP = torch.randn(4, 6), torch.randn(4, CONDITION)
    _, log_det_N = block(x_NC, c_NP)
    torch.testing.assert_close(log_det_N, torch.full((4,), 3 * 1.9))
    torch.testing.assert_close(block.rotation @ block.rotation.T, torch.eye(6), atol=1e-5, rtol=0)


def test_the_likelihood_of_an_affine_flow_is_that_of_its_gaussian():
    """With a network that is 0, x is normal with a known mean and covariance."""
    torch.manual_seed(0)
    flow = Flow(3, CONDITION, blocks=1, clamp=1.9).double()
    block = flow.blocks[0]
    with torch.no_grad():
        for weight in block.network.parameters():
            weight.zero_()
        block.log_scale.copy_(torch.tensor([0.3, -0.5, 0.1]))
        block.shift.copy_(torch.tensor([1.0, 2.0, -1.0]))
        block.rotation = torch.linalg.qr(block.rotation).Q
    x_NC = torch.randn(5, 3).double()
    gaussian = torch.distributions.Normal(-block.shift / block.log_scale.exp(), (-block.log_scale).exp())
    actual = flow.log_likelihood(x_NC, torch.zeros(5, CONDITION).double())
    torch.testing.assert_close(actual, gaussian.log_prob(x_NC).sum(1) / 3)


def test_positions_are_encoded_by_sines_and_cosines_of_row_and_column():
    code = position_encoding((3, 4), 8)
    rates = [1.0, math.exp(-math.log(1e4) / 2)]
    for row in range(3):
        for column in range(4):
            angles = [column * rate for rate in rates], [row * rate for rate in rates]
            expected = [f(angle) for axis in angles for f in (math.sin, math.cos) for angle in axis]
            torch.testing.assert_close(code[4 * row + column], torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert len({tuple(place) for place in position_encoding((28, 28), 128).tolist()}) == 784
    with pytest.raises(ConfigError, match="multiple of 4"):
        position_encoding((3, 4), 6)


def test_stages_have_flows_of_their_own_and_the_loss_is_their_sum():
    images = normal_images(5)
    baseline = CFLOW(GRID, steps=2, images=2, condition=CONDITION)
    baseline.context = Context(stages=(4, 3, 5))
    fitted(baseline, images)
    likelihood_SN = baseline.log_likelihoods(images)
    assert likelihood_SN.shape == (3, 5 * TOKENS)
    changed = images.clone()
    changed[..., 4:7] += 1  # the second stage
    same = (baseline.log_likelihoods(changed) == likelihood_SN).all(1)
    assert same.tolist() == [True, False, True]
    expected = sum(math.log1p(math.exp(-value)) for value in likelihood_SN.flatten().tolist()) / (5 * TOKENS)
    assert baseline.loss(images).item() == pytest.approx(expected, rel=1e-5)
    baseline.loss(images).backward()
    for name, weight in baseline.flows.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
    assert baseline.loss(images).item() == baseline.loss(images).item()


def test_the_map_is_what_the_stages_exponentials_lack():
    train, test = normal_images(9), normal_images(2, seed=1)
    baseline = CFLOW(GRID, steps=2, condition=CONDITION, reference=100)
    baseline.context = Context(stages=(4, 8))
    fitted(baseline, train)
    with torch.no_grad():
        highest, values = baseline.log_likelihoods(train).max(1).values, baseline.log_likelihoods(test)
    torch.testing.assert_close(baseline.highest_S, highest)
    expected = [2 - sum(math.exp(values[s, n] - highest[s]) for s in range(2)) for n in range(2 * TOKENS)]
    np.testing.assert_allclose(baseline.anomaly_map(test).flatten().numpy(), expected, rtol=1e-4, atol=1e-5)
    few = fitted(CFLOW(GRID, steps=2, condition=CONDITION, reference=2), train)
    assert torch.isfinite(few.highest_S).all() and few.highest_S.shape == (1,)


def test_what_is_normal_at_one_position_is_found_at_another():
    generator = torch.Generator().manual_seed(0)
    side = torch.tensor([-1.0, 1.0]).repeat_interleave(TOKENS // 2)[:, None].expand(-1, 2)  # above and below
    images = side + 0.3 * torch.randn(50, TOKENS, 2, generator=generator)
    train, test = images[:40], images[40:].clone()
    test[:5, 3] = test[:5, 16]
    options = {"blocks": 2, "condition": 16, "rate": 3e-2, "steps": 200, "images": 8}
    maps = fitted(CFLOW(GRID, **options), train).anomaly_map(test).flatten(1)
    assert maps[:5].amax(1).min() > maps[5:].amax(1).max() and (maps[:5].argmax(1) == 3).all()


def test_a_stage_of_one_channel_is_refused():
    baseline = CFLOW(GRID)
    baseline.context = Context(stages=(1, CHANNELS - 1))
    with pytest.raises(ConfigError, match="at least 2 channels"):
        fitted(baseline, normal_images(2))


def test_published_settings():
    features = CFLOW.published_features(preset("fast").features)
    assert (features.reductions, features.grid, features.local_mean) == ((8, 16, 32), 14, 1)

"""The losses, Eqs 1 and 4 to 6, and their reductions."""

import math

import pytest
import torch

from mintad.config import TrainConfig
from mintad.model.losses import compute_losses, reduce
from mintad.model.prior import DistributionDecoder, gaussian_nll
from mintad.model.reconstruction import Output


def test_gaussian_nll_is_equation_4():
    value, mean, log_variance = torch.randn(3, 2, 4, 5).unbind(0)
    expected = -torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(value)
    torch.testing.assert_close(gaussian_nll(value, mean, log_variance), expected)


def test_prior_loss_falls_without_end_as_features_collapse_until_the_floor():
    zero = torch.zeros(1)
    falling = [gaussian_nll(zero, zero, torch.tensor([v])).item() for v in (-2.0, -6.0, -10.0)]
    assert falling[0] > falling[1] > falling[2]
    decoder = DistributionDecoder(4, min_log_variance=-3.0)
    with torch.no_grad():
        decoder.network[-1].bias[4:] = -50.0
    assert decoder(torch.randn(2, 3, 4))[1].min() == -3.0


def test_losses_are_equations_1_5_and_6():
    torch.manual_seed(0)
    target, reconstruction = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    adapted, mean, log_variance = torch.randn(3, 2, 3, 5).unbind(0)
    logits, labels = torch.randn(2, 3), torch.tensor([2, 0])
    output = Output(
        target, adapted, reconstruction=reconstruction, class_logits=logits, mean=mean, log_variance=log_variance
    )
    config = TrainConfig(mse_reduction="token", prior_reduction="sum", weight_ce=0.7, weight_prior=0.3)
    losses = compute_losses(output, labels, config)
    mse = ce = prior = 0.0
    for b in range(2):
        ce -= math.log(math.exp(logits[b, labels[b]]) / sum(math.exp(v) for v in logits[b])) / 2
        for n in range(3):
            mse += sum((target[b, n, c] - reconstruction[b, n, c]).item() ** 2 for c in range(4)) / 3 / 2
            for d in range(5):
                variance = math.exp(log_variance[b, n, d])
                squared = (adapted[b, n, d] - mean[b, n, d]).item() ** 2
                prior += (0.5 * math.log(2 * math.pi * variance) + squared / (2 * variance)) / 2
    assert losses.mse.item() == pytest.approx(mse, rel=1e-4)
    assert losses.ce.item() == pytest.approx(ce, rel=1e-4)
    assert losses.prior.item() == pytest.approx(prior, rel=1e-4)
    assert losses.total.item() == pytest.approx(mse + 0.7 * ce + 0.3 * prior, rel=1e-4)


def test_reductions_differ_by_the_counts_they_average_over():
    elements = torch.rand(2, 3, 4)
    element, token, total = (reduce(elements, name).item() for name in ("element", "token", "sum"))
    assert token == pytest.approx(4 * element) and total == pytest.approx(12 * element)

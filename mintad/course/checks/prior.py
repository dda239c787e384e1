"""Checks of notebook 08: the Gaussian likelihood, its reductions, and how a collapse is seen (§3.4, Eqs 2-5)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, number, randn, same


def reference_gaussian_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the negative log-likelihood of every element."""
    return 0.5 * (math.log(2 * math.pi) + log_variance + (value - mean) ** 2 * torch.exp(-log_variance))


@exercise(
    reference_gaussian_nll,
    "equal to torch.distributions.Normal",
    trains=True,
    mistakes={
        "this is the log-likelihood; the *negative* one has the other sign": lambda x, m, s: (
            -reference_gaussian_nll(x, m, s)
        ),
        "log_variance is a logarithm: divide by its exponential, not by itself": lambda x, m, s: (
            0.5 * (math.log(2 * math.pi) + s + (x - m) ** 2 / s)
        ),
        "log_variance is log sigma², not log sigma: add half of it, divide by exp(log_variance)": lambda x, m, s: (
            0.5 * math.log(2 * math.pi) + s + 0.5 * (x - m) ** 2 * torch.exp(-2 * s)
        ),
        "log_variance enters with half its value: 0.5 * log sigma²": lambda x, m, s: (
            reference_gaussian_nll(x, m, s) + 0.5 * s
        ),
        "the term log_variance is missing; without it a large variance costs nothing": lambda x, m, s: (
            reference_gaussian_nll(x, m, s) - 0.5 * s
        ),
        "the error must be squared": lambda x, m, s: 0.5 * (math.log(2 * math.pi) + s + (x - m).abs() * torch.exp(-s)),
        "return the value of every element, not the mean of all": lambda x, m, s: reference_gaussian_nll(
            x, m, s
        ).mean(),
    },
)
def check_gaussian_nll(call: Call, rng: np.random.Generator) -> None:
    """Check for ``-log N(value | mean, exp(log_variance))`` of every element, in any shape."""
    value, mean, log_variance = randn((4, 3), (4, 3), (4, 3))
    result, expected = call(value, mean, torch.zeros(4, 3)), -Normal(mean, 1.0).log_prob(value)
    differs(result, expected - 0.5 * math.log(2 * math.pi), "only the constant 0.5 * log(2 pi) is missing")
    same(result, expected, "with log_variance = 0 the result is 0.5 * (log(2 pi) + (value - mean)^2) of every element")
    expected = -Normal(mean, (0.5 * log_variance).exp()).log_prob(value)
    hint = "log_variance is log(sigma^2): add half of it, and divide half the squared error by its exponential"
    same(call(value, mean, log_variance), expected, hint, tolerance=1e-4)


def reference_best_log_variance(values: Tensor, mean: Tensor) -> Tensor:
    """Return the log of the mean squared error about the given mean."""
    return ((values - mean) ** 2).mean(dim=0).log()


@exercise(
    reference_best_log_variance,
    "log of the mean squared error about the given mean",
    mistakes={
        "the logarithm is missing": lambda x, m: (x - m).square().mean(0),
        "this is log sigma; the *variance's* logarithm is twice that": lambda x, m: (
            (x - m).square().mean(0).sqrt().log()
        ),
        "this sums over the images; take the mean": lambda x, m: (x - m).square().sum(0).log(),
        "take the mean over the images first, then the logarithm": lambda x, m: (x - m).square().log().mean(0),
        "square the errors, do not take absolute values": lambda x, m: (x - m).abs().mean(0).log(),
    },
)
def check_best_log_variance(call: Call, rng: np.random.Generator) -> None:
    """Check for the log-variance (L, D) that minimises the mean NLL of values (n, L, D), given means (L, D)."""
    values = randn((50, 3, 2))[0] * torch.tensor([0.1, 4.0]) + 1
    mean = torch.full((3, 2), 0.5)
    result = call(values, mean)
    hint = "return one value per position and channel, shape (L, D): average over the images, axis 0"
    is_tensor(result, mean.shape, hint)
    hint = "take the errors from the *given* mean, not from the mean of the values"
    differs(result, values.var(dim=0, correction=0).log(), hint, tolerance=1e-4)
    hint = "log s + e / s is smallest where s is the mean squared error e; return its logarithm"
    same(result, (values - mean).square().mean(dim=0).log(), hint, tolerance=1e-4)


def reference_reduce(elements: Tensor, how: str) -> Tensor:
    """Reduce element losses to one number."""
    if how == "element":
        return elements.mean()
    per_token = elements.sum(dim=-1)
    return per_token.mean() if how == "token" else per_token.sum(dim=-1).mean()


@exercise(reference_reduce, "'token' is D times, 'sum' L * D times the mean", trains=True)
def check_reduce(call: Call, rng: np.random.Generator) -> None:
    """Check the reduction of element losses (B, L, D) by 'element', 'token' or 'sum', always a mean over images."""
    elements = torch.arange(24.0).reshape(2, 3, 4)
    for how, factor, hint in (
        ("element", 1, "is the mean over everything"),
        ("token", 4, "sums over the channels, then averages over tokens and images: D times the mean"),
        ("sum", 12, "sums over the tokens and channels of an image, then averages over images: L * D times the mean"),
    ):
        result, expected = call(elements, how), factor * elements.mean().item()
        same(result, expected, f"'{how}' {hint}, here {expected:g}, not {{:g}}")


def reference_variance_lost(before: Tensor, after: Tensor) -> float:
    """Return the share of the variance between images that is lost."""
    return float(1 - after.var(dim=0).mean() / before.var(dim=0).mean())


@exercise(
    reference_variance_lost,
    "between images; shifts and differences between positions do not count",
    mistakes={
        "this is the share that is *kept*; return 1 minus it": lambda a, b: 1 - reference_variance_lost(a, b),
        "the two are exchanged: divide by the variance before": lambda a, b: reference_variance_lost(b, a),
    },
)
def check_variance_lost(call: Call, rng: np.random.Generator) -> None:
    """Check for the share (0 to 1) of the variance *between images* that adapted features (n, L, D) have lost."""
    before = randn((20, 3, 4))[0] * torch.tensor([0.1, 1.0, 5.0, 10.0]) + torch.tensor([1.0, -5.0, 9.0]).view(3, 1)
    half = number(call(before, before / 2))
    differs(half, 0.5, "this compares standard deviations; halving the features leaves a quarter of the *variance*")
    same(half, 0.75, "if the features are halved, 0.75 of the variance is lost, not {:.3f}")
    hint = "adding a constant must not change the result: compare variances, not mean squares"
    same(call(before, before + 100), 0, hint, tolerance=1e-3)
    hint = "if all images are the same, all is lost (1), although positions differ: take the variance over axis 0"
    same(call(before, before.mean(dim=0).expand(20, 3, 4)), 1, hint)
    share = before[..., 0].var(dim=0).sum() / before.var(dim=0).sum()
    hint = (
        "take the ratio of the mean variances, not the mean of the ratios: a channel that hardly varies counts little"
    )
    same(call(before, before * torch.tensor([0, 1, 1, 1])), share.item(), hint)
    hint = "features that are doubled have lost 1 - 4 = -3, not {:.3g}: a gain is a negative loss, do not cut it off"
    same(call(before, 2 * before), -3, hint)

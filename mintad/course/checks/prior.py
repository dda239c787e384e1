"""Checks of notebook 08: the Gaussian likelihood, its reductions, and how a collapse is seen (§3.4, Eqs 2-5)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mintad.course.checks.grading import call, number, passed, require, same


def reference_gaussian_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the negative log-likelihood of every element."""
    return 0.5 * (math.log(2 * math.pi) + log_variance + (value - mean) ** 2 * torch.exp(-log_variance))


def check_gaussian_nll(fn: Callable[..., Tensor]) -> None:
    """Check for ``-log N(value | mean, exp(log_variance))`` of every element, in any shape."""
    takes = "value, mean, log_variance"
    generator = torch.Generator().manual_seed(0)
    value, mean, log_variance = (torch.randn(4, 3, generator=generator) for _ in range(3))
    result = call(fn, value, mean, torch.zeros(4, 3), takes=takes)
    expected = -torch.distributions.Normal(mean, 1.0).log_prob(value)
    comparable = isinstance(result, Tensor) and result.shape == expected.shape
    require(
        not (comparable and torch.allclose(result, expected - 0.5 * math.log(2 * math.pi), atol=1e-5)),
        "only the constant 0.5 * log(2 pi) is missing",
    )
    same(result, expected, "with log_variance = 0 the result is 0.5 * (log(2 pi) + (value - mean)^2) of every element")
    expected = -torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(value)
    hint = "log_variance is log(sigma^2): add half of it, and divide half the squared error by its exponential"
    same(call(fn, value, mean, log_variance, takes=takes), expected, hint, tolerance=1e-4)
    passed(fn, "gaussian_nll: equal to torch.distributions.Normal")


def reference_best_log_variance(values: Tensor, mean: Tensor) -> Tensor:
    """Return the log of the mean squared error about the given mean."""
    return ((values - mean) ** 2).mean(dim=0).log()


def check_best_log_variance(fn: Callable[..., Tensor]) -> None:
    """Check for the log-variance (L, D) that minimises the mean NLL of values (n, L, D), given means (L, D)."""
    takes = "values, mean"
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, 3, 2, generator=generator) * torch.tensor([0.1, 4.0]) + 1
    mean = torch.full((3, 2), 0.5)
    result = call(fn, values, mean, takes=takes)
    require(
        isinstance(result, Tensor) and result.shape == mean.shape,
        "return one value per position and channel, shape (L, D): average over the images, axis 0",
    )
    about_own_mean = values.var(dim=0, correction=0).log()
    hint = "take the errors from the *given* mean, not from the mean of the values"
    require(not torch.allclose(result, about_own_mean, atol=1e-4), hint)
    hint = "log s + e / s is smallest where s is the mean squared error e; return its logarithm"
    same(result, (values - mean).square().mean(dim=0).log(), hint, tolerance=1e-4)
    passed(fn, "best_log_variance: log of the mean squared error about the given mean")


def reference_reduce(elements: Tensor, how: str) -> Tensor:
    """Reduce element losses to one number."""
    if how == "element":
        return elements.mean()
    per_token = elements.sum(dim=-1)
    return per_token.mean() if how == "token" else per_token.sum(dim=-1).mean()


def check_reduce(fn: Callable[..., Tensor]) -> None:
    """Check the reduction of element losses (B, L, D) by 'element', 'token' or 'sum', always a mean over images."""
    takes = "elements, how"
    elements = torch.arange(24.0).reshape(2, 3, 4)
    mean = elements.mean().item()
    hints = {
        "element": "'element' is the mean over everything",
        "token": "'token' sums over the channels, then averages over tokens and images: D times the mean",
        "sum": "'sum' sums over the tokens and channels of an image, then averages over images: L * D times the mean",
    }
    for how, factor in {"element": 1, "token": 4, "sum": 12}.items():
        result = call(fn, elements, how, takes=takes)
        result = result.item() if isinstance(result, Tensor) and result.dim() == 0 else result
        value = number(result)
        require(abs(value - factor * mean) < 1e-3, f"{hints[how]}, here {factor * mean:g}, not {value:g}")
    passed(fn, "reduce: 'token' is D times, 'sum' L * D times the mean")


def reference_variance_lost(before: Tensor, after: Tensor) -> float:
    """Return the share of the variance between images that is lost."""
    return float(1 - after.var(dim=0).mean() / before.var(dim=0).mean())


def check_variance_lost(fn: Callable[..., float]) -> None:
    """Check for the share (0 to 1) of the variance *between images* that adapted features (n, L, D) have lost."""
    takes = "before, after"
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(20, 3, 4, generator=generator)
    before = before * torch.tensor([0.1, 1.0, 5.0, 10.0]) + torch.tensor([1.0, -5.0, 9.0]).view(3, 1)
    half = number(call(fn, before, before / 2, takes=takes))
    require(
        abs(half - 0.5) > 1e-5,
        "this compares standard deviations; halving the features leaves a quarter of the *variance*",
    )
    require(abs(half - 0.75) < 1e-5, f"if the features are halved, 0.75 of the variance is lost, not {half:.3f}")
    moved = number(call(fn, before, before + 100, takes=takes))
    require(abs(moved) < 1e-3, "adding a constant must not change the result: compare variances, not mean squares")
    still = number(call(fn, before, before.mean(dim=0).expand(20, 3, 4), takes=takes))
    hint = "if all images are the same, all is lost (1), although positions differ: take the variance over axis 0"
    require(abs(still - 1) < 1e-5, hint)
    without_channel = before.clone()
    without_channel[..., 0] = 0
    lost = number(call(fn, before, without_channel, takes=takes))
    expected = before[..., 0].var(dim=0).sum() / before.var(dim=0).sum()
    hint = (
        "take the ratio of the mean variances, not the mean of the ratios: a channel that hardly varies counts little"
    )
    require(abs(lost - expected.item()) < 1e-5, hint)
    passed(fn, "variance_lost: between images; shifts and differences between positions do not count")

"""Notebook 08."""

import math

import torch


def reduce_all_channels_last(elements, how):
    if how == "element":
        return elements.mean()
    return elements.sum(-1).mean() if how == "token" else elements.sum()


def reduce_without_images(elements, how):
    return {"element": elements.mean(), "token": elements.sum(1).mean(), "sum": elements.sum((1, 2)).mean()}[how]


WRONG = {
    "prior.gaussian_nll": [
        lambda value, mean, log_variance: 0.5 * (log_variance + (value - mean) ** 2 * torch.exp(-log_variance)),
        lambda value, mean, log_variance: (
            0.5 * (math.log(2 * math.pi) + log_variance + (value - mean) ** 2 / log_variance)
        ),
        lambda value, mean, log_variance: (
            0.5 * (math.log(2 * math.pi) + (value - mean) ** 2 * torch.exp(-log_variance)) + log_variance
        ),
        lambda value, mean, log_variance: torch.distributions.Normal(mean, log_variance.exp()).log_prob(value),
    ],
    "prior.best_log_variance": [
        lambda values, mean: values.var(dim=0, correction=0).log(),
        lambda values, mean: (values - mean).square().mean(dim=0),
        lambda values, mean: (values - mean).abs().mean(dim=0).log(),
        lambda values, mean: (values - mean).square().mean().log(),
    ],
    "prior.reduce": [reduce_all_channels_last, reduce_without_images],
    "prior.variance_lost": [
        lambda before, after: float(1 - after.std(0).mean() / before.std(0).mean()),
        lambda before, after: float(1 - after.square().mean() / before.square().mean()),
        lambda before, after: float(1 - after.var() / before.var()),
        lambda before, after: float((1 - after.var(0) / before.var(0)).mean()),
    ],
}


WRONG["prior.gaussian_nll"] += [
    lambda value, mean, log_variance: -torch.distributions.Normal(mean, log_variance.exp()).log_prob(value),
    lambda value, mean, log_variance: torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(value),
    lambda value, mean, log_variance: (
        -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(value).mean()
    ),
    lambda value, mean, log_variance: (
        -torch.distributions.Normal(mean.detach(), (log_variance / 2).exp()).log_prob(value)
    ),
]
WRONG["prior.best_log_variance"] += [
    lambda values, mean: 0.5 * (values - mean).square().mean(0).log(),
    lambda values, mean: (values - mean).square().sum(0).log(),
    lambda values, mean: (values - mean).square().log().mean(0),
]
WRONG["prior.reduce"] += [
    lambda elements, how: {"element": elements.mean(), "token": elements.sum(-1).mean()}.get(how, elements.sum()),
    lambda elements, how: elements.mean() * {"element": 1, "token": elements.shape[1]}.get(how, elements[0].numel()),
    lambda elements, how: elements.mean(),
    lambda elements, how: (
        elements.sum() / {"element": elements.numel(), "token": elements[:, :, 0].numel(), "sum": 1}[how]
    ),
    lambda elements, how: elements.sum(-1) if how == "token" else elements.mean(),
]
WRONG["prior.variance_lost"] += [
    lambda before, after: after.var(0).mean() / before.var(0).mean(),
    lambda before, after: 1 - before.var(0).mean() / after.var(0).mean().clamp(min=1e-9),
    lambda before, after: (1 - after.var(0).mean() / before.var(0).mean()).clamp(min=0),
]

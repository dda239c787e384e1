"""Notebook 08."""

import math

import torch
from torch.distributions import Normal


def nll_of_sigma(value, mean, log_variance):
    sigma = (0.5 * log_variance).exp()
    return ((value - mean) / sigma) ** 2 / 2 + sigma.log() + math.log(math.sqrt(2 * math.pi))


def reduce_by_sums(elements, how):
    images, tokens, channels = elements.shape
    count = {"element": images * tokens * channels, "token": images * tokens, "sum": images}[how]
    return elements.sum() / count


def reduce_by_factors(elements, how):
    factor = {"element": 1, "token": elements.shape[2], "sum": elements.shape[1] * elements.shape[2]}[how]
    return elements.mean() * factor


def lost_by_errors(before, after):
    kept = ((after - after.mean(0)) ** 2).sum() / ((before - before.mean(0)) ** 2).sum()
    return 1 - kept


def lost_in_numpy(before, after):
    return 1 - after.numpy().var(axis=0).sum() / before.numpy().var(axis=0).sum()


RIGHT = {
    "prior.gaussian_nll": [
        nll_of_sigma,
        lambda value, mean, log_variance: -Normal(mean, torch.exp(log_variance / 2)).log_prob(value),
    ],
    "prior.best_log_variance": [
        lambda values, mean: torch.log((values - mean).pow(2).sum(0) / len(values)),
        lambda values, mean: (values.var(dim=0, correction=0) + (values.mean(0) - mean) ** 2).log(),
    ],
    "prior.reduce": [reduce_by_sums, reduce_by_factors],
    "prior.variance_lost": [lost_by_errors, lost_in_numpy],
}

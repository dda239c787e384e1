"""Notebook 03."""

import numpy as np
import torch
import torch.nn.functional as F

from mintad.scoring import auroc


def fuse_by_sampling(fine, coarse, grid):
    stages = [F.interpolate(s, size=(grid, grid), mode="bilinear", align_corners=True) for s in (fine, coarse)]
    return torch.cat(stages, dim=1).flatten(2).transpose(1, 2)


def fuse_channels_first(fine, coarse, grid):
    return torch.cat([F.adaptive_avg_pool2d(stage, grid) for stage in (fine, coarse)], dim=1).flatten(2)


def fuse_by_columns(fine, coarse, grid):
    return torch.cat([F.adaptive_avg_pool2d(s, grid) for s in (fine, coarse)], dim=1).transpose(2, 3).flatten(2).mT


def fuse_coarse_first(fine, coarse, grid):
    return torch.cat([F.adaptive_avg_pool2d(stage, grid) for stage in (coarse, fine)], dim=1).flatten(2).mT


def mahalanobis_squared(feat, mean, covariance):
    centred = feat - mean
    return torch.einsum("blf,lfg,blg->bl", centred, torch.linalg.inv(covariance), centred)


def mahalanobis_of_variances(feat, mean, covariance):
    return ((feat - mean).square() / covariance.diagonal(dim1=1, dim2=2)).sum(-1).sqrt()


def mahalanobis_not_inverted(feat, mean, covariance):
    centred = feat - mean
    return torch.einsum("blf,lfg,blg->bl", centred, covariance, centred).sqrt()


def mahalanobis_of_one_position(feat, mean, covariance):
    centred = feat - mean
    return torch.einsum("blf,fg,blg->bl", centred, torch.linalg.inv(covariance[0]), centred).sqrt()


def mean_weighted_by_images(scores, labels, categories):
    names, counts = np.unique(categories, return_counts=True)
    values = [auroc(scores[categories == name], labels[categories == name]) for name in names]
    return float(np.average(values, weights=counts)), auroc(scores, labels)


def pooled_after_scaling(scores, labels, categories):
    scores, values = scores.astype(float), []
    for name in np.unique(categories):
        inside = categories == name
        values.append(auroc(scores[inside], labels[inside]))
        scores[inside] -= scores[inside].mean()
    return float(np.mean(values)), auroc(scores, labels)


WRONG = {
    "features.fuse": [fuse_by_sampling, fuse_channels_first, fuse_by_columns, fuse_coarse_first],
    "features.nearest_score": [
        lambda tokens, memory: torch.cdist(tokens, memory).amin(dim=0),
        lambda tokens, memory: torch.cdist(tokens, memory).min(dim=1),
        lambda tokens, memory: torch.cdist(tokens, memory).mean(dim=1),
        lambda tokens, memory: (tokens - memory.mean(0)).norm(dim=1),
        lambda tokens, memory: torch.cdist(tokens, memory).amin(dim=1).square(),
    ],
    "features.mahalanobis": [
        mahalanobis_squared,
        mahalanobis_of_variances,
        mahalanobis_not_inverted,
        mahalanobis_of_one_position,
        lambda feat, mean, covariance: (feat - mean).norm(dim=-1),
    ],
    "features.mean_and_pooled": [
        mean_weighted_by_images,
        pooled_after_scaling,
        lambda scores, labels, categories: (auroc(scores, labels), auroc(scores, labels)),
    ],
}


def fuse_reshaped(fine, coarse, grid):
    fused = torch.cat([F.adaptive_avg_pool2d(stage, grid) for stage in (fine, coarse)], dim=1)
    return fused.reshape(len(fine), grid * grid, -1)


WRONG["features.fuse"] += [fuse_reshaped]
WRONG["features.mean_and_pooled"] += [
    lambda scores, labels, categories: (auroc(scores, labels), pooled_after_scaling(scores, labels, categories)[0]),
    lambda scores, labels, categories: np.mean(pooled_after_scaling(scores, labels, categories)),
]

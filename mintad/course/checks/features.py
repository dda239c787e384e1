"""Checks of notebook 03: stages on one grid (§3.2), nearest neighbours, Gaussians, mean and pooled AUROC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, randn, require, same
from mintad.scoring import auroc

Array = np.ndarray


def reference_fuse(fine: Tensor, coarse: Tensor, grid: int) -> Tensor:
    """Average two stages over the cells of a grid and concatenate their channels."""
    stages = [F.adaptive_avg_pool2d(stage, grid) for stage in (fine, coarse)]
    return torch.cat(stages, dim=1).flatten(2).transpose(1, 2)


@exercise(
    reference_fuse,
    "two stages on one grid, tokens row by row, channels side by side",
    mistakes={
        "reshape does not swap axes, it only cuts the numbers up anew; flatten(2), then transpose(1, 2)": lambda *a: (
            _pooled(F.adaptive_avg_pool2d, *a).flatten(2).reshape(len(a[0]), a[2] ** 2, -1)
        ),
        "the coarse stage comes first here; concatenate (fine, coarse)": lambda fine, coarse, grid: reference_fuse(
            coarse, fine, grid
        ),
        "this takes the maximum of each cell; take the mean (adaptive_avg_pool2d)": lambda *a: (
            _pooled(F.adaptive_max_pool2d, *a).flatten(2).mT
        ),
        "the tokens are in the wrong order: go row by row, so that token 1 is the second cell of the top row": (
            lambda *a: _pooled(F.adaptive_avg_pool2d, *a).transpose(2, 3).flatten(2).mT
        ),
    },
)
def check_fuse(call: Call, rng: np.random.Generator) -> None:
    """Check for stages (B, C, H, W), (B, c, h, w) averaged over the grid's cells to tokens (B, grid², C + c)."""
    fine, coarse = randn((2, 3, 12, 12), (2, 5, 6, 6))
    result = call(fine, coarse, 3)
    require(isinstance(result, Tensor), "return a single tensor of tokens (B, L, F)")
    require(result.shape != (2, 8, 9), "the axes are swapped: return (B, L, F), not (B, F, L)")
    hint = f"for 2 images, a 3 × 3 grid and 3 + 5 channels the shape is (2, 9, 8), not {tuple(result.shape)}"
    is_tensor(result, (2, 9, 8), hint)
    first, last = (F.avg_pool2d(stage, side).flatten(2).mT for stage, side in ((fine, 4), (coarse, 2)))
    sampled = F.interpolate(fine, size=(3, 3), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)
    hint = "interpolation reads only four values per token; average over the whole cell (adaptive_avg_pool2d)"
    differs(result[..., :3], sampled, hint)
    by_columns = first.unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)
    hint = "the tokens are in the wrong order: go row by row, so that token 1 is the second cell of the top row"
    differs(result[..., :3], by_columns, hint)
    same(result[..., :3], first, "the first channels must be the cell means of the fine stage")
    same(result[..., 3:], last, "the last channels must be the cell means of the coarse stage")


def _pooled(pool: Callable[..., Tensor], fine: Tensor, coarse: Tensor, grid: int) -> Tensor:
    return torch.cat([pool(stage, grid) for stage in (fine, coarse)], dim=1)


def reference_nearest_score(tokens: Tensor, memory: Tensor) -> Tensor:
    """Return the distance of every token to its nearest row of the memory."""
    return torch.cdist(tokens, memory).amin(dim=1)


@exercise(
    reference_nearest_score,
    "the distance to the nearest normal token",
    mistakes={
        "this is the mean distance to all rows; take the smallest (amin)": lambda tokens, memory: torch.cdist(
            tokens, memory
        ).mean(1),
        "these are sums of absolute differences; the Euclidean distance squares them and takes the root": (
            lambda tokens, memory: torch.cdist(tokens, memory, p=1).amin(1)
        ),
        "this is the distance to the mean of the memory; take that to its nearest row": lambda tokens, memory: (
            tokens - memory.mean(0)
        ).norm(dim=1),
        "this is the distance to the *farthest* row; take the smallest": lambda tokens, memory: torch.cdist(
            tokens, memory
        ).amax(1),
    },
)
def check_nearest_score(call: Call, rng: np.random.Generator) -> None:
    """Check for the Euclidean distance of every token (N, F) to its nearest row of the memory (M, F)."""
    memory, tokens = torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[3.0, 4.0], [10.0, 1.0], [5.0, 0.0]])
    result = call(tokens, memory)
    hint = "min(dim=1) returns the values and where they are; take the values alone: min(dim=1).values, or amin(dim=1)"
    require(not isinstance(result, torch.return_types.min), hint)
    require(isinstance(result, Tensor), "return a tensor with one score per token")
    hint = "return one score per token, not per row of the memory: take the minimum over the other axis"
    require(result.shape != (2,), hint)
    differs(result, [25.0, 1.0, 25.0], "these are squared distances; take the square root")
    hint = "token (3, 4) is 5 away from its nearest row (0, 0), token (10, 1) is 1 away from (10, 0)"
    same(result, [5.0, 1.0, 5.0], hint, tolerance=1e-3)
    tokens, memory = randn((40, 6), (70, 6), seed=1)
    expected = (tokens[:, None] - memory).square().sum(-1).sqrt().amin(1)
    same(call(tokens, memory), expected, "the distances are wrong for 40 tokens and 70 rows of memory", tolerance=1e-3)


def reference_mahalanobis(feat: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return every token's Mahalanobis distance from the Gaussian of its position."""
    factor = torch.linalg.cholesky(covariance)  # inv() of a batch can hang on CPUs, pytorch/pytorch#141358
    centred = (feat - mean).permute(1, 2, 0)
    return torch.linalg.solve_triangular(factor, centred, upper=False).norm(dim=1).T


@exercise(
    reference_mahalanobis,
    "distance in standard deviations, with one Gaussian per position",
    mistakes={
        "this uses the covariance's diagonal alone; channels are correlated, use the whole inverse": lambda x, m, s: (
            ((x - m).square() / s.diagonal(dim1=1, dim2=2)).sum(-1).sqrt()
        ),
        "this uses the covariance itself; use its inverse": lambda x, m, s: torch.einsum(
            "blf,lfg,blg->bl", x - m, s, x - m
        ).sqrt(),
        "this uses the first position's covariance everywhere; every position has its own": lambda x, m, s: (
            torch.einsum("blf,fg,blg->bl", x - m, torch.linalg.inv(s[0]), x - m).sqrt()
        ),
    },
)
def check_mahalanobis(call: Call, rng: np.random.Generator) -> None:
    """Check for sqrt((x - m)ᵀ S⁻¹ (x - m)) of features (B, L, F), with mean (L, F) and covariance (L, F, F)."""
    mean, covariance = torch.tensor([[1.0, 0.0]]), torch.tensor([[[4.0, 0.0], [0.0, 1.0]]])
    result = call(torch.tensor([[[5.0, 0.0]], [[1.0, 2.0]]]), mean, covariance)
    is_tensor(result, (2, 1), "for 2 images of 1 token the result has shape (2, 1)")
    differs(result, [[4], [4]], "this is the squared distance; take the square root at the end", tolerance=1e-4)
    differs(result, [[4], [2]], "this is the Euclidean distance; use the inverse of the covariance", tolerance=1e-4)
    hint = (
        "both tokens are 2 standard deviations from the mean: 4 along an axis of variance 4, 2 along one of variance 1"
    )
    same(result, [[2.0], [2.0]], hint, tolerance=1e-3)
    root, feat, mean = randn((4, 3, 3), (5, 4, 3), (4, 3), seed=2)
    covariance = root @ root.mT + 0.5 * torch.eye(3)
    centred = (feat - mean)[..., None]
    expected = (centred.mT @ torch.linalg.solve(covariance, centred)).sqrt()[..., 0, 0]
    hint = "use the mean and the full covariance of each position, off-diagonal entries included"
    same(call(feat, mean, covariance), expected, hint, tolerance=1e-3)


def reference_mean_and_pooled(scores: Array, labels: Array, categories: Array) -> tuple[float, float]:
    """Return the mean of the categories' AUROCs, and the AUROC of all images together."""
    masks = [categories == name for name in np.unique(categories)]
    return float(np.mean([auroc(scores[mask], labels[mask]) for mask in masks])), auroc(scores, labels)


@exercise(
    reference_mean_and_pooled,
    "shifting one category's scores changes only the pooled value",
    mistakes={
        "the two are swapped: return the mean first, then the pooled AUROC": lambda *a: reference_mean_and_pooled(*a)[
            ::-1
        ],
        "the second value must be the AUROC of all images together": lambda *a: (reference_mean_and_pooled(*a)[0],) * 2,
    },
)
def check_mean_and_pooled(call: Call, rng: np.random.Generator) -> None:
    """Check for (mean of the categories' AUROCs, AUROC of all images together), every category weighing the same."""
    result = call(np.array([1.0, 2, 11, 12]), np.array([0, 1, 0, 1]), np.array(["a", "a", "b", "b"]))
    hint = "in each category the defect scores higher, so the mean is 1; of all 4 pairs 3 are right, so pooled is 0.75"
    same(result, [1.0, 0.75], hint)
    sizes, labels = [10, 30, 60], np.arange(100) % 2
    scores = np.random.default_rng(3).normal(size=100) + labels * np.repeat([3, 1, 0], sizes)
    categories = np.repeat(["a", "b", "c"], sizes)
    hint = "do not weight the mean: categories of 10, 30 and 60 images count the same"
    same(call(scores, labels, categories), reference_mean_and_pooled(scores, labels, categories), hint)

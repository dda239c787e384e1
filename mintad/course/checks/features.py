"""Checks of notebook 03: stages on one grid (§3.2), nearest neighbours, Gaussians, mean and pooled AUROC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.course.checks.grading import call, passed, require, same
from mintad.scoring import auroc

Array = np.ndarray


def reference_fuse(fine: Tensor, coarse: Tensor, grid: int) -> Tensor:
    """Average two stages over the cells of a grid and concatenate their channels."""
    stages = [F.adaptive_avg_pool2d(stage, grid) for stage in (fine, coarse)]
    return torch.cat(stages, dim=1).flatten(2).transpose(1, 2)


def check_fuse(fn: Callable[..., Tensor]) -> None:
    """Check for stages (B, C, H, W), (B, c, h, w) averaged over the grid's cells to tokens (B, grid², C + c)."""
    generator = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(2, 3, 12, 12, generator=generator), torch.randn(2, 5, 6, 6, generator=generator)
    result = call(fn, fine, coarse, 3, takes="fine, coarse, grid")
    require(isinstance(result, Tensor), "return a single tensor of tokens (B, L, F)")
    require(result.shape != (2, 8, 9), "the axes are swapped: return (B, L, F), not (B, F, L)")
    require(
        result.shape == (2, 9, 8),
        f"for 2 images, a 3 × 3 grid and 3 + 5 channels the shape is (2, 9, 8), not {tuple(result.shape)}",
    )
    first, last = _cell_means(fine, 4), _cell_means(coarse, 2)
    sampled = F.interpolate(fine, size=(3, 3), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)
    hint = "interpolation reads only four values per token; average over the whole cell (adaptive_avg_pool2d)"
    require(not torch.allclose(result[..., :3], sampled, atol=1e-5), hint)
    by_columns = first.unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)
    hint = "the tokens are in the wrong order: go row by row, so that token 1 is the second cell of the top row"
    require(not torch.allclose(result[..., :3], by_columns, atol=1e-5), hint)
    same(result[..., :3], first, "the first channels must be the cell means of the fine stage")
    same(result[..., 3:], last, "the last channels must be the cell means of the coarse stage")
    passed(fn, "fuse: two stages on one grid, tokens row by row, channels side by side")


def _cell_means(stage_BCHW: Tensor, side: int) -> Tensor:
    """Average a stage over square cells of this side; return tokens (B, L, C)."""
    cells = stage_BCHW.unfold(2, side, side).unfold(3, side, side)
    return cells.mean((4, 5)).flatten(2).transpose(1, 2)


def reference_nearest_score(tokens: Tensor, memory: Tensor) -> Tensor:
    """Return the distance of every token to its nearest row of the memory."""
    return torch.cdist(tokens, memory).amin(dim=1)


def check_nearest_score(fn: Callable[..., Tensor]) -> None:
    """Check for the Euclidean distance of every token (N, F) to its nearest row of the memory (M, F)."""
    takes = "tokens, memory"
    memory, tokens = torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[3.0, 4.0], [10.0, 1.0], [5.0, 0.0]])
    result = call(fn, tokens, memory, takes=takes)
    require(isinstance(result, Tensor), "return a tensor with one score per token")
    require(
        result.shape != (2,),
        "return one score per token, not per row of the memory: take the minimum over the other axis",
    )
    squared = result.shape == (3,) and torch.allclose(result.float(), torch.tensor([25.0, 1.0, 25.0]))
    require(not squared, "these are squared distances; take the square root")
    hint = "token (3, 4) is 5 away from its nearest row (0, 0), token (10, 1) is 1 away from (10, 0)"
    same(result, [5.0, 1.0, 5.0], hint, tolerance=1e-3)
    generator = torch.Generator().manual_seed(1)
    tokens, memory = torch.randn(40, 6, generator=generator), torch.randn(70, 6, generator=generator)
    expected = (tokens[:, None] - memory).square().sum(-1).sqrt().amin(1)
    hint = "the distances are wrong for 40 tokens and 70 rows of memory"
    same(call(fn, tokens, memory, takes=takes), expected, hint, tolerance=1e-3)
    passed(fn, "nearest_score: the distance to the nearest normal token")


def reference_mahalanobis(feat: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return every token's Mahalanobis distance from the Gaussian of its position."""
    factor = torch.linalg.cholesky(covariance)  # inv() of a batch can hang on CPUs, pytorch/pytorch#141358
    centred = (feat - mean).permute(1, 2, 0)
    return torch.linalg.solve_triangular(factor, centred, upper=False).norm(dim=1).T


def check_mahalanobis(fn: Callable[..., Tensor]) -> None:
    """Check for sqrt((x - m)ᵀ S⁻¹ (x - m)) of features (B, L, F), with mean (L, F) and covariance (L, F, F)."""
    takes = "feat, mean, covariance"
    mean, covariance = torch.tensor([[1.0, 0.0]]), torch.tensor([[[4.0, 0.0], [0.0, 1.0]]])
    result = call(fn, torch.tensor([[[5.0, 0.0]], [[1.0, 2.0]]]), mean, covariance, takes=takes)
    require(
        isinstance(result, Tensor) and result.shape == (2, 1), "for 2 images of 1 token the result has shape (2, 1)"
    )
    squared = torch.allclose(result.float(), torch.tensor([[4.0], [4.0]]), atol=1e-4)
    require(not squared, "this is the squared distance; take the square root at the end")
    plain = torch.allclose(result.float(), torch.tensor([[4.0], [2.0]]), atol=1e-4)
    require(not plain, "this is the Euclidean distance; use the inverse of the covariance")
    hint = (
        "both tokens are 2 standard deviations from the mean: 4 along an axis of variance 4, 2 along one of variance 1"
    )
    same(result, [[2.0], [2.0]], hint, tolerance=1e-3)
    generator = torch.Generator().manual_seed(2)
    root, feat = torch.randn(4, 3, 3, generator=generator), torch.randn(5, 4, 3, generator=generator)
    mean, covariance = torch.randn(4, 3, generator=generator), root @ root.mT + 0.5 * torch.eye(3)
    centred = (feat - mean)[..., None]
    expected = (centred.mT @ torch.linalg.solve(covariance, centred)).sqrt()[..., 0, 0]
    hint = "use the mean and the full covariance of each position, off-diagonal entries included"
    same(call(fn, feat, mean, covariance, takes=takes), expected, hint, tolerance=1e-3)
    passed(fn, "mahalanobis: distance in standard deviations, with one Gaussian per position")


def reference_mean_and_pooled(scores: Array, labels: Array, categories: Array) -> tuple[float, float]:
    """Return the mean of the categories' AUROCs, and the AUROC of all images together."""
    masks = [categories == name for name in np.unique(categories)]
    return float(np.mean([auroc(scores[mask], labels[mask]) for mask in masks])), auroc(scores, labels)


def check_mean_and_pooled(fn: Callable[..., tuple[float, float]]) -> None:
    """Check for (mean of the categories' AUROCs, AUROC of all images together), every category weighing the same."""
    takes = "scores, labels, categories"
    scores, labels = np.array([1.0, 2, 11, 12]), np.array([0, 1, 0, 1])
    result = call(fn, scores, labels, np.array(["a", "a", "b", "b"]), takes=takes)
    hint = "in each category the defect scores higher, so the mean is 1; of all 4 pairs 3 are right, so pooled is 0.75"
    same(result, [1.0, 0.75], hint)
    rng = np.random.default_rng(3)
    categories = np.repeat(["a", "b", "c"], [10, 30, 60])
    labels, scores = np.arange(100) % 2, rng.normal(size=100) + np.arange(100) % 2 * np.repeat([3, 1, 0], [10, 30, 60])
    expected = reference_mean_and_pooled(scores, labels, categories)
    hint = "do not weight the mean: categories of 10, 30 and 60 images count the same"
    same(call(fn, scores, labels, categories, takes=takes), expected, hint)
    passed(fn, "mean_and_pooled: shifting one category's scores changes only the pooled value")

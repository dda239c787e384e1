"""The greedy coreset of PatchCore: k-centre by farthest-first traversal (Roth et al., 2022, §3.2, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

POOL = 2048
"""Points that are compared with every new choice; the others wait. At 128 numbers a point they fit a core's cache."""
PART = 512
"""Points of the pool, of about the same age, that catch up together."""
MATRIX_ENTRIES = 1 << 21
"""Distances computed at a time: 8 MB."""


def greedy_coreset(points_NP: Tensor, size: int, first: int) -> Tensor:
    """Choose `size` of N points, each the farthest from those before it: the greedy 2-approximation of k-centre.

    A new choice can only shorten a point's distance to the nearest one. So a distance that is out of date is an upper
    bound, and a point whose bound is below the farthest up-to-date distance need not be looked at. Only the points with
    the largest bounds are kept up to date; when their farthest falls below the largest bound of the others, a new pool
    is taken and compared with all the choices that it missed, in one matrix product. The choices are those of the plain
    loop, which compares every point with every choice, but for rounding; `benchmarks/coreset_time.py` measures both.

    Args:
        points_NP: N points, best with a mean of 0: |x - c|^2 = |x|^2 - 2 x.c + |c|^2 loses digits far from the origin.
        size: how many to choose, 1..N.
        first: number of the point to begin with.

    Returns:
        The numbers (size,) of the chosen points, in order; no point twice.
    """
    norms_N = points_NP.square().sum(1)
    bound_N = torch.full_like(norms_N, torch.inf)  # squared distance to the nearest of the first `known` choices
    known_N = torch.zeros(len(points_NP), dtype=torch.long, device=points_NP.device)
    chosen = torch.empty(size, dtype=torch.long, device=points_NP.device)
    chosen[0], count = first, 1
    bound_N[first] = -torch.inf  # never twice, whatever rounding says
    while count < size:
        largest, pool = bound_N.topk(min(POOL + 1, len(bound_N)))
        others, pool = (largest[-1], pool[:-1]) if len(pool) > POOL else (-torch.inf, pool)
        pool = pool[known_N[pool].argsort()]
        points_nP, norms_n, bound_n = points_NP[pool], norms_N[pool], bound_N[pool]
        for part in torch.arange(len(pool), device=pool.device).split(min(PART, 1 + MATRIX_ENTRIES // count)):
            missed = chosen[int(known_N[pool[part[0]]]) : count]
            if len(missed):
                squared = torch.addmm(norms_N[missed], points_nP[part], points_NP[missed].T, alpha=-2).amin(1)
                bound_n[part] = torch.minimum(bound_n[part], squared + norms_n[part])
        while count < size:
            distance, farthest = bound_n.max(0)
            if distance < others:
                break
            chosen[count] = pool[farthest]
            count += 1
            squared = torch.addmv(norms_n, points_nP, points_nP[farthest], alpha=-2).add_(norms_n[farthest])
            torch.minimum(bound_n, squared, out=bound_n)
            bound_n[farthest] = -torch.inf
        bound_N[pool], known_N[pool] = bound_n, count
    return chosen.cpu()

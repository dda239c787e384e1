"""Guests: normal tokens of one category put into a normal image of another, the purest inter-class interference.

The "swap" defects of `mini` have a seam and are partly transparent, so a model may find them without knowing what
belongs where. A guest has no seam: it is made of tokens of a normal image, at the position where they were. A detector
that scores every token by itself gives AUROC 1/2 on average, by construction: over both directions of a pair of
categories, guests and hosts change places.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from mintad.scoring import auroc


def insert(
    host_BLF: Tensor, guest_BLF: Tensor, grid: tuple[int, int], side: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Hosts with a square block of the guests' tokens, at a random place, the same in both images.

    Args:
        host_BLF, guest_BLF: features of normal images, as many guests as hosts.
        grid: H, W of the tokens.
        side: of the block, in tokens.
        seed: of the places.

    Returns:
        The mixed features (B, L, F), and where the guests are, (B, L) bool.
    """
    generator = torch.Generator().manual_seed(seed)
    guest_BHW = torch.zeros(len(host_BLF), *grid, dtype=torch.bool)
    for one_HW in guest_BHW:
        row, column = (int(torch.randint(cells - side + 1, (), generator=generator)) for cells in grid)
        one_HW[row : row + side, column : column + side] = True
    guest_BL = guest_BHW.flatten(1)
    return torch.where(guest_BL[..., None], guest_BLF, host_BLF), guest_BL


def noticed(
    errors: Callable[[Tensor, int], Tensor],
    feat_BLF: Tensor,
    labels_B: Tensor,
    grid: tuple[int, int],
    *,
    side: int = 2,
    seed: int = 0,
) -> dict[tuple[int, int], float]:
    """AUROC of guest tokens against the host's own tokens at the same places, for every (host, guest) pair of classes.

    Args:
        errors: scores (B, L) of features (B, L, F) of hosts of one class, told that class.
        feat_BLF: features of normal images.
        labels_B: their classes; of two classes with unequal numbers the first images are taken.
        grid, side, seed: see `insert`.
    """
    of_class = {k: feat_BLF[labels_B == k] for k in labels_B.unique().tolist()}
    alone = {k: errors(images, k) for k, images in of_class.items()}
    found = {}
    for host, guest in permutations(of_class, 2):
        n = min(len(of_class[host]), len(of_class[guest]))
        mixed, where = insert(of_class[host][:n], of_class[guest][:n], grid, side, seed)
        scores = torch.cat([alone[host][:n][where], errors(mixed, host)[where]]).numpy()
        found[host, guest] = auroc(scores, np.repeat([0, 1], len(scores) // 2))
    return found

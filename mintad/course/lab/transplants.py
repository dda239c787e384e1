"""Transplanted tokens: normal tokens of one category in a normal image of another (§1's inter-class interference).

A transplanted token is normal by itself and wrong only where it lies. It has no seam and no transparent edge, unlike
the "swap" defects of `mini`, because it keeps the position that it had in its own image. A detector that scores every
token by itself gives an AUROC of 1/2 on average, by construction: over both directions of a pair of categories, the
same tokens are scored once in their own image and once as transplants.

Shapes: B or n images, L tokens, F channels.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor

from mintad.course.lab.identity_shortcut import Reconstruct, token_errors
from mintad.scoring import auroc


def transplant(
    receiving_BLF: Tensor, donor_BLF: Tensor, grid: tuple[int, int], side: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Put a block of side x side tokens of normal images into others, at a random place, the same in both images.

    Returns:
        The mixed features (B, L, F), and where the transplanted tokens are, (B, L) bool.
    """
    generator = torch.Generator().manual_seed(seed)
    transplanted_BHW = torch.zeros(len(receiving_BLF), *grid, dtype=torch.bool)
    for transplanted_HW in transplanted_BHW:
        row, column = (int(torch.randint(cells - side + 1, (), generator=generator)) for cells in grid)
        transplanted_HW[row : row + side, column : column + side] = True
    transplanted_BL = transplanted_BHW.flatten(1)
    return torch.where(transplanted_BL[..., None], donor_BLF, receiving_BLF), transplanted_BL


def transplant_auroc_by_pair(
    errors: Callable[[Tensor, int], Tensor],
    feat_BLF: Tensor,
    labels_B: Tensor,
    grid: tuple[int, int],
    *,
    side: int = 2,
    seed: int = 0,
) -> dict[tuple[int, int], float]:
    """Measure the AUROC of transplanted tokens against the receiving image's own tokens at the same places.

    Args:
        errors: function of features (B, L, F) of images of one class, and of that class; returns scores (B, L).
        feat_BLF: features of normal images.
        labels_B: their classes. Of two classes with unequal numbers of images the first images are taken.
        grid: H, W of the tokens; `side` and `seed` are those of `transplant`.

    Returns:
        (receiving class, donor class) -> AUROC, for every ordered pair of classes.
    """
    images_of = {k: feat_BLF[labels_B == k] for k in labels_B.unique().tolist()}
    own_scores = {k: errors(images_BLF, k) for k, images_BLF in images_of.items()}
    aurocs = {}
    for receiving, donor in permutations(images_of, 2):
        n = min(len(images_of[receiving]), len(images_of[donor]))
        mixed_BLF, transplanted_BL = transplant(images_of[receiving][:n], images_of[donor][:n], grid, side, seed)
        before = own_scores[receiving][:n][transplanted_BL]
        scores = torch.cat([before, errors(mixed_BLF, receiving)[transplanted_BL]]).numpy()
        aurocs[receiving, donor] = auroc(scores, np.repeat([0, 1], len(before)))
    return aurocs


@torch.no_grad()
def transplant_auroc(reconstruct: Reconstruct, normal_nLF: Tensor, classes: np.ndarray, *, seed: int = 0) -> float:
    """Measure the mean AUROC, over pairs of classes, of single transplanted tokens against tokens in their own image.

    Each token is scored by its squared error, once in its own image and once at the same position in an image of the
    other class (`classes` (n,) are those of the images). A detector that scores tokens one by one therefore has 0.5.
    """
    generator = torch.Generator().manual_seed(seed)
    aurocs = []
    for first, second in combinations(sorted(set(classes)), 2):
        first_nLF, second_nLF = normal_nLF[classes == first], normal_nLF[classes == second]
        n = min(len(first_nLF), len(second_nLF))
        position = (torch.arange(n), torch.randint(first_nLF.shape[1], (n,), generator=generator))
        own, transplanted = [], []
        for receiving_nLF, donor_nLF in ((first_nLF[:n], second_nLF[:n]), (second_nLF[:n], first_nLF[:n])):
            mixed_nLF = receiving_nLF.clone()
            mixed_nLF[position] = donor_nLF[position]
            own.append(token_errors(reconstruct, receiving_nLF)[position])
            transplanted.append(token_errors(reconstruct, mixed_nLF)[position])
        scores = torch.cat([*own, *transplanted]).numpy()
        aurocs.append(auroc(scores, np.repeat([0, 1], 2 * n)))
    return float(np.mean(aurocs))

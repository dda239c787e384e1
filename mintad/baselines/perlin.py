"""Anomalies for DRAEM: a drawn texture, seen through a mask of thresholded Perlin noise; random, by PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = 6
"""Perlin noise has 2^0 to 2^6 cells a side, at most one for two pixels."""
THRESHOLD = 0.5
"""Noise above it is anomalous."""


def perlin_noise(size: int, cells: tuple[int, int], gradient_HW2: Tensor) -> Tensor:
    """Return Perlin's noise (size, size), about -1 to 1: smooth, and 0 at the corners of its cells.

    In a cell each corner gives the scalar product of its gradient with the way from it; the four are mixed with weights
    that change as 6 t^5 - 15 t^4 + 10 t^3.

    Args:
        cells: rows and columns of cells.
        gradient_HW2: a unit vector (y, x) at every corner, (rows + 1, columns + 1, 2).
    """
    device = gradient_HW2.device
    y_S, x_S = ((torch.arange(size, device=device) + 0.5) * count / size for count in cells)
    row_S, column_S = y_S.long(), x_S.long()
    dy_S1, dx_1S = (y_S - row_S)[:, None], (x_S - column_S)[None, :]

    def corner(down: int, right: int) -> Tensor:
        gradient_SS2 = gradient_HW2[row_S + down][:, column_S + right]
        return gradient_SS2[..., 0] * (dy_S1 - down) + gradient_SS2[..., 1] * (dx_1S - right)

    fade_y, fade_x = (t**3 * (t * (6 * t - 15) + 10) for t in (dy_S1, dx_1S))
    top, bottom = (torch.lerp(corner(down, 0), corner(down, 1), fade_x) for down in (0, 1))
    return math.sqrt(2) * torch.lerp(top, bottom, fade_y)


def random_noise(size: int, device: torch.device) -> Tensor:
    """Draw Perlin noise (size, size) of a random number of cells a side."""
    largest = max(0, min(LARGEST, int(math.log2(size)) - 1))
    rows, columns = (2 ** int(power) for power in torch.randint(largest + 1, (2,)))
    angle_HW = 2 * math.pi * torch.rand(rows + 1, columns + 1)
    return perlin_noise(size, (rows, columns), torch.stack([angle_HW.sin(), angle_HW.cos()], dim=-1).to(device))


def random_mask(size: int, device: torch.device) -> Tensor:
    """Draw a mask (size, size), True where noise is above `THRESHOLD`; it may be empty."""
    return random_noise(size, device) > THRESHOLD


def random_texture(size: int, device: torch.device) -> Tensor:
    """Draw a texture (3, size, size), values from 0 to 1: two colours mixed by noise, in some textures sharply."""
    noise_SS = random_noise(size, device) + random_noise(size, device)
    sharpness = (1.0, 4.0, 50.0)[int(torch.randint(3, ()))]
    share_SS = torch.sigmoid(4 * sharpness * noise_SS)
    first_311, second_311 = torch.rand(2, 3, 1, 1).to(device)
    return first_311 + share_SS * (second_311 - first_311)


def spoil(image_3SS: Tensor) -> tuple[Tensor, Tensor]:
    """Give an image an anomaly: a texture where a mask is True, mixed with the image by a random opacity.

    With mask M, texture A and opacity b from 0.1 to 1 it is (1 - M) I + M ((1 - b) I + b A).

    Returns:
        The image, and the mask (S, S).
    """
    size, device = image_3SS.shape[-1], image_3SS.device
    mask_SS, opacity = random_mask(size, device), 0.1 + 0.9 * torch.rand(()).item()
    return torch.where(mask_SS, torch.lerp(image_3SS, random_texture(size, device), opacity), image_3SS), mask_SS

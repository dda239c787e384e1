"""Defects made of an image itself, for CutPaste: a rectangle or a scar of it, pasted elsewhere; random, by PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

AREA = (0.02, 0.15)
"""Area of a pasted rectangle, as a share of the image."""
ASPECT = 0.3
"""Its longer side is at most 1 / 0.3 times the shorter one."""
SCAR_WIDTH, SCAR_LENGTH, SCAR_ANGLE = (2, 16), (10, 25), 45.0
"""Sides of a scar, in pixels of an image of `SIDE`, and how far it is turned at most, in degrees."""
SIDE = 256
JITTER = 0.1
"""How far brightness, contrast and saturation are changed, up or down."""


def uniform(low: float, high: float) -> float:
    """Draw a number from PyTorch's global generator."""
    return low + (high - low) * torch.rand(()).item()


def colour_jitter(image_3HW: Tensor, strength: float = JITTER) -> Tensor:
    """Change brightness, contrast and saturation, in this order, by factors of 1 - strength to 1 + strength."""
    brightness, contrast, saturation = (uniform(1 - strength, 1 + strength) for _ in range(3))
    image_3HW = image_3HW * brightness
    grey = image_3HW.mean()
    image_3HW = grey + contrast * (image_3HW - grey)
    grey_1HW = image_3HW.mean(0, keepdim=True)
    return (grey_1HW + saturation * (image_3HW - grey_1HW)).clamp(0, 1)


def paste(image_3HW: Tensor, height: float, width: float, degrees: float) -> tuple[Tensor, Tensor]:
    """Copy a rectangle of an image, change its colours, and paste it at a random place, turned.

    Args:
        image_3HW: values from 0 to 1.
        height, width: of the rectangle, in pixels; at most the image's.
        degrees: by which it is turned where it is pasted. What would lie outside the image is lost.

    Returns:
        The new image, and a mask (H, W) of what was pasted over.
    """
    rows, columns = image_3HW.shape[1:]
    height, width = min(height, rows), min(width, columns)
    top, left = uniform(0, rows - height), uniform(0, columns - width)
    centre = uniform(height / 2, rows - height / 2), uniform(width / 2, columns - width / 2)
    device = image_3HW.device
    y_H1 = torch.arange(rows, device=device)[:, None] + 0.5 - centre[0]
    x_1W = torch.arange(columns, device=device)[None, :] + 0.5 - centre[1]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along_HW, across_HW = cos * x_1W + sin * y_H1, cos * y_H1 - sin * x_1W
    mask_HW = (along_HW.abs() < width / 2) & (across_HW.abs() < height / 2)
    source_y = (top + height / 2 + across_HW[mask_HW]).long().clamp(0, rows - 1)
    source_x = (left + width / 2 + along_HW[mask_HW]).long().clamp(0, columns - 1)
    pasted = image_3HW.clone()
    pasted[:, mask_HW] = colour_jitter(image_3HW[:, source_y, source_x][..., None])[..., 0]
    return pasted, mask_HW


def cut_paste(image_3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Paste an upright rectangle of `AREA`; see `paste`. A square image is assumed."""
    side = image_3HW.shape[-1]
    area, ratio = uniform(*AREA) * side**2, uniform(ASPECT, 1)
    ratio = ratio if torch.rand(()) < 0.5 else 1 / ratio
    return paste(image_3HW, math.sqrt(area * ratio), math.sqrt(area / ratio), 0.0)


def scar(image_3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a thin rectangle, turned by up to `SCAR_ANGLE`; sides of at least 1.5 pixels hit a pixel. See `paste`."""
    scale = image_3HW.shape[-1] / SIDE
    length, width = uniform(*SCAR_LENGTH) * scale, uniform(*SCAR_WIDTH) * scale
    return paste(image_3HW, max(1.5, length), max(1.5, width), uniform(-SCAR_ANGLE, SCAR_ANGLE))

"""Anomalies for OmniAL: inside a panel of the image, and more or less easy to notice; random, by PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.baselines.draem import WINDOW, similarity
from mintad.baselines.pasting import colour_jitter, uniform
from mintad.baselines.perlin import random_mask, random_texture

PANEL = (0.5, 0.8)
"""Width of a left or right panel, and height of a top or bottom one, as a share of the image."""
LEVELS = ((0.8, 0), (0.4, 3), (0.1, 7))
"""Least opacity of an anomaly that is easy, less easy and hard to notice, and how far its border is softened: the side
of a mean filter in pixels of an image of 256."""
ALIKE = 0.1
"""Where 1 - SSIM is less, the structure is what it was, and the place is not called anomalous, whatever its colour."""
NEIGHBOURS = 5
"""Side of the windows in which luminance and contrast are measured."""


def local_mean(x_BCSS: Tensor, side: int) -> Tensor:
    """Return the mean over windows of an odd side, at the same size; the border is mirrored."""
    return F.avg_pool2d(F.pad(x_BCSS, (side // 2,) * 4, mode="reflect"), side, stride=1)


def noticeable_difference(images_B3SS: Tensor) -> Tensor:
    """Return how large a change of grey must be for people to notice it, (B, 1, S, S), for images from 0 to 1.

    Two thresholds are combined, in grey levels of 255: L of the mean luminance l in a window (Chou and Li, 1995), and M
    of its contrast c, a standard deviation (Wu et al., 2017), as J = L + M - 0.3 min(L, M) (Yang et al., 2005):

        L = 17 (1 - sqrt(l / 127)) + 3 where l <= 127, else 3 (l - 127) / 128 + 3,
        M = 0.115 * 16 c^2.4 / (c^2 + 26^2).
    """
    grey_B1SS = 255 * images_B3SS.mean(1, keepdim=True)
    mean = local_mean(grey_B1SS, NEIGHBOURS)
    variance = (local_mean(grey_B1SS.square(), NEIGHBOURS) - mean.square()).clamp(min=0)
    dark, bright = 17 * (1 - (mean.clamp(min=0) / 127).sqrt()) + 3, 3 * (mean - 127) / 128 + 3
    luminance = torch.where(mean <= 127, dark, bright)
    contrast = 0.115 * 16 * variance**1.2 / (variance + 26**2)
    return (luminance + contrast - 0.3 * torch.minimum(luminance, contrast)) / 255


def random_panel(size: int, device: torch.device) -> Tensor:
    """Draw one of five panels (size, size), True inside: left, right, top, bottom, or the whole image."""
    side, kind = round(uniform(*PANEL) * size), int(torch.randint(5, ()))
    part = [(..., slice(side)), (..., slice(size - side, None)), slice(side), slice(size - side, None), ...][kind]
    panel_SS = torch.zeros(size, size, dtype=torch.bool, device=device)
    panel_SS[part] = True
    return panel_SS


def source(other_3SS: Tensor) -> Tensor:
    """Make what is mixed in, values from 0 to 1: a normal image turned, mirrored and recoloured, or a drawn texture."""
    if torch.rand(()) < 0.5:
        return random_texture(other_3SS.shape[-1], other_3SS.device)
    turned_3SS = torch.rot90(other_3SS, int(torch.randint(4, ())), (1, 2))
    return colour_jitter(turned_3SS.flip(2) if torch.rand(()) < 0.5 else turned_3SS, 0.3)


def spoil_in_panel(image_3SS: Tensor, other_3SS: Tensor) -> tuple[Tensor, Tensor]:
    """Give an image an anomaly whose place a panel limits, and whose opacity what can be noticed there.

    With the softened mask M of thresholded Perlin noise inside the panel, the source A, the noticeable difference J of
    the image and the least opacity b of a random level, it is I + M min(1, b + J / max J) (A - I). The mask is
    corrected afterwards: a pixel of it is anomalous only if 1 - SSIM of both images is above `ALIKE` around it.

    Args:
        image_3SS: a normal image, values from 0 to 1; of more than 10 pixels, for SSIM's windows.
        other_3SS: another normal image, of which the anomaly may be made.

    Returns:
        The image, and the mask (S, S).
    """
    size, device = image_3SS.shape[-1], image_3SS.device
    least, border = LEVELS[int(torch.randint(len(LEVELS), ()))]
    mask_SS = (random_mask(size, device) & random_panel(size, device)).float()
    soft_SS = local_mean(mask_SS[None, None], 2 * round(border * size / 512) + 1)[0, 0]
    noticeable_SS = noticeable_difference(image_3SS[None])[0, 0]
    opacity_SS = soft_SS * (least + noticeable_SS / noticeable_SS.max()).clamp(max=1)
    spoiled_3SS = torch.lerp(image_3SS, source(other_3SS), opacity_SS)
    padded = (F.pad(x[None], (WINDOW // 2,) * 4, mode="reflect") for x in (image_3SS, spoiled_3SS))
    unlike_SS = 1 - similarity(*padded)[0].mean(0) > ALIKE
    return spoiled_3SS, (soft_SS > 0) & unlike_SS

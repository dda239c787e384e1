"""The defects: what they do to a product's clean rendering.

"swap" is the one that makes inter-class interference visible: every small part of it is normal, but for another
category. A model that reconstructs what is normal for *any* of its classes reconstructs it.

Difficulty d scales sizes by d^-0.35 and contrasts by 1/d.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from mintad.data.mini.canvas import Layers, Rng, inside, mix
from mintad.data.mini.products import PRODUCTS, TEXTURES, swap_partner


def _inner_point(body: np.ndarray, margin: float, rng: Rng) -> tuple[int, int]:
    """Draw a random pixel (row, column) of the body, `margin` (share of the picture) from its edge if possible."""
    depth = ndimage.distance_transform_edt(np.pad(body > 0.9, 1))[1:-1, 1:-1]
    return _random_pixel(depth >= min(margin * len(body), 0.7 * depth.max()), rng)


def _random_pixel(allowed: np.ndarray, rng: Rng) -> tuple[int, int]:
    pixels = np.argwhere(allowed)
    row, column = pixels[rng.integers(len(pixels))]
    return int(row), int(column)


def _coordinates(layers: Layers, rng: Rng, *, on_edge: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates x, y (in half picture sides) around a random point of the body, or of its rim."""
    size, solid = len(layers.body), layers.body > 0.9
    if on_edge:
        row, column = _random_pixel(solid & ~ndimage.binary_erosion(solid, iterations=2), rng)
    else:
        row, column = _inner_point(layers.body, 1 / 14, rng)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return (x - column) * 2 / size, (y - row) * 2 / size


def _blot(x: np.ndarray, y: np.ndarray, radius: float, rng: Rng, softness: float) -> np.ndarray:
    """Return the coverage of an irregular spot around the origin."""
    angle = np.arctan2(y, x)
    outline = 1 + sum(0.13 * np.sin(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    stretch = rng.uniform(0.7, 1.0)
    return inside(np.hypot(x, y / stretch) - radius * outline, softness)


def scratch(category: str, layers: Layers, rng: Rng, difficulty: float) -> np.ndarray:
    """Draw a thin bent line on the body, lighter or darker."""
    x, y = _coordinates(layers, rng)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y - bend * along**2
    length = rng.uniform(0.20, 0.36) * difficulty**-0.35
    width = max(rng.uniform(0.012, 0.016), 3.2 / len(layers.body))  # at least three pixels
    cover = inside(np.maximum(np.abs(across) - width, np.abs(along) - length)) * layers.body
    depth = rng.choice((-1, 1)) * rng.uniform(0.30, 0.42) / difficulty
    bright = layers.image[cover > 0.5].mean() if (cover > 0.5).any() else 0.5
    return layers.image + (depth if 0.25 < bright < 0.75 else np.copysign(depth, 0.5 - bright)) * cover[..., None]


def stain(category: str, layers: Layers, rng: Rng, difficulty: float) -> np.ndarray:
    """Draw a soft blot on the body that darkens or tints."""
    x, y = _coordinates(layers, rng)
    cover = _blot(x, y, rng.uniform(0.13, 0.21) * difficulty**-0.35, rng, 0.05) * layers.body
    tints = ((0.45, 0.38, 0.25), (0.40, 0.45, 0.60), (0.42, 0.42, 0.42))
    tint = np.asarray(tints[rng.integers(3)], dtype=np.float32)
    strength = min(1.0, rng.uniform(0.75, 0.95) / difficulty)
    dark = layers.image.mean(axis=2)[cover > 0.5].mean() < 0.25 if (cover > 0.5).any() else False
    stained = layers.image * 0.5 + 0.45 if dark else layers.image * tint
    return mix(layers.image, stained, cover * strength)


def missing(category: str, layers: Layers, rng: Rng, difficulty: float) -> np.ndarray:
    """Draw an irregular hole in a texture, or bite a piece out of an object: the background shows."""
    x, y = _coordinates(layers, rng, on_edge=category not in TEXTURES)
    cover = _blot(x, y, rng.uniform(0.12, 0.19) * difficulty**-0.35, rng, 0.015)
    return mix(layers.image, layers.background, cover * min(1.0, 1.0 / difficulty))


def deformed(category: str, layers: Layers, rng: Rng, difficulty: float) -> np.ndarray:
    """Swirl the surface around a point; on an object, one at its edge."""
    x, y = _coordinates(layers, rng, on_edge=category not in TEXTURES)
    size = len(layers.body)
    radius = rng.uniform(0.26, 0.36) * difficulty**-0.35
    pull = np.exp(-((x**2 + y**2) / (radius / 1.6) ** 2))
    turn = rng.choice((-1, 1)) * rng.uniform(1.3, 1.9) / difficulty * pull
    dx = (np.cos(turn) - 1) * x - np.sin(turn) * y
    dy = np.sin(turn) * x + (np.cos(turn) - 1) * y
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    at = [rows + dy * size / 2, columns + dx * size / 2]
    channels = [ndimage.map_coordinates(layers.image[..., c], at, order=1, mode="reflect") for c in range(3)]
    return np.stack(channels, axis=-1)


def swap(category: str, layers: Layers, rng: Rng, difficulty: float) -> np.ndarray:
    """Draw a patch of the partner product's normal surface on the body."""
    other = PRODUCTS[swap_partner(category)](len(layers.body), rng)
    x, y = _coordinates(layers, rng)
    cover = _blot(x, y, rng.uniform(0.20, 0.28) * difficulty**-0.35, rng, 0.02) * layers.body
    row, column = np.unravel_index(np.argmin(np.hypot(x, y)), x.shape)
    source_row, source_column = _inner_point(other.body, 0.1, rng)
    shift = (int(row) - source_row, int(column) - source_column)
    patch, patch_body = (np.roll(layer, shift, (0, 1)) for layer in (other.image, other.body))
    return mix(layers.image, patch, cover * patch_body * min(1.0, 1.0 / difficulty))


DEFECTS: dict[str, Callable[[str, Layers, Rng, float], np.ndarray]] = {
    draw.__name__: draw for draw in (scratch, stain, missing, deformed, swap)
}

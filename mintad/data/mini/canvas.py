"""Drawing with arrays: coordinates, soft edges and smooth noise. Images are float32 (S, S, 3) in 0..1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Rng = np.random.Generator


@dataclass(frozen=True)
class Layers:
    """One rendered product."""

    image: np.ndarray
    """(S, S, 3) the picture."""
    background: np.ndarray
    """(S, S, 3) what is behind the object; for a texture, what shows through a hole."""
    body: np.ndarray
    """(S, S) coverage of the object, 0..1; all ones for a texture."""


def frame(
    size: int, rng: Rng, *, turn: float = np.pi, shift: float = 0.08, zoom: float = 0.08
) -> tuple[np.ndarray, ...]:
    """Return the coordinates x, y (S, S), -1..1 over the picture, in the product's own pose.

    `turn`, `shift` and `zoom` are the largest rotation (radians), displacement and relative change of scale.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle = rng.uniform(-turn, turn)
    x, y = x - rng.uniform(-shift, shift), y - rng.uniform(-shift, shift)
    scale = 1 + rng.uniform(-zoom, zoom)
    return (np.cos(angle) * x + np.sin(angle) * y) / scale, (-np.sin(angle) * x + np.cos(angle) * y) / scale


def inside(distance: np.ndarray, softness: float = 0.012) -> np.ndarray:
    """Return the coverage 0..1 of the region where the signed distance is negative, with a soft (anti-aliased) edge."""
    return np.clip(0.5 - distance / (2 * softness), 0, 1).astype(np.float32)


def box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float, radius: float = 0.0) -> np.ndarray:
    """Return the signed distance to a box with rounded corners around the origin."""
    dx, dy = np.abs(x) - half_width + radius, np.abs(y) - half_height + radius
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - radius


def noise(size: int, cells: float, rng: Rng, *, stretch: float = 1.0) -> np.ndarray:
    """Draw smooth noise (S, S), about -1..1, with `cells` bumps across; `stretch` > 1 draws it out along x."""
    rows, columns = max(4, round(cells) + 3), max(4, round(cells / stretch) + 3)
    small = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    wide = ndimage.zoom(small, (size / (rows - 3), size / (columns - 3)), order=3, mode="nearest")
    top, left = (wide.shape[0] - size) // 2, (wide.shape[1] - size) // 2
    return wide[top : top + size, left : left + size]


def mix(below: np.ndarray, above: np.ndarray | tuple[float, ...], coverage: np.ndarray) -> np.ndarray:
    """Paint `above` over `below` with the given coverage (S, S)."""
    cover = coverage[..., None]
    return below * (1 - cover) + np.asarray(above, dtype=np.float32) * cover


def plain(size: int, colour: tuple[float, ...] | np.ndarray, grain: float, rng: Rng) -> np.ndarray:
    """Draw a surface of one colour with fine grain."""
    return np.asarray(colour, dtype=np.float32) + grain * noise(size, size / 3, rng)[..., None]


def vary(colour: tuple[float, ...], rng: Rng, amount: float = 0.03) -> np.ndarray:
    """Vary a colour for one instance."""
    return np.asarray(colour, dtype=np.float32) + rng.uniform(-amount, amount, 3).astype(np.float32)


def lit(image: np.ndarray, rng: Rng) -> np.ndarray:
    """Put the picture under this shot's light: gain, a linear gradient, and sensor noise; 0..1."""
    axis = np.linspace(-1, 1, len(image), dtype=np.float32)
    slope = rng.uniform(-0.07, 0.07, 2)
    light = rng.uniform(0.92, 1.08) + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    return np.clip(image * light[..., None] + rng.normal(0, 0.008, image.shape), 0, 1).astype(np.float32)

"""Points, segments and regions of the plane, with exact distances, nearest points and uniform samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

WINDOW = 1.5
"""All experiments take place in the square [-1.5, 1.5]²."""


def nearest_on_segments(points_P2: np.ndarray, segments_S22: np.ndarray) -> np.ndarray:
    """Return the nearest point (P, 2) on any of the segments (S, 2 ends, 2); a segment may be a single point."""
    start, along = segments_S22[:, 0], segments_S22[:, 1] - segments_S22[:, 0]
    length2 = (along**2).sum(-1)
    share = ((points_P2[:, None] - start) * along).sum(-1) / np.where(length2 > 0, length2, 1)
    candidates_PS2 = start + share.clip(0, 1)[..., None] * along
    distance = ((points_P2[:, None] - candidates_PS2) ** 2).sum(-1)
    return candidates_PS2[np.arange(len(points_P2)), distance.argmin(1)]


@dataclass(frozen=True)
class Region:
    """The support of a class: all points within `radius` of a skeleton of segments.

    Args:
        segments: (S, 2, 2), ends of the skeleton's segments; equal ends make a disc.
        radius: half the thickness, in the plane's units.
        weight: share of the training points relative to the other classes.
    """

    segments: np.ndarray
    radius: float
    weight: float = 1.0

    def distance(self, points_P2: ArrayLike) -> np.ndarray:
        """Return the distance (P,) to the support; 0 inside."""
        points = np.asarray(points_P2, dtype=float)
        gap = np.linalg.norm(points - nearest_on_segments(points, self.segments), axis=1)
        return (gap - self.radius).clip(0)

    def project(self, points_P2: ArrayLike) -> np.ndarray:
        """Return the nearest point (P, 2) of the support; points inside stay where they are."""
        points = np.asarray(points_P2, dtype=float)
        foot = nearest_on_segments(points, self.segments)
        step = points - foot
        gap = np.linalg.norm(step, axis=1, keepdims=True)
        return foot + step * np.minimum(1, self.radius / np.where(gap > 0, gap, 1))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` points (n, 2) uniformly from the support, keeping those of its bounding box that fall inside."""
        low = self.segments.min((0, 1)) - self.radius
        high = self.segments.max((0, 1)) + self.radius
        inside = np.empty((0, 2))
        while len(inside) < n:
            candidates = rng.uniform(low, high, size=(4 * n + 16, 2))
            inside = np.concatenate([inside, candidates[self.distance(candidates) == 0]])
        return inside[:n]


def polyline(points: ArrayLike, *, closed: bool = False) -> np.ndarray:
    """Return the segments (S, 2, 2) along points (S + 1, 2); a single point makes one segment of length 0."""
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    if len(points) == 1:
        return np.stack([points, points], axis=1)
    following = np.roll(points, -1, axis=0)
    segments = np.stack([points, following], axis=1)
    return segments if closed else segments[:-1]


def arc(centre: ArrayLike, radius: float, start: float, end: float, pieces: int = 32) -> np.ndarray:
    """Return points (pieces + 1, 2) of an arc; angles in degrees, counter-clockwise from the right."""
    angle = np.radians(np.linspace(start, end, pieces + 1))
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def lattice(n: int) -> np.ndarray:
    """Return the points (n · n, 2) of a regular grid over the window, row by row from below."""
    axis = np.linspace(-WINDOW, WINDOW, n)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)

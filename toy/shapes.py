"""Named multi-class shapes whose support is known exactly (Figs 1, 5 and 6).

A new shape is one decorated function of the number of classes that returns their regions:

    @shape("bars", most=4)
    def bars(classes):
        return [Region(polyline([(-1, y), (1, y)]), 0.1) for y in np.linspace(-0.8, 0.8, classes)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mintad.errors import nearest
from toy.geometry import Region, arc, polyline
from toy.settings import ToyError


@dataclass(frozen=True)
class Shape:
    """A named shape with one region per class."""

    name: str
    regions: Sequence[Region]

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.regions)

    def distances(self, points_P2: ArrayLike) -> np.ndarray:
        """Return the distance (P, K) of points to the support of every class."""
        return np.stack([region.distance(points_P2) for region in self.regions], axis=1)

    def between(self, points_P2: ArrayLike) -> np.ndarray:
        """Return whether each of the points lies in the inter-class region (P,).

        A point q off every support is between two classes if it sees the nearest points a and b of its two nearest
        supports under an angle of more than 90°, that is, if it lies in the disc whose diameter is the segment ab.
        """
        points = np.asarray(points_P2, dtype=float)
        if self.classes < 2:
            return np.zeros(len(points), dtype=bool)
        distance = self.distances(points)
        first, second = np.argsort(distance, axis=1)[:, :2].T
        feet = np.stack([region.project(points) for region in self.regions])
        each = np.arange(len(points))
        to_a, to_b = feet[first, each] - points, feet[second, each] - points
        return (distance.min(1) > 0) & ((to_a * to_b).sum(1) < 0)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw about `n` points (n, 2) in the classes' proportions, at least two of each, and their labels (n,)."""
        weights = np.array([region.weight for region in self.regions])
        counts = np.maximum(2, (n * weights / weights.sum()).round().astype(int))
        points = [region.sample(count, rng) for region, count in zip(self.regions, counts, strict=True)]
        return np.concatenate(points), np.repeat(np.arange(self.classes), counts)


@dataclass(frozen=True)
class _Entry:
    make: Callable[[int], list[Region]]
    least: int
    most: int
    usual: int


SHAPES: dict[str, _Entry] = {}
"""Name -> function that makes the shape, and the numbers of classes it may have."""


def shape(name: str, *, least: int = 2, most: int = 2, usual: int | None = None) -> Callable:
    """Register a function of the number of classes that returns the regions; `usual` classes unless asked."""

    def register(make: Callable[[int], list[Region]]) -> Callable[[int], list[Region]]:
        SHAPES[name] = _Entry(make, least, most, usual or least)
        return make

    return register


def make_shape(name: str, classes: int | None = None) -> Shape:
    """Make a registered shape.

    Args:
        name: one of `SHAPES`.
        classes: number of classes; None for the shape's usual number.

    Raises:
        ToyError: an unknown name, or a number of classes that the shape cannot have.
    """
    if name not in SHAPES:
        raise ToyError(f"unknown shape '{name}'." + nearest(str(name), SHAPES))
    entry = SHAPES[name]
    count = entry.usual if classes is None else classes
    if count not in range(entry.least, entry.most + 1):
        allowed = str(entry.least) if entry.least == entry.most else f"{entry.least} to {entry.most}"
        raise ToyError(f"shape '{name}' has {allowed} class(es), not {count}")
    return Shape(name, entry.make(int(count)))


@shape("blob", least=1, most=1)
def blob(classes: int) -> list[Region]:
    """Make one disc."""
    return [Region(polyline((0, 0)), 0.35)]


@shape("ring", least=1, most=1)
def ring(classes: int) -> list[Region]:
    """Make one ring."""
    return [Region(polyline(arc((0, 0), 0.8, 0, 360)), 0.12)]


@shape("blobs", least=2, most=8, usual=4)
def blobs(classes: int) -> list[Region]:
    """Make discs on a circle."""
    centres = arc((0, 0), 0.85, 0, 360, classes)[:-1]
    return [Region(polyline(centre), min(0.25, 1.6 / classes)) for centre in centres]


@shape("moons")
def moons(classes: int) -> list[Region]:
    """Make two interlocking half-circles."""
    return [
        Region(polyline(arc((-0.3, -0.15), 0.7, 0, 180)), 0.1),
        Region(polyline(arc((0.3, 0.15), 0.7, 180, 360)), 0.1),
    ]


@shape("rings", least=2, most=3)
def rings(classes: int) -> list[Region]:
    """Make concentric rings."""
    radii = np.linspace(0.35, 1.05, classes)
    return [Region(polyline(arc((0, 0), radius, 0, 360)), 0.08) for radius in radii]


@shape("spirals", least=2, most=4)
def spirals(classes: int) -> list[Region]:
    """Make spiral arms around the centre."""
    turn = np.linspace(0.35, 1, 40)
    arms = []
    for k in range(classes):
        angle = 2 * np.pi * (turn * 1.1 + k / classes)
        arms.append(np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) * 1.1)
    return [Region(polyline(arm), 0.07) for arm in arms]


@shape("crosses", least=2, most=4)
def crosses(classes: int) -> list[Region]:
    """Make crosses in opposite corners first, then in the others."""
    centres = [(-0.7, -0.6), (0.7, 0.6), (0.7, -0.6), (-0.7, 0.6)][:classes]
    bars = np.array([polyline([(-0.4, -0.4), (0.4, 0.4)])[0], polyline([(-0.4, 0.4), (0.4, -0.4)])[0]])
    return [Region(bars + np.array(centre), 0.08) for centre in centres]


LETTERS = {
    "M": [(-0.3, -0.4), (-0.3, 0.4), (0, 0), (0.3, 0.4), (0.3, -0.4)],
    "I": [(0, -0.4), (0, 0.4)],
    "N": [(-0.25, -0.4), (-0.25, 0.4), (0.25, -0.4), (0.25, 0.4)],
    "T": [(-0.3, 0.4), (0, 0.4), (0.3, 0.4), (0, 0.4), (0, -0.4)],
}


@shape("letters", least=2, most=4, usual=4)
def letters(classes: int) -> list[Region]:
    """Make the letters M, I, N and T."""
    centres = [(-0.65, 0.6), (0.65, 0.6), (-0.65, -0.6), (0.65, -0.6)]
    strokes = list(LETTERS.values())[:classes]
    return [Region(polyline(s) + np.array(c), 0.07) for s, c in zip(strokes, centres[:classes], strict=True)]


@shape("nested")
def nested(classes: int) -> list[Region]:
    """Make a disc inside a ring."""
    return [Region(polyline((0, 0)), 0.25), Region(polyline(arc((0, 0), 0.95, 0, 360)), 0.1)]


@shape("unbalanced", least=2, most=3, usual=3)
def unbalanced(classes: int) -> list[Region]:
    """Make discs of different sizes, with 10, 2 and 1 shares of the points."""
    centres, radii, weights = [(-0.7, -0.3), (0.6, 0.6), (0.6, -0.7)], [0.45, 0.2, 0.15], [10, 2, 1]
    discs = zip(centres[:classes], radii[:classes], weights[:classes], strict=True)
    return [Region(polyline(centre), radius, weight) for centre, radius, weight in discs]


@shape("overlapping", least=2, most=3)
def overlapping(classes: int) -> list[Region]:
    """Make bars that cross each other."""
    bars = [[(-1, -0.5), (0.6, 0.5)], [(-0.6, 0.5), (1, -0.5)], [(0, -1), (0, 1)]][:classes]
    return [Region(polyline(bar), 0.12) for bar in bars]

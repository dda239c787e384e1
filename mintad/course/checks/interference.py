"""Checks of notebook 02: the region between classes, and a shape and a model of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, CheckFailed, booleans, call, differs, is_tensor, number, require, same
from toy import Region, Settings, Shape, compare, make_shape
from toy.geometry import WINDOW, polyline
from toy.layers import mlp
from toy.train import Job, train

Array = np.ndarray
LEAST_MOVE = 0.01  # of a reconstruction when the label changes; the blobs are about 1 apart


def reference_between(points: Array, a: Array, b: Array) -> Array:
    """Test which points see a and b under an angle over 90°."""
    return ((a - points) * (b - points)).sum(1) < 0


@exercise(reference_between, "the disc over the gap")
def check_between(call: Call, rng: np.random.Generator) -> None:
    """Check for points that see a and b under more than 90°, that is, lie in the disc over the segment from a to b."""
    points = np.array([[0, 0], [0, 0.9], [0, 1.1], [1.5, 0], [0.9, 0.1], [0, -0.95], [-2, 0]], dtype=float)
    expected = [True, True, False, False, True, True, False]
    result = call(points, np.tile([-1.0, 0.0], (7, 1)), np.tile([1.0, 0.0], (7, 1)))
    booleans(result, "return booleans, one for each point: `… < 0` gives them")
    same(np.asarray(result), expected, "the angle at q is over 90° exactly if (a − q) · (b − q) is negative")
    result = call(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 3], [2, 2]]), np.array([[0.0, -3], [4, 4]]))
    same(np.asarray(result), [True, False], "each point has its own a and b, row by row, and its own disc")


def reference_interclass_accepted(scores: Array, between: Array, distances: Array) -> float:
    """Return the share of accepted points among those between classes and off every support."""
    return float((scores[between & (distances > 0.1)] <= 1).mean())


@exercise(
    reference_interclass_accepted,
    "2 of 4",
    mistakes={
        "this is the share that is rejected; a score of at most 1 is accepted": lambda scores, between, distances: (
            1 - reference_interclass_accepted(scores, between, distances)
        ),
    },
)
def check_interclass_accepted(call: Call, rng: np.random.Generator) -> None:
    """Check for the share with a score of at most 1 among points between classes and over 0.1 from every support."""
    scores = np.array([0.5, 1.0, 1.5, 2.0, 0.2, 0.1, 0.1])
    between = np.array([True, True, True, True, True, False, False])
    value = number(call(scores, between, np.array([0.3, 0.2, 0.4, 0.3, 0.05, 0.5, 0.5])))
    differs(value, 2 / 7, "divide by the points between the classes, not by all")
    differs(value, 4 / 6, "points that are not between the classes count too; use `between`")
    differs(value, 3 / 5, "a point within 0.1 of a support counts too; use `distances`")
    differs(value, 1 / 4, "a score of exactly 1 lies on the boundary and is accepted")
    same(value, 2 / 4, "of four points between the classes and off the supports (the first four) two are accepted")


def _sampled(shape: Shape, rng: np.random.Generator) -> tuple[Array, Array]:
    try:
        return shape.sample(300, rng)
    except Exception as error:
        hint = "a Region takes segments and a radius; make the segments by polyline (from toy.geometry) of points"
        raise CheckFailed(f"points cannot be drawn from it ({type(error).__name__}: {error}); {hint}") from error


def reference_new_shape(classes: int) -> list[Region]:
    """Return parallel lines, one per class."""
    heights = np.linspace(-0.9, 0.9, classes)
    return [Region(polyline([(-1, y), (1, y)]), 0.3 / classes) for y in heights]


@exercise(reference_new_shape, "any number of classes, apart, and a network trains on them")
def check_new_shape(call: Call, rng: np.random.Generator) -> None:
    """Check that a function of the number of classes returns that many regions, apart and inside the window."""
    for classes in (2, 3, int(rng.integers(4, 7))):
        regions = call(classes)
        listed = isinstance(regions, Sequence) and all(isinstance(region, Region) for region in regions)
        example = "[Region(polyline([(-1, 0), (1, 0)]), 0.1)], with polyline from toy.geometry"
        require(listed, f"return a list of toy.Region, for example {example}")
        require(len(regions) == classes, f"asked for {classes} classes it returns {len(regions)} regions")
        shape = Shape("yours", regions)
        points, labels = _sampled(shape, rng)
        require(np.abs(points).max() < WINDOW, f"a support leaves the window of ±{WINDOW}")
        apart = all((shape.distances(points)[labels == k].argsort(1)[:, 0] == k).all() for k in range(classes))
        require(apart, "the regions overlap; give each its own place")
    tiny = Settings(width=8, steps=20, train_points=80, held_out=20, grid=41)
    comparison = compare(Shape("yours", call(2)), ["dae"], seeds=1, settings=tiny)
    require(comparison.table["value"].notna().sum() >= 5, "the region between the classes is empty; move them apart")


class reference_new_model(nn.Module):  # noqa: N801 - named like the exercise
    """Autoencoder whose code is gated by a vector per class."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__()
        self.encoder = mlp(2, settings.width, settings, 1)
        self.gate = nn.Parameter(torch.randn(classes, settings.width))
        self.decoder = mlp(settings.width, 2, settings, 2)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Reconstruct points (B, 2), given one-hot labels (B, K)."""
        return self.decoder(self.encoder(x) * (label @ self.gate))


@exercise(reference_new_model, "right shapes, trains in a stack, and the label changes the reconstruction")
def check_new_model(build: Call, rng: np.random.Generator) -> None:
    """Check a network class: made with (classes, settings), forward(x (B, 2), label (B, K)) -> (B, 2), class-aware."""
    settings = Settings(width=16, steps=30, batch=32)
    torch.manual_seed(int(rng.integers(2**31)))
    network = build(3, settings)
    require(isinstance(network, nn.Module), "it must be a class derived from torch.nn.Module")
    result = call(network, torch.randn(6, 2), torch.eye(3).repeat(2, 1), takes="x, label")
    is_tensor(result, (6, 2), "forward must return points of shape (B, 2)")
    require(any(True for _ in network.parameters()), "it has no parameters to train")
    points, names = make_shape("blobs", 3).sample(200, np.random.default_rng(0))
    try:
        stack = train(build, [Job(points, names, 0.1, seed) for seed in range(2)], 3, settings)
    except Exception as error:
        raise CheckFailed(
            f"training a stack of two fails with {type(error).__name__}: {error}; networks that train together "
            "allow no .item(), no branch on values and no in-place change of inputs"
        ) from error
    first, second = (stack.reconstruct(points[:20], label) for label in (0, 1))
    move = float(np.abs(np.asarray(second) - np.asarray(first)).max())
    hint = "another label gives the same reconstruction, or moves it by less than 0.01: it is not class-aware"
    require(move > LEAST_MOVE, hint)

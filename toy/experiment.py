"""Comparison of several models on one shape over several seeds: data -> networks -> decisions -> measures."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mintad.errors import nearest
from toy.context import CONTEXT, context_detector
from toy.decisions import Decisions, Detector, check_tpr, decide
from toy.measures import Plane, interval, measure
from toy.models import ModelKind, find_models
from toy.parallel import parallel_map
from toy.settings import Settings, ToyError, whole_number
from toy.shapes import Shape, make_shape
from toy.train import Job, Stack, train_all


@dataclass(frozen=True)
class SeedData:
    """The points of one seed."""

    points: np.ndarray
    labels: np.ndarray
    held_out: list[np.ndarray]
    """Normal points of every class, for the thresholds."""
    test: list[np.ndarray]
    """Normal points of every class, for the measures."""


@dataclass
class Comparison:
    """Result of `compare`."""

    shape: Shape
    settings: Settings
    tpr: float
    seeds: int
    table: pd.DataFrame
    """Tidy table with the columns shape, model, seed, measure, value."""
    decisions: dict[str, Decisions]
    """Model -> its decisions for all seeds; the figures draw fields, boundaries and arrows from them."""
    data: list[SeedData]
    """The points of every seed."""

    def summary(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return ``{model: {measure: {"mean", "low", "high"}}}`` over the seeds."""
        return {
            name: {m: interval(values["value"]) for m, values in rows.groupby("measure", sort=False)}
            for name, rows in self.table.groupby("model", sort=False)
        }


def draw_data(shape: Shape, seed: int, settings: Settings) -> SeedData:
    """Draw the training, held-out and test points of one seed; they share no point."""
    rng = np.random.default_rng([seed, zlib.crc32(shape.name.encode())])
    points, labels = shape.sample(settings.train_points, rng)
    held_out = [region.sample(settings.held_out, rng) for region in shape.regions]
    return SeedData(points, labels, held_out, [region.sample(settings.held_out, rng) for region in shape.regions])


def compare(
    shape: str | Shape,
    models: Sequence[str] | None = None,
    *,
    classes: int | None = None,
    seeds: int = 5,
    tpr: float = 0.95,
    settings: Settings | None = None,
    context: bool = False,
    record: Sequence[int] = (),
) -> Comparison:
    """Train all models on a shape and measure them.

    Args:
        shape: name of `toy.shapes.SHAPES`, or a shape.
        models: names of `toy.models.MODELS`; all if None.
        classes: number of classes of a named shape; None for its usual number.
        seeds: number of seeds; each draws its own data, weights, batches and jitter.
        tpr: true positive rate on held-out normals that the thresholds must reach.
        settings: of all networks; the defaults if None.
        context: also fit scikit-learn's detectors, on all classes together and per class.
        record: training steps whose networks are kept, for `decisions_at`.

    Raises:
        ToyError: unknown names, or values out of range; the message lists what is allowed.
    """
    settings = settings or Settings()
    shape = make_shape(shape, classes) if isinstance(shape, str) else shape
    kinds = find_models(models)
    check_tpr(tpr)
    seeds = whole_number("seeds", seeds, 1)
    data = [draw_data(shape, seed, settings) for seed in range(seeds)]
    detectors = train_models(kinds, shape, data, settings, record=record)
    if context:
        pairs = [(name, separate) for name in CONTEXT for separate in (False, True)]
        labelled = [(seed_data.points, seed_data.labels) for seed_data in data]
        detectors += [context_detector(n, labelled, shape.classes, separate=s) for n, s in pairs]
    held_out, plane = pooled_held_out(data), Plane.of(shape, settings.grid)
    test = np.concatenate([points for seed_data in data for points in seed_data.test])

    def judge(detector: Detector) -> tuple[Decisions, dict[str, np.ndarray]]:
        decisions = decide(detector, held_out, tpr)
        return decisions, measure(plane, decisions, test)

    rows, decisions = [], {}
    for detector, (decided, measured) in zip(detectors, parallel_map(judge, detectors), strict=True):
        decisions[detector.name] = decided
        for name, values in measured.items():
            rows += [(shape.name, detector.name, seed, name, float(value)) for seed, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["shape", "model", "seed", "measure", "value"])
    return Comparison(shape, settings, tpr, seeds, table, decisions, data)


def pooled_held_out(data: Sequence[SeedData]) -> list[np.ndarray]:
    """Return the held-out normals of every class, those of all seeds together."""
    return [np.concatenate(parts) for parts in zip(*(seed_data.held_out for seed_data in data), strict=True)]


def decisions_at(comparison: Comparison, model: str, step: int) -> Decisions:
    """Return the decisions of a model as it was at a recorded training step, with thresholds fitted at that step.

    Raises:
        ToyError: unknown model, or the step was not recorded.
    """
    if model not in comparison.decisions:
        raise ToyError(f"unknown model '{model}'." + nearest(model, comparison.decisions))
    detector = comparison.decisions[model].detector
    try:
        detector_then = replace(
            detector,
            raw=functools.partial(detector.raw, step=step),
            reconstruct=functools.partial(detector.reconstruct, step=step),
        )
        return decide(detector_then, pooled_held_out(comparison.data), comparison.tpr)
    except KeyError:
        raise ToyError(f"step {step} was not recorded; give it to compare(record=...)") from None


def train_models(
    kinds: dict[str, ModelKind],
    shape: Shape,
    data: Sequence[SeedData],
    settings: Settings,
    *,
    record: Sequence[int] = (),
) -> list[Detector]:
    """Train models and return their detectors; models that share a network class are trained in one stack."""
    jobs: dict[type, list[Job]] = {}
    positions: dict[str, slice] = {}
    """Model -> which networks of its stack are its own."""
    for name, kind in kinds.items():
        queue = jobs.setdefault(kind.build, [])
        begin = len(queue)
        sigma = settings.sigma if kind.jitter else 0.0
        for seed, seed_data in enumerate(data):
            points, labels = seed_data.points, seed_data.labels
            parts = [labels == k for k in range(shape.classes)] if kind.separate else [slice(None)]
            queue += [Job(points[part], labels[part], sigma, seed) for part in parts]
        positions[name] = slice(begin, len(queue))
    stacks = train_all(jobs, shape.classes, settings, record=record)
    return [as_detector(name, kind, stacks[kind.build], positions[name], shape.classes) for name, kind in kinds.items()]


def as_detector(name: str, kind: ModelKind, stack: Stack, networks: slice, classes: int) -> Detector:
    """Return a detector on some networks of a trained stack, with one view per class if the model needs the label."""

    def reconstruct(points_P2: np.ndarray, step: int | None = None) -> np.ndarray:
        if kind.separate:
            each_MP2 = stack.reconstruct(points_P2, None, step, networks)
            return each_MP2.reshape(-1, classes, *each_MP2.shape[1:]).swapaxes(1, 2)
        labels = range(classes) if kind.needs_label else [None]
        return np.stack([stack.reconstruct(points_P2, label, step, networks) for label in labels], axis=2)

    def raw(points_P2: np.ndarray, step: int | None = None) -> np.ndarray:
        return np.linalg.norm(reconstruct(points_P2, step) - points_P2[None, :, None], axis=-1)

    return Detector(name, raw, kind.needs_label, reconstruct)

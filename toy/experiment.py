"""One shape, several models, several seeds: data -> networks -> decisions -> measures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toy.context import CONTEXT, context_detector
from toy.decisions import Decisions, Detector, check_tpr, decide
from toy.measures import interval, measure
from toy.models import ModelKind, find_models
from toy.settings import Settings, ToyError
from toy.shapes import Shape, make_shape
from toy.train import Job, Stack, train


@dataclass
class Comparison:
    """Result of `compare`."""

    shape: Shape
    settings: Settings
    tpr: float
    seeds: int
    table: pd.DataFrame
    """Tidy: shape, model, seed, measure, value."""
    decisions: dict[str, Decisions]
    """Per model, over all seeds; for fields, boundaries and arrows."""

    def summary(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """``{model: {measure: {"mean", "low", "high"}}}`` over the seeds."""
        return {
            name: {m: interval(values["value"]) for m, values in rows.groupby("measure", sort=False)}
            for name, rows in self.table.groupby("model", sort=False)
        }


@dataclass(frozen=True)
class SeedData:
    """The points of one seed."""

    points: np.ndarray
    labels: np.ndarray
    held_out: list[np.ndarray]
    """Normal points of every class for the thresholds."""
    test: list[np.ndarray]
    """Normal points of every class for the measures."""


def draw_data(shape: Shape, seed: int, settings: Settings) -> SeedData:
    """Training, held-out and test points of one seed; they share no point."""
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
        shape: a name of `toy.shapes.SHAPES`, or a shape.
        models: names of `toy.models.MODELS`; all if None.
        classes: of a named shape; None for its usual number.
        seeds: how many; each draws its own data, weights, batches and jitter.
        tpr: true positive rate on held-out normals at which thresholds stand.
        settings: of all networks.
        context: also scikit-learn's detectors, pooled and per class.
        record: training steps whose networks are kept, see `field_at`.

    Raises:
        ToyError: unknown names, or values out of range; the message lists what is allowed.
    """
    settings = settings or Settings()
    shape = make_shape(shape, classes) if isinstance(shape, str) else shape
    kinds = find_models(models)
    check_tpr(tpr)
    if not isinstance(seeds, int) or seeds < 1:
        raise ToyError(f"seeds must be a whole number of at least 1, not {seeds}")
    data = [draw_data(shape, seed, settings) for seed in range(seeds)]
    detectors = train_models(kinds, shape, data, settings, record=record)
    if context:
        pairs = [(name, separate) for name in CONTEXT for separate in (False, True)]
        fit_on = [(one.points, one.labels) for one in data]
        detectors += [context_detector(n, fit_on, shape.classes, separate=s) for n, s in pairs]
    held_out = [np.concatenate([one.held_out[k] for one in data]) for k in range(shape.classes)]
    test = np.concatenate([points for one in data for points in one.test])
    rows, decisions = [], {}
    for detector in detectors:
        decisions[detector.name] = decide(detector, held_out, tpr)
        for name, values in measure(shape, decisions[detector.name], test, grid=settings.grid).items():
            rows += [(shape.name, detector.name, seed, name, float(value)) for seed, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["shape", "model", "seed", "measure", "value"])
    return Comparison(shape, settings, tpr, seeds, table, decisions)


def train_models(
    kinds: dict[str, ModelKind],
    shape: Shape,
    data: Sequence[SeedData],
    settings: Settings,
    *,
    record: Sequence[int] = (),
) -> list[Detector]:
    """Detectors of all kinds; kinds that share a network class are trained in one stack."""
    jobs: dict[type, list[Job]] = {}
    places: dict[str, slice] = {}
    for name, kind in kinds.items():
        queue = jobs.setdefault(kind.build, [])
        begin = len(queue)
        sigma = settings.sigma if kind.jitter else 0.0
        for seed, one in enumerate(data):
            parts = [one.labels == k for k in range(shape.classes)] if kind.separate else [slice(None)]
            queue += [Job(one.points[part], one.labels[part], sigma, seed) for part in parts]
        places[name] = slice(begin, len(queue))
    stacks = {build: train(build, queue, shape.classes, settings, record=record) for build, queue in jobs.items()}
    return [_detector(name, kind, stacks[kind.build], places[name], shape.classes) for name, kind in kinds.items()]


def _detector(name: str, kind: ModelKind, stack: Stack, place: slice, classes: int) -> Detector:
    """Views of a trained stack: one, or one per class for a model that is told."""

    def reconstruct(points_P2: np.ndarray, step: int | None = None) -> np.ndarray:
        if kind.separate:
            found = stack.reconstruct(points_P2, step=step)[place]
            return found.reshape(-1, classes, *found.shape[1:]).swapaxes(1, 2)
        labels = range(classes) if kind.told else [None]
        return np.stack([stack.reconstruct(points_P2, label, step)[place] for label in labels], axis=2)

    def raw(points_P2: np.ndarray, step: int | None = None) -> np.ndarray:
        return np.linalg.norm(reconstruct(points_P2, step) - points_P2[None, :, None], axis=-1)

    return Detector(name, raw, kind.told, reconstruct)

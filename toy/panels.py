"""Boundaries computed in advance for a grid of settings, so that a slider answers at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from toy.decisions import decide
from toy.experiment import Comparison, as_detector, draw_data
from toy.figures import boundaries
from toy.measures import Plane, measure
from toy.models import find_models
from toy.parallel import parallel_map
from toy.settings import Settings, ToyError
from toy.shapes import make_shape
from toy.train import Job, train


def precompute(
    shape: str,
    model: str,
    *,
    noise: Sequence[float],
    width: Sequence[int],
    classes: Sequence[int] = (),
    settings: Settings | None = None,
    seed: int = 0,
) -> dict[tuple[float, int, int], go.Figure]:
    """Draw what a model accepts for every combination of settings: ``figures[noise, width, classes]``.

    All noise levels of a combination are trained together.

    Args:
        shape: name of a shape.
        model: name of a model, but not of one with a network per class.
        noise: standard deviations of the jitter.
        width: numbers of units of the hidden layers.
        classes: numbers of classes; empty for the shape's usual number.
        settings: all other settings; the defaults if None.
        seed: of data and weights.

    Raises:
        ToyError: unknown names or values out of range.
    """
    kind = find_models([model])[model]
    if kind.separate:
        raise ToyError(f"no panel for '{model}': it has a network per class. Any other model is allowed.")
    settings = settings or Settings()

    def draw_all_noise_levels(width_and_classes: tuple[int, int]) -> dict[tuple[float, int, int], go.Figure]:
        units, count = width_and_classes
        variants = [dataclasses.replace(settings, width=units, sigma=sigma) for sigma in noise]
        supports = make_shape(shape, count)
        data, plane = draw_data(supports, seed, settings), Plane.of(supports, 61)
        jobs = [Job(data.points, data.labels, variant.sigma, seed) for variant in variants]
        stack = train(kind.build, jobs, count, variants[0])
        figures = {}
        for n, variant in enumerate(variants):
            decisions = decide(as_detector(model, kind, stack, slice(n, n + 1), count), data.held_out, 0.95)
            values = measure(plane, decisions, np.concatenate(data.test), prices=False)
            title = ", ".join(f"{name.replace('_', ' ')} {values[name][0]:.2f}" for name in SHOWN[count > 1])
            comparison = Comparison(supports, variant, 0.95, 1, None, {model: decisions}, [data])
            figures[variant.sigma, units, count] = boundaries(comparison, [model], title=title)
        return figures

    counts = list(classes) or [make_shape(shape).classes]
    parts = parallel_map(draw_all_noise_levels, [(units, count) for count in counts for units in width])
    return {key: figure for part in parts for key, figure in part.items()}


SHOWN = {False: ("projection_index", "area_ratio"), True: ("projection_index", "interclass_accepted")}
"""Measures in the title, for one class and for several."""

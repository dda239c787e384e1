"""Boundaries computed beforehand for a grid of settings, so that a slider answers at once."""

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
from toy.settings import Settings
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
    """What a model accepts, for every combination: ``figures[noise, width, classes]``. One seed; all noise levels of a
    combination are trained together.

    Args:
        shape: a name.
        model: a name; not one with a network per class.
        noise: deviations of the jitter.
        width: units of the hidden layers.
        classes: numbers of classes; empty for the shape's usual one.
        settings: the others.
        seed: of data and weights.

    Raises:
        ToyError: unknown names or values out of range.
    """
    kind = find_models([model])[model]
    figures = {}
    for count in classes or [make_shape(shape).classes]:
        made = make_shape(shape, count)
        plane = Plane.of(made, 61)
        for units in width:
            base = dataclasses.replace(settings or Settings(), width=units)
            each = [dataclasses.replace(base, sigma=sigma) for sigma in noise]
            data = draw_data(made, seed, base)
            jobs = [Job(data.points, data.labels, one.sigma, seed) for one in each]
            stack = train(kind.build, jobs, count, base)
            for n, one in enumerate(each):
                decisions = decide(as_detector(model, kind, stack, slice(n, n + 1), count), data.held_out, 0.95)
                found = measure(plane, decisions, np.concatenate(data.test), prices=False)
                said = ", ".join(f"{name.replace('_', ' ')} {found[name][0]:.2f}" for name in SHOWN[made.classes > 1])
                held = Comparison(made, one, 0.95, 1, None, {model: decisions}, [data])
                figures[one.sigma, units, count] = boundaries(held, [model], title=said)
    return figures


SHOWN = {False: ("projection_index", "area_ratio"), True: ("projection_index", "interclass_accepted")}
"""Measures in the title, for one class and for several."""

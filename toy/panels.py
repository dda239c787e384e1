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
from toy.parallel import side_by_side
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
    if kind.separate:
        raise ToyError(f"no panel for '{model}': it has a network per class. Any other model is allowed.")
    settings = settings or Settings()

    def of(pair: tuple[int, int]) -> dict[tuple[float, int, int], go.Figure]:
        units, count = pair
        each = [dataclasses.replace(settings, width=units, sigma=sigma) for sigma in noise]
        made = make_shape(shape, count)
        data, plane = draw_data(made, seed, settings), Plane.of(made, 61)
        stack = train(kind.build, [Job(data.points, data.labels, one.sigma, seed) for one in each], count, each[0])
        figures = {}
        for n, one in enumerate(each):
            decisions = decide(as_detector(model, kind, stack, slice(n, n + 1), count), data.held_out, 0.95)
            found = measure(plane, decisions, np.concatenate(data.test), prices=False)
            said = ", ".join(f"{name.replace('_', ' ')} {found[name][0]:.2f}" for name in SHOWN[count > 1])
            held = Comparison(made, one, 0.95, 1, None, {model: decisions}, [data])
            figures[one.sigma, units, count] = boundaries(held, [model], title=said)
        return figures

    counts = list(classes) or [make_shape(shape).classes]
    parts = side_by_side(of, [(units, count) for count in counts for units in width])
    return {key: figure for part in parts for key, figure in part.items()}


SHOWN = {False: ("projection_index", "area_ratio"), True: ("projection_index", "interclass_accepted")}
"""Measures in the title, for one class and for several."""

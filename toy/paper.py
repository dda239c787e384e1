"""The paper's figures 1, 5, 6 and 7, each a function that trains what it draws; change one and run it again.

python -m toy figures --out DIR        # or toy.paper.figure_7(widths=(4, 16, 64)).show()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from toy.experiment import Comparison, compare
from toy.figures import boundary_panels, three_panels
from toy.settings import Settings
from toy.sweeps import sweep_comparisons

FIGURES: dict[str, Callable[..., go.Figure]] = {}
"""Name -> function of the keywords `seeds` and `settings`."""


def figure(draw: Callable[..., go.Figure]) -> Callable[..., go.Figure]:
    """Register a figure under its function's name."""
    FIGURES[draw.__name__] = draw
    return draw


@figure
def figure_1(shape: str = "blobs", *, seeds: int = 1, settings: Settings | None = None) -> go.Figure:
    """Fig. 1: autoencoder, denoising autoencoder, class-aware network on several classes."""
    return three_panels(compare(shape, ["ae", "dae", "inr_unlabelled"], seeds=seeds, settings=settings))


@figure
def figure_5(
    one: str = "blob", several: str = "blobs", *, seeds: int = 1, settings: Settings | None = None
) -> go.Figure:
    """Fig. 5: (a) the autoencoder and (b) the denoising one, on one class and on several."""
    found = {name: compare(name, ["ae", "dae"], seeds=seeds, settings=settings) for name in (one, several)}
    names = {"ae": "(a) autoencoder", "dae": "(b) denoising AE"}
    drawn = [(f"{names[model]}, {shape}", found[shape], model) for model in names for shape in found]
    said = ", ".join(f"{_mean(c, model, 'projection_index'):.2f}" for _, c, model in drawn)
    return boundary_panels(drawn, columns=2, title=f"Projection index {said}")


@figure
def figure_6(
    shapes: Sequence[str] = ("moons", "nested"), *, seeds: int = 1, settings: Settings | None = None
) -> go.Figure:
    """Fig. 6: the denoising autoencoder on other shapes."""
    drawn = [(shape, compare(shape, ["dae"], seeds=seeds, settings=settings), "dae") for shape in shapes]
    return boundary_panels(drawn, title=f"Accepted between the classes: {_shares(drawn)}")


@figure
def figure_7(
    shape: str = "blobs", widths: Sequence[int] = (8, 32, 128), *, seeds: int = 2, settings: Settings | None = None
) -> go.Figure:
    """Fig. 7: the denoising autoencoder with more and more units; `toy.charts.what_a_setting_buys` has the numbers."""
    found = sweep_comparisons(shape, "width", widths, ["dae"], seeds=seeds, settings=settings)
    drawn = [(f"{width} units", one, "dae") for width, one in found.items()]
    price = ", ".join(f"{_mean(one, 'dae', 'raggedness'):.1f}" for one in found.values())
    return boundary_panels(drawn, title=f"Accepted between: {_shares(drawn)}; raggedness {price}")


def _mean(comparison: Comparison, model: str, measure: str) -> float:
    return comparison.summary()[model][measure]["mean"]


def _shares(drawn: Sequence[tuple[str, Comparison, str]]) -> str:
    return ", ".join(f"{_mean(one, model, 'interclass_accepted'):.0%}" for _, one, model in drawn)

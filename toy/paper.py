"""The paper's figures 1, 5, 6 and 7: each function trains the networks that it draws.

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
"""Name -> function with the keywords `seeds` and `settings`."""


def figure(draw: Callable[..., go.Figure]) -> Callable[..., go.Figure]:
    """Register a figure under its function's name."""
    FIGURES[draw.__name__] = draw
    return draw


@figure
def figure_1(shape: str = "blobs", *, seeds: int = 1, settings: Settings | None = None) -> go.Figure:
    """Draw Fig. 1: autoencoder, denoising autoencoder and class-aware network on several classes."""
    return three_panels(compare(shape, ["ae", "dae", "inr_unlabelled"], seeds=seeds, settings=settings))


@figure
def figure_5(
    single: str = "blob", several: str = "blobs", *, seeds: int = 1, settings: Settings | None = None
) -> go.Figure:
    """Draw Fig. 5: (a) the autoencoder and (b) the denoising one, on one class and on several."""
    comparisons = {name: compare(name, ["ae", "dae"], seeds=seeds, settings=settings) for name in (single, several)}
    names = {"ae": "(a) autoencoder", "dae": "(b) denoising AE"}
    drawn = [(f"{names[model]}, {shape}", comparisons[shape], model) for model in names for shape in comparisons]
    indices = ", ".join(f"{_mean(comparison, model, 'projection_index'):.2f}" for _, comparison, model in drawn)
    return boundary_panels(drawn, columns=2, title=f"Projection index {indices}")


@figure
def figure_6(
    shapes: Sequence[str] = ("moons", "nested"), *, seeds: int = 1, settings: Settings | None = None
) -> go.Figure:
    """Draw Fig. 6: the denoising autoencoder on other shapes."""
    drawn = [(shape, compare(shape, ["dae"], seeds=seeds, settings=settings), "dae") for shape in shapes]
    return boundary_panels(drawn, title=f"Accepted between the classes: {_shares(drawn)}")


@figure
def figure_7(
    shape: str = "blobs", widths: Sequence[int] = (8, 32, 128), *, seeds: int = 2, settings: Settings | None = None
) -> go.Figure:
    """Draw Fig. 7: the denoising autoencoder with more and more units; `toy.charts` draws the numbers."""
    comparisons = sweep_comparisons(shape, "width", widths, ["dae"], seeds=seeds, settings=settings)
    drawn = [(f"{width} units", comparison, "dae") for width, comparison in comparisons.items()]
    raggedness = ", ".join(f"{_mean(comparison, 'dae', 'raggedness'):.1f}" for comparison in comparisons.values())
    return boundary_panels(drawn, title=f"Accepted between: {_shares(drawn)}; raggedness {raggedness}")


def _mean(comparison: Comparison, model: str, measure: str) -> float:
    return comparison.summary()[model][measure]["mean"]


def _shares(drawn: Sequence[tuple[str, Comparison, str]]) -> str:
    return ", ".join(f"{_mean(comparison, model, 'interclass_accepted'):.0%}" for _, comparison, model in drawn)

"""HTML from templates: the tables, figures and the base page that the results page and `mintad report` share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import plotly.graph_objects as go
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

SHARED = "mintad.runs.page"  # whose templates/ hold the base page, the macros, the style sheet and the script


@dataclass
class Table:
    """A table as the macro `table` shows it."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str
    foot: Sequence[Sequence[object]] = ()  # rows that stay below when the reader sorts
    texts: int = 1  # leading columns that hold text, set to the left


def render(template: str, *, package: str = SHARED, **context: object) -> str:
    """Fill a template of the package's ``templates/``; every string in the context is escaped but `Markup`.

    Raises:
        jinja2.UndefinedError: the template asks for something that is not in the context.
    """
    return _environment(package).get_template(template).render(plotly=Markup(get_plotlyjs()), **context)


def interactive(figure: go.Figure) -> Markup:
    """Return a plotly figure as an element; plotly's script itself stands once at the head of the page."""
    config = {"displaylogo": False, "responsive": figure.layout.width is None, "modeBarButtons": [["toImage"]]}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=config))


def number(value: object) -> str:
    """Return a cell's text: four decimals for a float, a dash for None and NaN, anything else as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def highest(row: Sequence[object]) -> float | None:
    """Return the largest float of a row; None where there is none."""
    return max((cell for cell in row if isinstance(cell, float) and math.isfinite(cell)), default=None)


@lru_cache
def _environment(package: str) -> Environment:
    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)]), **options)
    environment.filters.update(number=number, highest=highest, interactive=interactive)
    return environment

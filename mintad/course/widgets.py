"""Interactive panels: a few controls and a figure that is drawn again when one of them moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from IPython.display import display

from mintad.course.site.mode import for_pages
from mintad.course.site.panels import StillPanel, still_panel

MOST_CONTROLS = 3  # of a panel: with more, nobody finds the one that matters


def panel(draw: Callable[..., go.Figure], **controls: Sequence[Any] | bool) -> ipywidgets.VBox | StillPanel:
    """Put controls above a figure that is drawn when one of them moves; a static figure precedes every panel.

    For the pages of the site, all figures are drawn at once, see `mintad.course.site.panels`.

    Args:
        draw: pure function of the controls' values that takes at most 300 ms.
        controls: name -> values to choose from (a slider) or True / False (a check box).

    Raises:
        ValueError: no control, more than `MOST_CONTROLS`, or one without values.
    """
    if not 0 < len(controls) <= MOST_CONTROLS:
        raise ValueError(f"a panel has 1 to {MOST_CONTROLS} controls, not {len(controls)}")
    for name, values in controls.items():
        if not isinstance(values, bool) and not len(values):
            raise ValueError(f"control '{name}' has no values to choose from")
    if for_pages():
        return still_panel(draw, controls)
    widgets = {name: _control(name, values) for name, values in controls.items()}
    output = ipywidgets.Output()

    def redraw(_: Any = None) -> None:
        figure = draw(**{name: control.value for name, control in widgets.items()})
        with output:
            output.clear_output(wait=True)
            display(figure)

    for control in widgets.values():
        control.observe(redraw, names="value")
    return ipywidgets.VBox([ipywidgets.HBox(list(widgets.values())), output])


def _control(name: str, values: Sequence[Any] | bool) -> ipywidgets.Widget:
    look = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(values, bool):
        return ipywidgets.Checkbox(value=values, **look)
    if isinstance(values[0], str):
        return ipywidgets.Dropdown(options=list(values), **look)
    return ipywidgets.SelectionSlider(options=list(values), continuous_update=False, **look)

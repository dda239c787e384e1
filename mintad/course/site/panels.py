"""Figures and interactive panels as data in a page, which templates/site.js draws without a kernel."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

MOST_STATES = 220
"""States of a panel on a page; with more, its controls get fewer values. The largest of the series has 216."""
SHARED = 200  # characters from which a part of a figure is stored once for all states of a panel
META = "mintad_panel"  # key of an output's metadata


@dataclass(frozen=True)
class StillPanel:
    """A panel whose every state is drawn already; Jupyter shows it by its HTML."""

    html: str
    states: int
    combinations: int  # that the live panel offers
    seconds: float  # that drawing took

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, object]]:
        told = {"states": self.states, "combinations": self.combinations, "seconds": round(self.seconds, 2)}
        return {"text/html": self.html}, {META: told}


def figure_html(figure: Mapping[str, Any] | go.Figure) -> str:
    """Return an element that holds a figure."""
    return _element("figure", "plot", pio.to_json(figure, validate=False))


def still_panel(
    draw: Callable[..., Any], controls: Mapping[str, Sequence[Any] | bool], *, most: int = MOST_STATES
) -> StillPanel:
    """Draw a panel in all its states, at most `most`; random numbers drawn meanwhile are given back.

    Args:
        draw: pure function of the controls' values; returns a figure, something that Jupyter shows as HTML, or text.
        controls: name -> values, or True / False for a check box that begins so.

    Raises:
        ValueError: `draw` fails; the message names the values.
    """
    began = time.perf_counter()
    offered = {name: [False, True] if isinstance(v, bool) else list(v) for name, v in controls.items()}
    shown = thinned(offered, most)
    parts: dict[str, int] = {}
    with _same_random_numbers():
        states = [
            _store(_drawn(draw, dict(zip(shown, v, strict=True))), parts) for v in itertools.product(*shown.values())
        ]
    described = [
        {
            "name": name.replace("_", " "),
            "kind": "check" if isinstance(controls[name], bool) else "menu" if isinstance(values[0], str) else "slider",
            "values": [str(value) for value in values],
            "start": int(controls[name]) if isinstance(controls[name], bool) else 0,
        }
        for name, values in shown.items()
    ]
    combinations = int(np.prod([len(values) for values in offered.values()]))
    content = {
        "controls": described,
        "states": states,
        "combinations": combinations,
        "parts": [*map(json.loads, parts)],
    }
    html = _element("section", "panel", json.dumps(content, separators=(",", ":"), ensure_ascii=False))
    return StillPanel(html, len(states), combinations, time.perf_counter() - began)


def thinned(controls: Mapping[str, Sequence[Any]], most: int) -> dict[str, list[Any]]:
    """Give controls fewer values, evenly spaced with both ends, until they have at most `most` combinations.

    Sliders lose values first, the one with the most before the others; menus only when all sliders have two.
    """
    kept = {name: list(values) for name, values in controls.items()}
    while np.prod([len(values) for values in kept.values()]) > most:
        sliders = [name for name, values in kept.items() if not isinstance(values[0], str) and len(values) > 2]
        name = max(sliders or kept, key=lambda name: len(kept[name]))
        places = np.linspace(0, len(controls[name]) - 1, len(kept[name]) - 1).round().astype(int)
        kept[name] = [controls[name][place] for place in places]
    return kept


def _drawn(draw: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return one state as data: a figure, HTML or text."""
    try:
        shown = draw(**values)
    except Exception as error:
        chosen = ", ".join(f"{name} = {value}" for name, value in values.items())
        raise ValueError(f"the panel fails at {chosen}: {type(error).__name__}: {error}") from error
    if isinstance(shown, go.Figure):
        return {"figure": json.loads(shown.to_json())}
    html = getattr(shown, "_repr_html_", None)
    return {"html": html()} if html else {"text": str(shown)}


def _store(value: Any, parts: dict[str, int]) -> Any:
    """Replace what is long by its place in `parts`, so that what states share is stored once."""
    if isinstance(value, dict):
        value = {key: _store(item, parts) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_store(item, parts) for item in value]
    elif not isinstance(value, str):
        return value
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return {"$part": parts.setdefault(text, len(parts))} if len(text) >= SHARED else value


def _element(tag: str, name: str, content: str) -> str:
    """Return an element with JSON in it; no text of the content can end the script."""
    safe = content.replace("<", "\\u003c")
    return f'<{tag} class="{name}"><script type="application/json">{safe}</script></{tag}>'


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leave the random numbers of Python, NumPy and PyTorch as they were: the live panel draws nothing by itself."""
    torch = sys.modules.get("torch")  # a notebook that has not imported it draws nothing with it
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch:
            torch.set_rng_state(pytorch)

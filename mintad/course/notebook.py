"""What notebooks call: `setup` first, drawings of the model, `settle` after a bet, `status` in the last cell."""

from __future__ import annotations

import ast
import itertools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.io as pio
import torch
from IPython import get_ipython
from IPython.display import HTML
from plotly.io.base_renderers import MimetypeRenderer

import mintad
from mintad.course.bets import settle
from mintad.course.checks.exercise import passed
from mintad.course.site.mode import RENDERER
from mintad.course.site.panels import figure_html
from mintad.course.status import MARKS, OPEN, SOLVED, TRIED, status
from mintad.errors import ConfigError, nearest
from mintad.plots import inr_paths as paths
from mintad.plots import model_map as picture
from mintad.plots import template
from mintad.training.device import pick_device

__all__ = ["RENDERER", "mine_or_reference", "refuse_unknown_parameters", "settle", "setup", "status"]
INJECTED = "# Parameters"  # papermill's mark of the cell it injects after the one tagged `parameters`


def setup(*, seed: int = 0, device: str = "auto") -> torch.device:
    """Set up a notebook: refuse misspelt parameters, seed everything, choose a device, style figures, print one line.

    The seed is that of Python, NumPy and PyTorch; for `device` and its errors see `pick_device`.

    Raises:
        ConfigError: papermill injected a parameter that the notebook does not have.
    """
    shell = get_ipython()
    refuse_unknown_parameters([] if shell is None else list(shell.user_ns.get("In", [])))
    torch_device = pick_device(device)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    pio.templates["mintad"] = template()
    pio.templates.default = "mintad"
    pio.renderers["pages"] = _PageRenderer()
    if os.environ.get(RENDERER):
        pio.renderers.default = os.environ[RENDERER]
    on_gpu = torch_device.type == "cuda"
    machine = torch.cuda.get_device_name(torch_device) if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"mintad {mintad.__version__} · torch {torch.__version__} · {torch_device.type} ({machine}) · seed {seed}")
    return torch_device


def mine_or_reference(mine: Callable[..., Any] | None, reference: Callable[..., Any]) -> Callable[..., Any]:
    """Return the student's function if it has passed its check in this kernel, else the reference; print which."""
    name = reference.__name__.removeprefix("reference_")
    if mine is None:
        print(f"{MARKS[OPEN]} {name}: the reference, because the exercise is open")
        return reference
    if not passed(mine, reference):
        print(f"{MARKS[TRIED]} {name}: the reference, because yours has not passed its check")
        return reference
    print(f"{MARKS[SOLVED]} {name}: yours")
    return mine


def model_map(*lit: str) -> HTML:
    """Show MINT-AD in one picture with some of its parts in colour, see `mintad.plots.model_map`; all without names."""
    return HTML(picture.model_map(lit))


def inr_paths() -> HTML:
    """Show the two paths of the INR in one picture, see `mintad.plots.inr_paths`."""
    return HTML(paths.inr_paths())


class _PageRenderer(MimetypeRenderer):
    """A renderer of figures as data of a page, which the site's script draws, see `mintad.course.site`."""

    def to_mimebundle(self, figure: dict) -> dict[str, str]:
        return {"text/html": figure_html(figure)}


def refuse_unknown_parameters(cells: Sequence[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have, by ConfigError; papermill only warns.

    `cells` are the sources of those run so far; the injected one follows the one tagged `parameters`.
    """
    for before, cell in itertools.pairwise(cells):
        if cell.lstrip().startswith(INJECTED):
            allowed = _assigned(before)
            for name in _assigned(cell):
                if name not in allowed:
                    raise ConfigError(f"this notebook has no parameter '{name}'." + nearest(name, allowed))


def _assigned(source: str) -> list[str]:
    """Return the names that the top level of a cell assigns."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [target for node in nodes for target in getattr(node, "targets", None) or [node.target]]
    return [target.id for target in targets if isinstance(target, ast.Name)]

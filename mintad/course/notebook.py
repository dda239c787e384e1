"""What every notebook begins with, where its results go, and the trained models that several notebooks share."""

from __future__ import annotations

import ast
import os
import random
from collections.abc import Sequence

import numpy as np
import plotly.io as pio
import torch
from plotly.io.base_renderers import MimetypeRenderer

import mintad
from mintad.config import Config
from mintad.errors import ConfigError, nearest
from mintad.plots import template
from mintad.training.device import make_accelerator

RENDERER = "MINTAD_RENDERER"
"""Environment variable: plotly's renderer; 'pages' writes figures as HTML for `mintad.course.pages`."""
INJECTED = "# Parameters"
"""How papermill marks the cell it injects after the one tagged `parameters`."""


def setup(*, seed: int = 0, device: str = "auto") -> torch.device:
    """Begin a notebook: refuse misspelt parameters, seed everything, choose device and look, print one line.

    Args:
        seed: of Python, NumPy and PyTorch.
        device: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    Raises:
        ConfigError: papermill injected a parameter that the notebook does not have, or a device that is none.
        TrainingError: cuda is asked for where there is none.
    """
    refuse_unknown_parameters(_cells_run())
    chosen = make_accelerator(Config().override(**{"train.device": device}).train).device
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    pio.templates["mintad"] = template()
    pio.templates.default = "mintad"
    pio.renderers["pages"] = _PageRenderer()
    if os.environ.get(RENDERER):
        pio.renderers.default = os.environ[RENDERER]
    machine = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"mintad {mintad.__version__} · torch {torch.__version__} · {chosen.type} ({machine}) · seed {seed}")
    return chosen


class _PageRenderer(MimetypeRenderer):
    """Figures as HTML without scripts of their own: the page loads plotly once, see `mintad.course.pages`."""

    def to_mimebundle(self, figure: dict) -> dict[str, str]:
        html = pio.to_html(
            figure, full_html=False, include_plotlyjs=False, include_mathjax=False, auto_play=False, validate=False
        )
        return {"text/html": html}


def refuse_unknown_parameters(cells: Sequence[str]) -> None:
    """Refuse parameters that papermill injected and the notebook does not have; papermill itself only warns.

    Args:
        cells: sources of the cells run so far. The injected cell follows the one tagged `parameters`.

    Raises:
        ConfigError: names the unknown parameter and the nearest one there is.
    """
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell.lstrip().startswith(INJECTED):
            allowed = _assigned(before)
            for name in _assigned(cell):
                if name not in allowed:
                    raise ConfigError(f"this notebook has no parameter '{name}'." + nearest(name, allowed))


def _assigned(source: str) -> list[str]:
    targets = []
    for node in ast.parse(source).body:
        targets += node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _cells_run() -> list[str]:
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return list(shell.user_ns.get("In", [])) if shell is not None else []

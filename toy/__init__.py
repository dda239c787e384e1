"""2-D experiments that show the identical shortcut and inter-class interference (Figs 1, 5, 6, 7 and A.3 of the paper).

One concept per file, each readable alone: `shapes` (data with known support), `settings`, `models`, `train` (many small
networks at once), `decisions` (scores, thresholds), `measures`, `context` (scikit-learn's detectors), `experiment`
(everything for one shape), `figures`. `one_file.py` is the whole experiment in 150 lines, to copy and change.

The toy uses `mintad.errors`, `mintad.threads` and `mintad.plots.theme`, and nothing of the image models. The notebooks
and `mintad.course` use the toy; the rest of mintad does not. Names are imported when they are first used, so that
``python -m toy --help`` answers without loading PyTorch.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "MODELS": "toy.models",
    "SHAPES": "toy.shapes",
    "Comparison": "toy.experiment",
    "Region": "toy.geometry",
    "Settings": "toy.settings",
    "Shape": "toy.shapes",
    "ToyError": "toy.settings",
    "compare": "toy.experiment",
    "make_shape": "toy.shapes",
    "model": "toy.models",
    "shape": "toy.shapes",
}
"""Public name -> module that defines it."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'toy' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)

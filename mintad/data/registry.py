"""All data sets by name, and `load`.

To add one, write a module that ends with ``DATASETS.add(NAME, Dataset(...))`` and name it below; a module outside the
package does the same and is named in MINTAD_PLUGINS (see `mintad.registry`). `visa.py` and `btad.py` are examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.errors import ConfigError, DataError, nearest
from mintad.registry import Registry

DATASETS: Registry[Dataset] = Registry(
    "data set",
    modules=[f"mintad.data.{name}" for name in "elpv mini mvtec visa btad merged cifar10 folder".split()],
    error=DataError,
)
"""Every data set; each is registered by the module of its name."""


def load(name: str, root: str | Path | None = None, /, **options: Any) -> pd.DataFrame:
    """Load the record table of a data set, with the options of its own load function (see its docstring).

    `root` is its folder; it may be None for sets that bring their own images (elpv, mini).

    Raises:
        DataError: unknown name, no root, or the data are not as they must be.
        ConfigError: an option that the data set does not have.
    """
    load_set = DATASETS[name].load
    require_options(name, load_set, options)
    if root is None and inspect.signature(load_set).parameters["root"].default is inspect.Parameter.empty:
        fix = "data/README.md says where to get it and how it must look"
        raise DataError(f"data set '{name}' needs data.root, the folder it lies in", fix=fix)
    return load_set(root, **options)


def require_options(name: str, function: Callable[..., Any], options: Iterable[str]) -> None:
    """Raise ConfigError for an option that a data set's load or scan function does not take."""
    allowed = inspect.signature(function).parameters.keys() - {"root", "layout"}
    for option in set(options) - allowed:
        hint = nearest(option, allowed) if allowed else ""
        raise ConfigError(f"data set '{name}' has no option '{option}'.{hint}")


def recognise(root: Path) -> str:
    """Return the name of the data set that a folder looks like; "folder" if it looks like none."""
    return next((name for name, dataset in DATASETS.items() if dataset.looks_like(root)), "folder")

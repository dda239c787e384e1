"""All data sets by name, and `load`.

To add one, write a module that ends with ``DATASETS.add(NAME, Dataset(...))`` and name it below; a module outside the
package does the same and is named in MINTAD_PLUGINS (see `mintad.registry`). `visa.py` and `btad.py` are examples.
"""

from __future__ import annotations

import inspect
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
    parameters = inspect.signature(load_set).parameters
    allowed = parameters.keys() - {"root"}
    for option in sorted(options.keys() - allowed):
        hint = nearest(option, allowed) if allowed else ""
        raise ConfigError(f"data set '{name}' has no option '{option}'.{hint}")
    if root is None and parameters["root"].default is inspect.Parameter.empty:
        fix = "data/README.md says where to get it and how it must look"
        raise DataError(f"data set '{name}' needs data.root, the folder it lies in", fix=fix)
    return load_set(root, **options)

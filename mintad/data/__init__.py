"""Data sets as record tables: `load("mvtec", root)`. See `mintad.data.records` for the columns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.data.records import merge
from mintad.errors import ConfigError, DataError, nearest

__all__ = ["LOADERS", "load", "load_merged"]

LOADERS = {
    "mvtec": "mintad.data.folders:load_mvtec",
    "visa": "mintad.data.visa:load_visa",
    "btad": "mintad.data.btad:load_btad",
    "merged": "mintad.data:load_merged",
    "cifar10": "mintad.data.cifar10:load_cifar10",
    "folder": "mintad.data.folders:load_folder",
    "elpv": "mintad.data.elpv:load_elpv",
    "mini": "mintad.data.mini:load_mini",
}
"""Data set and 'module:function' of its loader, imported when first used."""

MERGED = ("mvtec", "visa", "btad")
"""The paper's merged set: 15 + 12 + 3 = 30 categories."""


def load(name: str, root: str | Path | None = None, **options: Any) -> pd.DataFrame:
    """The record table of a data set.

    Args:
        name: one of `LOADERS`.
        root: its folder; may be None for sets that bring their own images (elpv, mini).
        options: of the loader, see its docstring.

    Raises:
        DataError: unknown name, no root, or the data are not as they must be.
        ConfigError: an option that the loader does not have.
    """
    if name not in LOADERS:
        raise DataError(f"unknown data set '{name}'." + nearest(str(name), LOADERS))
    module, function = LOADERS[name].split(":")
    loader: Callable[..., pd.DataFrame] = getattr(import_module(module), function)
    parameters = inspect.signature(loader).parameters
    allowed = [option for option in parameters if option != "root"]
    for option in options:
        if option not in allowed:
            raise ConfigError(
                f"data set '{name}' has no option '{option}'." + (nearest(option, allowed) if allowed else "")
            )
    if root is None and parameters["root"].default is inspect.Parameter.empty:
        raise DataError(
            f"data set '{name}' needs data.root, the folder it lies in; data/README.md says where to get it "
            "and how it must look"
        )
    return loader(root, **options)


def load_merged(
    root: str | Path | None = None,
    *,
    roots: Mapping[str, str | Path | None] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Several data sets as one table, by default the paper's 30 categories of MVTec AD, VisA and BTAD.

    Args:
        root: folder with mvtec/, visa/ and btad/ inside; used when `roots` is not given.
        roots: data set -> its folder. Any loaders may be named, {"folder": ..., "elpv": None} for example.
        options: data set -> options of its loader.

    Raises:
        DataError: see the loaders and `mintad.data.records.merge`.
    """
    if roots is None:
        if root is None:
            raise DataError(
                "data set 'merged' needs the option 'roots', for example {'mvtec': ..., 'visa': ..., "
                "'btad': ...}, or data.root with those three folders inside"
            )
        roots = {name: Path(root) / name for name in MERGED}
    elif root is not None:
        raise ConfigError("data set 'merged': give data.root or the option 'roots', not both")
    options = dict(options or {})
    for name in (*roots, *options):
        if name == "merged" or name not in LOADERS:
            raise DataError(f"merged: unknown data set '{name}'." + nearest(str(name), set(LOADERS) - {"merged"}))
    for name in options:
        if name not in roots:
            raise ConfigError(f"merged: options for '{name}', which has no entry in roots." + nearest(name, roots))
    return merge(*(load(name, roots[name], **options.get(name, {})) for name in roots))

"""Sweeps that vary one setting and keep all others (Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pandas as pd

from mintad.errors import nearest
from toy.experiment import Comparison, compare
from toy.settings import Settings, ToyError


def sweep_comparisons(
    shape: str, vary: str, values: Sequence[Any], models: Sequence[str] | None = None, **arguments: Any
) -> dict[Any, Comparison]:
    """Run `compare` for several values of one setting.

    Args:
        shape: see `compare`.
        vary: name of a field of `Settings`, or 'classes'.
        values: of that setting.
        models: see `compare`.
        arguments: further keywords of `compare`.

    Raises:
        ToyError: an unknown setting, or a value out of range.
    """
    allowed = ["classes", *(field.name for field in fields(Settings))]
    if vary not in allowed:
        raise ToyError(f"unknown setting '{vary}'." + nearest(vary, allowed))
    settings = arguments.pop("settings", None) or Settings()
    changes = [{"classes": v} if vary == "classes" else {"settings": replace(settings, **{vary: v})} for v in values]
    base = {"settings": settings} | arguments
    return {value: compare(shape, models, **base | change) for value, change in zip(values, changes, strict=True)}


def as_table(comparisons: dict[Any, Comparison], vary: str) -> pd.DataFrame:
    """Join the tables of `sweep_comparisons` into one, with the columns `setting` and `setting_value`."""
    tables = [c.table.assign(setting=vary, setting_value=value) for value, c in comparisons.items()]
    return pd.concat(tables, ignore_index=True)


def sweep(
    shape: str, vary: str, values: Sequence[Any], models: Sequence[str] | None = None, **arguments: Any
) -> pd.DataFrame:
    """Return the tidy table of a sweep; `sweep_comparisons` explains the arguments."""
    return as_table(sweep_comparisons(shape, vary, values, models, **arguments), vary)

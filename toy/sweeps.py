"""One setting varied, the others kept (Fig. 7)."""

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
    """`compare` for several values of one setting.

    Args:
        shape: see `compare`.
        vary: a field of `Settings`, or 'classes'.
        values: to be tried.
        models, arguments: see `compare`.

    Raises:
        ToyError: no such setting, or a value out of range.
    """
    allowed = ["classes", *(field.name for field in fields(Settings))]
    if vary not in allowed:
        raise ToyError(f"unknown setting '{vary}'." + nearest(vary, allowed))
    settings = arguments.pop("settings", None) or Settings()
    changes = [{"classes": v} if vary == "classes" else {"settings": replace(settings, **{vary: v})} for v in values]
    each = [{"settings": settings} | arguments | change for change in changes]
    return {value: compare(shape, models, **one) for value, one in zip(values, each, strict=True)}


def as_table(found: dict[Any, Comparison], vary: str) -> pd.DataFrame:
    """The tables of `sweep_comparisons` in one, with the columns `setting` and `setting_value`."""
    tables = [one.table.assign(setting=vary, setting_value=value) for value, one in found.items()]
    return pd.concat(tables, ignore_index=True)


def sweep(
    shape: str, vary: str, values: Sequence[Any], models: Sequence[str] | None = None, **arguments: Any
) -> pd.DataFrame:
    """`as_table` of `sweep_comparisons`, whose arguments it takes."""
    return as_table(sweep_comparisons(shape, vary, values, models, **arguments), vary)

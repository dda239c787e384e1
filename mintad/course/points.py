"""Points and rubric of the exercises, from one file that the instructor may edit; `points.yaml` holds the defaults."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mintad.disk import read_text
from mintad.errors import ConfigError, DataError, nearest

DEFAULTS = Path(__file__).with_name("points.yaml")
FILE = "points.yaml"


@dataclass(frozen=True)
class Item:
    """What one exercise is worth.

    Args:
        check: module and name of its check, for example "features.fuse".
        points: for a right solution.
        rubric: what it must do, for the student's page.
    """

    check: str
    points: float
    rubric: str = ""


@dataclass(frozen=True)
class Points:
    """All exercises that count.

    Args:
        notebooks: name of a notebook -> name of an exercise -> its `Item`.
        partial: share of the points for a function that passes the notebook's check and not the hidden cases.
    """

    notebooks: dict[str, dict[str, Item]]
    partial: float = 0.0


def load_points(path: str | Path | None = None) -> Points:
    """Read a points file, by default the one of the package.

    Raises:
        ConfigError: the file cannot be read, or an entry is not as it must be; the message names it.
    """
    path = Path(path or DEFAULTS)
    try:
        values = yaml.safe_load(read_text(path))
    except (DataError, OSError, yaml.YAMLError) as error:
        reason = error.problem if isinstance(error, DataError) else error
        raise ConfigError(f"cannot be read: {reason}", path=path, fix="it must be YAML like OUT/points.yaml") from error
    known = None if path == DEFAULTS else _checks(load_points())
    tables = _mapping(values, "the file", path, allowed=("partial", "notebooks"))
    partial = _number(tables.get("partial", 0), "partial", path)
    if partial > 1:
        raise ConfigError(f"partial is {partial:g}, but it is a share of the points, 0 to 1", path=path)
    notebooks = {
        str(notebook): {str(name): _item(entry, f"{notebook}.{name}", path, known) for name, entry in items.items()}
        for notebook, table in _mapping(tables.get("notebooks"), "notebooks", path).items()
        for items in [_mapping(table, f"notebooks.{notebook}", path)]
    }
    return Points(notebooks, partial)


def points_text(notebooks: Collection[str]) -> str:
    """Return the defaults as a points file that holds these notebooks alone."""
    text = DEFAULTS.read_text(encoding="utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    values = yaml.safe_load(text)
    values["notebooks"] = {name: table for name, table in values["notebooks"].items() if name in notebooks}
    return comment + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _item(entry: Any, name: str, path: Path, known: Collection[str] | None) -> Item:
    values = _mapping(entry, f"notebooks.{name}", path, allowed=("check", "points", "rubric"))
    check = str(values.get("check", ""))
    if known is not None and check not in known:
        raise ConfigError(f"notebooks.{name}: there is no check '{check}'." + nearest(check, known), path=path)
    return Item(check, _number(values.get("points"), f"{name}.points", path), str(values.get("rubric", "")))


def _checks(points: Points) -> set[str]:
    return {item.check for items in points.notebooks.values() for item in items.values()}


def _mapping(value: Any, name: str, path: Path, *, allowed: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must hold 'name: value' lines, not {value!r}", path=path)
    for key in value:
        if allowed and key not in allowed:
            raise ConfigError(f"{name} has the unknown key '{key}'." + nearest(str(key), allowed), path=path)
    return value


def _number(value: Any, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"{name} is {value!r}, but it must be a number of at least 0", path=path)
    return float(value)

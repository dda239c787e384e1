"""The file that describes a sweep: which notebook, which values, where the runs go.

    name: table4                      # default: the file's name
    notebook: ../../notebooks/10_unified_training.ipynb     # default: that one
    out: ../../runs/sweeps/table4     # default: runs/sweeps/NAME beside the file
    fixed: {preset: fast, data: mini} # common to all runs
    grid:                             # every combination of these
      seed: [0, 1, 2]
      variant: [uniad, mint_ad]
    runs:                             # these besides, one by one
      - {variant: mlp_query, seed: 0}

An axis of the grid may name its values; so dictionaries stay readable. Dictionaries are merged into those of `fixed`:

    grid:
      overrides:
        none: {model.adapter: false, model.class_loss: false}
        adapter: {model.adapter: true, model.class_loss: false}

An axis whose name is no parameter, and whose named values are dictionaries of parameters, sets several at once:

    grid:
      growth:
        one: {categories: weave}
        two: {categories: "weave, gear", overrides: {train.steps: 600}}

Relative paths start at the file's folder, so the same file always means the same runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import mintad
from mintad.errors import ConfigError, nearest

NOTEBOOK = Path(mintad.__file__).resolve().parent.parent / "notebooks" / "10_unified_training.ipynb"
"""The notebook of a file that names none."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A sweep as its file describes it; paths are absolute."""

    name: str
    """Of the sweep."""
    out: Path
    """Folder of all its runs."""
    notebook: Path = NOTEBOOK
    """A notebook with a cell tagged `parameters`."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Parameter to value, for all runs."""
    grid: dict[str, list[Any] | dict[str, Any]] = field(default_factory=dict)
    """Axis to its values, a list or label -> value; every combination is a run."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """More runs, one dictionary of parameters each."""
    timeout: float | None = None
    """Seconds that one cell may take; none is no limit."""
    gpu: bool = False
    """On a cluster, start a run only on a worker with a free Dask resource GPU (``dask worker --resources GPU=1``)."""
    threads: int | None = None
    """Threads of a run; default: locally the cores shared by the workers, on a cluster what the worker was given."""


def load_spec(path: str | Path, *, out: str | Path | None = None) -> Spec:
    """Read a sweep's file.

    Args:
        path: YAML, see the module's text.
        out: another folder for the runs, from the working directory.

    Raises:
        ConfigError: file missing, no YAML, an unknown key, or a value of the wrong kind.
    """
    path = Path(path).expanduser().absolute()
    values = _read(path)
    known = [entry.name for entry in dataclasses.fields(Spec)]
    for key in values:
        _require(key in known, f"{path.name}: unknown key '{key}'." + nearest(str(key), known))
    values = {key: value for key, value in values.items() if value is not None}
    values.setdefault("name", path.stem)
    _require(isinstance(values["name"], str) and values["name"], f"{path.name}: name must be text")
    for key, default in ("out", f"runs/sweeps/{values['name']}"), ("notebook", str(NOTEBOOK)):
        given = values.get(key, default)
        _require(isinstance(given, str) and given, f"{path.name}: {key} must be a path")
        values[key] = (path.parent / Path(given).expanduser()).resolve()
    if out is not None:
        values["out"] = Path(out).expanduser().resolve()
    _check(path.name, values)
    values["grid"] = {str(axis): _axis(path.name, axis, given) for axis, given in values.get("grid", {}).items()}
    return Spec(**values)


def _check(file: str, values: Mapping[str, Any]) -> None:
    for key in ("fixed", "grid"):
        _require(isinstance(values.get(key, {}), dict), f"{file}: {key} must be a mapping of names to values")
    runs = values.get("runs", [])
    good = isinstance(runs, list) and all(isinstance(run, dict) and run for run in runs)
    _require(good, f"{file}: runs must be a list of mappings of parameters to values")
    timeout, threads, gpu = values.get("timeout", 1), values.get("threads", 1), values.get("gpu", False)
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    _require(number and 0 < timeout < math.inf, f"{file}: timeout must be a number of seconds, not {timeout!r}")
    _require(type(threads) is int and threads > 0, f"{file}: threads must be a whole number above 0, not {threads!r}")
    _require(isinstance(gpu, bool), f"{file}: gpu must be true or false, not {gpu!r}")


def _axis(file: str, axis: Any, given: Any) -> list[Any] | dict[str, Any]:
    good = isinstance(given, list | dict) and given
    _require(good, f"{file}: grid.{axis} must be a list of values, or a mapping of labels to values, not {given!r}")
    return {str(label): value for label, value in given.items()} if isinstance(given, dict) else given


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"cannot read the sweep {path}: {' '.join(str(error).split())}") from error
    _require(isinstance(values, dict), f"{path.name}: a sweep is a mapping of keys to values")
    return values


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which YAML's own lets the second win."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)  # YAML's '<<'
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen and isinstance(key, str | int | float):
            raise yaml.YAMLError(f"key '{key}' is given twice (line {key_node.start_mark.line + 1})")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)

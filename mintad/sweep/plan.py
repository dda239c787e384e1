"""From a sweep's file to its runs: every combination, checked against the notebook, each with a name of its own."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mintad.errors import ConfigError, nearest
from mintad.sweep.spec import Spec

RUN_FOLDER = "out_dir"
"""The parameter through which a notebook is told its run's folder, if it has one."""
LONGEST = 100
"""Letters of a run's name before its digest."""
_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str
    """Also of its folder: the axes in alphabetical order, then a digest of the parameters."""
    given: dict[str, Any]
    """What the file sets."""
    parameters: dict[str, Any]
    """All parameters: what the file sets, and the notebook's defaults."""
    labels: dict[str, str]
    """Axis -> the value's label: what tells the run from the others."""

    @property
    def digest(self) -> str:
        return self.name.rpartition("-")[2]

    def named(self, name: str) -> PlannedRun:
        """The same run under another name, which ends with the same digest."""
        return dataclasses.replace(self, name=name)


def plan(spec: Spec) -> list[PlannedRun]:
    """The runs of a sweep; what is listed twice is one run.

    Raises:
        ConfigError: the notebook cannot be read or lacks a parameter, a value is of the wrong kind, two axes set the
            same thing, or there is nothing to run.
    """
    parameters = notebook_parameters(spec.notebook)
    defaults = _defaults(parameters)
    _check_names("fixed", spec.fixed, parameters)
    planned: dict[str, PlannedRun] = {}
    for labels, values in [*_combinations(spec, parameters), *_listed(spec, parameters)]:
        given = _merged(spec.fixed, values, replace=True)
        _check_values(given, parameters)
        run = _planned(given, labels, defaults)
        planned.setdefault(run.digest, run)
    if not planned:
        raise ConfigError(f"{spec.name}: nothing to run; give grid, runs or fixed")
    _check_configurations(planned.values())
    return list(planned.values())


def notebook_parameters(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> papermill's description of a notebook's parameters.

    Raises:
        ConfigError: no such notebook, or it has no parameters.
    """
    from papermill import inspect_notebook

    try:
        found = inspect_notebook(braced(path))
    except Exception as error:  # papermill's readers raise all sorts
        raise ConfigError(f"cannot read the notebook {path}: {error}") from error
    if not found:
        raise ConfigError(f"{path} has no parameters: tag the cell that sets them `parameters`")
    return found


def braced(path: Path) -> str:
    """A path as papermill wants it, which fills in braces as str.format does."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _defaults(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    values = {}
    for name, entry in parameters.items():
        try:
            values[name] = ast.literal_eval(entry["default"])
        except (ValueError, SyntaxError):  # computed in the notebook: known only there
            continue
    return values


def _combinations(spec: Spec, parameters: Mapping) -> Iterable[tuple[dict[str, str], dict[str, Any]]]:
    """Labels and values of every point of the grid; one without any where only `fixed` is given."""
    axes = [_axis(axis, spec.grid[axis], parameters) for axis in sorted(spec.grid)]
    if not axes and spec.runs:
        return
    for point in itertools.product(*axes):
        values: dict[str, Any] = {}
        for _, _, more in point:
            values = _merged(values, more)
        yield {axis: label for axis, label, _ in point}, values


def _axis(axis: str, given: list[Any] | dict[str, Any], parameters: Mapping) -> list[tuple[str, str, dict[str, Any]]]:
    """An axis as (axis, label, parameters) of every value."""
    labelled = given if isinstance(given, dict) else None
    pairs = list(labelled.items()) if labelled is not None else [(_label(value), value) for value in given]
    if axis in parameters:
        return [(axis, label, {axis: value}) for label, value in pairs]
    if labelled is None or not all(isinstance(value, dict) for value in labelled.values()):
        _check_names("grid", {axis: None}, parameters)
    for label, value in pairs:
        _check_names(f"grid.{axis} (itself no parameter), {label}", value, parameters, also=axis)
    return [(axis, label, value) for label, value in pairs]


def _listed(spec: Spec, parameters: Mapping) -> Iterable[tuple[dict[str, str], dict[str, Any]]]:
    for number, values in enumerate(spec.runs, start=1):
        _check_names(f"run {number}", values, parameters)
        yield {name: _label(value) for name, value in values.items()}, values


def _check_names(place: str, values: Mapping[str, Any], parameters: Mapping, also: str = "") -> None:
    allowed = [name for name in parameters if name != RUN_FOLDER]
    for name in values:
        if name == RUN_FOLDER:
            raise ConfigError(f"{place}: {RUN_FOLDER} is set by the sweep; give `out` instead")
        if name not in allowed:
            near = nearest(also, allowed) if also and "Did you mean" in nearest(also, allowed) else ""
            hint = near or nearest(str(name), allowed)
            raise ConfigError(f"{place}: the notebook has no parameter '{name}'." + hint)


def _check_values(given: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Plain values of the declared kind; papermill would hand on the text '1e-4' for a number."""
    for name, value in given.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} = {value!r} is no plain value; put it in quotes") from None
        wanted = str(parameters[name]["inferred_type_name"])
        if wanted not in _KINDS or not isinstance(value, bool | int | float | str):
            continue
        if not isinstance(value, _KINDS[wanted]) or (isinstance(value, bool) and wanted != "bool"):
            hint = " (YAML wants 1.0e-4 for a number)" if wanted == "float" else ""
            raise ConfigError(f"{name} must be {wanted}, not {value!r}{hint}")


def _merged(values: Mapping[str, Any], more: Mapping[str, Any], *, replace: bool = False) -> dict[str, Any]:
    """Both; dictionaries are merged, what is set twice is refused unless the second may `replace` the first."""
    merged = dict(values)
    for name, value in more.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _merged(before, value, replace=replace)
        elif before and isinstance(before, dict) != isinstance(value, dict):
            raise ConfigError(f"{name} is a mapping in one place and {before!r}, {value!r} in another: use mappings")
        elif name in merged and not replace:
            raise ConfigError(f"two axes of the grid set {name}: to {before!r} and {value!r}")
        else:
            merged[name] = value
    return merged


def _planned(given: dict[str, Any], labels: dict[str, str], defaults: Mapping[str, Any]) -> PlannedRun:
    """The digest leaves out what equals the notebook's default, so a default may be written out or added later."""
    changed = {name: value for name, value in given.items() if name not in defaults or not _same(defaults[name], value)}
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]
    text = ",".join(f"{_clean(axis)}={_clean(labels[axis])}" for axis in sorted(labels)) or "run"
    parameters = {name: value for name, value in {**defaults, **given}.items() if name != RUN_FOLDER}
    return PlannedRun(f"{text[:LONGEST]}-{digest}", given, parameters, labels)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _label(value: Any) -> str:
    if isinstance(value, dict):
        return "+".join(f"{key}={_label(value[key])}" for key in sorted(value)) or "none"
    if isinstance(value, list):
        return "+".join(_label(item) for item in value) or "none"
    return str(value)


def _clean(text: str) -> str:
    return re.sub(r"[^\w.+=-]+", "-", text, flags=re.ASCII).strip("-.") or "none"


def _check_configurations(runs: Iterable[PlannedRun]) -> None:
    """Where the parameters describe a training, their names and values are refused now, not in the middle of the
    night: variants, presets, keys of overrides."""
    names = ("preset", "data", "root", "categories", "variant", "overrides", "device")
    checked = set()
    for run in runs:
        if not {*names, "seed"} <= set(run.parameters):
            return
        values = {name: run.parameters[name] for name in names}
        text = json.dumps(values, sort_keys=True)
        if text in checked:  # another seed
            continue
        checked.add(text)
        from mintad.runs.experiment import configure

        try:
            configure(**values)
        except ConfigError as error:
            raise ConfigError(f"{run.name}: {error}") from error

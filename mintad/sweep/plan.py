"""The runs of a sweep: every combination of values, each checked against the notebook and with its own name."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mintad.disk import open_file
from mintad.errors import ConfigError, nearest
from mintad.sweep.spec import Spec

RUN_FOLDER = "out_dir"  # parameter that a notebook may have for its run's folder; the sweep sets it
TRAINING = "training"  # tag of a parameters cell whose parameters are those of `mintad.runs.experiment.configure`
MOST_RUNS = 10_000  # of a sweep; more are a mistake, which would take minutes and gigabytes to plan
MOST_LETTERS = 100  # of a run's name before its digest
_ACCEPTED = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}  # declared type -> values' types


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str  # also of its folder: the axes in alphabetical order, then a digest of the parameters
    given: dict[str, Any]  # the parameters that the file sets
    parameters: dict[str, Any]  # these, and the notebook's defaults
    labels: dict[str, str]  # axis -> label of the run's value

    @property
    def digest(self) -> str:
        """The end of the name, which depends on the parameters alone."""
        return self.name.rpartition("-")[2]


def plan(spec: Spec) -> list[PlannedRun]:
    """Return the runs of a sweep; the same parameters given twice are one run.

    Raises:
        ConfigError: the notebook cannot be read or lacks a parameter, a value is of the wrong type or no valid
            configuration (see `TRAINING`), two axes set the same parameter, or there is nothing to run.
    """
    most = math.prod(map(len, spec.grid.values())) + len(spec.runs)
    if most > MOST_RUNS:
        raise ConfigError(f"{spec.name}: the grid has {most:,} combinations, at most {MOST_RUNS:,} are planned")
    parameters = parameters_of(spec.notebook)
    _check_names("fixed", spec.fixed, parameters)
    defaults: dict[str, Any] = {}
    for name, entry in parameters.items():
        with contextlib.suppress(ValueError, SyntaxError):  # the notebook computes this default
            defaults[name] = ast.literal_eval(entry["default"])
    runs: dict[str, PlannedRun] = {}
    for labels, values in _points(spec, parameters):
        given = _merged(spec.fixed, values, replace=True)
        _check_values(given, parameters)
        run = _planned(given, labels, defaults)
        runs.setdefault(run.digest, run)
    if not runs:
        raise ConfigError(f"{spec.name}: nothing to run; give grid, runs or fixed")
    cells = json.loads(spec.notebook.read_text(encoding="utf-8"))["cells"] if spec.notebook else ()
    tags = [set(cell["metadata"].get("tags", ())) for cell in cells]
    if spec.notebook is None or any({"parameters", TRAINING} <= cell_tags for cell_tags in tags):
        _check_configurations(runs.values())
    return list(runs.values())


def parameters_of(notebook: Path | None) -> dict[str, dict[str, Any]]:
    """Return name -> papermill's description of each parameter of a notebook; None stands for plain training.

    A notebook that is missing or has no parameters raises ConfigError.
    """
    if notebook is None:
        from mintad.runs.experiment import configure, train_setting

        signatures = [inspect.signature(function).parameters.values() for function in (configure, train_setting)]
        return {
            parameter.name: {"default": repr(parameter.default), "inferred_type_name": parameter.annotation}
            for parameter in itertools.chain(*signatures)
            if parameter.default is not inspect.Parameter.empty
        }
    from papermill import inspect_notebook

    try:
        open_file(notebook).close()  # a pipe or a device would be read for ever
        parameters = inspect_notebook(braced(notebook))
    except Exception as error:  # papermill's readers raise errors of many classes
        raise ConfigError(f"cannot read the notebook {notebook}: {error}") from error
    if not parameters:
        raise ConfigError(f"{notebook} has no parameters: tag the cell that sets them `parameters`")
    return parameters


def braced(path: Path) -> str:
    """Return a path with doubled braces, because papermill fills in single ones as str.format does."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _points(spec: Spec, parameters: Mapping) -> Iterable[tuple[dict[str, str], dict[str, Any]]]:
    """Yield labels and values of every point of the grid and of the listed runs; an empty one for `fixed` alone."""
    if spec.grid or not spec.runs:
        for point in itertools.product(*(_axis(axis, spec.grid[axis], parameters) for axis in sorted(spec.grid))):
            values = functools.reduce(_merged, (axis_values for *_, axis_values in point), {})
            yield {axis: label for axis, label, _ in point}, values
    for number, values in enumerate(spec.runs, start=1):
        _check_names(f"run {number}", values, parameters)
        yield {name: _label(value) for name, value in values.items()}, values


def _axis(axis: str, values: list[Any] | dict[str, Any], parameters: Mapping) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (axis, label, parameters) of every value of an axis."""
    labelled = list(values.items()) if isinstance(values, dict) else [(_label(value), value) for value in values]
    if axis in parameters:
        return [(axis, label, {axis: value}) for label, value in labelled]
    if isinstance(values, list) or not all(isinstance(value, dict) for value in values.values()):
        _check_names("grid", {axis: None}, parameters)
    for label, value in labelled:
        _check_names(f"grid.{axis} (itself no parameter), {label}", value, parameters, also=axis)
    return [(axis, label, value) for label, value in labelled]


def _check_names(where: str, values: Mapping[str, Any], parameters: Mapping, also: str = "") -> None:
    allowed = [name for name in parameters if name != RUN_FOLDER]
    for name in values:
        if name == RUN_FOLDER:
            raise ConfigError(f"{where}: {RUN_FOLDER} is set by the sweep; give `out` instead")
        if name not in allowed:
            misspelt = also if also and "Did you mean" in nearest(also, allowed) else str(name)
            raise ConfigError(f"{where}: the notebook has no parameter '{name}'." + nearest(misspelt, allowed))


def _check_values(given: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse values of another type than declared; papermill would pass on the text '1e-4' for a number."""
    for name, value in given.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} = {value!r} is not a plain value; put it in quotes") from None
        declared = str(parameters[name]["inferred_type_name"])
        scalar = isinstance(value, bool | int | float | str)
        if scalar and type(value) not in _ACCEPTED.get(declared, (type(value),)):
            raise ConfigError(f"{name} must be {declared}, not {value!r}")


def _merged(values: Mapping[str, Any], more: Mapping[str, Any], *, replace: bool = False) -> dict[str, Any]:
    """Merge two mappings and the dictionaries in them; refuse a key of both unless `more` may `replace` it."""
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
    """Name a run; the digest leaves out what equals the notebook's default, so a default may be written out later."""
    typed = {name: (type(value), value) for name, value in defaults.items()}
    changed = {name: value for name, value in given.items() if typed.get(name) != (type(value), value)}
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]
    text = ",".join(f"{_clean(axis)}={_clean(labels[axis])}" for axis in sorted(labels)) or "run"
    parameters = {name: value for name, value in {**defaults, **given}.items() if name != RUN_FOLDER}
    return PlannedRun(f"{text[:MOST_LETTERS]}-{digest}", given, parameters, labels)


def _label(value: Any) -> str:
    if isinstance(value, dict):
        return _label([f"{key}={_label(value[key])}" for key in sorted(value)])
    if isinstance(value, list):
        return "+".join(map(_label, value)) or "none"
    return str(value)


def _clean(text: str) -> str:
    return re.sub(r"[^\w.+=-]+", "-", text, flags=re.ASCII).strip("-.") or "none"


def _check_configurations(runs: Iterable[PlannedRun]) -> None:
    """Refuse unknown presets, variants, baselines and keys of overrides before the first run starts."""
    from mintad.baselines import BASELINES
    from mintad.runs.experiment import configure, read_names

    names = inspect.signature(configure).parameters
    for run in runs:
        try:
            config = configure(**{name: value for name, value in run.parameters.items() if name in names})
            BASELINES.require([*read_names(run.parameters.get("baselines", "")), *config.baselines.options])
        except ConfigError as error:
            raise ConfigError(f"{run.name}: {error}") from error

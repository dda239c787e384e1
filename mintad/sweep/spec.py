"""The file that describes a sweep; `mintad sweep --help` shows an example with all keys.

An axis of the grid may label its values; dictionaries are merged into those of `fixed`. An axis whose name is no
parameter, and whose labelled values are dictionaries of parameters, sets several at once:

    grid:
      growth:
        one: {categories: weave}
        two: {categories: "weave, gear", overrides: {train.steps: 600}}

Relative paths start at the file's folder, so that the same file always means the same runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mintad.config.yaml_text import Loader
from mintad.disk import BESIDE_PACKAGE, expanded, read_text, real_path
from mintad.errors import ConfigError, DataError, nearest, shown

NOTEBOOK = BESIDE_PACKAGE / "notebooks" / "10_unified_training.ipynb"


def _axis(values: Any) -> list[Any] | dict[str, Any]:
    if not (isinstance(values, dict | list) and values):
        raise ValueError("must be a list of values, or a mapping of labels to values")
    return {str(label): value for label, value in values.items()} if isinstance(values, dict) else values


def _path(path: Any) -> Path:
    if not (path and isinstance(path, str)):
        raise ValueError("must be a path")
    return expanded(path)


Axis = Annotated[list[Any] | dict[str, Any], BeforeValidator(_axis)]


class Spec(BaseModel):
    """A sweep as its file describes it; paths are absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    out: Annotated[Path, BeforeValidator(_path)]  # folder of all runs
    notebook: Annotated[Path | None, BeforeValidator(lambda path: None if path == "none" else _path(path))] = NOTEBOOK
    """A notebook with a cell tagged `parameters`; None: train without one, with the parameters of notebook 10."""
    fixed: dict[str, Any] = {}  # parameter -> value, for all runs
    grid: dict[Annotated[str, BeforeValidator(str)], Axis] = {}
    """Axis -> its values, a list or label -> value; every combination is a run."""
    runs: list[Annotated[dict[str, Any], Field(min_length=1)]] = []  # further runs
    timeout: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None  # seconds of one cell
    gpu: Annotated[bool, Field(strict=True)] = False
    """On a cluster, start a run only on a worker with a free Dask resource GPU (``dask worker --resources GPU=1``)."""
    threads: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Threads of a run; None: on this machine the workers share the cores, on a cluster the worker's own number."""

    @field_validator("out", "notebook")
    @classmethod
    def _below_the_files_folder(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return path and real_path(info.context / path)


def load_spec(path: str | Path, *, out: str | Path | None = None) -> Spec:
    """Read a sweep's YAML file; `out` is another folder for the runs, relative to the working directory.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, or a value is of the wrong kind.
    """
    path = expanded(path).absolute()
    try:
        entries = yaml.load(read_text(path), Loader) or {}
    except (DataError, OSError, yaml.YAMLError, ValueError) as error:
        reason = error.problem if isinstance(error, DataError) else error
        raise ConfigError(f"cannot read the sweep {path}: {' '.join(str(reason).split())}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path.name}: a sweep is a mapping of keys to values")
    values = {"name": path.stem} | {key: value for key, value in entries.items() if value is not None}
    values.setdefault("out", f"runs/sweeps/{values['name']}")
    if out is not None:
        values["out"] = str(expanded(out).absolute())
    try:
        return Spec.model_validate(values, context=path.parent)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        text = f"{key}: {problem['msg'].removeprefix('Value error, ')}, given {shown(problem['input'])}"
        if problem["type"] == "extra_forbidden":
            text = f"unknown key '{key}'." + nearest(key, Spec.model_fields)
        raise ConfigError(f"{path.name}: {text}") from error

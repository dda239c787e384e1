"""Many runs as one long table: run directories, folders of them (a sweep's, say), and the tables that benchmarks/ keep
of them: compare.py's and keep_sweep.py's."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.errors import DataError, MintadError
from mintad.model import VARIANTS
from mintad.report.paper import ALL, MEAN
from mintad.runs.directory import Run
from mintad.runs.experiment import configure
from mintad.runs.separate import FOLDER
from mintad.sweep.status import PLAN, WORK, read_plan, read_status
from mintad.sweep.table import IMAGE, PIXEL, SWAP, values_of

COLUMNS = ("run", "method", "setting", "seed", "data", "category", "metric", "value")
BATCH = "batch"
"""Column that tells benchmarks/complexity.py's tables from the others."""
_SWEEP = ("preset", "data", "variant", "seed", "category", "metric", "value")
"""Columns that tell benchmarks/keep_sweep.py's tables from the others; the parameters of a run are among them."""
_PARAMETERS = ("preset", "data", "categories", "variant", "overrides", "seed")
_COMPARE = {"image_auroc": IMAGE, "pixel_average_precision": PIXEL, "image_auroc_swap": SWAP}
"""Metrics of benchmarks/compare.py -> ours."""
_SEPARATE = "_separate"
"""End of a baseline's name in such a table: one model a category."""
_CONFIG = "# config: "
"""Beginning of the line of such a table that tells what its runs have in common."""
_MERGED = {"mvtec", "visa", "btad"}
"""Data sets of Table 3."""


@dataclass
class Runs:
    """What was found."""

    rows: pd.DataFrame
    """Columns `COLUMNS`, one row a number: method is a `model.variant` or a baseline; category "dataset/category" or
    `mintad.report.paper.MEAN`; value in 0..1. A baseline has the run, seed and setting of the run it was evaluated with."""
    configs: dict[str, Config | None]
    """Run -> its configuration; None for what a table of benchmarks/compare.py holds that does not tell."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Run -> why it is not among the rows: unfinished, failed, damaged, twice."""
    complexity: pd.DataFrame | None = None
    """The table of benchmarks/complexity.py, if there was one; attrs["notes"]: how it was measured, line by line."""

    def only(self, names: Iterable[str]) -> Runs:
        """These runs alone."""
        kept = [name for name in self.configs if name in set(names)]
        rows = self.rows[self.rows["run"].isin(kept)]
        return dataclasses.replace(self, rows=rows, configs={name: self.configs[name] for name in kept})

    def categories(self) -> pd.Series:
        """Run -> the categories it was evaluated on, a frozenset of "dataset/category"."""
        rows = self.rows[(self.rows["category"] != MEAN) & (self.rows["metric"] == IMAGE)]
        return rows.groupby("run")["category"].agg(frozenset)


def read_runs(paths: Sequence[str | Path]) -> Runs:
    """Everything measured below some paths.

    Args:
        paths: run directories, folders that hold some at any depth, CSV tables of benchmarks/compare.py,
            benchmarks/keep_sweep.py and benchmarks/complexity.py.

    Raises:
        DataError: a path does not exist or a CSV is none of the three, or no finished run is there.
    """
    rows: list[dict[str, Any]] = []
    found = Runs(pd.DataFrame(columns=list(COLUMNS)), {})
    seen: dict[Any, str] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"{path} does not exist; give run directories, folders of them, or CSV tables")
        if path.is_file():
            rows += _read_table(path, found)
            continue
        for folder in _folders(path, found.skipped):
            rows += _read_folder(folder, found, seen)
    if not rows and found.complexity is None:
        listed = "".join(f"; {name}: {reason}" for name, reason in list(found.skipped.items())[:3])
        where = ", ".join(map(str, paths))
        raise DataError(f"no finished run in {where}{listed}. mintad train and mintad sweep make some")
    if rows:
        found.rows = pd.DataFrame(rows)[list(COLUMNS)]
    return found


def _folders(path: Path, skipped: dict[str, str]) -> Iterator[Path]:
    """Run directories at and below a path; planned runs of a sweep that have no folder yet are noted."""
    for folder, inside, files in os.walk(path):
        here = Path(folder)
        if (here / WORK / PLAN).exists():
            skipped.update({str(here / name): "not started" for name in read_plan(here) if name not in inside})
        if {"config.json", "status.json"} & set(files):
            inside.clear()  # what lies below belongs to the run: checkpoints, one model a category
            yield here
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def _read_folder(folder: Path, found: Runs, seen: dict[Any, str]) -> list[dict[str, Any]]:
    name, run = str(folder), Run(folder)
    reason = _unfinished(run)
    if reason:
        found.skipped[name] = reason
        return []
    try:
        config, rows = run.config(), _rows(run, name)
    except (MintadError, KeyError, TypeError, ValueError) as error:
        found.skipped[name] = f"cannot be read: {error}"
        return []
    same = (_frozen(config.to_dict()), rows[0]["setting"])
    if same in seen:
        found.skipped[name] = f"the same configuration and seed as {seen[same]}"
        return []
    seen[same], found.configs[name] = name, config
    return rows


def _unfinished(run: Run) -> str | None:
    status = read_status(run.path)
    if status.state not in ("waiting", "finished"):  # 'waiting' is also what a run outside of a sweep has
        return f"{status.state}: {status.error.splitlines()[0]}" if status.error else status.state
    if run.finished:
        return None
    return "no metrics.json: its notebook trains nothing" if status.state == "finished" else "unfinished"


def _rows(run: Run, name: str) -> list[dict[str, Any]]:
    config, setting = run.config(), "separate" if (run.path / FOLDER).exists() else "unified"
    values = list(values_of(run.read("metrics")))
    data = _data_of(config.data.name, (category for category, _, _ in values))
    told = {"run": name, "setting": setting, "seed": config.train.seed, "data": data}
    rows = [
        {**told, "method": config.model.variant, "category": category, "metric": metric, "value": value}
        for category, metric, value in values
    ]
    baselines = run.baselines()
    for method in baselines.index.intersection(list(BASELINES)):
        for column, value in baselines.loc[method].dropna().items():
            letter, _, category = str(column).partition(" ")
            metric = {"I": IMAGE, "P": PIXEL}[letter]
            rows.append({**told, "method": method, "category": category, "metric": metric, "value": float(value)})
    return rows


def _read_table(path: Path, found: Runs) -> list[dict[str, Any]]:
    try:
        table = pd.read_csv(path, comment="#")
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if {"method", BATCH, "metric", "value", "paper"} <= set(table.columns):
        head = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        table.attrs["notes"] = [f"{line}." for line in head if not line.startswith(("command", "versions", "paper"))]
        found.complexity = table
        return []
    if set(_SWEEP) <= set(table.columns):
        return _read_sweep(path, table, found)
    if not {"method", "seed", "category", "metric", "value"} <= set(table.columns):
        raise DataError(f"{path} is no table of benchmarks/compare.py, keep_sweep.py or complexity.py")
    config, data = _config_in(path), _data_of(None, table["category"])
    rows = []
    for row in table[table["metric"].isin(list(_COMPARE)) & (table["category"] != ALL)].itertuples():
        separate, seed = row.method.endswith(_SEPARATE), int(row.seed)
        run, method = f"{path}: {row.method}, seed {seed}", row.method.removesuffix(_SEPARATE)
        changes = {"train.seed": seed} | ({"model.variant": method} if method in VARIANTS else {})
        found.configs[run] = config.override(**changes) if config else None
        own = {"run": run, "setting": "separate" if separate else "unified", "seed": seed}
        own |= {"method": method, "category": row.category, "data": data}
        rows.append({**own, "metric": _COMPARE[row.metric], "value": float(row.value)})
    return rows


def _config_in(path: Path) -> Config | None:
    """What the runs of a table of benchmarks/compare.py have in common: all but seed and variant."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(_CONFIG)]
    try:
        return Config.from_dict(json.loads(lines[0].removeprefix(_CONFIG))) if lines else None
    except (MintadError, ValueError) as error:
        raise DataError(f"{path}: cannot read its line '{_CONFIG.strip()}': {error}") from error


def _read_sweep(path: Path, table: pd.DataFrame, found: Runs) -> list[dict[str, Any]]:
    """Runs by their parameters: each one's configuration is what notebook 10 makes of them, with the presets of now."""
    table = table.astype(object).fillna("")
    for name in [name for name in table if f"{name}.value" in table]:  # what a label stands for
        table[name] = table[f"{name}.value"].where(table[f"{name}.value"] != "", table[name])
    names = [name for name in (*_PARAMETERS, "setting") if name in table]
    rows = []
    for parameters, group in table.groupby(names, sort=False):
        known = dict(zip(names, parameters, strict=True))
        setting, seed = known.pop("setting", "unified"), int(known.pop("seed"))
        run = f"{path}: " + ", ".join(f"{name} {value}" for name, value in known.items() if value) + f", seed {seed}"
        found.configs[run] = configure(**known, seed=seed)
        data = _data_of(known["data"], group["category"])
        own = {"run": run, "method": known["variant"], "setting": setting, "seed": seed, "data": data}
        columns = group[["category", "metric", "value"]]
        rows += [{**own, **values} for values in columns.to_dict("records")]
    return rows


def _data_of(name: str | None, categories: Iterable[str]) -> str:
    """Name of the data set. A merged set other than Table 3's is named by its parts ("elpv+folder"); where no name is
    known, the categories ("dataset/category") tell it."""
    if name not in (None, "merged"):
        return name
    parts = {key.partition("/")[0] for key in categories if "/" in key}
    return "merged" if len(parts) > 1 and parts <= _MERGED else "+".join(sorted(parts))


def _frozen(values: Any) -> Any:
    if isinstance(values, dict):
        return tuple((key, _frozen(value)) for key, value in sorted(values.items()))
    return tuple(map(_frozen, values)) if isinstance(values, list | tuple) else values

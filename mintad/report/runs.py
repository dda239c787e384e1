"""Many runs as one long table: run directories, folders of them (a sweep's, say), and CSV files of benchmarks/.

Configurations are those of the run directory, of a file's line ``# config:``, or of columns with notebook 10's
parameters.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mintad.config import Config
from mintad.data.merged import MERGED
from mintad.errors import DataError, MintadError, visible
from mintad.model import VARIANTS, require_variant
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.directory import Run
from mintad.runs.experiment import configure
from mintad.scoring.metrics import ALL, MEAN, METRICS, POOLED, RESULT_COLUMNS
from mintad.sweep.status import PLAN, WORK, read_plan, read_status

COLUMNS = ("run", "data", *RESULT_COLUMNS)
_COMPLEXITY = ["method", "batch", "metric"]  # what a number of benchmarks/complexity.py is about
_PARAMETERS = ("preset", "data", "categories", "variant", "overrides")  # notebook 10's, in a sweep's table


@dataclasses.dataclass
class Runs:
    """What was read."""

    rows: pd.DataFrame
    """Columns `COLUMNS`, one row per number. A baseline has the run, seed and setting that it was evaluated with."""
    configs: dict[str, Config | None]
    """Run -> its configuration; None where a CSV does not tell."""
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    """Run -> why it is not among the rows."""
    complexity: pd.DataFrame | None = None
    """The tables of benchmarks/complexity.py and network_counts.py, if there were any, with the column `file`;
    attrs["notes"]: how they were measured."""

    def categories(self) -> pd.Series:
        """Return the categories that each run was evaluated on: run -> frozenset of "dataset/category"."""
        rows = self.rows[(self.rows["category"] != MEAN) & (self.rows["metric"] == "image_auroc")]
        return rows.groupby("run")["category"].agg(frozenset)


def read_runs(paths: Sequence[str | Path]) -> Runs:
    """Read run directories, folders that hold some at any depth, and CSV files of benchmarks/.

    Raises:
        DataError: a path does not exist, a CSV is none of ours, or no finished run is there.
    """
    runs, tables, seen = Runs(pd.DataFrame(columns=list(COLUMNS)), {}), [], {}
    for path in map(Path, paths):
        if not path.exists():
            raise DataError("does not exist", path=path, fix="give run directories, folders of them, or CSV tables")
        if path.is_file():
            tables += _read_csv(path, runs)
        else:
            tables += [table for folder in _folders(path, runs.skipped) for table in _read_folder(folder, runs, seen)]
    if tables:
        rows = pd.concat(tables, ignore_index=True)
        runs.rows = rows.loc[~rows["category"].isin([POOLED, ALL]), list(COLUMNS)].reset_index(drop=True)
    elif runs.complexity is None:
        listed = "".join(f"; {name}: {reason}" for name, reason in list(runs.skipped.items())[:3])
        raise DataError(f"no finished run in {', '.join(map(str, paths))}{listed}. mintad train and sweep make some")
    return runs


def _folders(path: Path, skipped: dict[str, str]) -> Iterator[Path]:
    """Yield run directories at and below a path; planned runs of a sweep that have no folder yet are noted."""
    for folder, inside, files in os.walk(path):
        here = Path(folder)
        if (here / WORK / PLAN).exists():
            skipped.update({str(here / name): "not started" for name in read_plan(here) if name not in inside})
        if {"config.json", "status.json"} & set(files):
            inside.clear()  # what lies below belongs to the run: checkpoints, one model per category
            yield here
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def _read_folder(folder: Path, runs: Runs, seen: dict[Any, str]) -> Iterator[pd.DataFrame]:
    name, run = visible(str(folder)), Run(folder)
    reason = _unfinished(run)
    if not reason:
        try:
            config, results = run.config(), run.results()
            require_variant(config.model)
        except MintadError as error:
            reason = f"cannot be read: {error}"
        else:
            reason = "its results are empty, as without anomalous test images" if results.empty else None
            if run.region:
                reason = "its results are of a region of interest alone; mintad evaluate --whole-image makes others"
        if not reason:
            same = json.dumps(config.to_dict(), sort_keys=True, default=str), results["setting"].iloc[0]
            reason = f"the same configuration and seed as {seen[same]}" if same in seen else None
    if reason:
        runs.skipped[name] = reason
        return
    seen[same], runs.configs[name] = name, config
    yield results.assign(run=name, data=_data_of(config.data.name, results["category"]))


def _unfinished(run: Run) -> str | None:
    status = read_status(run.path)
    if status.state not in ("waiting", "finished"):  # 'waiting' is also what a run outside of a sweep has
        return f"{status.state}: {status.error.splitlines()[0]}" if status.error else status.state
    trains = status.state == "waiting" or run.finished
    return None if trains else "no results: its notebook trains nothing"


def _read_csv(path: Path, runs: Runs) -> Iterator[pd.DataFrame]:
    try:
        comments, table = read_commented_csv(path)
    except ValueError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    head = [line[1:].strip() for line in comments]
    if {*_COMPLEXITY, "value", "paper"} <= set(table.columns):
        runs.complexity = _with_complexity(runs.complexity, table.assign(file=str(path)), head)
        return
    if missing := [name for name in RESULT_COLUMNS if name not in table]:
        raise DataError(f"{path} is not a table of results: it lacks {', '.join(missing)}")
    table = table[table["metric"].isin(METRICS)]
    yield from _by_parameters(path, table, runs) if "variant" in table else _by_method(path, table, runs, head)


def _with_complexity(former: pd.DataFrame | None, table: pd.DataFrame, head: list[str]) -> pd.DataFrame:
    """Return one table of benchmarks/complexity.py or network_counts.py with another; refuses what both measure."""
    unsaid = ("command", "versions", "paper", *(() if "seconds" in set(table["metric"]) else ("machine",)))
    notes = [f"{line}." for line in head if not line.startswith(unsaid)]
    if former is not None:
        table, notes = pd.concat([former, table], ignore_index=True), former.attrs["notes"] + notes
    twice = table[table.duplicated(_COMPLEXITY, keep=False)]
    if len(twice):
        first = twice.iloc[0]
        files = twice.loc[(twice[_COMPLEXITY] == first[_COMPLEXITY]).all(axis=1), "file"].unique()
        problem = f"{first.method}, batch {first.batch}, has {first.metric} more than once: {', '.join(files)}"
        raise DataError(problem, fix="give the measurements of one machine alone, and each once")
    table.attrs["notes"] = notes
    return table


def _by_method(path: Path, table: pd.DataFrame, runs: Runs, head: list[str]) -> Iterator[pd.DataFrame]:
    """Read runs that have all in common but method, setting and seed: benchmarks/compare.py's."""
    configs = [line.removeprefix("config:") for line in head if line.startswith("config:")]
    try:
        common = Config.from_dict(json.loads(configs[0])) if configs else None
    except (MintadError, ValueError) as error:
        raise DataError(f"{path}: cannot read its line '# config:': {error}") from error
    data = _data_of(None, table["category"])
    for (method, setting, seed), group in table.groupby(["method", "setting", "seed"], sort=False):
        name = f"{path}: {method}, {setting}, seed {seed}"
        changes = {"train.seed": int(seed)} | ({"model.variant": method} if method in VARIANTS else {})
        runs.configs[name] = common.override(**changes) if common else None
        yield group.assign(run=name, data=data)


def _by_parameters(path: Path, table: pd.DataFrame, runs: Runs) -> Iterator[pd.DataFrame]:
    """Read runs by their parameters; notebook 10, with today's presets, makes the configuration of them."""
    names = [name for name in _PARAMETERS if name in table]
    values = {name: table.get(f"{name}.value", table[name]).astype(object) for name in names}  # what a label stands for
    table = table.assign(**{name: column.fillna(table[name]).fillna("") for name, column in values.items()})
    table["trained"] = table["setting"].str.removesuffix("_chosen")
    for (*values, seed, setting), group in table.groupby([*names, "seed", "trained"], sort=False):
        parameters = dict(zip(names, values, strict=True))
        run = ", ".join([*(f"{name} {value}" for name, value in parameters.items() if value), setting, f"seed {seed}"])
        run = f"{path}: {run}"
        runs.configs[run] = configure(**parameters, seed=int(seed))
        yield group.assign(run=run, data=_data_of(parameters["data"], group["category"]))


def _data_of(name: str | None, categories: Iterable[str]) -> str:
    """Return the data set's name, if need be from its categories; merged sets other than Table 3's by their parts."""
    if name not in (None, "merged"):
        return name
    parts = {key.partition("/")[0] for key in categories if "/" in key}
    return "merged" if len(parts) > 1 and parts <= set(MERGED) else "+".join(sorted(parts))

"""Which runs make up a table: those on its data set that were trained alike. Mixtures are refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.errors import ConfigError, DataError
from mintad.report.methods import DATA, HOME, OPEN, table_row
from mintad.report.paper import SWITCHES
from mintad.report.runs import Runs
from mintad.scoring.metrics import MEAN

_FREE = {
    "data.root",
    "data.categories",
    "features.weights",
    "model.variant",
    "model.options",
    "train.seed",
    "train.device",
    "train.checkpoint_every",
    "train.log_every",
}
"""Keys that may differ between runs that are averaged: seed, machine, and keys of a single variant."""
_OPTIONS = "data.options"
_ROUNDING = 2e-5
"""Differences that come from rounding: tables have five digits."""
_VARIED = {5: {f"model.{name}" for name in SWITCHES}, 8: {"features.backbone"}}
"""Table -> keys that it compares."""


@dataclasses.dataclass
class TableRuns:
    """The runs of one table."""

    table: int
    data: str
    """Name of the data set; '' if nothing was run."""
    rows: pd.DataFrame
    """As `Runs.rows`, with the table's names in the columns `paper_method` and `paper_setting`."""
    configs: dict[str, Config | None]
    notes: list[str]
    """What a reader of the table must know: runs that are left out, and methods that were trained differently."""

    @property
    def at_home(self) -> bool:
        """Say whether the data set is that of the paper's table."""
        return self.data == HOME[self.table]


def where(runs: Runs, conditions: Sequence[str]) -> Runs:
    """Keep the runs whose configuration has these values.

    Args:
        runs: to choose from.
        conditions: KEY=VALUE with dotted keys, as `mintad train --set` takes them.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
        DataError: no run is left.
    """
    names = list(runs.configs)
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where takes KEY=VALUE, not '{condition}'")
        Config().override(**{key: value})
        names = [name for name in names if _has(runs, name, key, value)]
    if not names and runs.configs:
        raise DataError(f"none of {len(runs.configs)} runs has {', '.join(conditions)}")
    return runs.only(names) if conditions else runs


def _has(runs: Runs, name: str, key: str, value: str) -> bool:
    config = runs.configs[name]
    if config is None:  # of a table that gives its data set and nothing else
        return key == "data.name" and set(runs.rows.loc[runs.rows["run"] == name, "data"]) == {value}
    return config.override(**{key: value}) == config


def select_runs(runs: Runs, table: int) -> TableRuns:
    """Select the runs of a table.

    Runs on the paper's data set if there are any, else those on the only other data set, if the table makes sense on
    it. Of these the runs on the most categories are taken; the notes name the others.

    Raises:
        DataError: runs of different data sets, or trained differently, would be mixed.
    """
    keys = ["run", "method", "setting"]
    table_rows = [
        (*key, *(table_row(table, key.method, key.setting, runs.configs[key.run]) or (None, None)))
        for key in runs.rows[keys].drop_duplicates().itertuples(index=False)
    ]
    table_rows = pd.DataFrame(table_rows, columns=[*keys, "paper_method", "paper_setting"])
    rows = runs.rows.merge(table_rows.dropna(), on=keys)
    if table == 7:  # a run is one split: its mean is that split again
        rows = rows[rows["category"] != MEAN]
    data = _data(table, rows)
    rows, notes = rows[rows["data"] == data], []
    if len(rows) and table != 7:
        rows, notes = _most_categories(runs, rows)
    configs = {name: runs.configs[name] for name in rows["run"].unique()}
    table_runs = TableRuns(table, data if len(rows) else "", rows, configs, notes)
    _refuse_mixture(table_runs)
    _refuse_other_images(table_runs)
    _refuse_twice(table_runs)
    return dataclasses.replace(table_runs, notes=[*notes, *_differences(table_runs)])


def _data(table: int, rows: pd.DataFrame) -> str:
    names = sorted(set(rows["data"]))
    if HOME[table] in names or not names or table not in OPEN:
        return HOME[table]
    if len(names) > 1:
        raise DataError(
            f"runs of different data sets ({', '.join(names)}) would be mixed in table {table}; choose one, for "
            f"example --where data.name={names[0]}"
        )
    return names[0]


def _most_categories(runs: Runs, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    sets = runs.categories()
    sets = sets[sets.index.isin(rows["run"].unique())]
    most = max(sets, key=len)
    left_out = [name for name, categories in sets.items() if categories != most]
    for name in left_out:
        if len(sets[name]) == len(most):
            raise DataError(
                f"runs on different categories would be mixed: {', '.join(sorted(most))} and "
                f"{', '.join(sorted(sets[name]))}; give runs on the same, or choose with --where data.categories=..."
            )
    note = f"{len(left_out)} runs on fewer than {len(most)} categories are left out (see the growth of classes)."
    return rows[~rows["run"].isin(left_out)], [note] if left_out else []


def protocol(config: Config, table: int) -> dict[str, Any]:
    """Return what must be equal in runs that are averaged.

    The configuration without the keys that the table compares, and without those of the seed and of the machine.
    """
    free = _FREE | _VARIED.get(table, set())
    values = {key: value for key, value in config.flat().items() if key not in free}
    dropped = ("categories", "split", "roots", "images")
    values[_OPTIONS] = {k: v for k, v in values[_OPTIONS].items() if k not in dropped}
    return values


def _refuse_mixture(table_runs: TableRuns) -> None:
    for (method, setting), group in table_runs.rows.groupby(["paper_method", "paper_setting"]):
        configs = [table_runs.configs[name] for name in group["run"].unique()]
        if any(config is None for config in configs) and any(configs):
            raise DataError(
                f"{method}, {setting}: from a table that gives its configuration and one that does not; use one of "
                "the two"
            )
        differing = _differing([protocol(config, table_runs.table) for config in configs if config])
        if differing:
            key, values = next(iter(differing.items()))
            raise DataError(
                f"table {table_runs.table}, {method}, {setting}: runs that were trained differently would be averaged "
                f"({_listed(differing)}); choose, for example --where {key}={values[0]}"
            )


def _refuse_other_images(table_runs: TableRuns) -> None:
    """Methods may be trained differently (a note says so), but not tested on other images."""
    configs = [config for config in table_runs.configs.values() if config]
    options = _differing([{_OPTIONS: protocol(config, table_runs.table)[_OPTIONS]} for config in configs])
    if options:
        raise DataError(
            f"table {table_runs.table}: runs on other images would be compared ({_listed(options)}); give "
            f"tables on the same images, or choose, for example --where '{_OPTIONS}={options[_OPTIONS][0]}'"
        )


def _refuse_twice(table_runs: TableRuns) -> None:
    keys = ["paper_method", "paper_setting", "seed", "category", "metric"]
    twice = table_runs.rows[table_runs.rows.duplicated(keys, keep=False)]
    if len(twice):  # a baseline may have been run beside every variant, always with the same result
        spread = twice.groupby(keys)["value"].transform(lambda values: values.max() - values.min())
        twice = twice[~twice["method"].isin(list(BASELINES)) | (spread > _ROUNDING)]
    if len(twice):
        first = twice.iloc[0]
        names = twice[(twice[keys] == first[keys]).all(axis=1)]["run"].unique()
        raise DataError(
            f"table {table_runs.table}: {first.paper_method}, {first.paper_setting} has seed {first.seed} more than "
            f"once: {', '.join(names[:3])}; leave one out"
        )


def _differences(table_runs: TableRuns) -> list[str]:
    """Note it if the methods of a table were trained differently; runs of the same method are alike."""
    protocols = [protocol(config, table_runs.table) for config in table_runs.configs.values() if config]
    differing, unknown = _differing(protocols), sum(config is None for config in table_runs.configs.values())
    notes = [f"The methods were not trained alike: {_listed(differing)}."] if differing else []
    if protocols and unknown:
        notes.append(
            f"{unknown} of {len(table_runs.configs)} runs are from a CSV that does not say how they were made."
        )
    return notes


def _differing(protocols: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    keys = protocols[0] if protocols else ()
    values = {key: sorted({json.dumps(values[key]).strip('"') for values in protocols}) for key in keys}
    return {key: texts for key, texts in values.items() if len(texts) > 1}


def _listed(differing: dict[str, list[str]]) -> str:
    return "; ".join(f"{key}: {', '.join(texts[:4])}" for key, texts in list(differing.items())[:4])


def measured_with(table_runs: TableRuns) -> str:
    """Write one line about the training behind a table, beside the paper's configuration."""
    config = next((config for config in table_runs.configs.values() if config), None)
    if config is None:
        return "Measured as the command in the CSV says." if table_runs.configs else ""
    length = f"{config.train.steps:,} steps" if config.train.steps else f"{config.train.epochs:g} epochs"
    grid, model = config.features.grid, config.model
    backbone = "several backbones" if table_runs.table == 8 else config.features.backbone
    options = protocol(config, table_runs.table)[_OPTIONS]
    drawn = f" ({', '.join(f'{name} {value}' for name, value in options.items())})" if options else ""
    text = (
        f"Measured on {DATA.get(table_runs.data, table_runs.data)}{drawn} with {backbone}, {grid}×{grid} tokens, "
        f"width {model.width}, {model.encoder_layers} + {model.decoder_layers} layers, {length}, "
        f"batch {config.train.batch_size}"
    )
    return f"{text}. The paper: efficientnet_b4, 14×14, width 256, 4 + 4 layers, 1000 epochs, batch 32."

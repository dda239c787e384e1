"""Which runs make a table: those of its data set, trained alike, or a clear word about why that cannot be said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mintad.config import Config
from mintad.errors import ConfigError, DataError
from mintad.report.methods import BASELINES, DATA, HOME, OPEN, place
from mintad.report.paper import MEAN, SWITCHES
from mintad.report.runs import Runs

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
"""Keys that may differ between runs that are averaged: seed, machine, and what belongs to one variant alone."""
_OPTIONS = "data.options"
_ROUNDING = 2e-5
"""Tables are rounded to five digits."""
_VARIED = {5: {f"model.{name}" for name in SWITCHES}, 8: {"features.backbone"}}
"""Keys that a table itself varies."""


@dataclasses.dataclass
class TableRuns:
    """The runs of one table."""

    table: int
    data: str
    """Name of the data set; '' where nothing was run."""
    rows: pd.DataFrame
    """As `Runs.rows`, with the table's names: columns `paper_method`, `paper_setting`."""
    configs: dict[str, Config | None]
    notes: list[str]
    """What a reader of the table must know: runs left out, and where methods were trained differently."""

    @property
    def at_home(self) -> bool:
        """Whether the data set is the one of the paper's table."""
        return self.data == HOME[self.table]


def where(runs: Runs, conditions: Sequence[str]) -> Runs:
    """The runs whose configuration has these values.

    Args:
        runs: to choose from.
        conditions: KEY=VALUE with dotted keys, as `mintad train --set` takes them.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
        DataError: no run is left.
    """
    kept = list(runs.configs)
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where takes KEY=VALUE, not '{condition}'")
        Config().override(**{key: value})
        kept = [name for name in kept if _has(runs, name, key, value)]
    if not kept and runs.configs:
        raise DataError(f"none of {len(runs.configs)} runs has {', '.join(conditions)}")
    return runs.only(kept) if conditions else runs


def _has(runs: Runs, name: str, key: str, value: str) -> bool:
    config = runs.configs[name]
    if config is None:  # a table tells its data set and nothing else
        return key == "data.name" and set(runs.rows.loc[runs.rows["run"] == name, "data"]) == {value}
    return config.override(**{key: value}) == config


def select_runs(runs: Runs, table: int) -> TableRuns:
    """The runs of a table.

    Runs of the paper's data set if there are any, else those of the one other data set there is, where the table makes
    sense on it. Of these the runs on the most categories; the others are named in the notes.

    Raises:
        DataError: runs of different data sets, or trained differently, would be mixed.
    """
    keys = ["run", "method", "setting"]
    places = [
        (*key, *(place(table, key.method, key.setting, runs.configs[key.run]) or (None, None)))
        for key in runs.rows[keys].drop_duplicates().itertuples(index=False)
    ]
    places = pd.DataFrame(places, columns=[*keys, "paper_method", "paper_setting"])
    rows = runs.rows.merge(places.dropna(), on=keys)
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
    left_out = [name for name, one in sets.items() if one != most]
    for name in left_out:
        if len(sets[name]) == len(most):
            raise DataError(
                f"runs on different categories would be mixed: {', '.join(sorted(most))} and "
                f"{', '.join(sorted(sets[name]))}; give one kind, or choose with --where data.categories=..."
            )
    note = f"{len(left_out)} runs on fewer than {len(most)} categories are left out (see the growth of classes)."
    return rows[~rows["run"].isin(left_out)], [note] if left_out else []


def protocol(config: Config, table: int) -> dict[str, Any]:
    """What must be alike in runs that are averaged: the configuration without what the table, a seed or a machine
    varies."""
    free = _FREE | _VARIED.get(table, set())
    values = {key: value for key, value in config.flat().items() if key not in free}
    dropped = ("categories", "split", "roots", "images")
    values[_OPTIONS] = {k: v for k, v in values[_OPTIONS].items() if k not in dropped}
    return values


def _refuse_mixture(table_runs: TableRuns) -> None:
    for (method, setting), group in table_runs.rows.groupby(["paper_method", "paper_setting"]):
        known = [table_runs.configs[name] for name in group["run"].unique()]
        if any(config is None for config in known) and any(known):
            raise DataError(
                f"{method}, {setting}: from a table that tells its configuration and one that does not; give one of "
                "the two"
            )
        found = [protocol(config, table_runs.table) for config in known if config]
        differing = _differing(found)
        if differing:
            key, values = next(iter(differing.items()))
            raise DataError(
                f"table {table_runs.table}, {method}, {setting}: runs that were trained differently would be averaged "
                f"({_listed(differing)}); choose, for example --where {key}={values[0]}"
            )


def _refuse_other_images(table_runs: TableRuns) -> None:
    """Methods may be trained differently (a note says so), but not judged by other images."""
    known = [config for config in table_runs.configs.values() if config]
    options = _differing([{_OPTIONS: protocol(config, table_runs.table)[_OPTIONS]} for config in known])
    if options:
        raise DataError(
            f"table {table_runs.table}: runs on other images would be compared ({_listed(options)}); give tables of one "
            f"kind, or choose, for example --where '{_OPTIONS}={options[_OPTIONS][0]}'"
        )


def _refuse_twice(table_runs: TableRuns) -> None:
    keys = ["paper_method", "paper_setting", "seed", "category", "metric"]
    twice = table_runs.rows[table_runs.rows.duplicated(keys, keep=False)]
    if len(twice):  # a baseline may have been run along with every variant, always with the same result
        spread = twice.groupby(keys)["value"].transform(lambda values: values.max() - values.min())
        twice = twice[~twice["method"].isin(list(BASELINES)) | (spread > _ROUNDING)]
    if len(twice):
        first = twice.iloc[0]
        names = twice[(twice[keys] == first[keys]).all(axis=1)]["run"].unique()
        raise DataError(
            f"table {table_runs.table}: {first.paper_method}, {first.paper_setting} has seed {first.seed} more than once: "
            f"{', '.join(names[:3])}; leave one out"
        )


def _differences(table_runs: TableRuns) -> list[str]:
    """A note where the methods of a table, each alike in itself, were not trained alike."""
    found = [protocol(config, table_runs.table) for config in table_runs.configs.values() if config]
    differing, unknown = _differing(found), sum(config is None for config in table_runs.configs.values())
    notes = [f"The methods were not trained alike: {_listed(differing)}."] if differing else []
    if found and unknown:
        notes.append(
            f"{unknown} of {len(table_runs.configs)} runs are from a CSV that does not tell how they were made."
        )
    return notes


def _differing(found: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    values = {key: sorted({json.dumps(one[key]).strip('"') for one in found}) for key in (found[0] if found else ())}
    return {key: texts for key, texts in values.items() if len(texts) > 1}


def _listed(differing: dict[str, list[str]]) -> str:
    return "; ".join(f"{key}: {', '.join(texts[:4])}" for key, texts in list(differing.items())[:4])


def measured_with(table_runs: TableRuns) -> str:
    """One line about the training behind a table, and how it departs from the paper's configuration."""
    known = [config for config in table_runs.configs.values() if config]
    if not known:
        return "Measured as the command in the CSV says." if table_runs.configs else ""
    config = known[0]
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

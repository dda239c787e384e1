"""Which runs make up a table: those on its data set that were trained alike. Mixtures are refused."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.errors import ConfigError, DataError
from mintad.report.methods import HOME, OPEN, data_title, table_row
from mintad.report.paper import SWITCHES
from mintad.report.runs import Runs
from mintad.runs.baselines import differently_made
from mintad.scoring.metrics import MEAN

_FREE = set(
    "data.root data.categories features.weights model.variant model.options train.seed train.device "
    "train.checkpoint_every train.log_every".split()
)
"""Keys that may differ between runs that are averaged: of the seed, the machine, or a single variant."""
_BASELINES = "baselines."  # keys that make the baselines alone; they count in `_makings`
_OPTIONS = "data.options"
_ROUNDING = 2e-5  # tables have five digits
_VARIED = {
    5: {f"model.{name}" for name in SWITCHES if name != "adapter"},  # there are several ways to be without an adapter
    8: {"features.backbone", "features.reductions"},
}
"""Table -> keys that it compares: its methods and settings differ in them."""
_REDUCTIONS = {
    "element": "averaged over all elements",
    "token": "summed over channels and averaged over tokens",
    "sum": "summed over channels and tokens",
}
"""What a reduction of Eqs 4 and 5 does, in words."""


@dataclasses.dataclass
class TableRuns:
    """The runs of one table."""

    table: int
    data: str  # name of the data set; '' if nothing was run
    rows: pd.DataFrame
    """As `Runs.rows`, with the table's names in the columns `paper_method` and `paper_setting`."""
    configs: dict[str, Config | None]
    notes: list[str]
    """What a reader of the table must know: runs that are left out, and methods that were trained differently."""

    @property
    def elsewhere(self) -> bool:
        """Whether the runs are on another data set than the paper's."""
        return self.data not in ("", HOME[self.table])

    @property
    def few_images(self) -> bool:
        """Whether a run was on a part of CIFAR-10's images, see `mintad.data.cifar10.load_cifar10`."""
        return any(config and config.data.options.get("per_class") for config in self.configs.values())


def where(runs: Runs, conditions: Sequence[str]) -> Runs:
    """Keep the runs whose configuration has these values: KEY=VALUE with dotted keys, as for `mintad train --set`.

    Raises:
        ConfigError: an unknown key or a value that is not allowed.
        DataError: no run is left.
    """
    configs = runs.configs
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where takes KEY=VALUE, not '{condition}'")
        Config().override(**{key: value})
        configs = {name: config for name, config in configs.items() if _has(runs, name, key, value)}
    if runs.configs and not configs:
        raise DataError(f"none of {len(runs.configs)} runs has {', '.join(conditions)}")
    return dataclasses.replace(runs, rows=runs.rows[runs.rows["run"].isin(configs)], configs=configs)


def _has(runs: Runs, name: str, key: str, value: str) -> bool:
    config = runs.configs[name]
    if config:
        return config.override(**{key: value}) == config
    return key == "data.name" and set(runs.rows.loc[runs.rows["run"] == name, "data"]) == {value}  # all that is known


def select_runs(runs: Runs, table: int) -> TableRuns:
    """Select the runs of a table: those on the most categories of the paper's data set.

    If there are none and the table makes sense on another, the only other data set is taken.

    Raises:
        DataError: runs of different data sets, or trained differently, would be mixed.
    """
    rows = _placed(runs, table)
    data, notes = _data(table, rows), []
    rows = rows[rows["data"] == data]
    if len(rows) and table != 7:
        rows, notes = _most_categories(runs, rows)
    configs = {name: runs.configs[name] for name in rows["run"].unique()}
    table_runs = TableRuns(table, data if len(rows) else "", rows, configs, notes)
    texts = {name: _texts(protocol(config, table)) for name, config in configs.items() if config}
    protocols = pd.DataFrame.from_dict(texts, orient="index")
    _refuse_mixture(table_runs, protocols)
    _refuse_twice(table_runs)
    if differing := _differing(protocols):
        notes.append(f"The methods were not trained alike: {_listed(differing)}.")
    if 0 < len(protocols) < len(configs):
        unknown = len(configs) - len(protocols)
        notes.append(f"{unknown} of {len(configs)} runs are from a CSV that does not say how they were made.")
    return table_runs


def _placed(runs: Runs, table: int) -> pd.DataFrame:
    """Return the rows that have a place in a table, with its names of method and setting."""
    keys, names = ["run", "method", "setting"], ["paper_method", "paper_setting"]
    placed = runs.rows[keys].drop_duplicates()
    places = [table_row(table, row.method, row.setting, runs.configs[row.run]) for row in placed.itertuples()]
    placed[names] = pd.DataFrame([place or (None, None) for place in places], columns=names, index=placed.index)
    rows = runs.rows.merge(placed.dropna(), on=keys)
    return rows[rows["category"] != MEAN] if table == 7 else rows  # a run is one split, its mean that split again


def _data(table: int, rows: pd.DataFrame) -> str:
    names = sorted(set(rows["data"]))
    if HOME[table] in names or not names or table not in OPEN:
        return HOME[table]
    if len(names) > 1:
        mixed = f"runs of different data sets ({', '.join(names)}) would be mixed in table {table}"
        raise DataError(f"{mixed}; choose one, for example --where data.name={names[0]}")
    return names[0]


def _most_categories(runs: Runs, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    sets = runs.categories()
    sets = sets[sets.index.isin(rows["run"].unique())]
    most = max(sets, key=len)
    others = sets[sets != most]
    for categories in others[others.map(len) == len(most)]:
        mixed = " and ".join(", ".join(sorted(names)) for names in (most, categories))
        raise DataError(f"runs on different categories would be mixed: {mixed}; choose: --where data.categories=...")
    note = f"{len(others)} runs on fewer than {len(most)} categories are left out (see the growth of classes)."
    return rows[~rows["run"].isin(others.index)], [note] if len(others) else []


def protocol(config: Config, table: int) -> dict[str, Any]:
    """Return what must be equal in runs that are averaged: not what the table compares, the seed and the machine.

    What makes the baselines beside a run is not among it, because it changes nothing about the run.
    """
    free = _FREE | _VARIED.get(table, set())
    values = {key: value for key, value in config.flat().items() if key not in free and not key.startswith(_BASELINES)}
    own = ("categories", "split", "roots", "images")  # what a run is about, or where its files lie
    return values | {_OPTIONS: {name: value for name, value in values[_OPTIONS].items() if name not in own}}


def _refuse_mixture(table_runs: TableRuns, protocols: pd.DataFrame) -> None:
    """Refuse a method whose runs differ; methods may be trained differently, but not tested on other images."""
    for (method, setting), group in table_runs.rows.groupby(["paper_method", "paper_setting"]):
        own, name = protocols[protocols.index.isin(group["run"])], f"table {table_runs.table}, {method}, {setting}"
        if 0 < len(own) < group["run"].nunique():
            raise DataError(f"{name}: one CSV gives its configuration, another does not; use one of the two")
        makings = _makings(group["method"].unique(), [table_runs.configs[run] for run in own.index])
        for differing in (own, makings):
            _refuse_differing(differing, f"{name}: runs that were trained differently would be averaged")
    images = protocols.filter([_OPTIONS])
    _refuse_differing(images, f"table {table_runs.table}: runs on other images would be compared")


def _makings(methods: Sequence[str], configs: Sequence[Config]) -> pd.DataFrame:
    """Return the keys `baselines.*`, one row per run, by which the baselines among `methods` are made differently."""
    keys: list[str] = []
    for other in configs[1:]:
        now = dataclasses.replace(other, train=configs[0].train)  # the seed may differ
        if differently_made(methods, configs[0], now):
            parts = {f"{_BASELINES}{name}": {name: value} for name, value in vars(other.baselines).items()}
            alone = [
                key for key, part in parts.items() if differently_made(methods, configs[0], _with(configs[0], part))
            ]
            keys += alone or parts  # two keys may make a difference together alone
    return pd.DataFrame([_texts({key: config.flat()[key] for key in keys}) for config in configs])


def _with(config: Config, part: dict[str, Any]) -> Config:
    return dataclasses.replace(config, baselines=dataclasses.replace(config.baselines, **part))


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value).strip('"') for key, value in values.items()}


def _refuse_differing(protocols: pd.DataFrame, problem: str) -> None:
    if differing := _differing(protocols):
        key, texts = next(iter(differing.items()))
        choice = shlex.quote(f"{key}={texts[0]}")
        raise DataError(f"{problem} ({_listed(differing)}); choose, for example --where {choice}")


def _refuse_twice(table_runs: TableRuns) -> None:
    keys = ["paper_method", "paper_setting", "seed", "category", "metric"]
    values = table_runs.rows.groupby(keys)["value"]
    rounding = values.transform("max") - values.transform("min") <= _ROUNDING
    may_repeat = table_runs.rows["method"].isin(list(BASELINES)) & rounding  # a baseline beside every variant, say
    twice = table_runs.rows[table_runs.rows.duplicated(keys, keep=False) & ~may_repeat]
    if len(twice):
        first = twice.iloc[0]
        names = twice[(twice[keys] == first[keys]).all(axis=1)]["run"].unique()
        method = f"table {table_runs.table}: {first.paper_method}, {first.paper_setting}"
        raise DataError(f"{method} has seed {first.seed} more than once: {', '.join(names[:3])}; leave one out")


def _differing(protocols: pd.DataFrame) -> dict[str, list[str]]:
    """Key -> its values where there are several."""
    return {key: sorted(texts.unique()) for key, texts in protocols.items() if texts.nunique() > 1}


def _listed(differing: dict[str, list[str]]) -> str:
    return "; ".join(f"{key}: {', '.join(texts[:4])}" for key, texts in list(differing.items())[:4])


def measured_with(table_runs: TableRuns) -> str:
    """Write one line about the training behind a table, beside the paper's configuration."""
    config = next(filter(None, table_runs.configs.values()), None)
    if config is None:
        return "Measured as the command in the CSV says." if table_runs.configs else ""
    length = f"{config.train.steps:,} steps" if config.train.steps else f"{config.train.epochs:g} epochs"
    model, grid = config.model, config.features.grid // config.model.pool
    backbones = {other.features.backbone for other in filter(None, table_runs.configs.values())}
    backbone = config.features.backbone if len(backbones) == 1 else f"{len(backbones)} backbones"
    options = ", ".join(f"{name} {value}" for name, value in protocol(config, table_runs.table)[_OPTIONS].items())
    mse, prior = (_REDUCTIONS[name] for name in (config.train.mse_reduction, config.train.prior_reduction))
    return (
        f"Measured on {data_title(table_runs.data)}{f' ({options})' if options else ''} with {backbone}, "
        f"{grid}×{grid} tokens, width {model.width}, {model.encoder_layers} + {model.decoder_layers} layers, {length}, "
        f"batch {config.train.batch_size}. The paper: efficientnet_b4, 14×14, width 256, 4 + 4 layers, 1000 epochs, "
        f"batch 32. Our reading of the losses: the reconstruction's (Eq. 5) is {mse}, the prior's (Eq. 4) {prior}."
    )

"""The paper's printed numbers, Tables 1 to 10, to set beside measured ones.

They are CSV files in ``data/paper``, one row per number; the README there says how we read ambiguous places.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import pandas as pd

from mintad.data import DATASETS
from mintad.data.merged import MERGED
from mintad.disk import BESIDE_PACKAGE
from mintad.errors import ConfigError, DataError, nearest
from mintad.scoring.metrics import MEAN
from mintad.scoring.metrics import METRICS as MEASURED

FOLDER = "MINTAD_PAPER"
"""Environment variable: the folder of the tables, where they are neither in the repository nor installed."""
_SHARE = "share/mintad/paper"  # where a wheel puts them, below its prefix
COLUMNS = ("table", "method", "category", "setting", "metric", "value")

METRICS = dict.fromkeys(("I-AUROC", "AUROC"), "image_auroc") | {"P-AUPR": "pixel_ap", "Params (M)": "parameters_M"}
METRICS |= {"FLOPs (G)": "flops_G", "Inference Time (s)": "seconds"}
"""The paper's name of a metric -> ours; only this module and ``data/paper`` use the paper's."""
TITLES = {"parameters_M": "parameters, 10⁶", "flops_G": "FLOPs, 10⁹", "seconds": "seconds"}
"""How people read those that are not in `mintad.scoring.METRICS`."""

TABLES = {
    1: "Detection on MVTec AD, unified and separate training",
    2: "Detection and localisation on VisA",
    3: "MVTec AD, VisA and BTAD merged: 30 categories",
    4: "Class-aware methods, prompt types, INR or MLP",
    5: "Submodules on and off",
    6: "Complexity over batch size",
    7: "Semantic anomalies on CIFAR-10, four splits",
    8: "Backbones",
    9: "INR or MLP for the class-aware query",
    10: "Localisation on MVTec AD, unified training",
}
"""Number of each table -> what it is about, in our words."""

CATEGORIES_IN = {name: len(DATASETS[name].categories) for name in MERGED}
"""Data set -> number of categories, by which Table 3's printed means weigh it."""

_NAMES = {
    "mint_ad": ("MINT-AD", "Feature Prompt", "INR-Query"),
    "image_prompt": ("Image Prompt",),
    "label_prompt": ("Label Prompt",),
    "mlp_query": ("INR -> Large MLP", "MLP-Query"),
    "uniad": ("UniAD", "Vanilla UniAD"),
    "query_pool": ("Query Pool",),
    "class_token": ("Class Token",),
    "text_prompt": ("Text Prompt",),
}
VARIANTS = {name: variant for variant, names in _NAMES.items() for name in names}
"""The paper's name of a method -> `model.variant` that builds it. The other methods are baselines."""
PRINTED_PER_CATEGORY = {"mint_ad": "MINT-AD", "uniad": "UniAD"}
"""`model.variant` -> the paper's name, of the variants whose numbers it prints for each category."""
SWITCHES = {"adapter": "adapter", "class_loss": "L_CE", "prior_loss": "L_Prior", "class_query": "query"}
"""Name in `mintad.config.ModelConfig` -> Table 5's column."""


def load(table: int) -> pd.DataFrame:
    """Return one table of the paper, one row per number, in the order of print (method by method).

    Returns:
        Columns `COLUMNS`; `value` is a float in the metric's unit. What the paper leaves blank has no row.

    Raises:
        ConfigError: there is no such table.
        DataError: the tables are not to be found, or the file is not one of them.
    """
    return _printed(table).astype({"table": int, "value": float})


def value(table: int, method: str, category: str, metric: str, setting: str | None = None) -> float | None:
    """Return one printed number, or None where this table does not have it.

    Args:
        table, method: as printed, for example 1 and "MINT-AD".
        category: its name, a CIFAR-10 split such as "{01234}", "mean" or "all".
        metric: ours, for example "image_auroc".
        setting: needed only where the table has the number for several.

    Raises:
        ConfigError: a name is nowhere in the ten tables, or there are several settings to choose from.
    """
    rows = load(table)
    for column, name in {"method": method, "category": category, "metric": metric, "setting": setting}.items():
        names = {text for number in TABLES for text in _printed(number)[column]}
        if name is not None and name not in names:
            raise ConfigError(f"the paper's tables: unknown {column} '{name}'." + nearest(name, names))
        rows = rows if name is None else rows[rows[column] == name]
    if len(rows) > 1:
        choices = ", ".join(f"'{choice}'" for choice in rows["setting"])
        raise ConfigError(f"table {table}: {metric} of {method}, {category}: say which setting, {choices}")
    return float(rows["value"].iloc[0]) if len(rows) else None


def title(metric: str) -> str:
    """Return how people read a metric, ours or one of those that only the paper's tables have."""
    return MEASURED[metric].title if metric in MEASURED else TITLES.get(metric, metric)


def switches(setting: str) -> dict[str, bool]:
    """Return what a `setting` of Table 5 turns on: "adapter" -> {"adapter": True, "class_loss": False, ...}.

    Raises:
        ConfigError: the setting names something else.
    """
    names = [] if setting == "none" else setting.split("+")
    for name in names:
        if name not in SWITCHES:
            raise ConfigError(f"table 5: unknown submodule '{name}'." + nearest(name, SWITCHES))
    return {name: name in names for name in SWITCHES}


def means() -> pd.DataFrame:
    """Return every printed mean beside the mean of its rows, which Table 3 weighs by numbers of categories.

    Returns:
        Columns table, method, setting, metric, printed, of_rows, difference (printed - of_rows), tolerance (half a unit
        of the last printed digit, in the mean and in the rows) and follows (the difference is within it).
    """
    keys = ["table", "method", "setting", "metric"]
    table = pd.concat([_printed(number) for number in TABLES]).astype({"table": int})
    table["half_unit"] = 0.5 * 10.0 ** -table["value"].str.partition(".")[2].str.len()
    table["weight"] = table["category"].map(CATEGORIES_IN).fillna(1.0)
    table["value"] = table["value"].astype(float)
    rows = table[table["category"] != MEAN].set_index([*keys, "weight"])[["value", "half_unit"]]
    sums = rows.mul(rows.index.get_level_values("weight"), axis=0).reset_index("weight").groupby(level=keys).sum()
    of_rows = sums[["value", "half_unit"]].div(sums["weight"], axis=0).reset_index()
    both = table[table["category"] == MEAN].merge(of_rows, on=keys, suffixes=("", "_of_rows"))
    difference, tolerance = both["value"] - both["value_of_rows"], both["half_unit"] + both["half_unit_of_rows"]
    both = both[[*keys, "value", "value_of_rows"]].set_axis([*keys, "printed", "of_rows"], axis=1)
    return both.assign(difference=difference, tolerance=tolerance, follows=difference.abs() <= tolerance + 1e-9)


def _printed(table: int) -> pd.DataFrame:
    """Return a table as text, digits as printed. It is cached and must not be written to."""
    if table not in TABLES:
        raise ConfigError(f"the paper has no table {table} of results." + nearest(str(table), map(str, TABLES)))
    return _read(folder() / _file(table))


@lru_cache
def _read(path: Path) -> pd.DataFrame:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(rows.columns) != COLUMNS:
        raise DataError(f"{path}: columns {', '.join(rows.columns)}; expected {', '.join(COLUMNS)}")
    if unknown := set(rows["metric"]) - set(METRICS):
        raise DataError(f"{path}: unknown metric {min(unknown)}; expected {', '.join(METRICS)}")
    return rows.assign(metric=rows["metric"].map(METRICS))


def _file(table: int) -> str:
    return f"table_{table:02d}.csv"


def folder() -> Path:
    """Return where the tables lie: `FOLDER` if set, else ``data/paper`` of the repository, else as installed by pip.

    Raises:
        DataError: they are in none of these.
    """
    places = [BESIDE_PACKAGE / "data" / "paper", *_recorded_by_pip(), BESIDE_PACKAGE / _SHARE]
    if given := os.environ.get(FOLDER):
        places = [Path(given).expanduser().resolve()]
    for place in places:
        if all((place / _file(table)).is_file() for table in TABLES):
            return place
    missing = f"the paper's tables (data/paper of the repository) are not in {', '.join(map(str, places))}"
    raise DataError(f"{missing}: set {FOLDER} to a folder that holds {_file(1)} to {_file(10)}")


def _recorded_by_pip() -> list[Path]:
    """Return where pip's list of files says that the tables are: right for any prefix, but wrong after `--target`."""
    try:
        files = metadata.files("mintad") or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve().parent for file in files if file.match(f"{_SHARE}/{_file(1)}")]

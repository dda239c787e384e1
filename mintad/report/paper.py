"""The paper's printed numbers, Tables 1 to 10, as data: to set beside measured ones.

The tables are CSV files in ``data/paper``, one row a number: table, method, category, setting, metric, value. What each
name means, how we read the ambiguous places, and which printed means do not follow from their rows, is said in
``data/paper/README.md``. Nothing here was measured by us.

    >>> value(4, "Feature Prompt", "mean", "image_auroc")
    0.986
    >>> switches("adapter+class_loss")
    {'adapter': True, 'class_loss': True, 'prior_loss': False, 'class_query': False}
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import pandas as pd

import mintad
from mintad.data import DATASETS
from mintad.data.merged import MERGED
from mintad.errors import ConfigError, DataError, nearest
from mintad.scoring.metrics import MEAN
from mintad.scoring.metrics import METRICS as MEASURED

FOLDER = "MINTAD_PAPER"
"""Environment variable: the folder of the tables, where they are neither in the repository nor installed."""

COLUMNS = ("table", "method", "category", "setting", "metric", "value")
KEY = ("method", "category", "setting", "metric")
"""One number of a table."""

METRICS = {
    "I-AUROC": "image_auroc",
    "AUROC": "image_auroc",
    "P-AUPR": "pixel_ap",
    "Params (M)": "parameters_M",
    "FLOPs (G)": "flops_G",
    "Inference Time (s)": "seconds",
}
"""The paper's name of a metric -> ours, the only one outside this module and ``data/paper``."""
TITLES = {"parameters_M": "parameters, 10⁶", "flops_G": "FLOPs, 10⁹", "seconds": "seconds"}
"""How people read those that are not in `mintad.scoring.METRICS`."""

_TITLES = {
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

_CATEGORIES_IN = {name: len(DATASETS[name].categories) for name in MERGED}
"""Table 3 gives one row a data set; its printed means weigh each by its number of categories."""

VARIANTS = {
    "MINT-AD": "mint_ad",
    "Feature Prompt": "mint_ad",
    "INR-Query": "mint_ad",
    "Image Prompt": "image_prompt",
    "Label Prompt": "label_prompt",
    "INR -> Large MLP": "mlp_query",
    "MLP-Query": "mlp_query",
    "UniAD": "uniad",
    "Vanilla UniAD": "uniad",
    "Query Pool": "query_pool",
    "Class Token": "class_token",
    "Text Prompt": "text_prompt",
}
"""The paper's name of a method -> `model.variant` that builds it. The other methods are baselines."""

PRINTED_PER_CATEGORY = {"mint_ad": "MINT-AD", "uniad": "UniAD"}
"""`model.variant` -> the paper's name, of the variants whose numbers it prints for each category."""

_SHARE = "share/mintad/paper"

SWITCHES = ("adapter", "class_loss", "prior_loss", "class_query")
"""Table 5's columns Adapter, L_CE, L_Prior, Query, by their names in `mintad.config.ModelConfig`."""


def tables() -> dict[int, str]:
    """Number of each table -> what it is about, in our words."""
    return dict(_TITLES)


def load(table: int) -> pd.DataFrame:
    """One table of the paper, one row a number, in the order of print (method by method).

    Args:
        table: 1 to 10.

    Returns:
        Columns `COLUMNS`; `value` is a float in the metric's unit. What the paper leaves blank has no row.

    Raises:
        ConfigError: no such table.
        DataError: the tables are not to be found, or the file is not one of them.
    """
    return _printed(table).astype({"table": int, "value": float})


def value(table: int, method: str, category: str, metric: str, setting: str | None = None) -> float | None:
    """One printed number, or None where this table does not have it.

    Args:
        table: 1 to 10.
        method: as in the table, for example "MINT-AD".
        category: a category's name, a CIFAR-10 split such as "{01234}", or `MEAN` or `ALL`.
        metric: in our words, for example "image_auroc".
        setting: may be left out where the table has the number for one setting only.

    Raises:
        ConfigError: a name that is nowhere in the ten tables (misspelt, most likely), or several settings to choose
            from.
    """
    rows = load(table)
    wanted = {"method": method, "category": category, "metric": metric}
    wanted |= {} if setting is None else {"setting": setting}
    for column, name in wanted.items():
        if name not in set(rows[column]) and name not in _names(column):
            raise ConfigError(f"the paper's tables: unknown {column} '{name}'." + nearest(name, _names(column)))
        rows = rows[rows[column] == name]
    if len(rows) > 1:
        choices = ", ".join(f"'{choice}'" for choice in rows["setting"])
        raise ConfigError(f"table {table}: {metric} of {method}, {category}: say which setting, {choices}")
    return float(rows["value"].iloc[0]) if len(rows) else None


def title(metric: str) -> str:
    """Return how people read a metric, ours or one of those that only the paper's tables have."""
    return MEASURED[metric].title if metric in MEASURED else TITLES.get(metric, metric)


def switches(setting: str) -> dict[str, bool]:
    """What a `setting` of Table 5 turns on: "adapter+class_loss" -> {"adapter": True, ..., "class_query": False}.

    Raises:
        ConfigError: the setting names something else.
    """
    names = [] if setting == "none" else setting.split("+")
    for name in names:
        if name not in SWITCHES:
            raise ConfigError(f"table 5: unknown submodule '{name}'." + nearest(name, SWITCHES))
    return {name: name in names for name in SWITCHES}


def means() -> pd.DataFrame:
    """Every printed mean that has its rows in the same table, beside the mean of those rows.

    The mean is over categories (in Table 3 each data set counts by its number of categories). `tolerance` is the
    most by which rounding, or cutting off, can part the two, judged by the digits printed: 0.001 where rows and mean
    have three. `follows` is False where they differ by more, so that no rounding explains it.

    Returns:
        Columns table, method, setting, metric, printed, of_rows, difference (printed - of_rows), tolerance, follows.
    """
    return pd.DataFrame([row for table in _TITLES for row in _means_of(table)])


def _means_of(table: int) -> Iterator[dict[str, object]]:
    printed = _printed(table)
    for (method, setting, metric), group in printed.groupby(["method", "setting", "metric"], sort=False):
        is_mean = group["category"] == MEAN
        rows = group[~is_mean]
        if not is_mean.any() or rows.empty:
            continue
        mean = group.loc[is_mean, "value"].item()
        weights = rows["category"].map(lambda name: _CATEGORIES_IN.get(name, 1))
        of_rows = (rows["value"].astype(float) * weights).sum() / weights.sum()
        tolerance = _half_unit(mean) + (rows["value"].map(_half_unit) * weights).sum() / weights.sum()
        difference = float(mean) - of_rows
        yield {
            "table": table,
            "method": method,
            "setting": setting,
            "metric": metric,
            "printed": float(mean),
            "of_rows": of_rows,
            "difference": difference,
            "tolerance": tolerance,
            "follows": bool(abs(difference) <= tolerance + 1e-9),
        }


def _half_unit(printed: str) -> float:
    """Half a unit of the last digit: "0.986" -> 0.0005."""
    return 0.5 * 10.0 ** -len(printed.partition(".")[2])


def _printed(table: int) -> pd.DataFrame:
    """A table as text, digits as printed. Cached: not to be written to."""
    if table not in _TITLES:
        raise ConfigError(f"the paper has no table {table} of results." + nearest(str(table), map(str, _TITLES)))
    return _read(folder() / _file(table))


@lru_cache
def _read(path: Path) -> pd.DataFrame:
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(rows.columns) != COLUMNS:
        raise DataError(f"{path}: columns {', '.join(rows.columns)}; expected {', '.join(COLUMNS)}")
    unknown = set(rows["metric"]) - set(METRICS)
    if unknown:
        raise DataError(f"{path}: unknown metric {min(unknown)}; expected {', '.join(METRICS)}")
    return rows.assign(metric=rows["metric"].map(METRICS))


def _names(column: str) -> frozenset[str]:
    return frozenset(name for table in _TITLES for name in _printed(table)[column])


def _file(table: int) -> str:
    return f"table_{table:02d}.csv"


def folder() -> Path:
    """Where the tables lie: `FOLDER` if set, else ``data/paper`` of the repository, else as installed by pip.

    Raises:
        DataError: in none of them.
    """
    given = os.environ.get(FOLDER)
    looked = [Path(given).expanduser().resolve()] if given else [_beside_package() / "data" / "paper", *_installed()]
    for path in looked:
        if all((path / _file(table)).is_file() for table in _TITLES):
            return path
    where = ", ".join(map(str, looked))
    raise DataError(
        f"the paper's tables are not in {where}: they come with the repository as data/paper; "
        f"set {FOLDER} to a folder that holds {_file(1)} to {_file(10)}"
    )


def _beside_package() -> Path:
    """The repository, or where pip installed to."""
    return Path(mintad.__file__).resolve().parent.parent


def _installed() -> list[Path]:
    """Where pip put the wheel's tables: its list of files knows for any prefix, but is wrong after `--target`."""
    try:
        files = metadata.files("mintad") or []
    except metadata.PackageNotFoundError:
        files = []
    recorded = [Path(str(file.locate())).resolve().parent for file in files if file.match(f"{_SHARE}/{_file(1)}")]
    return [*recorded, _beside_package() / _SHARE]

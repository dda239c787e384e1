"""How the baselines of a table were made, in words: in which setting, and what the configuration set besides."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.report.select_runs import TableRuns
from mintad.runs.baselines import options_of

_SETTINGS = {"lesson": "at a reduced size", "paper": "about the published size and length"}


def settings(table_runs: TableRuns) -> str:
    """Say in which settings the baselines on images were trained; '' if there are none."""
    texts = _told(table_runs, _setting)
    named = {text: "those on images" if len(texts) == 1 else ", ".join(names) for text, names in texts.items()}
    return " and ".join(f"{names} in the setting {text}" for text, names in named.items())


def changes(table_runs: TableRuns) -> str:
    """List the options of single baselines and the length of their training that were set; '' if there are none."""
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in _told(table_runs, _changes).items())


def _setting(name: str, config: Config) -> str:
    if not getattr(BASELINES[name], "reads_images", False):
        return ""
    setting = options_of(name, config)["setting"]
    changed = ", but for what is set below" if _changes(name, config) else ""
    return f"'{setting}' ({_SETTINGS[setting]}{changed})"


def _changes(name: str, config: Config) -> str:
    options = config.baselines.options.get(name, {})
    texts = [f"{option} {value}" for option, value in options.items() if option != "setting"]
    if name in BASELINES.trained() and config.baselines.length != 1:
        texts.append(f"{config.baselines.length:g} times the steps")
    return ", ".join(texts)


def _told(table_runs: TableRuns, say: Callable[[str, Config], str]) -> dict[str, list[str]]:
    """Return what is said of the table's baselines, and of which: text -> names, with their settings if they differ."""
    rows = table_runs.rows[["run", "method", "paper_method", "paper_setting"]].drop_duplicates()
    configs = rows["run"].map(table_runs.configs)
    rows = rows[rows["method"].isin(list(BASELINES)) & configs.notna()]
    texts = [say(row.method, table_runs.configs[row.run]) for row in rows.itertuples()]
    rows = rows.assign(text=pd.Series(texts, index=rows.index, dtype=object))
    several = rows.groupby("paper_method")["text"].transform("nunique") > 1
    names = rows["paper_method"].where(~several, rows["paper_method"] + " (" + rows["paper_setting"] + ")")
    told = rows.assign(name=names)[rows["text"] != ""].groupby("text", sort=False)["name"]
    return {text: list(dict.fromkeys(group)) for text, group in told}

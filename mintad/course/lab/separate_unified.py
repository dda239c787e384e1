"""One model a class against one for all: what the paper prints, and what was measured here (notebook 13)."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mintad.baselines import BASELINES
from mintad.course.lab.shipped import RESULTS, shipped_results
from mintad.report import paper

PAPER = "the paper: MVTec AD"
TITLES = {"mint_ad": "MINT-AD", "uniad": "UniAD", "mint_ad, Eq. 7": "MINT-AD", "uniad, Eq. 7": "UniAD"}
DATA = {"elpv": "ELPV", "real8": "real-8", "mini": "mini"}
TOLD = {"blind": "unified", "told": "separate"}
"""What `class_knowledge` calls the settings of methods of which "told" is one model a class."""
SOURCES = [PAPER, "here: real-8", "here: ELPV", "here: mini"]
"""The order of the sources; others come last."""
COLUMNS = ["source", "method", "separate", "unified", "seeds"]


def separate_and_unified() -> pd.DataFrame:
    """Return the image AUROC of every method with one model a class, told the class, and with one for all.

    They are means over categories. Ours are read from every ``other_methods_*.csv`` of `RESULTS`, from
    ``class_knowledge_intervals.csv`` and from Table 1's sweep, so that a new row appears here as soon as its file has
    it. A setting that was not measured is NaN.

    Returns:
        Columns source ("the paper: MVTec AD", "here: mini", …), method, separate, unified, seeds (the fewer of the two
        settings; of the paper NaN, because it does not say).
    """
    rows = pd.DataFrame([*_printed(), *_of_class_knowledge(), *_of_sweeps(), *_of_other_methods()], columns=COLUMNS)
    complete = rows[["separate", "unified"]].notna().sum(axis=1)
    best = rows.assign(complete=complete).sort_values(["complete", "seeds"], kind="stable")
    kept = best.drop_duplicates(["source", "method"], keep="last").drop(columns="complete")
    place = kept["source"].map({source: n for n, source in enumerate(SOURCES)}).fillna(len(SOURCES))
    return kept.assign(place=place).sort_index().sort_values("place", kind="stable", ignore_index=True)[COLUMNS]


def _printed() -> Iterator[tuple]:
    table = paper.load(1)
    for method, rows in table[table["category"] == "mean"].groupby("method", sort=False):
        value = rows.set_index("setting")["value"]
        yield PAPER, method, value["separate"], value["unified"], None


def _of_class_knowledge() -> Iterator[tuple]:
    """Yield densities, memories and UniAD, whose "told" is one model a class; MINT-AD's is one model for all."""
    table = shipped_results("class_knowledge_intervals")
    table = table[table["setting"].isin(TOLD) & table["method"].isin(["uniad, Eq. 7", *BASELINES])]
    for (data, method), rows in table.groupby(["data", "method"], sort=False):
        value = rows.set_index("setting")["image_auroc"].rename(TOLD)
        yield f"here: {data}", title_of(method), value.get("separate"), value.get("unified"), rows["seeds"].min()


def _of_sweeps() -> Iterator[tuple]:
    tables = {"separate": shipped_results("table1_elpv"), "unified": shipped_results("table4_elpv")}
    for method in ("mint_ad", "uniad"):
        found = {name: _means(table, method, name) for name, table in tables.items()}
        yield _row("here: ELPV", method, found)


def _of_other_methods() -> Iterator[tuple]:
    for file in sorted(RESULTS.glob("other_methods_*.csv")):
        data, table = file.stem.removeprefix("other_methods_"), shipped_results(file.stem)
        for method in dict.fromkeys(table["method"]):
            found = {setting: _means(table, method, setting) for setting in ("separate", "unified")}
            yield _row(f"here: {DATA.get(data, data)}", method, found)


def _means(table: pd.DataFrame, method: str, setting: str) -> pd.Series:
    chosen = table[(table["method"] == method) & (table["setting"] == setting)]
    return chosen[(chosen["category"] == "mean") & (chosen["metric"] == "image_auroc")]["value"]


def _row(source: str, method: str, found: dict[str, pd.Series]) -> tuple:
    measured = [len(values) for values in found.values() if len(values)]
    means = [values.mean() if len(values) else None for values in (found["separate"], found["unified"])]
    return source, title_of(method), *means, min(measured, default=0)


def title_of(method: str) -> str:
    """Return a method's name as the literature writes it; a name that nobody knows stays as it is."""
    return TITLES.get(method) or (BASELINES[method].title if method in BASELINES else method)


def arrows(table: pd.DataFrame) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """Return source -> method -> (separate, unified), None where not measured, as `plots.roads.falls` takes it."""
    numbers = table.astype({"separate": object, "unified": object}).where(table.notna(), None)
    panels: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for row in numbers.itertuples():
        panels.setdefault(row.source, {})[row.method] = (row.separate, row.unified)
    return panels


def repairs() -> tuple[dict[str, dict], dict[str, dict[str, float]]]:
    """Return what knowing the class changes, image AUROC with 95 % intervals over test images and seeds.

    Returns:
        Data -> method -> ([told minus no class], low, high); data -> method -> class from the head minus no class.
    """
    table = shipped_results("class_knowledge_intervals")
    told: dict[str, dict] = {data: {} for data in ("real-8", "ELPV", "mini")}
    head: dict[str, dict[str, float]] = {data: {} for data in told}
    for row in table[table["setting"].isin(["told - blind", "head - blind"])].itertuples():
        if "one scale" in row.method:  # an ablation of the sharp prior
            continue
        name = title_of(row.method).replace("sharp_prior", "sharp prior")
        if row.setting == "told - blind":
            told[row.data][name] = ([row.image_auroc], row.low, row.high)
        else:
            head[row.data][name] = row.image_auroc
    return told, head

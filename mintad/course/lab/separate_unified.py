"""One model a class against one for all: what the paper prints, and what was measured here (notebook 13)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from mintad.baselines import BASELINES
from mintad.baselines.training import TrainedBaseline
from mintad.course.lab.shipped import RESULTS, shipped_results
from mintad.report import paper
from mintad.report.statistics import compare
from mintad.scoring.metrics import MEAN, POOLED

PAPER = "the paper: MVTec AD"
TITLES = {"mint_ad": "MINT-AD", "uniad": "UniAD", "mint_ad, Eq. 7": "MINT-AD", "uniad, Eq. 7": "UniAD"}
DATA = {"elpv": "ELPV", "real8": "real-8", "mini": "mini"}
TOLD = {"blind": "unified", "told": "separate"}
"""What `class_knowledge` calls the settings of methods of which "told" is one model a class."""
IN_COMPANY = {
    ("mint_ad", "mint_ad+gaussian"): "sharp prior",
    ("mint_ad", "mint_ad"): "MINT-AD, recentred",
    ("uniad", "uniad"): "UniAD, recentred",
    ("mint_ad", "nearest"): "nearest",
}
"""(variant that was trained, method) of `company_real` -> its name here."""
SOURCES = [PAPER, "here: real-8", "here: ELPV", "here: mini"]
"""The order of the sources; others come last."""
COLUMNS = ["source", "method", "separate", "unified", "seeds", "low", "high", "steps"]


def separate_and_unified() -> pd.DataFrame:
    """Return the image AUROC of every method with one model a class, told the class, and with one for all.

    They are means over categories. Ours are read from ``class_knowledge_intervals.csv``, ``company_real.csv``, Table
    1's sweep, and every ``other_methods_*.csv`` and ``shared_steps_*.csv`` of `RESULTS`, so that a new row appears
    here as soon as its file has it. Where it was measured, all models of one class together have as many steps as the
    one for all. A setting that was not measured is NaN.

    Returns:
        Columns source ("the paper: MVTec AD", "here: mini", …), method, separate, unified, seeds (the fewer of the two
        settings; of the paper NaN, because it does not say), low and high (95 % interval of unified - separate, over
        categories and seeds, those of `class_knowledge` over test images and seeds; else NaN), steps ("shared", or
        "all" where a model of one class has as many as the one for all; none where nothing is trained).
    """
    rows = pd.DataFrame(
        [*_printed(), *_of_class_knowledge(), *_of_company(), *_of_sweeps(), *_of_other_methods()], columns=COLUMNS
    )
    complete = rows[["separate", "unified"]].notna().sum(axis=1)
    best = rows.assign(complete=complete).sort_values(["complete", "seeds"], kind="stable")
    kept = best.drop_duplicates(["source", "method"], keep="last").drop(columns="complete")
    place = kept["source"].map({source: n for n, source in enumerate(SOURCES)}).fillna(len(SOURCES))
    return kept.assign(place=place).sort_index().sort_values("place", kind="stable", ignore_index=True)[COLUMNS]


def _printed() -> Iterator[tuple]:
    table = paper.load(1)
    for method, rows in table[table["category"] == "mean"].groupby("method", sort=False):
        value = rows.set_index("setting")["value"]
        yield PAPER, method, value["separate"], value["unified"], None, math.nan, math.nan, ""


def _of_class_knowledge() -> Iterator[tuple]:
    """Yield densities, memories and UniAD, whose "told" is one model a class; MINT-AD's is one model for all."""
    table = shipped_results("class_knowledge_intervals")
    table = table[table["setting"].isin(TOLD) & table["method"].isin(["uniad, Eq. 7", *BASELINES])]
    for (data, method), rows in table.groupby(["data", "method"], sort=False):
        value = rows.set_index("setting")["image_auroc"].rename(TOLD)
        settings = value.get("separate"), value.get("unified")
        yield f"here: {data}", title_of(method), *settings, rows["seeds"].min(), *_of_images(data, method), ""


def _of_images(data: str, method: str) -> tuple[float, float]:
    """Return the 95 % interval of unified - separate over test images and seeds."""
    table = shipped_results("class_knowledge_intervals")
    where = (table["data"] == data) & (table["method"] == method) & (table["setting"] == "told - blind")
    low, high = table.loc[where, ["low", "high"]].iloc[0] if where.any() else (math.nan, math.nan)
    return -float(high), -float(low)


def _of_company() -> Iterator[tuple]:
    """Yield the methods of `IN_COMPANY`: eight real categories in models of their own, and in one model."""
    table = shipped_results("company_real")
    sizes = table[~table["category"].isin([MEAN, POOLED])].groupby("company")["category"].nunique()
    size = table["company"].map(sizes)
    for (variant, method), name in IN_COMPANY.items():
        rows = table[(table["variant"] == variant) & (table["method"] == method) & (table["metric"] == "image_auroc")]
        rows = rows[~rows["category"].isin([MEAN, POOLED])]
        found = {}
        for setting, chosen in (("separate", size == 1), ("unified", size == sizes.max())):
            values = rows[chosen.reindex(rows.index)].pivot(index="category", columns="seed", values="value")
            found[setting] = pd.concat([values, values.mean().to_frame(MEAN).T])
        yield _row("here: real-8", name, found, "" if method == "nearest" else "shared")


def _of_sweeps() -> Iterator[tuple]:
    tables = {"separate": shipped_results("table1_elpv"), "unified": shipped_results("table4_elpv")}
    for method in ("mint_ad", "uniad"):
        found = {name: _rows_of(table, method, name) for name, table in tables.items()}
        yield _row("here: ELPV", method, found, "shared")


def _of_other_methods() -> Iterator[tuple]:
    for file in sorted(RESULTS.glob("other_methods_*.csv")):
        data, table = file.stem.removeprefix("other_methods_"), shipped_results(file.stem)
        shared = RESULTS / f"shared_steps_{data}.csv"
        of_few_steps = shipped_results(shared.stem) if shared.is_file() else table.iloc[:0]
        for method in dict.fromkeys(table["method"]):
            few = _rows_of(of_few_steps, method, "separate")
            found = {
                "separate": _rows_of(table, method, "separate") if few.empty else few,
                "unified": _rows_of(table, method, "unified"),
            }
            trains = method in BASELINES and issubclass(BASELINES[method], TrainedBaseline)
            steps = "" if not trains or found["separate"].empty else "all" if few.empty else "shared"
            yield _row(f"here: {DATA.get(data, data)}", method, found, steps)


def _rows_of(table: pd.DataFrame, method: str, setting: str) -> pd.DataFrame:
    """Return image AUROC as category by seed, the mean over categories among the categories; empty if not measured."""
    chosen = table[(table["method"] == method) & (table["setting"] == setting) & (table["metric"] == "image_auroc")]
    return chosen[chosen["category"] != POOLED].pivot(index="category", columns="seed", values="value")


def _row(source: str, method: str, found: dict[str, pd.DataFrame], steps: str) -> tuple:
    """Return a row of both settings; the interval needs figures of the same categories."""
    measured = [table.shape[1] for table in found.values() if not table.empty]
    separate, unified = (found[name].reindex(index=[MEAN]).mean(axis=1).get(MEAN) for name in ("separate", "unified"))
    low, high = _interval(*(found[name].drop(index=MEAN, errors="ignore") for name in ("separate", "unified")))
    return source, title_of(method), separate, unified, min(measured, default=0), low, high, steps


def _interval(separate_CS: pd.DataFrame, unified_CS: pd.DataFrame) -> tuple[float, float]:
    """Return the 95 % interval of unified - separate over categories and seeds; two categories say nothing, so NaN."""
    if len(separate_CS) < 3 or not separate_CS.index.equals(unified_CS.index):
        return math.nan, math.nan
    common = separate_CS.columns.intersection(unified_CS.columns)
    paired = len(common) > 0
    sides = (unified_CS[common], separate_CS[common]) if paired else (unified_CS, separate_CS)
    test = compare(*sides, same_seeds=paired)
    return test.low, test.high


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

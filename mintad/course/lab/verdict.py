"""The paper's claims, and what the shipped results say about each (notebook 14)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mintad import plots
from mintad.course.lab.claims import CLAIMS, METRIC, Cell, Claim, Side, table4
from mintad.course.lab.shipped import shipped_results
from mintad.plots.comparison import dot_plot
from mintad.report import paper
from mintad.report.statistics import compare
from mintad.scoring.metrics import MEAN, POOLED

OVER_CATEGORIES, OVER_IMAGES = "categories and seeds", "test images and seeds"


def claims() -> pd.DataFrame:
    """Return what the paper says, where, and its difference of mean image AUROC; a row for each claim."""
    rows = [{"the paper says": c.says, "where": c.where, "the paper's difference": _difference(c)} for c in CLAIMS]
    return pd.DataFrame(rows)


def effects() -> pd.DataFrame:
    """Return a row for each test of each claim: its difference of image AUROC with a 95 % interval.

    Columns: claim, data, what, seeds, over (what the interval is over), difference, low, high, the standard deviations
    of the difference over seeds and over categories (NaN where only the interval is shipped), and printed, the paper's
    difference on its own data.

    Raises:
        DataError: the shipped results are not there.
        ValueError: a file has no such rows.
    """
    return pd.DataFrame([row for claim in CLAIMS for row in _rows(claim)])


def _rows(claim: Claim) -> Iterator[dict[str, object]]:
    printed = _difference(claim)
    for test in claim.tests:
        if test.second is None:
            (row,) = _select(*test.first).to_dict("records")
            value = row.get("difference", row.get(METRIC))
            measured = {"seeds": int(row["seeds"]), "over": OVER_IMAGES, "difference": value}
            measured |= {"low": row["low"], "high": row["high"]}
        else:
            sides = [_by_category(side) for side in (test.first, test.second)]
            common = sides[0].index.intersection(sides[1].index)
            first, second = (side.loc[common].dropna(axis=1) for side in sides)
            paired = compare(first, second, same_seeds=list(first.columns) == list(second.columns))
            measured = {"seeds": min(first.shape[1], second.shape[1]), "over": OVER_CATEGORIES}
            measured |= {name: getattr(paired, name) for name in ("difference", "low", "high")}
            if paired.same_seeds:
                by_CS = first - second
                measured |= {"std_seeds": by_CS.mean().std(), "std_categories": by_CS.mean(axis=1).std()}
        yield {"claim": claim.name, "data": test.data, "what": test.what, **measured, "printed": printed}


def _difference(claim: Claim) -> float:
    return sum(map(_printed, claim.plus)) - sum(map(_printed, claim.minus))


def _printed(cell: Cell) -> float:
    table, method, setting = cell
    rows = paper.load(table)
    chosen = (rows["method"] == method) & (rows["setting"] == setting) & (rows["category"] == MEAN)
    return float(rows.loc[chosen & (rows["metric"] == METRIC), "value"].item())


def _select(file: str, where: dict[str, str | tuple[str, ...]]) -> pd.DataFrame:
    rows = shipped_results(file)
    for column, value in where.items():
        rows = rows[rows[column].astype(str).isin([value] if isinstance(value, str) else value)]
    if rows.empty:
        raise ValueError(f"data/results/{file}.csv has no rows with {where}")
    return rows


def _by_category(side: Side) -> pd.DataFrame:
    """Return image AUROC as category by seed; MINT-AD's lead over UniAD where both are there and neither is named."""
    rows = _select(*side)
    rows = rows[(rows["metric"] == METRIC) & ~rows["category"].isin([MEAN, POOLED])]

    def table(part: pd.DataFrame) -> pd.DataFrame:
        return part.pivot(index="category", columns="seed", values="value")

    if "variant" in rows and rows["variant"].nunique() > 1:
        rows = rows[rows["method"] == rows["variant"]]
        return table(rows[rows["variant"] == "mint_ad"]) - table(rows[rows["variant"] == "uniad"])
    return table(rows)


def mask_and_model() -> pd.DataFrame:
    """Return mini's mean image AUROC of both models (rows) with and without the neighbour mask (columns), 3 seeds."""
    sides = {
        ("UniAD", "mask"): table4("uniad"),
        ("UniAD", "no mask"): ("neighbour_mask", {"variant": "uniad"}),
        ("MINT-AD", "mask"): ("neighbour_mask", {"variant": "mint_ad"}),
        ("MINT-AD", "no mask"): table4("mint_ad"),
    }
    values = pd.Series({key: float(_by_category(side).to_numpy().mean()) for key, side in sides.items()})
    return values.unstack(sort=False)


def forest(table: pd.DataFrame, *, smallest: float, title: str) -> go.Figure:
    """Draw every test as a dot with its interval, the paper's difference as a diamond, and a band of ± `smallest`."""
    names = [f"{claim}: {what} · {data}" for claim, data, what in table[["claim", "data", "what"]].to_numpy()]
    bounds = table[["difference", "low", "high"]].to_numpy()
    rows = {name: ([value], low, high) for name, (value, low, high) in zip(names, bounds, strict=True)}
    firsts = table.drop_duplicates("claim").index
    marks = {names[n]: table["printed"][n] for n in firsts}
    figure = dot_plot({"": rows}, title=title, unit="difference of mean image AUROC",
                      marks={"": marks}, mark_name="the paper's, on its data")  # fmt: skip
    figure.add_vrect(x0=-smallest, x1=smallest, fillcolor=plots.theme.FAINT, opacity=0.35, line_width=0, layer="below")
    figure.add_vline(x=0, line={"dash": "dot", "color": plots.theme.INK})
    figure.update_layout(height=150 + 26 * len(rows))
    return figure


def by_claim(table: pd.DataFrame, verdicts: Sequence[str]) -> pd.DataFrame:
    """Return one row a claim: what the paper says and where, the verdict on each test, and what would change it."""
    rows = []
    for claim in CLAIMS:
        chosen = (table["claim"] == claim.name).to_numpy()
        found = [f"{data}: {v}" for data, v in zip(table["data"][chosen], np.asarray(verdicts)[chosen], strict=True)]
        rows.append({"the paper says": claim.says, "where": claim.where, "here": "; ".join(dict.fromkeys(found)),
                     "what would change our mind": claim.change})  # fmt: skip
    return pd.DataFrame(rows)

"""The cost of sharing one model: what categories lose when 2, 4 or 8 of them share a model (notebook 05)."""

from __future__ import annotations

import pandas as pd

from mintad.report.statistics import compare
from mintad.scoring.metrics import MEAN, POOLED

METHODS = {
    ("mint_ad", "mint_ad+gaussian"): "sharp prior",
    ("uniad", "uniad+gaussian"): "sharp prior, no class",
    ("mint_ad", "mint_ad"): "MINT-AD",
    ("uniad", "uniad"): "UniAD",
    ("mint_ad", "padim"): "PaDiM",
    ("mint_ad", "nearest"): "nearest token",
}
"""(variant that was trained, method) -> name; MINT-AD and UniAD are Eq. 7 of recentred features, UniAD's network in our
recipe. Baselines are the same beside either variant."""


def changes_in_company(table: pd.DataFrame) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return what image AUROC changes when N categories share a model, against each category in a model of its own.

    Args:
        table: rows of trainings on sets of categories, as `benchmarks/keep_sweep.py` writes them: the columns company
            (name of the set), variant, method, seed, category, metric, value. Each category is in one set of each size.

    Returns:
        Method -> N -> (mean change over the categories, 95 % interval over categories and seeds, see
        `mintad.report.statistics.compare`). N = 1 is 0 by definition, without an interval.

    Raises:
        ValueError: a category or seed is missing in the sets of a size.
    """
    rows = table[(table["metric"] == "image_auroc") & ~table["category"].isin([MEAN, POOLED])]
    sizes = rows.groupby("company")["category"].nunique()
    curves = {}
    for (variant, method), name in METHODS.items():
        chosen = rows[(rows["variant"] == variant) & (rows["method"] == method)]
        values = {
            size: part.pivot(index="category", columns="seed", values="value")
            for size, part in chosen.groupby(chosen["company"].map(sizes))
        }
        if 1 not in values:
            continue
        nan = float("nan")
        curves[name] = {1: (0.0, nan, nan)}
        for size, together in values.items():
            if size > 1:
                test = compare(together.reindex_like(values[1]), values[1], same_seeds=True)
                curves[name][int(size)] = (test.difference, test.low, test.high)
    return curves

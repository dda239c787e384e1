"""Measure every model of the toy on every shape, and scikit-learn's detectors on the same points.

    python benchmarks/toy_table.py data/results/toy_measures.csv --seeds 5

The CSV has one row per shape, model and measure, with the mean, its 95 % interval, and the smallest and largest value
over the seeds. The file toy_context.csv in the same folder has, for each shape, the best scikit-learn detector and the
best network, by the mean AUROC between the classes (with one class: over the window). The column `told_the_class` says
whether they are given the class.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import typer
from provenance import write

from toy import MODELS, SHAPES, compare
from toy.measures import interval


def main(csv: Path, seeds: int = 5, shapes: str = ",".join(SHAPES)) -> None:
    """Measure every model on every shape and write both tables, after each shape."""
    rows, winners = [], []
    for shape in shapes.split(","):
        began = time.perf_counter()
        table = compare(shape, seeds=seeds, context=True).table
        for (model, measure), part in table.groupby(["model", "measure"], sort=False):
            values = part["value"].dropna()
            if len(values):
                spread = interval(values) | {"least": values.min(), "most": values.max()}
                rounded = {name: _5(value) for name, value in spread.items()}
                rows.append({"shape": shape, "model": model, "measure": measure} | rounded)
        winners += _winners(shape, table)
        print(f"{shape}: {time.perf_counter() - began:.0f} s", flush=True)
        write(csv, rows)
        write(csv.with_name("toy_context.csv"), winners)
    print(pd.DataFrame(winners).to_string(index=False))


def _winners(shape: str, table: pd.DataFrame) -> list[dict]:
    """Return the best network and the best scikit-learn detector, without and with the class label."""
    winners = []
    for labelled in (False, True):
        networks = {name for name, kind in MODELS.items() if kind.needs_label == labelled}
        measure = (
            "auroc_interclass"
            if table.query("measure == 'auroc_interclass'")["value"].notna().any()
            else "auroc_uniform"
        )
        means = table[table["measure"] == measure].groupby("model")["value"].mean()
        network = means[[name for name in means.index if name in networks]]
        context = means[[name for name in means.index if name not in MODELS and name.endswith("_separate") == labelled]]
        winners.append(
            {
                "shape": shape,
                "measure": measure,
                "told_the_class": labelled,
                "best_network": network.idxmax(),
                "network": _5(network.max()),
                "best_sklearn": context.idxmax(),
                "sklearn": _5(context.max()),
                "network_minus_sklearn": _5(network.max() - context.max()),
            }
        )
    return winners


def _5(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


if __name__ == "__main__":
    typer.run(main)

"""All shapes, models and measures of the toy, and scikit-learn's detectors on the same points.

    python benchmarks/toy_table.py data/results/toy_measures.csv --seeds 5

Writes a line for each (shape, model, measure) with mean, 95 % interval, and smallest and largest seed, and beside it
toy_context.csv: on each shape the best scikit-learn detector against the best network, by AUROC between the classes
(with one class: over the window), mean over the seeds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
from provenance import write

from toy import MODELS, SHAPES, compare
from toy.measures import interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    arguments = parser.parse_args()
    rows, winners = [], []
    for shape in arguments.shapes.split(","):
        began = time.perf_counter()
        table = compare(shape, seeds=arguments.seeds, context=True).table
        for (model, measure), part in table.groupby(["model", "measure"], sort=False):
            values = part["value"].dropna()
            if len(values):
                found = interval(values) | {"least": values.min(), "most": values.max()}
                rows.append({"shape": shape, "model": model, "measure": measure} | {k: _5(v) for k, v in found.items()})
        winners += _winners(shape, table)
        print(f"{shape}: {time.perf_counter() - began:.0f} s", flush=True)
        write(arguments.csv, rows)
        write(arguments.csv.with_name("toy_context.csv"), winners)
    print(pd.DataFrame(winners).to_string(index=False))


def _winners(shape: str, table: pd.DataFrame) -> list[dict]:
    """The best network and the best scikit-learn detector of both kinds: told the class or not."""
    found = []
    for told in (False, True):
        kind = {"inr_unlabelled", "ae", "dae"} if not told else set(MODELS) - {"inr_unlabelled", "ae", "dae"}
        measure = (
            "auroc_interclass"
            if table.query("measure == 'auroc_interclass'")["value"].notna().any()
            else "auroc_uniform"
        )
        means = table[table["measure"] == measure].groupby("model")["value"].mean()
        network = means[[name for name in means.index if name in kind]]
        context = means[[name for name in means.index if name not in MODELS and name.endswith("_separate") == told]]
        found.append(
            {
                "shape": shape,
                "measure": measure,
                "told_the_class": told,
                "best_network": network.idxmax(),
                "network": _5(network.max()),
                "best_sklearn": context.idxmax(),
                "sklearn": _5(context.max()),
                "network_minus_sklearn": _5(network.max() - context.max()),
            }
        )
    return found


def _5(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


if __name__ == "__main__":
    main()

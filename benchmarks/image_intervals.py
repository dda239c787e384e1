"""How sure is a difference where there are few categories? A bootstrap over test images and seeds of sweeps' runs.

    python benchmarks/image_intervals.py data/results/elpv_intervals.csv mint_ad \\
        runs/sweeps/table4 runs/sweeps/table5 --where data=elpv

`mintad report` draws categories, which needs more than ELPV's two. Here every draw takes test images with replacement
within category and label, the same for both models, and seeds with replacement; both models of a seed have the
same held-out images and batches. What it cannot see is other categories; with 3 seeds their part is too small by about
sqrt(2/3), and the intervals are not adjusted for their number.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from provenance import write

from mintad.course.lab.study import paired_draws
from mintad.errors import DataError
from mintad.runs.directory import Run
from mintad.scoring.resampling import interval
from mintad.sweep import collect


def find(folders: list[Path], conditions: dict[str, str]) -> dict[str, dict[int, Run]]:
    """Name -> seed -> run: a variant, and with changes of the configuration their label, too.

    Raises:
        DataError: two runs have the same name and seed.
    """
    found: dict[str, dict[int, Run]] = {}
    for folder in folders:
        runs = collect(folder).fillna("")
        for _, run in runs[runs.metric == "image_auroc"].drop_duplicates("run").iterrows():
            if all(str(run.get(key, "")) == value for key, value in conditions.items()):
                name = " ".join(str(run[key]) for key in ("variant", "overrides") if run.get(key, ""))
                seeds, seed, path = found.setdefault(name, {}), int(run["seed"]), folder / run["run"]
                if seed in seeds:
                    raise DataError(f"{name}, seed {seed}, is both {seeds[seed].path} and {path}; choose with --where")
                seeds[seed] = Run(path)
    return found


def difference(one: dict[int, Run], other: dict[int, Run], draws: int) -> dict[str, Any]:
    """Image AUROC of `one` minus `other`, of their common seeds, with its interval.

    Raises:
        DataError: no common seed, or other test images.
    """
    seeds = sorted(set(one) & set(other))
    if not seeds:
        raise DataError("no common seed")
    values, drawn = [], []
    for seed in seeds:
        value, draw = paired_draws({"one": one[seed].scores(), "other": other[seed].scores()}, draws=draws)
        values.append(value["one"] - value["other"])
        drawn.append(draw["one"] - draw["other"])
    chosen = np.random.default_rng(1).integers(len(seeds), size=(len(seeds), draws))
    low, high = interval(np.stack(drawn)[chosen, np.arange(draws)].mean(axis=0))
    numbers = {"difference": float(np.mean(values)), "low": low, "high": high}
    return {"seeds": len(seeds), **{name: round(number, 5) for name, number in numbers.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("reference", help="the model from which the others are subtracted, such as mint_ad")
    parser.add_argument("sweeps", type=Path, nargs="+", help="folders of sweeps")
    parser.add_argument("--where", action="append", default=[], metavar="PARAMETER=VALUE", help="only these runs")
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()
    conditions = dict(condition.split("=", 1) for condition in arguments.where)
    found = find(arguments.sweeps, conditions)
    if arguments.reference not in found:
        parser.error(f"no finished run of {arguments.reference!r}; there are {', '.join(found) or 'none'}")
    rows = []
    for name, runs in found.items():
        if name != arguments.reference:
            one = difference(found[arguments.reference], runs, arguments.draws)
            rows.append({"metric": "image_auroc", "one": arguments.reference, "other": name, **one})
            print(rows[-1], flush=True)
            write(arguments.csv, rows)


if __name__ == "__main__":
    main()

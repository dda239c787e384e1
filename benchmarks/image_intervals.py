"""Estimate how certain a difference between models is where there are few categories, by a bootstrap over test images.

    python benchmarks/image_intervals.py data/results/elpv_intervals.csv mint_ad \\
        runs/sweeps/table4 runs/sweeps/table5 --where data=elpv

`mintad report` resamples categories, and ELPV has only two. Here every draw takes test images with replacement, within
category and label and the same for both models, and seeds with replacement. Both models of a seed have the same
held-out images and batches.

The intervals say nothing about other categories. With 3 seeds, the part of their width that comes from seeds is too
small by a factor of about sqrt(2/3). They are not adjusted for their number.
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
from mintad.scoring.resampling import interval, mean_over_seeds
from mintad.sweep import collect


def find(folders: list[Path], conditions: dict[str, str]) -> dict[str, dict[int, Run]]:
    """Return the finished runs of some sweeps: name -> seed -> run.

    The name is the variant, followed by the label of its overrides if it has some.

    Raises:
        DataError: two runs have the same name and seed.
    """
    models: dict[str, dict[int, Run]] = {}
    for folder in folders:
        runs = collect(folder).fillna("")
        for _, run in runs[runs.metric == "image_auroc"].drop_duplicates("run").iterrows():
            if all(str(run.get(key, "")) == value for key, value in conditions.items()):
                name = " ".join(str(run[key]) for key in ("variant", "overrides") if run.get(key, ""))
                seeds, seed, path = models.setdefault(name, {}), int(run["seed"]), folder / run["run"]
                if seed in seeds:
                    raise DataError(f"{name}, seed {seed}, is both {seeds[seed].path} and {path}; choose with --where")
                seeds[seed] = Run(path)
    return models


def difference(first: dict[int, Run], second: dict[int, Run], draws: int) -> dict[str, Any]:
    """Return the image AUROC of `first` minus that of `second`, over their common seeds, with its interval.

    Args:
        first, second: seed -> run.
        draws: of the bootstrap.

    Raises:
        DataError: no common seed, or the test images differ.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        raise DataError("no common seed")
    differences, resampled = [], []
    for seed in seeds:
        scores = {"first": first[seed].scores(), "second": second[seed].scores()}
        aurocs, drawn_aurocs = paired_draws(scores, draws=draws)
        differences.append(aurocs["first"] - aurocs["second"])
        resampled.append(drawn_aurocs["first"] - drawn_aurocs["second"])
    low, high = interval(mean_over_seeds(resampled))
    numbers = {"difference": float(np.mean(differences)), "low": low, "high": high}
    return {"seeds": len(seeds), **{name: round(number, 5) for name, number in numbers.items()}}


def main() -> None:
    """Compare every model of the sweeps with the reference, and write the CSV after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("reference", help="the model from which the others are subtracted, such as mint_ad")
    parser.add_argument("sweeps", type=Path, nargs="+", help="folders of sweeps")
    parser.add_argument("--where", action="append", default=[], metavar="PARAMETER=VALUE", help="only these runs")
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()
    conditions = dict(condition.split("=", 1) for condition in arguments.where)
    models = find(arguments.sweeps, conditions)
    if arguments.reference not in models:
        parser.error(f"no finished run of {arguments.reference!r}; there are {', '.join(models) or 'none'}")
    rows = []
    for name, runs in models.items():
        if name != arguments.reference:
            numbers = difference(models[arguments.reference], runs, arguments.draws)
            rows.append({"metric": "image_auroc", "one": arguments.reference, "other": name, **numbers})
            print(rows[-1], flush=True)
            write(arguments.csv, rows)


if __name__ == "__main__":
    main()

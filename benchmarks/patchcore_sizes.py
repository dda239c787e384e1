"""Does PatchCore's result depend on the bounds of its coreset? Fit it with several, and write image AUROC and seconds.

    python benchmarks/patchcore_sizes.py data/results/patchcore_sizes.csv --data elpv \\
        --set 'data.options={grades: development}' --limits 2500,5000,10000,20000 --candidates 100000

Repeat the command with other data: rows are added to the table, and those of the same data and bounds are replaced. The
bounds in use were set by time and memory, see `mintad.baselines.patchcore`, and not by these figures.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

from provenance import write

from mintad.cli import resolve_config
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import evaluate_baseline
from mintad.runs.prepare import prepare_data
from mintad.scoring.metrics import value_of

KEYS = ["data", "candidates", "limit", "seed"]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--name", help="what the rows call the data; default: --data")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--limits", default="2500,5000,10000,20000", help="comma-separated")
    parser.add_argument("--candidates", default="100000", help="comma-separated")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Return comma-separated numbers."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Fit and evaluate PatchCore with every pair of bounds and every seed, and write the table after each."""
    arguments = parse_arguments()
    base = resolve_config(None, None, arguments.set, arguments.data, arguments.root)
    rows = read_commented_csv(arguments.csv)[1].to_dict("records") if arguments.csv.exists() else []
    for seed in numbers(arguments.seeds):
        config = base.override(**{"train.seed": seed})
        data = prepare_data(config, progress=False)
        for candidates, limit in itertools.product(numbers(arguments.candidates), numbers(arguments.limits)):
            began = time.perf_counter()
            options = {"candidates": candidates, "limit": limit}
            results = evaluate_baseline("patchcore", data, config, options=options).results
            row = dict(zip(KEYS, (arguments.name or arguments.data, candidates, limit, seed), strict=True))
            rows = [other for other in rows if any(other[key] != row[key] for key in KEYS)]
            auroc, seconds = value_of(results, "image_auroc"), time.perf_counter() - began
            rows.append(row | {"image_auroc": round(auroc, 5), "seconds": round(seconds, 1)})
            write(arguments.csv, rows)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()

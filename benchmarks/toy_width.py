"""Fig. 7 measured: what more units take from the inter-class region, and what they do to the boundary.

    python benchmarks/toy_width.py data/results/toy_width.csv --seeds 5

A line for each (width, model, measure) on four discs, with mean and 95 % interval over the seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from provenance import write

from toy.measures import interval
from toy.sweeps import sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    table = sweep("blobs", "width", [8, 32, 64, 128, 256], ["dae", "inr"], classes=4, seeds=arguments.seeds)
    rows = []
    for (width, model, measure), part in table.groupby(["setting_value", "model", "measure"], sort=False)["value"]:
        found = {key: round(value, 5) for key, value in interval(part).items() if value is not None}
        rows.append({"width": width, "model": model, "measure": measure} | found)
    write(arguments.csv, rows)


if __name__ == "__main__":
    main()

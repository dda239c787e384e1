"""Measure how more units change the accepted share between classes and the raggedness of the boundary (Fig. 7).

    python benchmarks/toy_width.py data/results/toy_width.csv --seeds 5

The shape is four discs. The CSV has one row per width, model and measure, with the mean and its 95 % interval over the
seeds.
"""

from __future__ import annotations

from pathlib import Path

import typer
from provenance import write

from toy.measures import interval
from toy.sweeps import sweep


def main(csv: Path, seeds: int = 5) -> None:
    """Vary the width and write the measures as a CSV."""
    table = sweep("blobs", "width", [8, 32, 64, 128, 256], ["dae", "inr"], classes=4, seeds=seeds)
    rows = []
    for (width, model, measure), part in table.groupby(["setting_value", "model", "measure"], sort=False)["value"]:
        rounded = {name: round(value, 5) for name, value in interval(part).items() if value is not None}
        rows.append({"width": width, "model": model, "measure": measure} | rounded)
    write(csv, rows)


if __name__ == "__main__":
    typer.run(main)

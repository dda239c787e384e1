"""Keep the results of a sweep in one small CSV, which `mintad report` reads like the runs themselves.

    python benchmarks/keep_sweep.py data/results/table4_mini.csv runs/sweeps/table4 --where data=mini

There is one row per number of a run, with the parameters of notebook 10 that produced the run. Unfinished runs are left
out; after the next runs, the same command writes the table again. Of a preset only the name is kept, so when a preset
changes, its tables must be measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from provenance import write

from mintad.sweep import collect

OF_THE_MACHINE = ("run", "root", "out_dir", "device", "student", "board_dir")
"""Columns about the machine, its folders and its user, which are left out."""


def main() -> None:
    """Collect the finished runs and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("sweep", type=Path, help="folder of the sweep")
    parser.add_argument("--where", action="append", default=[], metavar="PARAMETER=VALUE", help="only these runs")
    parser.add_argument("--metrics", default="", help="comma-separated; all if empty")
    arguments = parser.parse_args()
    table = collect(arguments.sweep)
    for condition in arguments.where if not table.empty else ():
        name, _, value = condition.partition("=")
        if name not in table:
            parser.error(f"no parameter {name!r}; there are {', '.join(table.columns)}")
        table = table[table[name].astype(str) == value]
    if arguments.metrics and not table.empty:
        table = table[table["metric"].isin(arguments.metrics.split(","))]
    if table.empty:
        parser.error(f"no finished run in {arguments.sweep}" + " of these" * bool(arguments.where))
    unused = [name for name in table if (table[name].astype(str) == "").all()]
    table = table.drop(columns=[*unused, *(name for name in OF_THE_MACHINE if name in table and name not in unused)])
    write(arguments.csv, table.round({"value": 5, "seconds": 1}).to_dict("records"))
    print(f"{arguments.csv}: {len(table)} rows")


if __name__ == "__main__":
    main()

"""Measure the seconds of every notebook, executed one after another without a browser, with default parameters.

    python benchmarks/notebook_times.py data/results/notebook_times.csv

Runs go to an empty folder. The models that notebooks share are trained first and timed as well; models that only one
notebook needs are trained while it runs. So the times are those of a first run after `make train`. Features in the
cache (`MINTAD_CACHE`) are read, not computed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from provenance import write

HERE = Path(__file__).resolve().parent.parent


def seconds(command: Sequence[str], folder: Path) -> float:
    """Run a command and return its seconds; exit with its errors if it fails."""
    began = time.perf_counter()
    environment = os.environ | {"MINTAD_RUNS": str(folder / "runs")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - began


def main(
    csv: Path,
    names: Annotated[list[str] | None, typer.Argument(help="beginnings of notebook names; all by default")] = None,
) -> None:
    """Execute notebooks and write their seconds as a CSV."""
    notebooks = sorted((HERE / "notebooks").glob("*.ipynb"))
    chosen = [path for path in notebooks if not names or path.name.startswith(tuple(names))]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = seconds([sys.executable, "-m", "mintad", "notebooks", "train"], folder)
        rows.append({"what": "make train", "seconds": round(first)})
        print(f"{'make train':<34}{rows[-1]['seconds']:6} s", flush=True)
        for path in chosen:
            command = [sys.executable, "-m", "papermill", str(path), str(folder / path.name), "--no-progress-bar"]
            rows.append({"what": path.stem, "seconds": round(seconds(command, folder))})
            print(f"{path.stem:<34}{rows[-1]['seconds']:6} s", flush=True)
    write(csv, rows)


if __name__ == "__main__":
    typer.run(main)

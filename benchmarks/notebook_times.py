"""Seconds of every notebook, executed headless one after another with its printed parameters.

    python benchmarks/notebook_times.py data/results/notebook_times.csv

Runs are kept in an empty folder; the shared lessons are trained first, and timed. What only one notebook needs is not
there when it runs: the times are those of a first run after `make train`. Features that `MINTAD_CACHE` holds are read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from provenance import write

HERE = Path(__file__).resolve().parent.parent


def seconds(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    environment = os.environ | {"MINTAD_RUNS": str(folder / "runs")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names; all if none")
    arguments = parser.parse_args()
    found = sorted((HERE / "notebooks").glob("*.ipynb"))
    chosen = [path for path in found if not arguments.names or path.name.startswith(tuple(arguments.names))]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = seconds([sys.executable, "-m", "mintad.course.shared_models"], folder)
        rows.append({"what": "make train", "seconds": round(first)})
        print(f"{'make train':<34}{rows[-1]['seconds']:6} s", flush=True)
        for path in chosen:
            command = [sys.executable, "-m", "papermill", str(path), str(folder / path.name), "--no-progress-bar"]
            rows.append({"what": path.stem, "seconds": round(seconds(command, folder))})
            print(f"{path.stem:<34}{rows[-1]['seconds']:6} s", flush=True)
    write(arguments.csv, rows)


if __name__ == "__main__":
    main()

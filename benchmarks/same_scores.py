"""Compare the scores of a run with earlier ones, number by number, to see whether a change of the code changed them.

    mintad train --preset small --data elpv --baselines padim,patchcore --out runs/elpv
    python benchmarks/same_scores.py runs/elpv

The earlier scores are those of the code before version 0.2. Expect the same scores, bit for bit, only on the same kind
of processor, with the same number of threads and the same versions. Elsewhere sums are rounded differently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from mintad.report.commented_csv import read_commented_csv
from mintad.runs.directory import Run

KEPT = Path(__file__).resolve().parents[1] / "data" / "results" / "elpv_scores_before.csv"


def main(
    run: Annotated[Path, typer.Argument(help="Run directory on ELPV.")],
    kept: Annotated[Path, typer.Option(help="CSV of earlier scores: category, image, pred_score.")] = KEPT,
) -> None:
    """Compare the scores of a run with earlier ones; exit code 1 if one differs."""
    _, before = read_commented_csv(kept)
    now = Run(run).scores()
    now = now.assign(image=[Path(image).name for image in now["image"]])
    both = before.merge(now, on=["category", "image"], suffixes=("_before", "_now"), validate="one_to_one")
    if not len(both) == len(before) == len(now):
        raise typer.BadParameter(f"{run} has {len(now)} test images, {kept} has {len(before)}, in common {len(both)}")
    difference = np.abs(both["pred_score_now"] - both["pred_score_before"])
    same = int((difference == 0).sum())
    print(f"{same} of {len(both)} scores are the same bit for bit; largest difference {difference.max():.3g}")
    raise typer.Exit(0 if same == len(both) else 1)


if __name__ == "__main__":
    typer.run(main)

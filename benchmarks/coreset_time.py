"""Time PatchCore's coreset against the plain greedy loop, on the same candidates in the same process.

    OMP_NUM_THREADS=2 python benchmarks/coreset_time.py data/results/coreset_time.csv --data merged \\
        --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}'

One row for all categories together, and one for each alone, as separate models need. Both choose the same number of
tokens from the same candidates. `same_share` is the share of choices that both make: they differ where rounding decides
between candidates that are equally far. `radius_ratio` compares how far the farthest candidate is from its nearest
choice, which is what a coreset is for; 1 is equally good.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from provenance import write
from torch import Tensor

from mintad.baselines.coreset import greedy_coreset
from mintad.baselines.patchcore import PatchCore
from mintad.data.records import category_keys
from mintad.runs.baselines import published
from mintad.runs.options import resolve_config
from mintad.runs.prepare import prepare_data
from mintad.scoring.metrics import ALL


def plain_coreset(points_NP: Tensor, size: int, first: int) -> Tensor:
    """Choose as `greedy_coreset` does, by comparing every point with every choice: what mintad used before."""
    norms_N = points_NP.square().sum(1)
    nearest_N = torch.full_like(norms_N, torch.inf)
    chosen = torch.empty(size, dtype=torch.long)
    for n in range(size):
        chosen[n] = first
        distance_N = torch.addmv(norms_N, points_NP, points_NP[first], alpha=-2).add_(norms_N[first])
        nearest_N = torch.minimum(nearest_N, distance_N, out=nearest_N)
        nearest_N[first] = -torch.inf
        first = int(nearest_N.argmax())
    return chosen


def radius(points_NP: Tensor, chosen: Tensor) -> float:
    """Return the largest distance of a point to its nearest choice."""
    return max(float(torch.cdist(part, points_NP[chosen]).amin(1).max()) for part in points_NP.split(1024))


def timed(choose: Callable[[Tensor, int, int], Tensor], *arguments: object) -> tuple[Tensor, float]:
    """Return choices and the seconds they took."""
    began = time.perf_counter()
    chosen = choose(*arguments)
    return chosen, time.perf_counter() - began


def main() -> None:
    """Time both on all categories and on each, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", help="comma-separated rows to measure, such as all,elpv/mono; default: all of them")
    arguments = parser.parse_args()
    config = published("patchcore", resolve_config(None, None, arguments.set, arguments.data, arguments.root))
    data = prepare_data(config, progress=False)
    keys, rows = category_keys(data.records).to_numpy()[data.train_rows], []
    for key in arguments.only.split(",") if arguments.only else (ALL, *sorted(set(keys))):
        images = data.train_rows if key == ALL else data.train_rows[keys == key]
        _, points_NP, size, first = PatchCore(data.backbone.grid).draw(data.features, images)
        fast, seconds = timed(greedy_coreset, points_NP, size, first)
        plain, plain_seconds = timed(plain_coreset, points_NP, size, first)
        row = {"category": key, "candidates": len(points_NP), "width": points_NP.shape[1], "size": size}
        row |= {"threads": torch.get_num_threads(), "plain_seconds": round(plain_seconds, 2)}
        row |= {"seconds": round(seconds, 2), "ratio": round(plain_seconds / seconds, 1)}
        row |= {"same_share": round(len(set(fast.tolist()) & set(plain.tolist())) / size, 4)}
        row |= {"radius_ratio": round(radius(points_NP, fast) / radius(points_NP, plain), 5)}
        rows.append(row)
        write(arguments.csv, rows)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()

"""Does PatchCore's result depend on the bounds of its coreset? Fit it with several, and write image AUROC and seconds.

    python benchmarks/patchcore_sizes.py data/results/patchcore_sizes.csv --name "elpv, development"
        --data elpv --set 'data.options={grades: development}'
    python benchmarks/patchcore_sizes.py data/results/patchcore_sizes.csv --name "real-8, made defects"
        --made-defects --data merged --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}'

Rows are added to the table, and those of the same data, bounds and seed are replaced. No test image is scored: ELPV's
in-between grades are not among them, and made defects are those of `synthetic_defects.py`, on held-out normal images.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from provenance import write
from synthetic_defects import SyntheticTest

from mintad.baselines.patchcore import PatchCore
from mintad.config import Config
from mintad.data.records import category_keys
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import published
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.scoring.evaluate import evaluate
from mintad.scoring.maps import maps_and_scores
from mintad.scoring.metrics import value_of
from mintad.scoring.ranking import auroc

KEYS = ["data", "candidates", "limit", "seed"]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--name", help="what the rows call the data; default: --data")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--made-defects", action="store_true", help="on held-out normal images, instead of the test rows"
    )
    parser.add_argument("--limits", default="2500,5000,10000,20000", help="comma-separated")
    parser.add_argument("--candidates", default="100000", help="comma-separated")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Return comma-separated numbers."""
    return [int(number) for number in text.split(",")]


def image_auroc(fitted: PatchCore, data: PreparedData, config: Config, made: SyntheticTest | None) -> float:
    """Return the image AUROC, mean over categories: of the test rows, or of held-out images with made defects."""
    if made is None:
        return value_of(
            evaluate(fitted, data.features, data.records, config, method="patchcore").results, "image_auroc"
        )
    rows, settings = data.holdout_rows, (config.features.image_size, config.scoring)
    _, normal = maps_and_scores(fitted, data.features, rows, *settings)
    _, anomalous = maps_and_scores(fitted, made, np.arange(len(rows)), *settings)
    keys = category_keys(data.records).to_numpy()[rows]
    pairs = [(normal[keys == key], anomalous[keys == key]) for key in sorted(set(keys))]
    return float(np.mean([auroc(np.concatenate(pair), np.repeat([0, 1], len(pair[0]))) for pair in pairs]))


def main() -> None:
    """Fit and evaluate PatchCore with every pair of bounds and every seed, and write the table after each."""
    arguments = parse_arguments()
    base = resolve_config(None, None, arguments.set, arguments.data, arguments.root)
    rows = read_commented_csv(arguments.csv)[1].to_dict("records") if arguments.csv.exists() else []
    for seed in numbers(arguments.seeds):
        config = published("patchcore", base.override(**{"train.seed": seed}))
        data = prepare_data(config, progress=False)
        made = SyntheticTest.from_holdout(data, config.features.image_size) if arguments.made_defects else None
        for candidates, limit in itertools.product(numbers(arguments.candidates), numbers(arguments.limits)):
            began = time.perf_counter()
            patchcore = PatchCore(data.backbone.grid, candidates=candidates, limit=limit, seed=seed)
            value = image_auroc(patchcore.fit(data.features, data.train_rows), data, config, made)
            row = dict(zip(KEYS, (arguments.name or arguments.data, candidates, limit, seed), strict=True))
            rows = [other for other in rows if any(other[key] != row[key] for key in KEYS)]
            seconds = round(time.perf_counter() - began, 1)
            rows.append(row | {"image_auroc": round(value, 5), "seconds": seconds})
            write(arguments.csv, rows)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()

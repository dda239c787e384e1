"""How long does a method of the paper train before it is best, as one model for all classes and as one a class?

    python benchmarks/length_curve.py data/results/length_curve.csv simplenet --data mini --lengths 0.25,1,4 --seeds 0,1

A length of 1 is the lesson setting's number of steps. Separate models share it: each of K has a K-th, so that all
together take the steps of the one for all. (`mini` draws equally many images of every category, so an image is then
seen equally often.) Every figure is taken from the last weights of a training of its own; nothing is chosen by test
images. Columns: baseline, data, setting, length, seed, category, metric and value; one command adds to the rows of the
others, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from compare import run_baseline
from provenance import write

from mintad.baselines import BASELINES
from mintad.data.records import category_keys
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.options import resolve_config
from mintad.runs.prepare import prepare_data

METRICS = ("image_auroc", "pixel_ap", "seconds_fit_and_evaluation")
KEYS = ("baseline", "data", "setting", "length", "seed")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("baseline", choices=sorted(BASELINES))
    parser.add_argument("--preset")
    parser.add_argument("--data", default="mini")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--lengths", default="0.25,1,4", help="comma-separated")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    return parser.parse_args()


def main() -> None:
    """Fit the baseline with every length and seed, both ways, and write the CSV after each."""
    arguments = parse_arguments()
    base = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    rows = read_commented_csv(arguments.csv)[1].to_dict("records") if arguments.csv.exists() else []
    done = {tuple(row[key] for key in KEYS) for row in rows}
    for seed in map(int, arguments.seeds.split(",")):
        data = prepare_data(base.override(**{"train.seed": seed}), progress=False)
        models = {"unified": 1, "separate": category_keys(data.records.iloc[data.train_rows]).nunique()}
        for length in map(float, arguments.lengths.split(",")):
            for setting, count in models.items():
                key = dict(zip(KEYS, (arguments.baseline, arguments.data, setting, length, seed), strict=True))
                if tuple(key.values()) in done:
                    continue
                config = base.override(**{"train.seed": seed, "baselines.length": length / count})
                name = arguments.baseline + ("" if setting == "unified" else f"_{setting}")
                results = run_baseline(name, data, config)
                shown = results[results["metric"].isin(METRICS)]
                rows += [{**key, **row} for row in shown[["category", "metric", "value"]].to_dict("records")]
                write(arguments.csv, pd.DataFrame(rows))
                mean = shown[(shown["category"] == "mean") & (shown["metric"] == "image_auroc")]["value"].item()
                print(*key.values(), f"image AUROC {mean:.4f}", flush=True)


if __name__ == "__main__":
    main()

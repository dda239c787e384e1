"""Compare variants over seeds, and baselines on the same features, and write one table of results.

    python benchmarks/compare.py elpv.csv --data elpv --variants mint_ad --seeds 0,1,2 --baselines padim,patchcore

With the same seed, a baseline is fitted to the very images that a variant trains on. With `_separate` after its name
there is one model per category, and a test image is given to the model of its category; with `_separate_chosen` to the
model of the nearest class mean (App. A.1).

Finished work is not repeated: each run has its own run directory under --runs, and the table keeps the baselines that
it has for this configuration, also those that a later command does not name. Delete it to measure them anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from provenance import CONFIG, portable, write

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.data.records import category_keys
from mintad.errors import ConfigError, DataError
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import differently_made, evaluate_baseline, require_baselines
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.separate import nearest_mean
from mintad.runs.train import train_run
from mintad.scoring.metrics import ALL

SETTINGS = ("separate_chosen", "separate")
"""Settings that may stand behind a baseline's name, after an underscore."""


def with_seconds(results: pd.DataFrame, seconds: Mapping[str, float]) -> pd.DataFrame:
    """Return results rounded to five digits, with rows for the seconds that each part took."""
    run = results.iloc[0][["method", "setting", "seed"]].to_dict()
    rows = [{**run, "category": ALL, "metric": f"seconds_{part}", "value": value} for part, value in seconds.items()]
    return pd.concat([pd.DataFrame(rows), results], ignore_index=True).round({"value": 5})


def run_baseline(name: str, data: PreparedData, config: Config) -> pd.DataFrame:
    """Fit and evaluate a baseline: one for all categories or, with one of `SETTINGS` in its name, one per category."""
    began = time.perf_counter()
    method, setting = method_and_setting(name)
    chosen = None
    if setting == "separate_chosen":
        trained = category_keys(data.records.iloc[data.train_rows]).to_numpy()
        chosen = nearest_mean(data.features, data.train_rows, trained, data.test_rows)
    evaluation = evaluate_baseline(method, data, config, separate=setting != "unified", labels=chosen)
    return with_seconds(evaluation.results, {"fit_and_evaluation": time.perf_counter() - began})


def method_and_setting(name: str) -> tuple[str, str]:
    """Return what the rows of a baseline are listed under, by its name on the command line."""
    setting = next((setting for setting in SETTINGS if name.endswith(f"_{setting}")), "unified")
    return name.removesuffix(f"_{setting}"), setting


def measured_baselines(csv: Path, config: Config) -> list[pd.DataFrame]:
    """Return the baselines' results in an earlier table of the same configuration, one table for each and seed.

    Raises:
        DataError: the table is of another configuration, or its baselines were made in another way.
    """
    comments, rows = read_commented_csv(csv) if csv.exists() else ([], None)
    made_with = [line.removeprefix(CONFIG) for line in comments if line.startswith(CONFIG)]
    if rows is None:
        return []
    baselines = rows[rows["method"].isin(list(BASELINES))]
    try:
        before = Config.from_dict(json.loads(made_with[0])) if made_with else None
    except (ValueError, ConfigError):
        before = None
    same = before is not None and dataclasses.replace(before, baselines=config.baselines) == portable(config)
    if not same or differently_made(baselines["method"].unique(), before, config):
        problem = "this table is of another configuration and would be overwritten"
        raise DataError(problem, path=csv, fix="give another CSV, or remove it to measure everything anew")
    return [table for _, table in baselines.groupby(["method", "setting", "seed"], sort=False)]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--variants", default="mint_ad,uniad", help="comma-separated")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--baselines", default="", help="such as padim,padim_separate,padim_separate_chosen")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare"), help="folder for the run directories")
    return parser.parse_args()


def main() -> None:
    """Run the baselines and every variant with every seed, and write the CSV after each run."""
    arguments = parse_arguments()
    base = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    baselines = list(filter(None, arguments.baselines.split(",")))
    require_baselines([method_and_setting(name)[0] for name in baselines], base)
    try:
        tables = measured_baselines(arguments.csv, base)
    except DataError as error:
        sys.exit(f"error: {error}")
    done = {tuple(table.iloc[0][["method", "setting", "seed"]]) for table in tables}
    for seed in seeds:
        missing = [name for name in baselines if (*method_and_setting(name), seed) not in done]
        config = base.override(**{"train.seed": seed})
        data = prepare_data(config, progress=False) if missing else None
        for name in missing:
            tables.append(run_baseline(name, data, config))
            write(arguments.csv, pd.concat(tables), config=base)
    for variant in filter(None, arguments.variants.split(",")):
        for seed in seeds:
            config = base.override(**{"model.variant": variant, "train.seed": seed})
            out = arguments.runs / f"{arguments.csv.stem}-{variant}-{seed}"
            run = train_run(config, out, progress=sys.stderr.isatty())
            tables.append(with_seconds(run.results(), run.seconds()))
            write(arguments.csv, pd.concat(tables), config=base)
    results = pd.concat(tables)
    write(arguments.csv, results, config=base)
    shown = results[results["metric"].str.contains("image_auroc|pixel_ap|class_accuracy|seconds")]
    summary = shown.groupby(["metric", "category", "method", "setting"])["value"].agg(["mean", "std", "count"])
    print(summary.round(4).to_string())


if __name__ == "__main__":
    main()

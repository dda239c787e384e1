"""Evaluate the models of a sweep over `mini` again, on more defects that are harder to see.

    python benchmarks/harder_defects.py data/results/table4_mini_hard.csv runs/sweeps/table4 --difficulty 2
    mintad report data/results/table4_mini_hard.csv --out report

At difficulty 1 most categories are solved, above all "swap" defects, so models can hardly be compared. Only the defects
depend on `difficulty`. The training images are the same, bit for bit, which is checked by their hashes. So the results
are those that a sweep with this option in `data.options` would give, except for class accuracy, which is left out. The
CSV has the columns of keep_sweep.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from keep_sweep import OF_THE_MACHINE
from provenance import write

from mintad.errors import DataError
from mintad.runs.directory import Run
from mintad.runs.experiment import read_overrides
from mintad.runs.load import trained_model
from mintad.runs.prepare import image_list, prepare_data
from mintad.scoring.evaluate import evaluate
from mintad.scoring.metrics import RESULT_COLUMNS
from mintad.sweep import collect
from mintad.training.device import pick_device


def evaluate_run(run: Run, options: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Evaluate a run's model on another test set; return the results and all options of that set.

    Raises:
        DataError: the training images are not those of the run.
    """
    config = run.config()
    config = config.override(**{"data.options": {**config.data.options, **options}})
    data = prepare_data(config, progress=False)
    columns = ["category", "role", "hash"]
    now, then = image_list(data, config)[columns], pd.read_csv(run.path / "images.csv")[columns]
    if not now.sort_values(columns, ignore_index=True).equals(then.sort_values(columns, ignore_index=True)):
        raise DataError(f"{run.path}: with {options} the training images are not those of the run")
    model = trained_model(run, data.backbone, pick_device(config.train.device))
    labels = data.labels_for(model, data.test_rows)
    method = config.model.variant
    evaluation = evaluate(model, data.features, data.records, config, method=method, labels=labels)
    return evaluation.results.round({"value": 5}), config.data.options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("sweep", type=Path, help="folder of a sweep; its finished runs on mini are evaluated")
    parser.add_argument("--difficulty", type=float, default=2.0)
    parser.add_argument("--n-test-good", type=int, default=30, help="normal test images per category")
    parser.add_argument("--n-test-defect", type=int, default=10, help="images per category and defect")
    return parser


def main() -> None:
    """Evaluate every finished run on mini, and write the CSV after each."""
    parser = make_parser()
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in ("difficulty", "n_test_good", "n_test_defect")}
    runs = collect(arguments.sweep)
    if not runs.empty:
        runs = runs[runs["data"] == "mini"].groupby("run", sort=False).first()
    if runs.empty:
        parser.error(f"no finished run on mini in {arguments.sweep}")
    tables: list[pd.DataFrame] = []
    not_parameters = [name for name in (*RESULT_COLUMNS, "seconds", *OF_THE_MACHINE) if name in runs]
    for name, run in runs.drop(columns=not_parameters).iterrows():
        parameters = {key: value for key, value in run.items() if pd.notna(value) and value != ""}
        changes = read_overrides(parameters.get("overrides.value") or parameters.get("overrides") or "")
        results, all_options = evaluate_run(Run(arguments.sweep / name), options)
        parameters["overrides.value"] = json.dumps({**changes, "data.options": all_options}, sort_keys=True)
        parameters.setdefault("overrides", f"difficulty {arguments.difficulty:g}")
        tables.append(results.assign(**parameters))
        write(arguments.csv, pd.concat(tables))
        print(name, flush=True)


if __name__ == "__main__":
    main()

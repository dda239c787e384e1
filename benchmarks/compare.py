"""Compare variants over seeds, and baselines on the same features, and write one tidy CSV.

    python benchmarks/compare.py elpv.csv --data elpv --variants mint_ad --seeds 0,1,2 --baselines
    padim,patchcore

Each run keeps its own run directory under --runs and is resumed or skipped when the command is repeated. Baselines are
fitted once per run of seed 0, on all normal training images the model saw; those ending in `_separate` have one
model per category and are told the category of a test image.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from mintad.baselines import BASELINES, PerCategory
from mintad.cli import resolve_config
from mintad.config import Config
from mintad.data.records import category_keys
from mintad.runs.directory import versions
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import train_run
from mintad.scoring.evaluate import evaluate

SEPARATE = "_separate"


def rows_of(method: str, seed: int, metrics: dict, seconds: dict[str, float]) -> list[dict]:
    """Tidy rows (method, seed, category, metric, value) of one evaluation."""
    rows = [("all", f"seconds_{part}", value) for part, value in seconds.items()]
    for level in ("image", "pixel"):
        for name in ("auroc", "average_precision", "aupro"):
            part = (metrics[level] or {}).get(name)
            if part:
                both = {**part["per_category"], "mean": part["mean"]}.items()
                rows += [(key, f"{level}_{name}", value) for key, value in both if value is not None]
    swaps = [by["swap"]["auroc"] for by in metrics["defects"].values() if "swap" in by]
    if swaps:
        rows.append(("mean", "image_auroc_swap", float(np.mean(swaps))))
        others = [e["auroc"] for by in metrics["defects"].values() for name, e in by.items() if name != "swap"]
        rows.append(("mean", "image_auroc_other_defects", float(np.mean(others))))
    if metrics.get("class_accuracy"):
        accuracy = metrics["class_accuracy"]
        rows += [(key, "class_accuracy", value) for key, value in accuracy["per_class"].items()]
        rows.append(("mean", "class_accuracy", accuracy["mean"]))
        if accuracy.get("normal") is not None:
            rows.append(("mean", "class_accuracy_normal_images", accuracy["normal"]))
    return [{"method": method, "seed": seed, "category": c, "metric": m, "value": round(v, 5)} for c, m, v in rows]


def run_baseline(name: str, prepared: PreparedData, config: Config) -> list[dict]:
    began = time.perf_counter()
    factory = BASELINES[name.removesuffix(SEPARATE)]
    if name.endswith(SEPARATE):
        keys = category_keys(prepared.records).to_numpy()
        baseline = PerCategory(lambda: factory(prepared.backbone.grid), keys).fit(
            prepared.features, prepared.train_rows
        )
        detector = baseline.told(np.flatnonzero((prepared.records["split"] == "test").to_numpy()))
    else:
        detector = factory(prepared.backbone.grid).fit(prepared.features, prepared.train_rows)
    metrics = evaluate(detector, prepared.features, prepared.records, config).metrics
    return rows_of(name, config.train.seed, metrics, {"fit_and_evaluation": time.perf_counter() - began})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--variants", default="mint_ad,uniad")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--baselines", default="", help="padim, patchcore, padim_separate, patchcore_separate")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare"))
    arguments = parser.parse_args()

    base = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    rows: list[dict] = []
    for name in filter(None, arguments.baselines.split(",")):
        rows += run_baseline(name, prepare_data(base, progress=False), base)
    for variant in filter(None, arguments.variants.split(",")):
        for seed in map(int, arguments.seeds.split(",")):
            config = base.override(**{"model.variant": variant, "train.seed": seed})
            out = arguments.runs / f"{arguments.csv.stem}-{variant}-{seed}"
            run = train_run(config, out, progress=sys.stderr.isatty())
            rows += rows_of(variant, seed, run.read("metrics"), run.read("seconds"))
            write(arguments.csv, rows, config=base)
    write(arguments.csv, rows, config=base)
    table = pd.DataFrame(rows)
    table = table[table["metric"].str.contains("image_auroc|pixel_average|class_acc|seconds")]
    summary = table.groupby(["metric", "category", "method"])["value"].agg(["mean", "std", "count"])
    print(summary.round(4).to_string())


def write(path: Path, rows: list[dict], packages: Sequence[str] = (), config: Config | None = None) -> None:
    """The CSV with its provenance in comment lines. Lines that somebody has added by hand stay.

    Args:
        path: of the CSV; what is there is replaced.
        rows: its rows.
        packages: those whose versions matter beside the usual.
        config: what all rows have in common; `mintad report` then knows which tables may be compared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = versions()
    machine = f"{platform.machine()}, {found['cores']} cores{', ' + found['gpu'] if 'gpu' in found else ''}"
    numbers = {name: found[name] for name in ("torch", "timm", "numpy")} | {name: version(name) for name in packages}
    head = [
        f"# command: python {shlex.join(sys.argv)}",
        f"# versions: python {found['python']}, " + ", ".join(f"{name} {number}" for name, number in numbers.items()),
        f"# machine: {machine}",
    ]
    if config:
        head.append("# config: " + json.dumps(portable(config).to_dict()))
    if path.exists():
        ours = tuple(line.partition(":")[0] + ":" for line in head)
        lines = path.read_text(encoding="utf-8").splitlines()
        head += [line for line in lines if line.startswith("#") and not line.startswith(ours)]
    path.write_text("\n".join(head) + "\n" + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")


def portable(config: Config) -> Config:
    """Without the paths of this machine."""
    options = {name: value for name, value in config.data.options.items() if name != "roots"}
    return config.override(**{"data.root": None, "data.options": options, "features.weights": "auto"})


if __name__ == "__main__":
    main()

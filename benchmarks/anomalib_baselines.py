"""Run anomalib's baselines on our images and write one table of results, which `mintad report` reads.

    python benchmarks/anomalib_baselines.py anomalib_mini.csv --data mini --models padim,cfa,draem --steps 1600
    mintad report anomalib_mini.csv data/results/mini_baselines.csv --out report

Needs the extra mintad[anomalib]. Images, hold-out and categories are those that `mintad train` would use with the same
--data, --set and seed. One model learns all categories. With --separate there is one model per category, and a test
image is given to the model of its category.

What is ours:

* Images are resized to a square of features.image_size (224) pixels, bilinearly, and not cropped.
* They are scaled with the mean and standard deviation that features.backbone was trained with. DRAEM has no backbone;
  its images are scaled to 0..1.
* The backbone is EfficientNet-Lite0, frozen, at the stages that each model uses in anomalib: an eighth and a sixteenth
  of the resolution. PaDiM and CFA also use a quarter, CFLOW also a 32nd.

All else is anomalib's: losses, optimisers, schedules, the blur of the maps, and how an image is scored. Therefore the
keys of `scoring` and `model` and the key features.grid have no effect here. train.batch_size has: CFA's authors use 4,
DRAEM's 8, and 32 images of 224 pixels take several GB with CFA. The image size must be a multiple of 32 for DRAEM and
above 64 for SuperSimpleNet.

PaDiM and PatchCore see every image once. The others train for --epochs, or for as many whole epochs as --steps fill (by
default train.steps). DRAEM's synthetic anomalies are noise unless --textures names a folder of images; as published,
this is the Describable Textures Dataset. Methods are called anomalib_MODEL. SuperSimpleNet is the successor of
SimpleNet and not the same method.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from compare import with_seconds
from provenance import write

from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.records import category_keys, tested_rows
from mintad.errors import MintadError, nearest
from mintad.features.backbone import to_pixels
from mintad.report.methods import ANOMALIB
from mintad.runs.options import resolve_config
from mintad.runs.prepare import load_records, split_holdout
from mintad.scoring.evaluate import results_of
from mintad.scoring.metrics import ALL, MEAN
from mintad.training.device import pick_device
from mintad.training.schedule import total_steps

PREFIX = "anomalib_"
MODELS = [name.removeprefix(PREFIX) for name in ANOMALIB]


def run(
    name: str,
    records: pd.DataFrame,
    config: Config,
    *,
    separate: bool = False,
    steps: int | None = None,
    epochs: int | None = None,
    textures: Path | None = None,
) -> pd.DataFrame:
    """Train one model on the normal images that `config` trains on, score all test images, and return the results.

    Args:
        name: one of `MODELS`.
        records: the data set.
        config: sections data, features and train.
        separate: train one model per category.
        steps: at least so many training steps; by default as in `config`.
        epochs: exactly so many epochs, whatever `steps` is.
        textures: folder of images for DRAEM's synthetic anomalies.

    Raises:
        MintadError: anomalib is missing, or a score is not finite.
    """
    import anomalib_models as models  # here, because it needs anomalib

    train_rows, _ = split_holdout(records, config.data.holdout, config.train.seed)
    test_rows = tested_rows(records)
    groups = category_keys(records).to_numpy() if separate else np.full(len(records), ALL)
    size = config.features.image_size
    scores, maps = np.zeros(len(test_rows)), np.zeros((len(test_rows), size, size), dtype=np.float32)
    device, to_input = pick_device(config.train.device), models.to_input(name, config.features)
    seconds = {"training": 0.0, "evaluation": 0.0}
    torch.manual_seed(config.train.seed)
    np.random.seed(config.train.seed)  # CFLOW's permutations
    for group in sorted(set(groups)):
        in_train, in_test = (groups[rows] == group for rows in (train_rows, test_rows))
        normal = read_pixels(records.iloc[train_rows[in_train]], size)
        tested = read_pixels(records.iloc[test_rows[in_test]], size)
        model = models.build(name, config.features, textures)
        began = time.perf_counter()
        length = {"steps": steps or total_steps(len(normal), config.train), "epochs": epochs}
        models.fit(model, normal, to_input, batch=config.train.batch_size, device=device, **length)
        fitted = time.perf_counter()
        scores[in_test], maps[in_test] = models.score(model, tested, to_input, device=device)
        seconds["training"] += fitted - began
        seconds["evaluation"] += time.perf_counter() - fitted
    scored = records.iloc[test_rows].reset_index(drop=True).assign(pred_score=scores, pred_class="")
    setting = "separate" if separate else "unified"
    return with_seconds(results_of(scored, maps, config, method=f"{PREFIX}{name}", setting=setting), seconds)


def read_pixels(records: pd.DataFrame, size: int) -> np.ndarray:
    """Read the images of some records as 8-bit pixels (n, size, size, 3)."""
    return np.stack([to_pixels(read_image(path), size) for path in records["image"]])


def main() -> None:
    """Run the chosen models with every seed, and write the CSV after each."""
    parser = make_parser()
    arguments = parser.parse_args()
    names = chosen_models(parser, arguments)
    options = {key: getattr(arguments, key) for key in ("separate", "steps", "epochs", "textures")}
    try:
        base = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
        results = run_all(names, seeds, base, arguments.csv, options)
    except MintadError as error:
        parser.error(str(error))
    summary = results[results["category"].isin([ALL, MEAN])]
    print(summary.pivot_table(index="metric", columns="method", values="value").round(4).to_string())


def run_all(names: list[str], seeds: list[int], base: Config, csv: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Run models with seeds, write the CSV after each run, and return all results."""
    records, tables = load_records(base), []
    for name in names:
        for seed in seeds:
            tables.append(run(name, records, base.override(**{"train.seed": seed}), **options))
            write(csv, pd.concat(tables), packages=("anomalib", "lightning"), config=base)
    return pd.concat(tables)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--models", default=",".join(MODELS), help="comma-separated; default all")
    parser.add_argument("--separate", action="store_true", help="one model per category")
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int)
    length.add_argument("--steps", type=int, help="default train.steps")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--textures", type=Path, help="folder of images for DRAEM's synthetic anomalies")
    return parser


def chosen_models(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """Return the names in --models; exit with an error if a name or the folder of textures does not exist."""
    names = [name for name in arguments.models.split(",") if name]
    for name in names:
        if name not in MODELS:
            parser.error(f"unknown model '{name}'." + nearest(name, MODELS))
    if arguments.textures and not arguments.textures.is_dir():
        parser.error(f"--textures: there is no folder {arguments.textures}")
    return names


if __name__ == "__main__":
    main()

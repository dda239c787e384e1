"""Run the paper's baselines by anomalib on the same images, and write one tidy CSV that `mintad report` reads.

    python benchmarks/anomalib_baselines.py anomalib_mini.csv --data mini --models padim,cfa,draem --steps 1600
    mintad report anomalib_mini.csv data/results/mini_baselines.csv --out report

Needs the extra mintad[anomalib]. Images, hold-out and categories are those that `mintad train` would use with the same
--data, --set and seed. One model learns all categories; with --separate there is one a category, which is told the
category of a test image. As for our own models, pictures are resized to a square of features.image_size (224) pixels,
bilinearly, and not cropped. They are scaled with the mean and deviation that features.backbone was trained with, for
DRAEM, which has no backbone, to 0..1. The backbone is ours (EfficientNet-Lite0, frozen), at the stages that the model
has in anomalib: an eighth and a sixteenth of the resolution; PaDiM and CFA take a quarter, CFLOW a 32nd, too. All else
is anomalib's: losses, optimisers, schedules, the blur of the maps, and how an image is scored. So `scoring` and
`features.grid` play no role here, nor does any key of `model`; train.batch_size does (CFA's authors take 4, DRAEM's 8;
32 images of 224 pixels take CFA several GB). Sizes are multiples of 32 for DRAEM and above 64 for SuperSimpleNet.

PaDiM and PatchCore see every image once. The others train for --epochs, or for as many whole epochs as --steps fill, by
default train.steps. DRAEM's anomalies are noise unless --textures names a folder of pictures, the Describable Textures
Dataset as published. Methods are called anomalib_MODEL. SuperSimpleNet succeeds SimpleNet and
is none.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from compare import with_seconds
from provenance import write

from mintad.cli import resolve_config
from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.records import category_keys, tested_rows
from mintad.errors import MintadError, nearest
from mintad.features.backbone import to_pixels
from mintad.report.methods import ANOMALIB
from mintad.runs.prepare import load_records, split_holdout
from mintad.scoring.evaluate import results_of
from mintad.training.device import pick_device
from mintad.training.schedule import total_steps

PREFIX = "anomalib_"


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
    """Return the results of one model, trained on the normal images that `config` trains on and scored on all test images.

    Raises:
        MintadError: anomalib is missing, or the scores are of no use.
    """
    from anomalib_models import build, fit, score, to_input

    train_rows, _ = split_holdout(records, config.data.holdout, config.train.seed)
    test_rows = tested_rows(records)
    groups = category_keys(records).to_numpy() if separate else np.full(len(records), "all")
    size = config.features.image_size
    scores, maps = np.zeros(len(test_rows)), np.zeros((len(test_rows), size, size), dtype=np.float32)
    device, prepare = pick_device(config.train.device), to_input(name, config.features)
    seconds = {"training": 0.0, "evaluation": 0.0}
    torch.manual_seed(config.train.seed)
    np.random.seed(config.train.seed)  # CFLOW's permutations
    for group in sorted(set(groups)):
        trained, judged = (groups[rows] == group for rows in (train_rows, test_rows))
        normal, tested = (
            np.stack([to_pixels(read_image(path), size) for path in records["image"].iloc[rows]])
            for rows in (train_rows[trained], test_rows[judged])
        )
        model = build(name, config.features, textures)
        began = time.perf_counter()
        length = {"steps": steps or total_steps(len(normal), config.train), "epochs": epochs}
        fit(model, normal, prepare, batch=config.train.batch_size, device=device, **length)
        fitted = time.perf_counter()
        scores[judged], maps[judged] = score(model, tested, prepare, device=device)
        seconds["training"] += fitted - began
        seconds["evaluation"] += time.perf_counter() - fitted
    table = records.iloc[test_rows].reset_index(drop=True).assign(pred_score=scores, pred_class="")
    setting = "separate" if separate else "unified"
    return with_seconds(results_of(table, maps, config, method=f"{PREFIX}{name}", setting=setting), seconds)


def main() -> None:
    names = [name.removeprefix(PREFIX) for name in ANOMALIB]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--models", default=",".join(names), help="comma-separated; default all")
    parser.add_argument("--separate", action="store_true", help="one model a category")
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int)
    length.add_argument("--steps", type=int, help="default train.steps")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--textures", type=Path, help="folder of pictures for DRAEM")
    arguments = parser.parse_args()
    wanted = [name for name in arguments.models.split(",") if name]
    for name in wanted:
        if name not in names:
            parser.error(f"unknown model '{name}'." + nearest(name, names))
    if arguments.textures and not arguments.textures.is_dir():
        parser.error(f"--textures: there is no folder {arguments.textures}")
    options = {key: getattr(arguments, key) for key in ("separate", "steps", "epochs", "textures")}
    tables: list[pd.DataFrame] = []
    try:
        base = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
        records = load_records(base)
        for name in wanted:
            for seed in map(int, arguments.seeds.split(",")):
                tables.append(run(name, records, base.override(**{"train.seed": seed}), **options))
                write(arguments.csv, pd.concat(tables), packages=("anomalib", "lightning"), config=base)
    except MintadError as error:
        parser.error(str(error))
    table = pd.concat(tables)
    table = table[table["category"].isin(["all", "mean"])]
    print(table.pivot_table(index="metric", columns="method", values="value").round(4).to_string())


if __name__ == "__main__":
    main()

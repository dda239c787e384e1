"""Measure how small a defect may be in a large photograph, with and without --tiles.

    OMP_NUM_THREADS=1 python benchmarks/small_defects.py data/results/small_defects.csv --tiles 1 --tiles 2

Mini's products are drawn with 896 pixels a side. On each normal test picture a square of 4, 8, 16 or 32 pixels is made
brighter or darker by a quarter of the range, in the middle half of the picture. The preset is `fast`, but for the
number of steps, 96 channels in the sharp prior (for all alike, to spare memory), and `--tiles`. Without tiles a picture
is reduced to 224 pixels, so that a square of 4 is one pixel. Columns: tiles, seed, category, pixels (side of the
square), image_auroc (against the same pictures without it), and score_seconds, per image, without reading it.
`--resume` keeps the rows that the table has, if it is there, of the same options, and trains for the others alone.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from PIL import Image
from provenance import write

from mintad.config import Config, preset
from mintad.config.tiles import tiled
from mintad.data.mini import MiniParameters, make_mini
from mintad.runs.directory import Run
from mintad.runs.predict import Predictor
from mintad.runs.train import train_run
from mintad.scoring import auroc

SIDE, SIDES, CONTRAST = 896, (4, 8, 16, 32), 64
COLUMNS = ("tiles", "seed", "category", "pixels", "image_auroc", "score_seconds")
CATEGORIES = ("leather", "gear")


def draw(root: Path, seed: int, train: int, test: int) -> Path:
    """Draw the products, and the test pictures with a square of every size."""
    counts = {"n_train": train, "n_test_good": test, "n_test_defect": 1}
    wanted = MiniParameters(categories=CATEGORIES, size=SIDE, seed=seed, **counts)
    folder, rng = make_mini(root / "set", wanted), np.random.default_rng([seed, 7])
    for category in CATEGORIES:
        shutil.rmtree(folder / category / "ground_truth", ignore_errors=True)
        for defect in [path for path in (folder / category / "test").iterdir() if path.name != "good"]:
            shutil.rmtree(defect)
        for side in SIDES:
            target = folder / category / "test" / f"side_{side:02d}"
            target.mkdir()
            for file in sorted((folder / category / "test/good").iterdir()):
                pixels = np.asarray(Image.open(file).convert("RGB")).copy()
                top, left = rng.integers(SIDE // 4, 3 * SIDE // 4 - side, 2)
                area = pixels[top : top + side, left : left + side].astype(int)
                area += CONTRAST if area.mean() < 128 else -CONTRAST
                pixels[top : top + side, left : left + side] = area.clip(0, 255)
                Image.fromarray(pixels).save(target / file.name)
    return folder


def configuration(data: Path, tiles: int, steps: int, seed: int) -> Config:
    """Return the configuration of a training."""
    changes = {"data.name": "folder", "data.root": str(data), "train.steps": steps, "train.seed": seed}
    return tiled(preset("fast"), tiles).override(**changes, **{"scoring.sharp_prior.channels": 96})


def measure(run_path: Path) -> tuple[pd.DataFrame, float]:
    """Return image AUROC by category and side, and the seconds to score an image."""
    predictor = Predictor(run_path, device="cpu")
    scores = Run(run_path).scores()
    picture = [Image.open(scores["image"].iloc[0]).convert("RGB")]
    predictor(picture)
    began = time.perf_counter()
    for _ in range(3):
        predictor(picture)
    seconds = (time.perf_counter() - began) / 3
    rows = []
    for category, own in scores.groupby("category"):
        normal = own[own["label"] == 0]["pred_score"]
        for defect, spoiled in own[own["label"] == 1].groupby("defect"):
            values = np.concatenate([normal, spoiled["pred_score"]])
            labels = np.repeat([0, 1], [len(normal), len(spoiled)])
            rows.append({"category": category, "pixels": int(defect[-2:]), "image_auroc": auroc(values, labels)})
    return pd.DataFrame(rows), seconds


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write.")],
    tiles: Annotated[list[int], typer.Option(help="N of --tiles; repeatable.")] = [1, 2, 4],  # noqa: B006
    seeds: Annotated[list[int], typer.Option("--seed", help="Repeatable.")] = [0],  # noqa: B006
    steps: Annotated[int, typer.Option(help="Of each training.")] = 300,
    train: Annotated[int, typer.Option(help="Training pictures of a category.")] = 40,
    test: Annotated[int, typer.Option(help="Normal test pictures of a category, and with each size of square.")] = 16,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the table's rows, of the same other options.")] = False,
) -> None:
    """Train once per number of tiles and seed, and write the table after each."""
    tables = [pd.read_csv(csv, comment="#")] if resume and csv.exists() else []
    there = {tuple(each) for table in tables for each in table[["tiles", "seed"]].to_numpy().tolist()}
    for seed in seeds:
        missing = [number for number in tiles if (number, seed) not in there]
        with tempfile.TemporaryDirectory() as folder:
            data = draw(Path(folder), seed, train, test) if missing else Path(folder)
            for number in missing:
                run = train_run(configuration(data, number, steps, seed), Path(folder) / f"run-{number}")
                found, seconds = measure(run.path)
                tables.append(found.assign(tiles=number, seed=seed, score_seconds=round(seconds, 3)))
                write(csv, pd.concat(tables).round(4)[list(COLUMNS)])
                print(found.pivot(index="category", columns="pixels", values="image_auroc").round(3), flush=True)


if __name__ == "__main__":
    typer.run(main)

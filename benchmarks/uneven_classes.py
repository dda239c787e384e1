"""Does the class token hold on uneven data? 2 to 30 classes of mini with 10 to 500 training images each.

    python benchmarks/uneven_classes.py data/results/uneven_classes.csv runs/uneven

Mini has twelve products. Eighteen more classes are made from them: a negative of each (255 minus the picture), and a
close-up of each object (the middle half, enlarged). The second argument is the folder for the pictures, which are
drawn once. The numbers of images are a geometric series, dealt out to the classes at random; of fewer than 30
classes, every n-th of that series is taken, always with the smallest and the largest. A tenth is held out, as in the
`small` preset. A row that the CSV has already is not trained again; for `--mapper-steps` see `class_balance.py`.

Columns: `accuracy` and `worst_accuracy` of the class head on 15 normal test images of each class, over all and of the
class that has the lowest; `worst_class` and its number of images; `train_accuracy` on the training images, and `lost`,
the number of classes of which less than half are right there; `token_distance`, the smallest distance between two
classes' mean tokens.
"""

from __future__ import annotations

import logging
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from class_balance import SETTINGS, classify, report, train_mapper
from PIL import Image
from provenance import write

from mintad.course.lab.tokens import closest_means
from mintad.data.mini import PRODUCTS, render
from mintad.data.records import make_records
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.options import resolve_config
from mintad.runs.prepare import prepare_data
from mintad.runs.train import new_model
from mintad.training import train

OBJECTS = ("gear", "capsule", "bolt", "cookie", "button", "board")
CLASSES = [*PRODUCTS, *(f"{name}_negative" for name in PRODUCTS), *(f"{name}_close" for name in OBJECTS)]
SMALLEST, LARGEST, TESTED = 10, 500, 15
SIZE = 224
KEYS = ("trained", "steps", "classes", "setting", "seed")


def image_counts() -> dict[str, int]:
    """Return the number of training images of each of the 30 classes, from the smallest to the largest."""
    order = np.random.default_rng(0).permutation(CLASSES)
    counts = np.geomspace(SMALLEST, LARGEST, len(CLASSES)).round().astype(int)
    return dict(zip(order.tolist(), counts.tolist(), strict=True))


def some_classes(number: int) -> list[str]:
    """Return `number` of the classes, spread over the series of sizes, with the smallest and the largest."""
    chosen = np.linspace(0, len(CLASSES) - 1, number).round().astype(int)
    return [list(image_counts())[place] for place in chosen]


def draw(name: str, split: str, index: int) -> np.ndarray:
    """Draw one normal picture (S, S, 3) of a class; no two classes show the same one."""
    product, _, change = name.partition("_")
    first = {"": 0, "negative": 1000, "close": 2000}[change]
    picture = render(product, split, "good", first + index, size=2 * SIZE if change == "close" else SIZE)[0]
    if change == "close":
        return picture[SIZE // 2 : SIZE // 2 + SIZE, SIZE // 2 : SIZE // 2 + SIZE]
    return 255 - picture if change == "negative" else picture


def make_images(folder: Path) -> None:
    """Write the pictures that are missing, in MVTec layout; there are no defects."""
    for name, count in image_counts().items():
        for split, number in (("train", count), ("test", TESTED)):
            target = folder / name / split / "good"
            target.mkdir(parents=True, exist_ok=True)
            for index in range(len(list(target.iterdir())), number):
                Image.fromarray(draw(name, split, index)).save(target / f"{index:03d}.png")


def records_of(folder: Path, names: list[str]) -> pd.DataFrame:
    """Return the record table of some of the classes in `folder`, all of them normal images."""
    parts = [(name, split) for name in names for split in ("train", "test")]
    files = [(*part, file) for part in parts for file in folder.joinpath(*part, "good").glob("*.png")]
    common = {"dataset": "mini", "label": 0, "defect": "good"}
    return make_records(
        {**common, "category": name, "split": split, "image": str(file.absolute())} for name, split, file in files
    )


def main(
    csv: Path,
    folder: Path,
    numbers: str = "2,5,12,30",
    preset: str = "small",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    settings: Annotated[list[str] | None, typer.Option("--setting")] = None,
    seeds: int = 3,
    mapper_steps: int = 0,
) -> None:
    """Train every number of classes with every setting and seed, and write the CSV after each."""
    logging.basicConfig(level=logging.WARNING)
    make_images(folder)
    base = resolve_config(preset, None, changes or [], "mini")
    counts = image_counts()
    rows = read_commented_csv(csv)[1].to_dict("records") if csv.exists() else []
    what = {"trained": "mapper" if mapper_steps else "model", "steps": mapper_steps or base.train.steps}
    done = {tuple(row[key] for key in KEYS) for row in rows}
    for seed in range(seeds):
        for number in map(int, numbers.split(",")):
            seeded = base.override(**{"train.seed": seed})
            prepared = prepare_data(seeded, records_of(folder, some_classes(number)), progress=False)
            for setting in settings or SETTINGS:
                row = {**what, "classes": number, "setting": setting, "seed": seed}
                if tuple(row[key] for key in KEYS) in done:
                    continue
                config, began = seeded.override(**SETTINGS[setting]), time.perf_counter()
                model = new_model(config, prepared)
                reporter = partial(report, model=model, prepared=prepared)
                if mapper_steps:
                    train_mapper(model, prepared, config, mapper_steps, reporter)
                else:
                    with tempfile.TemporaryDirectory() as checkpoints:
                        inputs = (prepared.features, prepared.train_rows, prepared.train_labels)
                        train(model, *inputs, config.train, Path(checkpoints), progress=False, after_step=reporter)
                seconds = time.perf_counter() - began
                model.eval()
                tested = classify(model, prepared, prepared.test_rows)
                trained = classify(model, prepared, prepared.train_rows)
                by_class, learned = (table.groupby("name")["right"].mean() for table in (tested, trained))
                worst = by_class.idxmin().partition("/")[2]
                values = {
                    "accuracy": tested["right"].mean(),
                    "worst_accuracy": by_class.min(),
                    "train_accuracy": trained["right"].mean(),
                    "token_distance": closest_means(trained.filter(regex="^t[0-9]"), trained["name"]),
                }
                row |= {name: round(float(value), 4) for name, value in values.items()}
                row |= {"lost": int((learned < 0.5).sum()), "worst_class": worst, "worst_images": counts[worst]}
                rows.append(row | {"seconds": round(seconds)})
                print(rows[-1], flush=True)
                write(csv, rows)


if __name__ == "__main__":
    typer.run(main)

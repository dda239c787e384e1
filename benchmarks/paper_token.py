"""Does the class token learn in the `paper` preset: gain 1, two softmaxes, learning rate 1e-4, lambda_a = 1?

    python benchmarks/paper_token.py data/results/paper_token.csv mapper --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}'

The preset's sizes (14 x 14 tokens, D = 256, 4 + 4 layers) and schedule of 1000 epochs, cut after `--stop` steps, on
features of EfficientNet-Lite0, since the weights of b4 need a download; a tenth of the images is held out. The second
argument is what learns: `mapper` is adapter, class encoder and head, by the cross-entropy alone. `model` is the whole
model. Its name and its `--set` are the rows' `setting`; a run in `--folder` is resumed.

Columns, on the held-out normal images: `ce`, the cross-entropy; `accuracy` of the head, and `mean_accuracy`, its mean
over classes (chance: the largest class's share, and 1 / N); `token_distance`, the smallest distance between two
classes' mean tokens.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from class_balance import classify, train_mapper
from provenance import write

from mintad.course.lab.tokens import closest_means
from mintad.model import MintAD
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model
from mintad.training import train

LITE0 = {"features.backbone": "efficientnet_lite0", "data.holdout": 0.1}


class Stopped(Exception):
    """Raised where a training is cut."""


def measure(model: MintAD, prepared: PreparedData) -> dict[str, float]:
    """Return cross-entropy, accuracies and the smallest distance of class means on held-out images."""
    table = classify(model, prepared, prepared.holdout_rows)
    by_class = table.groupby("name")["right"].mean()
    distance = closest_means(table.filter(regex="^t[0-9]"), table["name"])
    accuracies = {"accuracy": table["right"].mean(), "mean_accuracy": by_class.mean()}
    return {"ce": table["ce"].mean(), **accuracies, "token_distance": distance}


def main(
    csv: Path,
    what: str,
    data: str = "merged",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    name: str = "",
    stop: int = 2000,
    every: int = 100,
    seeds: int = 1,
    folder: Path = Path("runs/paper_token"),
) -> None:
    """Train with each seed, measure every so many steps, and write the CSV."""
    base = resolve_config("paper", None, changes or [], data).override(**LITE0)
    setting = f"{what}{', ' * bool(name)}{name}"
    rows = read_commented_csv(csv)[1].to_dict("records") if csv.exists() else []
    for seed in range(seeds):
        config = base.override(**{"train.seed": seed, "train.checkpoint_every": every, "train.log_every": every})
        prepared = prepare_data(config, progress=False)
        model = new_model(config, prepared)

        def after_step(step: int, model: MintAD = model, prepared: PreparedData = prepared, seed: int = seed) -> None:
            if step > stop:  # not at once: the checkpoint of step `stop` is written after this call
                raise Stopped
            if step % every == 0:
                row = {"setting": setting, "seed": seed, "step": step}
                rows[:] = [old for old in rows if {name: old[name] for name in row} != row]
                rows.append(row | {name: float(f"{value:.4g}") for name, value in measure(model, prepared).items()})
                print(rows[-1], flush=True)
                write(csv, rows)

        inputs = (prepared.features, prepared.train_rows, prepared.train_labels)
        with contextlib.suppress(Stopped):
            if what == "mapper":
                train_mapper(model, prepared, config, stop, after_step)
            else:
                train(model, *inputs, config.train, folder / f"{setting}-{seed}", progress=False, after_step=after_step)


if __name__ == "__main__":
    typer.run(main)

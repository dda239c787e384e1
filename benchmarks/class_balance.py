"""Compare ways to balance uneven classes, without any test image: what do class head and reconstruction gain or lose?

    python benchmarks/class_balance.py data/results/class_balance.csv --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}' --setting uniform --setting sampling

Each setting of `SETTINGS` is trained with each seed. A row that the CSV has already is not trained again. With
`--mapper-steps N` only adapter, class encoder and head train, by the cross-entropy alone, in the first N steps of the
same schedule, which takes seconds. Columns:

`trained` what was trained: the whole model, or the mapper and its steps;
`accuracy`, `worst_accuracy` of the class head on held-out normal images: of all, and of the class that has the lowest;
`train_accuracy`, `worst_train_accuracy`, `worst_class` the same on the training images, which are more;
`token_distance` the smallest distance between two classes' mean tokens (0: their queries are the same);
`error`, `smallest_error` squared reconstruction error of a channel of held-out normal images: mean over classes, and of
the smallest class (standardised features: 1 is the variance over all images);
`auroc`, `smallest_auroc` of held-out images with a synthetic defect against those without (`synthetic_defects.py`).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import typer
from provenance import write
from synthetic_defects import SyntheticTest, evaluate

from mintad.config import Config
from mintad.course.lab.tokens import closest_means
from mintad.model import MintAD
from mintad.model.losses import cross_entropy
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model
from mintad.scoring.metrics import MEAN
from mintad.training import total_steps, train
from mintad.training.batches import batch_rows
from mintad.training.sampling import class_weights
from mintad.training.schedule import learning_rate

SETTINGS = {
    "uniform": {"train.sampling": "uniform"},
    "sampling": {"train.sampling": "balanced"},
    "sampling, token": {"train.sampling": "balanced", "model.prompt_mapper.token_std": 2.0},
    "sampling, root": {"train.sampling": "sqrt"},
    "loss": {"train.sampling": "uniform", "train.ce_weights": "balanced"},
    "loss, root": {"train.sampling": "uniform", "train.ce_weights": "sqrt"},
    "both": {"train.sampling": "balanced", "train.ce_weights": "balanced"},
    "both, root": {"train.sampling": "sqrt", "train.ce_weights": "sqrt"},
}


@torch.no_grad()
def classify(model: MintAD, prepared: PreparedData, rows: np.ndarray) -> pd.DataFrame:
    """Return, for each row, its class, whether the head is right, cross-entropy and class token (t0, t1, ...)."""
    parts = []
    for batch in np.array_split(rows, max(1, len(rows) // 128)):
        adapted_BLD = model.embed(prepared.features.gather(batch)).adapted
        parts.append(model.prompt_mapper(adapted_BLD))
    tokens_nT, logits_nN = (torch.cat(part) for part in zip(*parts, strict=True))
    labels = prepared.labels(rows)
    ce = F.cross_entropy(logits_nN, torch.from_numpy(labels), reduction="none").numpy()
    right = logits_nN.argmax(-1).numpy() == labels
    table = pd.DataFrame(tokens_nT.numpy()).add_prefix("t")
    return table.assign(name=np.array(prepared.classes)[labels], right=right, ce=ce)


@torch.no_grad()
def reconstruction_error(model: MintAD, prepared: PreparedData, rows: np.ndarray) -> pd.Series:
    """Return the mean squared error of an element of the features, by class."""
    model.eval()
    batches = np.array_split(rows, max(1, len(rows) // 64))
    errors_n = torch.cat([model(prepared.features.gather(batch)).token_error.mean(dim=1) for batch in batches])
    names = np.array(prepared.classes)[prepared.labels(rows)]
    return pd.Series(errors_n.numpy() / model.channels).groupby(names).mean()


def train_mapper(
    model: MintAD, prepared: PreparedData, config: Config, steps: int, after_step: Callable[[int], None]
) -> None:
    """Train adapter, class encoder, channel encoder and head in place, in the first steps of the whole training."""
    parameters = [*model.adapter.parameters(), *model.prompt_mapper.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.train.lr, weight_decay=config.train.weight_decay)
    labels_n, total = prepared.train_labels, total_steps(len(prepared.train_rows), config.train)
    weights_N = torch.tensor(class_weights(np.bincount(labels_n), config.train.ce_weights), dtype=torch.float32)
    for step in range(steps):
        rows = batch_rows(step, labels_n, config.train)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total, config.train)
        adapted_BLD = model.embed(prepared.features.gather(prepared.train_rows[rows])).adapted
        ce = cross_entropy(model.prompt_mapper(adapted_BLD)[1], torch.from_numpy(labels_n[rows]), weights_N)
        optimizer.zero_grad()
        (config.train.weight_ce * ce).backward()
        optimizer.step()
        after_step(step + 1)


def measure_classes(model: MintAD, prepared: PreparedData) -> dict[str, float | str]:
    """Measure class head and token on held-out and training images; the columns are those of the CSV."""
    held_out, trained = (classify(model, prepared, rows) for rows in (prepared.holdout_rows, prepared.train_rows))
    by_class = trained.groupby("name")["right"].mean()
    return {
        "accuracy": held_out["right"].mean(),
        "worst_accuracy": held_out.groupby("name")["right"].mean().min(),
        "train_accuracy": trained["right"].mean(),
        "worst_train_accuracy": by_class.min(),
        "worst_class": by_class.idxmin(),
        "token_distance": closest_means(trained.filter(regex="^t[0-9]"), trained["name"]),
    }


def measure(model: MintAD, prepared: PreparedData, config: Config, test: SyntheticTest) -> dict[str, float | str]:
    """Measure class head, token and reconstruction of a trained model; the columns are those of the CSV."""
    model.eval()
    smallest = prepared.classes[np.bincount(prepared.train_labels).argmin()]
    error = reconstruction_error(model, prepared, prepared.holdout_rows)
    auroc = evaluate(model, prepared, config, test)
    return measure_classes(model, prepared) | {
        "error": error.mean(),
        "smallest_error": error[smallest],
        "auroc": auroc[MEAN, "image_auroc_max"],
        "smallest_auroc": auroc[smallest, "image_auroc_max"],
    }


def report(step: int, model: MintAD, prepared: PreparedData) -> None:
    """Print, every 200 steps, the accuracy on the training images, of all and of the class that has the lowest."""
    if step % 200 == 0:
        table = classify(model, prepared, prepared.train_rows)
        right = table.groupby("name")["right"].mean()
        print(step, f"{table['right'].mean():.4f}", f"{right.min():.3f} {right.idxmin()}", flush=True)


def main(
    csv: Path,
    data: str = "merged",
    preset: str = "small",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    settings: Annotated[list[str] | None, typer.Option("--setting")] = None,
    seeds: int = 3,
    first_seed: int = 0,
    mapper_steps: int = 0,
) -> None:
    """Train every setting with every seed, and write the CSV after each."""
    logging.basicConfig(level=logging.WARNING)
    base = resolve_config(preset, None, changes or [], data)
    rows = read_commented_csv(csv)[1].to_dict("records") if csv.exists() else []
    trained = f"mapper, {mapper_steps} steps" if mapper_steps else "model"
    done = {(row["trained"], row["setting"], row["seed"]) for row in rows}
    for seed in range(first_seed, first_seed + seeds):
        seeded = base.override(**{"train.seed": seed})
        prepared, test = prepare_data(seeded, progress=False), None
        for name in settings or SETTINGS:
            if (trained, name, seed) in done:
                continue
            config = seeded.override(**SETTINGS[name])
            model = new_model(config, prepared)

            reporter = partial(report, model=model, prepared=prepared)
            if mapper_steps:
                train_mapper(model, prepared, config, mapper_steps, reporter)
                values = measure_classes(model, prepared)
            else:
                test = test or SyntheticTest.from_holdout(prepared, base.features.image_size)
                with tempfile.TemporaryDirectory() as folder:
                    inputs = (prepared.features, prepared.train_rows, prepared.train_labels)
                    train(model, *inputs, config.train, Path(folder), progress=False, after_step=reporter)
                values = measure(model, prepared, config, test)
            values = {key: value if isinstance(value, str) else round(float(value), 4) for key, value in values.items()}
            rows.append({"trained": trained, "setting": name, "seed": seed, **values})
            print(rows[-1], flush=True)
            write(csv, rows)


if __name__ == "__main__":
    typer.run(main)

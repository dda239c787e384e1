"""Estimate the minutes that the paper preset takes for its 1,000 epochs on MVTec AD, from a few training steps.

    python benchmarks/gpu_epochs.py data/results/gpu_epochs.csv --steps 600

The features are generated (3,629 images of 14 x 14 tokens with 272 channels, float16), so no data set is needed; the
training loop is the real one, with checkpoints and history. The first third of the steps is warm-up and not counted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import typer
from provenance import write

from mintad.config import preset
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.training import train
from mintad.training.device import make_accelerator
from mintad.training.schedule import batch_shape

IMAGES, CLASSES = 3629, 15


def seconds_per_step(precision: str, steps: int, images: int) -> float:
    """Return the seconds per step of the real training loop, from the times in its history."""
    config = preset("paper").override(
        **{"train.precision": precision, "train.steps": steps, "train.log_every": max(1, steps // 30)}
    )
    channels, grid = 272, config.features.grid
    table = FeatureTable.from_tensor(torch.randn(images, grid * grid, channels).half())
    torch.manual_seed(0)
    model = build_model(config.model, channels=channels, grid=(grid, grid), classes=CLASSES)
    labels = np.arange(images) % CLASSES
    with tempfile.TemporaryDirectory() as folder:
        history = train(
            model,
            table,
            np.arange(images),
            labels,
            config.train,
            Path(folder),
            accelerator=make_accelerator(config.train),
            progress=False,
        )
    counted = history[history["step"] >= steps // 3]
    return float(np.ptp(counted["seconds"]) / np.ptp(counted["step"]))


def main(csv: Path, steps: int = 600, images: int = IMAGES, precisions: str = "no,bf16") -> None:
    """Time the training in each precision and write a CSV."""
    config = preset("paper").train
    total_steps = batch_shape(images, config)[1] * 1000
    rows = []
    for precision in precisions.split(","):
        seconds = seconds_per_step(precision, steps, images)
        rows.append(
            {
                "precision": precision,
                "batch": config.batch_size,
                "seconds_per_step": round(seconds, 6),
                "images_per_second": round(config.batch_size / seconds, 1),
                "minutes_for_1000_epochs": round(seconds * total_steps / 60, 2),
            }
        )
        print(rows[-1], flush=True)
        write(csv, rows)


if __name__ == "__main__":
    typer.run(main)

"""A very small run, the commands that make it and work on it, and what of their files must be the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from safetensors.numpy import load_file

SETTINGS = (
    "data.options={categories: [mesh, gear], n_train: 12, n_test_good: 3, n_test_defect: 1, size: 64}",
    *("features.image_size=64", "features.grid=4", "features.weights=random", "model.pool=1", "model.width=16"),
    *("model.heads=2", "model.ffn_dim=32", "train.steps=24", "train.checkpoint_every=4", "train.device=cpu"),
)
CHANGED = [f"--set={setting}" for setting in SETTINGS]
COMMANDS = {
    "train": ["train", "--data", "mini", "--out", "run", "--quiet", *CHANGED],
    "evaluate": ["evaluate", "run", "--baselines", "padim", "--quiet"],
    "page": ["train", "--data", "mini", "--out", "run", "--quiet", *CHANGED, "--baselines", "nearest"],
    "predict": ["predict", "run", "pictures", "--out", "predictions", "--quiet"],
    "watch": ["watch", "run", "pictures", "--out", "watched", "--idle", "0.2", "--interval", "0.05"],
    "report": ["report", "run", "--out", "report"],
    "pack": ["course", "pack", "models.zip"],
    "unpack": ["course", "unpack", "models.zip"],
    "sweep": ["sweep", "sweep.yaml"],
    "export": ["export", "run", "model.onnx", "--images", "2", "--quiet"],
}
"""In the order in which each finds what it needs. Page adds a baseline to a finished run and writes its page anew; pack
and unpack know one shared model."""
SHARES = (0.25, 0.1, 0.1, 0.1, 0.05, 0.1, 0.1, 0.1, 0.05, 0.05)
"""The commands' shares of the trials; the last two take long."""
COMPARED = ("*.safetensors", "scores.csv", "maps.npy", "results.csv", "predictions.csv", "*.tex", "*.zip")


def state(folder: Path) -> dict[str, object]:
    """Return every file of `COMPARED` and its content: tensors without their metadata, tables without seconds."""
    files = [file for pattern in COMPARED for file in folder.rglob(pattern) if "cache" not in file.parts]
    return {str(file.relative_to(folder)): content(file) for file in files}


def content(file: Path) -> object:
    """Return what must be the same in a file."""
    if file.suffix == ".safetensors":
        return {name: tensor.tobytes() for name, tensor in load_file(file).items()}
    if file.name == "predictions.csv":
        return pd.read_csv(file).drop(columns="seconds").to_csv()
    return file.read_bytes()

"""Small stand-ins shared by tests: features in memory, and a training job that can be run in a process of its own."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mintad.config import Config, INRConfig, ModelConfig, PromptMapperConfig, TrainConfig, preset
from mintad.model import build_model

GRID = (4, 4)
CHANNELS = 12
MODEL = ModelConfig(
    width=16,
    heads=2,
    ffn_dim=32,
    encoder_layers=1,
    decoder_layers=1,
    prompt_mapper=PromptMapperConfig(token_width=8, hidden=16, gain=4.0),
    inr=INRConfig(hidden=16),
)
TRAIN = TrainConfig(epochs=None, steps=14, batch_size=8, lr=1e-3, checkpoint_every=3, log_every=2, device="cpu", seed=3)
TOGETHER = {"dropout": 0.0, "attention_dropout": 0.0, "jitter.probability": 0.5}
"""Of a model that two processes train: without dropout, whose masks are drawn per process."""

SMALL = {
    "data.holdout": 0.3,
    "features.image_size": 64,
    "features.grid": 4,
    "model.pool": 1,
    "model.width": 16,
    "model.heads": 2,
    "model.ffn_dim": 32,
    "model.inr.hidden": 16,
    "train.batch_size": 4,
}
"""What makes any preset a run of a second on small images."""


def small(root, **changes) -> Config:
    """The fast preset, SMALL, on a folder of images."""
    own = {"train.steps": 12, "train.device": "cpu", "train.log_every": 4}
    return preset("fast").override(**{"data.name": "folder", "data.root": str(root), **SMALL, **own, **changes})


class ArrayFeatures:
    """The part of `FeatureTable` that training and scoring use, over an array (n, L, F)."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = torch.as_tensor(array, dtype=torch.float32)
        self.nbytes = self.array.nbytes

    def __len__(self) -> int:
        return len(self.array)

    def gather(self, indices) -> torch.Tensor:
        return self.array[torch.as_tensor(np.asarray(indices))]

    def to(self, device) -> ArrayFeatures:
        return self


def two_categories(n: int = 24, seed: int = 0) -> tuple[ArrayFeatures, np.ndarray]:
    """Features of 2 n images: tokens of two categories, told apart by a spatial pattern, and their class index."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(2, GRID[0] * GRID[1], CHANNELS))
    labels = np.repeat([0, 1], n)
    return ArrayFeatures(patterns[labels] + 0.3 * rng.normal(size=(2 * n, *patterns.shape[1:]))), labels


def changed_model(**changes) -> ModelConfig:
    """MODEL with values changed, by their keys below ``model.``."""
    return Config(model=MODEL).override(**{f"model.{key}": value for key, value in changes.items()}).model


def fresh_model(config: ModelConfig = MODEL, seed: int = 3, classes: int = 2):
    torch.manual_seed(seed)
    return build_model(config, channels=CHANNELS, grid=GRID, classes=classes)


def die(when: str, step: int) -> None:
    """End this process with SIGKILL in a step, or while it saves that step's checkpoint."""
    import mintad.training.checkpoint as checkpoint
    import mintad.training.loop as loop

    steps, compute, save = itertools.count(1), loop.train_step, checkpoint.save_file

    def compute_or_die(*args):
        if next(steps) == step and when == "at":
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(*args)

    def save_or_die(tensors, path):
        save(tensors, path)
        if when == "saving" and f"{step:08d}" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)

    loop.train_step, checkpoint.save_file = compute_or_die, save_or_die


def main() -> None:
    """Train in processes that are killed, or in two that share the batches.

    ``--kill-at S`` starts a process that ends itself with SIGKILL in step S, ``--kill-saving S`` one that does so while
    it saves checkpoint S; each trains in a folder of its own, such as ``at-2``. ``--together`` starts two that train
    one model (`TOGETHER`), with the variables that `torchrun` and `accelerate launch` set. They are forked, because
    importing PyTorch takes longer than the training.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int, nargs="*", default=[])
    parser.add_argument("--kill-saving", type=int, nargs="*", default=[])
    parser.add_argument("--together", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import mintad.training.loop as loop

    features, labels = two_categories()
    rows = np.arange(len(features))

    def train(folder: Path, config: ModelConfig = MODEL) -> None:
        loop.train(fresh_model(config), features, rows, labels, TRAIN, folder, progress=False)

    def train_together(rank: int, port: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        train(arguments.folder, changed_model(**TOGETHER))
        from torch.distributed.distributed_c10d import _get_default_group

        backend = _get_default_group()._get_backend(torch.device("cpu"))
        hours = backend.options._timeout.total_seconds() / 3600
        os.write(1, f"patience in hours: {hours}\n".encode())  # at once: two processes share the pipe

    def kill(when: str, step: int) -> None:
        die(when, step)
        train(arguments.folder / f"{when}-{step}")

    kills = [("at", step) for step in arguments.kill_at] + [("saving", step) for step in arguments.kill_saving]
    works = [partial(kill, *which) for which in kills]
    if arguments.together:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        works += [partial(train_together, rank, port) for rank in range(2)]
    for work in works:
        if os.fork() == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
    endings = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in works)
    assert endings == [-signal.SIGKILL] * len(kills) + [0] * (len(works) - len(kills)), endings


if __name__ == "__main__":
    main()

"""Checkpoints: safetensors and JSON, no pickle, complete or absent.

A checkpoint is a folder ``step-00000400/`` with `model.safetensors`, `optimizer.safetensors` and `state.json`. It is
written under a temporary name, flushed to disk, and renamed, so that a process killed at any moment leaves all or none.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mintad.errors import TrainingError

_OLD_NAMES = {"standardise.deviation_F": "standardise.std_F"}  # of weights that were renamed


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path
    step: int  # optimiser steps done

    @property
    def weights(self) -> Path:
        """The file of the model's weights."""
        return self.path / "model.safetensors"

    def state(self) -> dict[str, Any]:
        """Return what the trainer noted beside the tensors."""
        return json.loads((self.path / "state.json").read_text(encoding="utf-8"))


def checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints below `folder`, oldest first."""
    states = folder.glob("step-*/state.json")
    complete = [Checkpoint(path.parent, int(path.parent.name.split("-")[1])) for path in states]
    return sorted(complete, key=lambda checkpoint: checkpoint.step)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None."""
    return next(reversed(checkpoints(folder)), None)


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> Checkpoint:
    """Write a checkpoint atomically and remove older ones once it stands."""
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    entries = optimizer.state_dict()["state"].items()
    moments = {f"{index}.{name}": value.contiguous() for index, entry in entries for name, value in entry.items()}
    target = folder / f"step-{step:08d}"
    temporary = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(weights, temporary / "model.safetensors")
    save_file(moments, temporary / "optimizer.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step, **state}, indent=1), encoding="utf-8")
    for file in temporary.iterdir():
        _flush(file)
    if target.exists():  # an earlier, longer run in the same folder
        shutil.rmtree(target)
    temporary.rename(target)
    _flush(folder)
    older = [checkpoint.path for checkpoint in checkpoints(folder) if checkpoint.step < step]
    for path in [*older, *folder.glob(".step-*")]:
        shutil.rmtree(path, ignore_errors=True)
    return Checkpoint(target, step)


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into `model`; those of older versions, too.

    Raises:
        TrainingError: the file is damaged or belongs to another configuration.
    """
    try:
        weights = load_file(checkpoint.weights)
        model.load_state_dict({_OLD_NAMES.get(name, name): tensor for name, tensor in weights.items()})
    except (OSError, SafetensorError) as error:
        fix = f"delete {checkpoint.path} and resume"
        raise TrainingError(f"cannot be read ({error})", path=checkpoint.weights, fix=fix) from error
    except RuntimeError as error:
        problem = f"does not fit the model of this configuration ({' '.join(str(error).split())[:300]})"
        fix = "use the configuration that the run was started with, or another --out folder"
        raise TrainingError(problem, path=checkpoint.weights, fix=fix) from error


def load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's AdamW moments."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(checkpoint.path / "optimizer.safetensors").items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _flush(path: Path) -> None:
    """Force a file or folder entry to disk, where the platform can: Windows opens no folders and no read-only files."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

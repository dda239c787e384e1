"""Checkpoints: safetensors and JSON, no pickle, complete or absent, and refused where the disk has changed them.

A checkpoint is a folder ``step-00000400/`` with `model.safetensors`, `optimizer.safetensors` and `state.json`. It is
written under a temporary name, flushed to disk, and renamed, so that a process killed at any moment leaves all or none.
The state has digests of both files, says which run it belongs to, and has a digest of itself: whatever is loaded is
what was saved, in the same step of the same run.
"""

from __future__ import annotations

import errno
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mintad.disk import digest, remove, sealed, sync
from mintad.errors import TrainingError

STATE, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", "optimizer.safetensors"


class DamagedCheckpointError(TrainingError):
    """A checkpoint is not what was saved."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk."""

    path: Path
    step: int  # optimiser steps done

    @property
    def weights(self) -> Path:
        """The file of the model's weights."""
        return self.path / WEIGHTS

    @property
    def weights_digest(self) -> str:
        """The digest of the weights' file, which tells them from all others."""
        return self.state()["files"][WEIGHTS]

    def state(self) -> dict[str, Any]:
        """Return what the trainer noted beside the tensors.

        Raises:
            DamagedCheckpointError: it cannot be read, was changed, or is of another step than the folder's name says.
        """
        file = self.path / STATE
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
            known = {"digest", "files", "identity"} <= state.keys() and sealed(state)["digest"] == state["digest"]
            numbers = isinstance(state["step"], int) and isinstance(state["steps"], int)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._damaged(f"cannot be read ({error!r})", STATE) from error
        if not known or not numbers:
            raise self._damaged("is damaged, or of an older version", STATE)
        if state["step"] != self.step:
            raise self._damaged(f"is of step {state['step']}, the folder is named after another", STATE)
        return state

    def require(self, identity: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of another run than `identity` describes (see `save_checkpoint`), with a TrainingError.

        Only what both know is compared, so that a new version can add settings.
        """
        saved, now = self.state()["identity"], json.loads(json.dumps(identity))
        other = [name for name in now if name in saved and saved[name] != now[name]]
        if other:
            listed = "; ".join(
                f"{name}: {str(saved[name])[:80]} there, {str(now[name])[:80]} now" for name in other[:5]
            )
            fix = "restore config.json and classes.json as they were, or train anew with --overwrite or another --out"
            raise TrainingError(f"the checkpoint belongs to another run ({listed})", path=self.path, fix=fix)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Read one of the two files, as it was saved; raise DamagedCheckpointError otherwise."""
        files = self.state()["files"]
        try:
            if digest(self.path / name) != files[name]:
                raise self._damaged("is damaged: its digest is not the one in state.json", name)
            return load_file(self.path / name)
        except (OSError, KeyError, SafetensorError) as error:
            raise self._damaged(f"cannot be read ({error})", name) from error

    def _damaged(self, problem: str, name: str) -> DamagedCheckpointError:
        fix = f"restore it, or delete {self.path}: the training then begins anew, or at an older checkpoint"
        fix += "; a finished run is trained anew with --overwrite"
        return DamagedCheckpointError(problem, path=self.path / name, fix=fix)


def checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the checkpoints in `folder`, damaged ones included, oldest first."""
    numbers = {path: re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("step-*") if path.is_dir()}
    found = [Checkpoint(path, int(number[1])) for path, number in numbers.items() if number]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint, or None."""
    return next(reversed(checkpoints(folder)), None)


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    identity: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Write a checkpoint atomically and remove all others once it stands.

    Args:
        folder, step: where to write it, and optimiser steps done.
        model, optimizer, state: its content; the state is plain values.
        identity: plain values that say which run this is: whatever else is needed to use the weights.

    Raises:
        OSError: it cannot be written, or the disk reports an error; the checkpoints before it are still there.
    """
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    entries = optimizer.state_dict()["state"].items()
    moments = {f"{index}.{name}": value.contiguous() for index, entry in entries for name, value in entry.items()}
    target = folder / f"step-{step:08d}"
    temporary = folder / f".{target.name}.{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        _write(temporary, weights, moments, {"step": step, **state, "identity": dict(identity or {})})
        remove(target)  # of an earlier run in the same folder
        temporary.rename(target)
    except BaseException as error:
        remove(temporary)  # a full disk needs the space
        if isinstance(error, SafetensorError):  # its only words for a full disk
            raise OSError(errno.EIO, str(error), str(target)) from error
        raise
    sync(folder)
    checkpoint = Checkpoint(target, step)
    keep_only(folder, checkpoint)
    return checkpoint


def _write(
    folder: Path, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write the three files of a checkpoint into `folder` and to the disk, the state with its digests last."""
    save_file(weights, folder / WEIGHTS)
    save_file(moments, folder / OPTIMIZER)
    files = {name: digest(folder / name) for name in (WEIGHTS, OPTIMIZER)}
    (folder / STATE).write_text(json.dumps(sealed({**state, "files": files}), indent=1), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        sync(path)


def keep_only(folder: Path, checkpoint: Checkpoint | None) -> None:
    """Remove all other checkpoints of `folder`, if one is given, and what killed processes left there."""
    others = [path for path in folder.glob("step-*") if checkpoint and path != checkpoint.path]
    for path in (*others, *folder.glob(".step-*")):
        remove(path)


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into `model`.

    Raises:
        DamagedCheckpointError: the file is not what was saved.
        TrainingError: it belongs to another configuration.
    """
    weights = checkpoint.tensors(WEIGHTS)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        problem = f"does not fit the model of this configuration ({' '.join(str(error).split())[:300]})"
        fix = "use the configuration that the run was started with, or another --out folder"
        raise TrainingError(problem, path=checkpoint.weights, fix=fix) from error


def load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's AdamW moments; a DamagedCheckpointError if they do not fit the parameters and the step."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in checkpoint.tensors(OPTIMIZER).items():
        index, _, name = key.partition(".")
        state.setdefault(int(index) if index.isdigit() else -1, {})[name] = tensor
    if not state or not all(_fits(entry, parameters, index, checkpoint.step) for index, entry in state.items()):
        raise checkpoint._damaged("does not fit the model's parameters and the step", OPTIMIZER)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _fits(entry: Mapping[str, Tensor], parameters: list[Tensor], index: int, step: int) -> bool:
    """Whether AdamW's state of the parameter `index` is whole, finite, of its shape, and not of a later step."""
    if not 0 <= index < len(parameters) or entry.keys() != {"step", "exp_avg", "exp_avg_sq"}:
        return False
    moments = (entry["exp_avg"], entry["exp_avg_sq"])
    shaped = all(moment.shape == parameters[index].shape and moment.isfinite().all() for moment in moments)
    return shaped and entry["step"].numel() == 1 and 0 < entry["step"].item() <= step

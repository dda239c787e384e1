"""What remains of a training: its history and its checkpoints, and a refusal of numbers that are not finite."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator

from mintad.disk import refuse_link, write
from mintad.errors import TrainingError, message
from mintad.training.batches import Batches
from mintad.training.checkpoint import (
    Checkpoint,
    DamagedCheckpointError,
    checkpoints,
    keep_only,
    latest_checkpoint,
    load_optimizer,
    load_weights,
    save_checkpoint,
)
from mintad.training.schedule import learning_rate

log = logging.getLogger(__name__)


class Recorder:
    """History and checkpoints of a run in `folder`; picks up what an interrupted run has left there.

    The newest sound checkpoint is loaded into model and optimizer, which `accelerate` must not have wrapped yet. For
    `identity` see `mintad.training.checkpoint.save_checkpoint`. Raises TrainingError if it does not fit, or if all
    checkpoints are damaged.
    """

    def __init__(
        self,
        folder: Path,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.checkpoints, self.history_file = folder / "checkpoints", folder / "history.csv"
        self.optimizer, self.model, self.config = optimizer, batches.model, batches.config
        self.steps, self.per_epoch, self.identity = batches.steps, batches.per_epoch, identity or {}
        folder.mkdir(parents=True, exist_ok=True)
        refuse_link(self.checkpoints)
        self.history: list[dict[str, float]] = []
        self.scaler_state: dict[str, float] = {}
        self.resumed = self._resume_newest()
        self.start, seconds = (self.resumed.step, self.resumed_seconds) if self.resumed else (0, 0.0)
        self.began = time.perf_counter() - seconds

    def _resume_newest(self) -> Checkpoint | None:
        """Resume from the newest checkpoint that is not damaged; None where there is none."""
        damage: list[DamagedCheckpointError] = []
        for checkpoint in reversed(checkpoints(self.checkpoints)):
            try:
                self._resume(checkpoint)
            except DamagedCheckpointError as error:
                damage.append(error)
                continue
            for error in damage:
                log.warning("%s; dropped", message(error.problem, error.path))
            log.info("resuming from %s", checkpoint.path)
            return checkpoint
        if damage:
            raise damage[0]
        return None

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint, the history before it, and the seconds that training took so far."""
        state = checkpoint.state()
        checkpoint.require(self.identity)
        if state["steps"] != self.steps:
            problem = f"the checkpoint belongs to a run of {state['steps']} steps, this one has {self.steps}"
            fix = "use the configuration that the run was started with, or another --out folder"
            raise TrainingError(problem, path=checkpoint.path, fix=fix)
        self.scaler_state = state["scaler"]
        load_weights(self.model, checkpoint)
        load_optimizer(self.optimizer, checkpoint)
        self.history = self._history_until(checkpoint.step)
        self.resumed_seconds = state.get("seconds", self.history[-1]["seconds"] if self.history else 0.0)

    def _history_until(self, step: int) -> list[dict[str, float]]:
        """Read the history up to a step; a lost or damaged one is empty, because the weights do not depend on it."""
        try:
            history = pd.read_csv(self.history_file).astype(float)
            complete = history[history["step"] <= step]
            return complete.astype({"step": int}).to_dict("records") if "seconds" in complete else []
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s cannot be read (%s): the learning curve begins at step %d", self.history_file, error, step)
            return []

    def keep_resumed(self) -> None:
        """Remove all checkpoints but the one that was resumed from, and what killed processes left."""
        keep_only(self.checkpoints, self.resumed)

    def due(self, done: int) -> bool:
        """Return whether to look at the losses after `done` steps; also after the first, so that a bar has numbers."""
        return done % self.config.log_every == 0 or done in (self.start + 1, self.steps)

    def record(self, done: int, losses: dict[str, float]) -> None:
        """Keep the losses of a step every `log_every` steps; raise TrainingError if one is not finite."""
        self._refuse([name for name, value in losses.items() if not math.isfinite(value)], done)
        if done % self.config.log_every == 0 or done == self.steps:
            lr, seconds = learning_rate(done - 1, self.steps, self.config), round(self.seconds, 3)
            self.history.append({"step": done, "epoch": done / self.per_epoch, **losses, "lr": lr, "seconds": seconds})

    def save(self, done: int, accelerator: Accelerator) -> None:
        """Write history and checkpoint every `checkpoint_every` steps; refuse weights that are not finite."""
        due = done % self.config.checkpoint_every == 0 or done == self.steps
        if not (due and accelerator.is_main_process):  # which writes for all
            return
        write(self.history_file, pd.DataFrame(self.history).to_csv(index=False))
        weights = self.model.state_dict().items()
        self._refuse([name for name, tensor in weights if not torch.isfinite(tensor).all()], done)
        scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
        state = {"steps": self.steps, "scaler": scaler, "seconds": self.seconds}
        save_checkpoint(self.checkpoints, done, self.model, self.optimizer, state, self.identity)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return time.perf_counter() - self.began

    def _refuse(self, names: list[str], done: int) -> None:
        """Stop if losses or weights are not finite; advise other settings, because the same run would end so again."""
        if not names:
            return
        good = latest_checkpoint(self.checkpoints)
        rescued = f"the last good checkpoint is {good.path}" if good else "there is no checkpoint yet"
        floor = self.model.config.prior.min_log_variance if hasattr(self.model, "distribution_decoder") else 0
        settings = [f"train.lr={self.config.lr / 4:g}"]
        settings += [f"model.prior.min_log_variance={floor / 2:g}"] if floor < 0 else []
        settings += ["train.precision=no"] if self.config.precision != "no" else []
        advice = " or ".join(f"--set {setting}" for setting in settings)
        fix = f"train anew, with --overwrite (which removes this run) or another --out, and with {advice}"
        raise TrainingError(f"{', '.join(names[:5])} not finite at step {done}; {rescued}", fix=fix)

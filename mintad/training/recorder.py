"""What remains of a training: its history and its checkpoints, and a refusal of numbers that are not finite."""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator

from mintad.errors import TrainingError
from mintad.training.batches import Batches
from mintad.training.checkpoint import Checkpoint, latest_checkpoint, load_optimizer, load_weights, save_checkpoint
from mintad.training.schedule import learning_rate

log = logging.getLogger(__name__)


class Recorder:
    """History and checkpoints of a run in `folder`; picks up what an interrupted run has left there.

    The newest checkpoint is loaded into model and optimizer, which `accelerate` must not have wrapped yet. Raises
    TrainingError if it does not fit.
    """

    def __init__(self, folder: Path, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
        self.checkpoints, self.history_file = folder / "checkpoints", folder / "history.csv"
        self.optimizer, self.model, self.config = optimizer, batches.model, batches.config
        self.steps, self.per_epoch = batches.steps, batches.per_epoch
        folder.mkdir(parents=True, exist_ok=True)
        self.history: list[dict[str, float]] = []
        self.scaler_state: dict[str, float] = {}
        self.start, seconds = 0, 0.0
        if checkpoint := latest_checkpoint(self.checkpoints):
            self.start, seconds = checkpoint.step, self._resume(checkpoint)
        self.began = time.perf_counter() - seconds

    def _resume(self, checkpoint: Checkpoint) -> float:
        """Load a checkpoint and return the seconds that training took so far."""
        state = checkpoint.state()
        if state["steps"] != self.steps:
            problem = f"the checkpoint belongs to a run of {state['steps']} steps, this one has {self.steps}"
            fix = "use the configuration that the run was started with, or another --out folder"
            raise TrainingError(problem, path=checkpoint.path, fix=fix)
        self.scaler_state = state["scaler"]
        load_weights(self.model, checkpoint)
        load_optimizer(self.optimizer, checkpoint)
        log.info("resuming from %s", checkpoint.path)
        history = pd.read_csv(self.history_file) if self.history_file.exists() else pd.DataFrame({"step": []})
        self.history = history[history["step"] <= checkpoint.step].to_dict("records")
        return state.get("seconds", self.history[-1]["seconds"] if self.history else 0.0)

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
        temporary = self.history_file.with_name(f".{self.history_file.name}.tmp")
        pd.DataFrame(self.history).to_csv(temporary, index=False)
        os.replace(temporary, self.history_file)
        weights = self.model.state_dict().items()
        self._refuse([name for name, tensor in weights if not torch.isfinite(tensor).all()], done)
        scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
        state = {"steps": self.steps, "scaler": scaler, "seconds": self.seconds}
        save_checkpoint(self.checkpoints, done, self.model, self.optimizer, state)

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

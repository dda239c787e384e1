"""The training loop (§4.1).

Nothing random has a state that a checkpoint would have to carry: the order of an epoch is a function of (seed,
epoch), and jitter and dropout of (seed, step). A run that was killed and resumed is therefore bit for bit the run
that was not.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mintad.config import TrainConfig
from mintad.errors import ConfigError, TrainingError, nearest
from mintad.features.table import FeatureTable
from mintad.model.losses import compute_losses
from mintad.model.reconstruction import ReconstructionModel
from mintad.training.checkpoint import latest_checkpoint, load_optimizer, load_weights, save_checkpoint

log = logging.getLogger(__name__)
GPU_MEMORY_SHARE = 0.5
PATIENCE = timedelta(hours=12)
"""How long processes wait for each other: the first one extracts features and evaluates for all."""


def batch_shape(images: int, config: TrainConfig) -> tuple[int, int]:
    """Images per step and steps per epoch; the incomplete last batch of an epoch is left out."""
    batch = min(config.batch_size, images)
    return batch, max(1, images // batch)


def total_steps(images: int, config: TrainConfig) -> int:
    """Optimiser steps of a run over `images` training images."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * batch_shape(images, config)[1]))


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of step 0..steps-1: a pure function, so that resuming needs no scheduler state."""
    if config.schedule == "step":
        return config.lr * (0.1 if step >= 0.8 * steps else 1.0)
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return config.lr * (step + 1) / warm_up
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def batch_rows(step: int, images: int, config: TrainConfig) -> np.ndarray:
    """Positions (batch,) in the training set that step `step` sees, over all processes."""
    batch, per_epoch = batch_shape(images, config)
    epoch, index = divmod(step, per_epoch)
    order = np.random.default_rng([config.seed, epoch]).permutation(images)
    return order[index * batch : (index + 1) * batch]


def jittered(step: int, probability: float, seed: int) -> bool:
    """Whether the batch of a step is jittered: one decision for all processes that share it."""
    return np.random.default_rng([seed, step, 0]).random() < probability


def step_seed(seed: int, step: int, stream: int) -> int:
    """A 63-bit seed for one use of randomness in one step."""
    return int(np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0] >> 1)


def pick_device(name: str) -> torch.device:
    """The device of a name: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    Raises:
        ConfigError: another name.
        TrainingError: cuda is asked for where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{name}'." + nearest(name, ("auto", "cpu", "cuda")))
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "the device cuda is asked for, but torch sees no CUDA device here; take auto or cpu "
            "(--device, or --set train.device=cpu for training)"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The `accelerate` object for device, precision and processes; fresh settings replace those of an earlier run.

    Raises:
        TrainingError: cuda is asked for where there is none, or a precision the device cannot do.
    """
    on_cpu = pick_device(config.device).type == "cpu"
    if on_cpu and config.precision == "fp16":
        raise TrainingError("train.precision=fp16 needs a GPU; use bf16 or no on the CPU.")
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not distributed and PartialState._shared_state != {})
    patience = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=on_cpu, mixed_precision=config.precision, kwargs_handlers=[patience])


def train(
    model: ReconstructionModel,
    features: FeatureTable,
    rows: np.ndarray,
    labels: np.ndarray,
    config: TrainConfig,
    folder: Path,
    *,
    accelerator: Accelerator | None = None,
    progress: bool = True,
    after_step: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Train `model` in place; resume from the newest checkpoint in `folder` if there is one.

    Args:
        model: freshly built from `config.seed`; its standardisation already fitted.
        features: of the whole data set.
        rows: rows of `features` to train on.
        labels: class index of each of `rows`.
        config: see `TrainConfig`.
        folder: checkpoints go to `folder/checkpoints`, the history to `folder/history.csv`.
        accelerator: device, precision and processes; made from `config` if not given.
        progress: show a bar (on a terminal only; otherwise a log line now and then).
        after_step: called with the number of steps done after each of them; whatever it does must leave the model in
            training mode.

    Returns:
        The history: one row every `log_every` steps with step, epoch, loss, mse, ce, prior, accuracy, lr, seconds.

    Raises:
        TrainingError: no images, a batch that the processes cannot share, a non-finite loss, a checkpoint that does
            not fit.
    """
    if len(rows) == 0:
        raise TrainingError("no training images are left; check data.categories and data.holdout")
    accelerator = accelerator or make_accelerator(config)
    device = accelerator.device
    steps = total_steps(len(rows), config)
    batch, per_epoch = batch_shape(len(rows), config)
    share, remainder = divmod(batch, accelerator.num_processes)
    if remainder:
        raise TrainingError(
            f"a batch of {batch} images cannot be shared evenly by {accelerator.num_processes} processes; "
            "choose train.batch_size as a multiple of them"
        )
    mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)

    fits_on_gpu = device.type == "cuda" and features.nbytes < GPU_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]
    features = features.to(device) if fits_on_gpu else features
    labels_all = torch.tensor(labels, dtype=torch.long, device=device)

    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint_folder, history_path = folder / "checkpoints", folder / "history.csv"
    history, start, seconds_before = _resume(model, optimizer, checkpoint_folder, history_path, steps)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if accelerator.scaler and start:
        accelerator.scaler.load_state_dict(latest_checkpoint(checkpoint_folder).state()["scaler"])
    wrapped.train()
    noise_generator = torch.Generator(device=device)
    began = time.perf_counter() - seconds_before

    show = progress and accelerator.is_main_process
    with _progress_bar(steps, start, show) as report:
        for step in range(start, steps):
            rows_B = batch_rows(step, len(rows), config)[mine]
            feat_BLF = features.gather(rows[rows_B]).to(device, non_blocking=True)
            noise_generator.manual_seed(step_seed(config.seed, step, 0))
            noise_shape = (batch, feat_BLF.shape[1], model.noise_channels)
            noise = torch.randn(noise_shape, generator=noise_generator, device=device)[mine]
            if not jittered(step, model.jitter.probability, config.seed):
                noise = torch.zeros_like(noise)
            torch.manual_seed(step_seed(config.seed, step, 1 + accelerator.process_index))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, config)

            labels_B = labels_all[rows_B]
            output = wrapped(feat_BLF, noise, labels_B)
            losses = compute_losses(output, labels_B, config)
            optimizer.zero_grad()
            accelerator.backward(losses.total)
            if config.clip_norm:
                accelerator.clip_grad_norm_(wrapped.parameters(), config.clip_norm)
            optimizer.step()

            done = step + 1
            if after_step is not None:
                after_step(done)
            if done % config.log_every == 0 or done == steps or step == start:
                values = losses.as_floats()
                if output.class_logits is not None:
                    values["accuracy"] = (output.class_logits.argmax(-1) == labels_B).float().mean().item()
                broken = [name for name, value in values.items() if not math.isfinite(value)]
                _refuse(broken, done, checkpoint_folder, config, model)
                if done % config.log_every == 0 or done == steps:
                    lr = learning_rate(step, steps, config)
                    seconds = round(time.perf_counter() - began, 3)
                    history.append({"step": done, "epoch": done / per_epoch, **values, "lr": lr, "seconds": seconds})
                report(done, values)
            if (done % config.checkpoint_every == 0 or done == steps) and accelerator.is_main_process:
                _write_history(history_path, history)
                weights = model.state_dict().items()
                broken = [name for name, tensor in weights if not torch.isfinite(tensor).all()]
                _refuse(broken, done, checkpoint_folder, config, model)
                plain = getattr(optimizer, "optimizer", optimizer)
                scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
                state = {"steps": steps, "scaler": scaler, "seconds": time.perf_counter() - began}
                save_checkpoint(checkpoint_folder, done, model, plain, state)
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)  # prepare_data() had patched autocast into model.forward
    model.eval()
    return pd.DataFrame(history)


def _resume(model, optimizer, checkpoint_folder: Path, history_path: Path, steps: int) -> tuple[list[dict], int, float]:
    """Load the newest checkpoint, if any; returns the history up to it, the steps done and the seconds they took."""
    checkpoint = latest_checkpoint(checkpoint_folder)
    if checkpoint is None:
        return [], 0, 0.0
    if checkpoint.state()["steps"] != steps:
        raise TrainingError(
            f"{checkpoint.path} belongs to a run of {checkpoint.state()['steps']} steps, this one has {steps}; "
            "use the configuration that the run was started with, or another --out folder"
        )
    load_weights(model, checkpoint)
    load_optimizer(optimizer, checkpoint)
    log.info("resuming from %s", checkpoint.path)
    history = pd.read_csv(history_path) if history_path.exists() else pd.DataFrame({"step": []})
    history = history[history["step"] <= checkpoint.step].to_dict("records")
    return history, checkpoint.step, checkpoint.state().get("seconds", history[-1]["seconds"] if history else 0.0)


def _write_history(path: Path, history: list[dict]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    pd.DataFrame(history).to_csv(temporary, index=False)
    os.replace(temporary, path)


def _refuse(broken: list[str], step: int, folder: Path, config: TrainConfig, model: ReconstructionModel) -> None:
    """Stop if there is anything in `broken`, names of losses or weights that are not finite.

    The same command again would resume and end here again, since nothing in a run is left to chance: the advice is a
    new run with another setting.
    """
    if not broken:
        return
    good = latest_checkpoint(folder)
    kept = f"the last good checkpoint, {good.path}, is kept" if good else "there is no checkpoint yet"
    floor = model.config.min_log_variance if hasattr(model, "distribution_decoder") else 0
    settings = [f"train.lr={config.lr / 4:g}"]
    settings += [f"model.min_log_variance={floor / 2:g}"] if floor < 0 else []
    settings += ["train.precision=no"] if config.precision != "no" else []
    raise TrainingError(
        f"{', '.join(broken[:5])} not finite at step {step}; {kept}. Resuming would end here again. Train anew, with "
        f"--overwrite (which removes this run) or another --out, and with {' or '.join(f'--set {s}' for s in settings)}"
    )


@contextlib.contextmanager
def _progress_bar(steps: int, start: int, show: bool) -> Iterator:
    """Yields report(done, values): a bar on a terminal, else a log line every tenth of the run."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty())) as bar:
        task = bar.add_task("training", total=steps, completed=start, losses="")
        logged = start

        def report(done: int, values: dict[str, float]) -> None:
            nonlocal logged
            text = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
            bar.update(task, completed=done, losses=text)
            if show and bar.disable and (done - logged >= steps / 10 or done == steps):
                log.info("step %d/%d  %s", done, steps, text)
                logged = done

        yield report

"""Device, precision and processes of a training."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from mintad.config import TrainConfig
from mintad.errors import ConfigError, TrainingError, nearest
from mintad.features.table import FeatureTable

GPU_MEMORY_SHARE = 0.5
PATIENCE = timedelta(hours=12)  # how long processes wait for the first, which extracts features and evaluates for all


def pick_device(name: str) -> torch.device:
    """Return the device of a name: 'auto' (a GPU if there is one), 'cpu' or 'cuda'.

    Another name raises ConfigError; cuda where there is none, TrainingError.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{name}'." + nearest(name, ("auto", "cpu", "cuda")))
    if name == "cuda" and not torch.cuda.is_available():
        fix = "take auto or cpu (--device, or --set train.device=cpu for training)"
        raise TrainingError("the device cuda is asked for, but torch sees no CUDA device here", fix=fix)
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def near(features: FeatureTable, device: torch.device) -> FeatureTable:
    """Return features on a GPU if they take less than `GPU_MEMORY_SHARE` of its free memory, else where they are."""
    if device.type == "cuda" and features.nbytes < GPU_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return features.to(device)
    return features


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Make the `accelerate` object for device, precision and processes; its settings replace those of an earlier run.

    A device that is not there, or a precision that it cannot do, raises TrainingError.
    """
    on_cpu = pick_device(config.device).type == "cpu"
    if on_cpu and config.precision == "fp16":
        raise TrainingError("train.precision=fp16 needs a GPU; use bf16 or no on the CPU.")
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not distributed and PartialState._shared_state != {})
    handlers = [
        InitProcessGroupKwargs(timeout=PATIENCE),
        DistributedDataParallelKwargs(broadcast_buffers=False),  # no buffer changes in training, and some are large
    ]
    return Accelerator(cpu=on_cpu, mixed_precision=config.precision, kwargs_handlers=handlers)

"""Training: the loop, its batches, schedule and device, and checkpoints that survive a crash."""

from mintad.training.checkpoint import Checkpoint, latest_checkpoint, load_weights
from mintad.training.loop import train
from mintad.training.schedule import total_steps

__all__ = ["Checkpoint", "latest_checkpoint", "load_weights", "total_steps", "train"]

"""Training: the loop, its schedule, and checkpoints that survive a crash."""

from mintad.training.checkpoint import Checkpoint, latest_checkpoint, load_weights
from mintad.training.loop import total_steps, train

__all__ = ["Checkpoint", "latest_checkpoint", "load_weights", "total_steps", "train"]

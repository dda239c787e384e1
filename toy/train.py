"""Training of many small networks at once: their weights are stacked, and each layer is one batched product.

Every network has its own weights, data, jitter and random stream, so its result is the same (up to rounding) whether it
is trained alone or together with others. `benchmarks/toy_speed.py` measures how much time this saves.
"""

from __future__ import annotations

import copy
import inspect
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import stack_module_state

from mintad.threads import limit_threads
from toy.parallel import parallel_map
from toy.settings import Settings
from toy.stacking import Result, Weights, reconstructions, run_stacked, runs_on_stacks

Build = Callable[[int, Settings], nn.Module]
"""Function that makes a network from (classes, settings)."""
CHUNK = 64
"""Steps whose random numbers are drawn together."""
POINTS = 1024
"""Points reconstructed together: as many as fit a processor's cache."""
_RANDOM_STATE = threading.Lock()  # guards the global random state while initial weights are drawn from it


@dataclass(frozen=True)
class Job:
    """The training of one network: its points, labels, jitter and seed."""

    points: np.ndarray
    labels: np.ndarray
    sigma: float
    seed: int


@dataclass
class Stack:
    """Networks of one kind with stacked weights."""

    module: nn.Module
    """A network whose own weights are not used."""
    weights: Weights
    classes: int
    direct: bool
    """Whether `module` runs on stacked weights (see `runs_on_stacks`); else vmap runs it."""
    history: dict[int, Weights] = field(default_factory=dict)
    """Recorded step -> weights at that step."""

    @torch.no_grad()
    def reconstruct(
        self, points_P2: np.ndarray, label: int | None = None, step: int | None = None, networks: slice = slice(None)
    ) -> np.ndarray:
        """Return the reconstructions (M, P, 2) of the points by every network.

        Args:
            points_P2: points (P, 2).
            label: class given to the networks; None for models that do not need it (they get zeros).
            step: a recorded step; None for the trained networks.
            networks: which networks of the stack; all by default.
        """
        weights = self.weights if step is None else self.history[step]
        weights = {name: value[networks] for name, value in weights.items()}
        count, parts = len(next(iter(weights.values()))), []
        module = copy.deepcopy(self.module)  # functional_call swaps its weights, so threads must not share it
        for points in torch.as_tensor(points_P2, dtype=torch.float32).split(POINTS):
            labels = torch.zeros(count, len(points), self.classes)
            if label is not None:
                labels[..., label] = 1
            points = points.expand(count, -1, -1)
            with limit_threads():
                parts.append(reconstructions(run_stacked(module, self.direct, weights, points, labels)))
        return torch.cat(parts, dim=1).numpy()


def train(
    build: Build,
    jobs: Sequence[Job],
    classes: int,
    settings: Settings,
    *,
    record: Sequence[int] = (),
) -> Stack:
    """Train one network for each job, all at once.

    Args:
        build: makes a network from (classes, settings); the job's seed sets its weights.
        jobs: one per network.
        classes: K, the width of the one-hot labels.
        settings: of all networks.
        record: steps whose weights are kept (0: before training).
    """
    with limit_threads():
        return _train(build, jobs, classes, settings, record)


def _train(build: Build, jobs: Sequence[Job], classes: int, settings: Settings, record: Sequence[int]) -> Stack:
    networks = [_seeded(build, classes, settings, job.seed) for job in jobs]
    module = _seeded(build, classes, settings, 0)
    weights, _ = stack_module_state(networks)
    optimiser = torch.optim.Adam(weights.values(), lr=settings.lr, fused=True)
    stack = Stack(module, weights, classes, runs_on_stacks(module, classes))
    reads_clean = "clean" in inspect.signature(module.forward).parameters
    for step, (noisy, clean, label) in enumerate(_batches(jobs, classes, settings)):
        if step in record:
            stack.history[step] = _copy(weights)
        optimiser.param_groups[0]["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        optimiser.zero_grad()
        result = run_stacked(module, stack.direct, weights, noisy, label, *([clean] if reads_clean else []))
        _loss(result, clean, label, settings).backward()
        optimiser.step()
    stack.weights = _copy(weights)
    if settings.steps in record:
        stack.history[settings.steps] = stack.weights
    return stack


def train_all(
    queues: dict[Build, Sequence[Job]],
    classes: int,
    settings: Settings,
    *,
    record: Sequence[int] = (),
) -> dict[Build, Stack]:
    """Train networks of several kinds in parallel, each kind as in `train`."""
    stacks = parallel_map(lambda queue: train(*queue, classes, settings, record=record), queues.items())
    return dict(zip(queues, stacks, strict=True))


def _loss(result: Result, clean: Tensor, label: Tensor, settings: Settings) -> Tensor:
    """Add the squared distance to the clean point and the cross-entropy: mean over a batch, sum over networks."""
    loss = (reconstructions(result) - clean).square().sum()
    if isinstance(result, tuple):
        loss = loss - settings.weight_ce * (F.log_softmax(result[1], -1) * label).sum()
    return loss / clean.shape[1]


def _batches(jobs: Sequence[Job], classes: int, settings: Settings):
    """Yield jittered points, clean points (M, B, 2) and one-hot labels (M, B, K) of every step."""
    generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
    points = [torch.as_tensor(job.points, dtype=torch.float32) for job in jobs]
    labels = [F.one_hot(torch.as_tensor(job.labels), classes).float() for job in jobs]
    for start in range(0, settings.steps, CHUNK):
        shape = (min(CHUNK, settings.steps - start), settings.batch)
        clean, noisy, label = [], [], []
        for job, generator, x, y in zip(jobs, generators, points, labels, strict=True):
            rows = torch.randint(len(x), shape, generator=generator)
            noise = torch.randn(*shape, 2, generator=generator)
            clean.append(x[rows])
            noisy.append(clean[-1] + job.sigma * noise)
            label.append(y[rows])
        yield from zip(torch.stack(noisy, 1), torch.stack(clean, 1), torch.stack(label, 1), strict=True)


def _seeded(build: Build, classes: int, settings: Settings, seed: int) -> nn.Module:
    with _RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(classes, settings)


def _copy(weights: Weights) -> Weights:
    return {name: value.detach().clone() for name, value in weights.items()}

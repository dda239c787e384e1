"""Many small networks of one kind trained at once: their weights are stacked, and `torch.func.vmap` runs them together.

Every network has its own weights, data, jitter and random stream, so that the result for one network is the same
(up to rounding) whether it is trained alone or beside others.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from toy.settings import Settings

Weights = dict[str, Tensor]
CHUNK = 64
"""Steps whose random numbers are drawn together."""


@dataclass(frozen=True)
class Job:
    """One network's training: its points, labels, jitter and seed."""

    points: np.ndarray
    labels: np.ndarray
    sigma: float
    seed: int


@dataclass
class Stack:
    """Networks of one kind with stacked weights."""

    module: nn.Module
    """One network, whose own weights are not used."""
    weights: Weights
    classes: int
    history: dict[int, Weights] = field(default_factory=dict)
    """Step -> weights at that step, for those that were to be recorded."""

    @torch.no_grad()
    def reconstruct(self, points_P2: np.ndarray, label: int | None = None, step: int | None = None) -> np.ndarray:
        """Reconstructions (M, P, 2) of the points by every network.

        Args:
            points_P2: points (P, 2).
            label: class told to the network; None for models that are not told (they get zeros).
            step: of the recorded steps; None for the trained networks.
        """
        points = torch.as_tensor(points_P2, dtype=torch.float32)
        labels = torch.zeros(len(points), self.classes)
        if label is not None:
            labels[:, label] = 1
        weights = self.weights if step is None else self.history[step]
        run = vmap(lambda w: _first(functional_call(self.module, w, (points, labels))))
        return run(weights).numpy()


def train(
    build: Callable[[int, Settings], nn.Module],
    jobs: Sequence[Job],
    classes: int,
    settings: Settings,
    *,
    record: Sequence[int] = (),
) -> Stack:
    """Train one network for each job, all at once.

    Args:
        build: makes a network from (classes, settings); its weights come from the job's seed.
        jobs: the networks.
        classes: K, width of the one-hot labels.
        settings: of all.
        record: steps whose weights are kept (0: before training).
    """
    networks = [_seeded(build, classes, settings, job.seed) for job in jobs]
    with torch.random.fork_rng(devices=[]):
        module = build(classes, settings)
    weights, _ = stack_module_state(networks)
    optimiser = torch.optim.Adam(weights.values(), lr=settings.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda n: 0.5 * (1 + math.cos(math.pi * n / settings.steps))
    )
    losses = vmap(_loss_of(module, settings))
    stack = Stack(module, weights, classes)
    for step, batch in enumerate(_batches(jobs, classes, settings)):
        if step in record:
            stack.history[step] = _copy(weights)
        optimiser.zero_grad()
        losses(weights, *batch).sum().backward()
        optimiser.step()
        schedule.step()
    stack.weights = _copy(weights)
    if settings.steps in record:
        stack.history[settings.steps] = stack.weights
    return stack


def _loss_of(module: nn.Module, settings: Settings) -> Callable[..., Tensor]:
    """Loss of one network on a batch: squared distance to the clean point, plus the classifier's cross-entropy."""
    reads_clean = "clean" in inspect.signature(module.forward).parameters

    def loss(weights: Weights, noisy: Tensor, clean: Tensor, label: Tensor) -> Tensor:
        extra = {"clean": clean} if reads_clean else {}
        result = functional_call(module, weights, (noisy, label), extra)
        distance = (_first(result) - clean).square().sum(-1).mean()
        if not isinstance(result, tuple):
            return distance
        return distance + settings.weight_ce * -(F.log_softmax(result[1], -1) * label).sum(-1).mean()

    return loss


def _batches(jobs: Sequence[Job], classes: int, settings: Settings):
    """Jittered points, clean points (M, B, 2) and one-hot labels (M, B, K) of every step."""
    generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
    points = [torch.as_tensor(job.points, dtype=torch.float32) for job in jobs]
    labels = [F.one_hot(torch.as_tensor(job.labels), classes).float() for job in jobs]
    for start in range(0, settings.steps, CHUNK):
        shape = (min(CHUNK, settings.steps - start), settings.batch)
        clean, noisy, label = [], [], []
        for job, generator, x, y in zip(jobs, generators, points, labels, strict=True):
            chosen = torch.randint(len(x), shape, generator=generator)
            noise = torch.randn(*shape, 2, generator=generator)
            clean.append(x[chosen])
            noisy.append(clean[-1] + job.sigma * noise)
            label.append(y[chosen])
        yield from zip(torch.stack(noisy, 1), torch.stack(clean, 1), torch.stack(label, 1), strict=True)


def _seeded(build: Callable[[int, Settings], nn.Module], classes: int, settings: Settings, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(classes, settings)


def _first(result: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def _copy(weights: Weights) -> Weights:
    return {name: value.detach().clone() for name, value in weights.items()}

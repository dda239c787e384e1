"""Measure the seconds of the toy's comparison on one shape, and of training the same networks one by one.

    python benchmarks/toy_speed.py data/results/toy_speed.csv --shape moons --seeds 5

One by one, each network is trained by the plain loop: module, Adam, batch, step. This loop runs for `--loop-steps`
steps per network, and its time is scaled to all steps. Both ways run one after the other in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from provenance import write

from mintad.threads import limit_threads
from toy import MODELS, Settings, Shape, compare, make_shape
from toy.experiment import draw_data
from toy.train import Build, Job, train_all


def one_by_one(build: Build, job: Job, classes: int, settings: Settings, steps: int) -> None:
    """Train one network with a plain loop."""
    torch.manual_seed(job.seed)
    network = build(classes, settings)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
    points = torch.as_tensor(job.points, dtype=torch.float32)
    labels = torch.nn.functional.one_hot(torch.as_tensor(job.labels), classes).float()
    for _ in range(steps):
        rows = torch.randint(len(points), (settings.batch,))
        clean, label = points[rows], labels[rows]
        result = network(clean + job.sigma * torch.randn_like(clean), label)
        output, logits = result if isinstance(result, tuple) else (result, None)
        loss = (output - clean).square().sum(-1).mean()
        if logits is not None:
            loss = loss - (logits.log_softmax(-1) * label).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def make_jobs(supports: Shape, seeds: int, settings: Settings) -> dict[Build, list[Job]]:
    """Return the networks that the toy trains on a shape: function that builds them -> their jobs."""
    data = [draw_data(supports, seed, settings) for seed in range(seeds)]
    queues: dict[Build, list[Job]] = {}
    for kind in MODELS.values():
        sigma = settings.sigma if kind.jitter else 0.0
        for seed, seed_data in enumerate(data):
            points, labels = seed_data.points, seed_data.labels
            parts = [labels == k for k in range(supports.classes)] if kind.separate else [slice(None)]
            queues.setdefault(kind.build, []).extend(Job(points[part], labels[part], sigma, seed) for part in parts)
    return queues


def main(csv: Path, shape: str = "moons", seeds: int = 5, loop_steps: int = 50) -> None:
    """Measure the seconds of training all networks together and one by one, and write a CSV."""
    limit_threads(2)
    settings, supports = Settings(), make_shape(shape)
    queues = make_jobs(supports, seeds, settings)
    scale = settings.steps / loop_steps

    def loop() -> None:
        with limit_threads():  # one thread, because two make so small a network slower
            for build, jobs in queues.items():
                for job in jobs:
                    one_by_one(build, job, supports.classes, settings, loop_steps)

    train_all(queues, supports.classes, Settings(steps=5))  # warm-up
    together = seconds(lambda: train_all(queues, supports.classes, settings))
    separately = [scale * value for value in seconds(loop)]
    whole = seconds(lambda: compare(shape, seeds=seeds))
    ratio = [slow / fast for fast, slow in zip(together, separately, strict=True)]
    measured = {
        "train all networks together": together,
        "train them one by one (scaled)": separately,
        "ratio": ratio,
        "whole comparison with measures": whole,
    }
    rows = [
        {"what": what, "seconds": round(wall, 2), "cpu_seconds": round(cpu, 2)}
        for what, (wall, cpu) in measured.items()
    ]
    write(csv, rows)
    for row in rows:
        print(f"{row['what']:34}{row['seconds']:8}{row['cpu_seconds']:8} (CPU)")


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds on the clock and the CPU seconds; only the latter can be compared on a shared machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    typer.run(main)

"""Seconds of the toy's comparison of one shape, and the same networks trained one by one.

    python benchmarks/toy_speed.py data/results/toy_speed.csv --shape moons --seeds 5

The one-by-one side is the plain loop one would write: module, Adam, batch, step. Both run in turn in this process; the
loop trains `--loop-steps` steps of every network, and its time is scaled to all steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from provenance import write

from mintad.threads import limit_threads
from toy import MODELS, Settings, compare, make_shape
from toy.experiment import draw_data
from toy.train import Job, train_all


def one_by_one(build, job: Job, classes: int, settings: Settings, steps: int) -> None:
    torch.manual_seed(job.seed)
    network = build(classes, settings)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
    points = torch.as_tensor(job.points, dtype=torch.float32)
    labels = torch.nn.functional.one_hot(torch.as_tensor(job.labels), classes).float()
    for _ in range(steps):
        chosen = torch.randint(len(points), (settings.batch,))
        clean, label = points[chosen], labels[chosen]
        result = network(clean + job.sigma * torch.randn_like(clean), label)
        output, logits = result if isinstance(result, tuple) else (result, None)
        loss = (output - clean).square().sum(-1).mean()
        if logits is not None:
            loss = loss - (logits.log_softmax(-1) * label).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--shape", default="moons")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--loop-steps", type=int, default=50)
    arguments = parser.parse_args()
    limit_threads(2)
    settings, shape = Settings(), make_shape(arguments.shape)
    data = [draw_data(shape, seed, settings) for seed in range(arguments.seeds)]
    queues: dict[type, list[Job]] = {}
    for kind in MODELS.values():
        sigma = settings.sigma if kind.jitter else 0.0
        for seed, one in enumerate(data):
            parts = [one.labels == k for k in range(shape.classes)] if kind.separate else [slice(None)]
            queues.setdefault(kind.build, []).extend(Job(one.points[p], one.labels[p], sigma, seed) for p in parts)
    share = settings.steps / arguments.loop_steps

    def loop() -> None:
        with limit_threads():  # two threads make so small a network slower
            for build, jobs in queues.items():
                for job in jobs:
                    one_by_one(build, job, shape.classes, settings, arguments.loop_steps)

    train_all(queues, shape.classes, Settings(steps=5))  # warm-up
    together = seconds(lambda: train_all(queues, shape.classes, settings))
    alone = [share * value for value in seconds(loop)]
    whole = seconds(lambda: compare(arguments.shape, seeds=arguments.seeds))
    ratio = [b / a for a, b in zip(together, alone, strict=True)]
    named = {
        "train all networks together": together,
        "train them one by one (scaled)": alone,
        "ratio": ratio,
        "whole comparison with measures": whole,
    }
    rows = [{"what": what, "seconds": round(w, 2), "cpu_seconds": round(c, 2)} for what, (w, c) in named.items()]
    write(arguments.csv, rows)
    for row in rows:
        print(f"{row['what']:34}{row['seconds']:8}{row['cpu_seconds']:8} (CPU)")


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and on the processors; the second is what counts on a machine that others use too."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()

"""Seconds of the toy's comparison of one shape, and the same networks trained one by one without vmap.

    python benchmarks/toy_speed.py data/results/toy_speed.csv --shape moons --seeds 5

The one-by-one side is the plain loop one would write: module, Adam, batch, step. Both run in turn in this process; the
loop trains `--loop-steps` steps of every network, and its time is scaled to all steps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from compare import write

from toy import MODELS, Settings, compare, make_shape
from toy.experiment import draw_data
from toy.train import Job, train


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
    torch.set_num_threads(min(2, torch.get_num_threads()))
    settings, shape = Settings(), make_shape(arguments.shape)
    data = [draw_data(shape, seed, settings) for seed in range(arguments.seeds)]
    together = alone = 0.0
    for build in {kind.build for kind in MODELS.values()}:
        jobs = []
        for kind in MODELS.values():
            for seed, one in enumerate(data if kind.build is build else []):
                parts = [one.labels == k for k in range(shape.classes)] if kind.separate else [slice(None)]
                jobs += [Job(one.points[p], one.labels[p], settings.sigma, seed) for p in parts]
        train(build, jobs, shape.classes, Settings(steps=5))  # warm-up
        began = time.perf_counter()
        train(build, jobs, shape.classes, settings)
        together += time.perf_counter() - began
        began = time.perf_counter()
        for job in jobs:
            one_by_one(build, job, shape.classes, settings, arguments.loop_steps)
        alone += (time.perf_counter() - began) * settings.steps / arguments.loop_steps
    began = time.perf_counter()
    compare(arguments.shape, seeds=arguments.seeds)
    whole = time.perf_counter() - began
    rows = [
        {"what": "train all networks together", "seconds": round(together, 2)},
        {"what": "train them one by one (scaled)", "seconds": round(alone, 2)},
        {"what": "ratio", "seconds": round(alone / together, 2)},
        {"what": "whole comparison with measures", "seconds": round(whole, 2)},
    ]
    write(arguments.csv, rows)
    for row in rows:
        print(f"{row['what']:34}{row['seconds']}")


if __name__ == "__main__":
    main()

"""Measure parameters, MACs, seconds per batch and peak memory of MINT-AD, UniAD, PaDiM and PatchCore (Table 6).

The seconds are for the whole way from images (B, 3, 224, 224) in memory through the backbone to maps of 224 x 224. All
four use the same backbone (EfficientNet-b4 up to reduction 16, with random weights, because the time does not depend on
them) and the models of the `paper` preset. The methods take turns, so that a change of the machine's speed affects all
of them equally. On a CPU, seconds are CPU seconds of the process with one thread, without other programs. Memory is
measured in a separate process for each method.

    python benchmarks/complexity.py data/results/complexity_cpu.csv

The column `paper` has the paper's numbers. They come from other hardware, from other backbones for PaDiM and PatchCore,
and from a training set that grew with the batch (data/paper/README.md). So compare only ratios.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import typer

from mintad.baselines.padim import PaDiM
from mintad.baselines.patchcore import PatchCore
from mintad.config import Config, preset
from mintad.features.backbone import Backbone
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.model.complexity import describe, parameters
from mintad.report import paper
from mintad.runs.opening import versions
from mintad.runs.prepare import configured_backbone
from mintad.scoring.maps import upsample

CLASSES = 15
"""N of MVTec AD."""
REPEATS = {1: 5, 8: 3, 16: 2, 32: 2, 64: 2}
"""Batch size -> turns, of which the fastest counts. The first batch size has a warm-up turn, too."""
BANK = 5_000
"""Tokens in PatchCore's memory; of the run's own features."""
PUBLISHED_BANK = 71_128
"""A tenth, as published, of the tokens of MVTec AD's 3,629 training images."""
PUBLISHED = f"PatchCore, {PUBLISHED_BANK} tokens"
FITTED_ON = 64
"""Number of noise images that the baselines are fitted on."""
METHODS = {"MINT-AD": "mint_ad", "UniAD": "uniad"}
BASELINES = ("PaDiM", "PatchCore")

Row = tuple[str, int, str, float]
"""Method, batch, metric, value."""


def build(method: str, config: Config, device: str) -> tuple[Backbone, object, dict[str, float]]:
    """Return the backbone, the detector, and the counts of both together.

    The counts are parameters (of a baseline: the numbers it stores, with the backbone's parameters) and MACs.
    """
    torch.manual_seed(0)
    backbone = configured_backbone(config.features, weights="random").to(device).eval()
    shape = {"channels": backbone.channels, "grid": backbone.grid, "classes": CLASSES}
    variant = METHODS.get(method, "uniad")
    model = build_model(config.override(**{"model.variant": variant}).model, **shape).to(device).eval()
    counts = describe(backbone, model)
    if method in METHODS:
        return backbone, model, _counted(counts["total_with_backbone"], counts["macs"]["total_with_backbone"])
    baseline, stored, macs = _fitted_baseline(method, backbone, device)
    return backbone, baseline, _counted(stored + parameters(backbone), macs + counts["macs"]["backbone"])


def _fitted_baseline(method: str, backbone: Backbone, device: str) -> tuple[object, int, int]:
    """Fit a baseline to noise; return it, the count of its stored numbers, and its MACs."""
    tokens, channels = backbone.grid[0] * backbone.grid[1], backbone.channels
    noise = FeatureTable.from_tensor(torch.rand(FITTED_ON, tokens, channels)).to(device)
    rows = np.arange(FITTED_ON)
    if method == "PaDiM":
        padim = PaDiM(backbone.grid).fit(noise, rows)
        return padim, padim.mean_L1d.numel() + padim.whiten_Ldd.numel(), padim.whiten_Ldd.numel()
    patchcore = PatchCore(backbone.grid, share=1.0, limit=BANK).fit(noise, rows)
    if method == PUBLISHED:  # the values of its tokens do not matter for the time
        patchcore.memory_MF = torch.rand(PUBLISHED_BANK, channels, device=device)
    return patchcore, patchcore.memory_MF.numel(), tokens * patchcore.memory_MF.numel()


def _counted(numbers: int, macs: int) -> dict[str, float]:
    return {"parameters_M": round(numbers / 1e6, 3), "macs_G": round(macs / 1e9, 3)}


@torch.inference_mode()
def infer(images: torch.Tensor, backbone: Backbone, detector: object) -> np.ndarray:
    """Return the maps (B, 224, 224) of images (B, 3, 224, 224)."""
    return upsample(detector.anomaly_map(backbone(images)).float().cpu().numpy(), backbone.image_size)


def time_all(methods: list[str], device: str, threads: int, batches: list[int]) -> list[Row]:
    """Measure counts and seconds of all methods, which take turns within each batch size."""
    torch.set_num_threads(threads)
    config, rows, built = preset("paper"), [], {}
    for method in methods:
        backbone, detector, counts = build(method, config, device)
        built[method] = (backbone, detector)
        rows += [(method, 1, name, value) for name, value in counts.items()]
    for batch in batches:
        images = random_images(batch, config, device)
        jobs = {name: functools.partial(infer, images, *parts) for name, parts in built.items()}
        if batch == batches[0]:
            [job() for job in jobs.values()]
        turns = [{name: seconds(job, device) for name, job in jobs.items()} for _ in range(REPEATS.get(batch, 2))]
        for name in jobs:
            rows.append((name, batch, "seconds", round(min(turn[name] for turn in turns), 4)))
            rows.append((name, batch, "seconds_slowest", round(max(turn[name] for turn in turns), 4)))
        print(f"batch {batch}:", {name: round(min(turn[name] for turn in turns), 3) for name in jobs}, flush=True)
    return rows


def measure_memory(method: str, device: str, threads: int, batches: list[int]) -> list[Row]:
    """Measure the peak memory of one method; call it in a separate process."""
    torch.set_num_threads(threads)
    config, rows = preset("paper"), []
    backbone, detector, _ = build(method, config, device)
    infer(random_images(1, config, device), backbone, detector)
    for batch in batches:
        images = random_images(batch, config, device)
        if not reset_peak(device):
            return []
        infer(images, backbone, detector)
        rows.append((method, batch, "peak_memory_MiB", round(peak(device), 1)))
    return rows


def random_images(batch: int, config: Config, device: str) -> torch.Tensor:
    """Draw images (B, 3, H, W)."""
    side = config.features.image_size
    return torch.rand(batch, 3, side, side).to(device)


def seconds(job: Callable[[], object], device: str) -> float:
    """Return the seconds of a call: CPU seconds of this process, or, with a GPU, seconds on the clock.

    On a GPU the call must wait for its result, as `infer` does.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    job()
    return clock() - began


def reset_peak(device: str) -> bool:
    """Set the peak to the memory in use now; return False where this is impossible (on a CPU without Linux)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False


def peak(device: str) -> float:
    """Return the peak memory since `reset_peak` in MiB: PyTorch's on a GPU, that of the whole process on a CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**10


def with_ratios(rows: list[Row]) -> pd.DataFrame:
    """Return the rows as a table with the paper's numbers, and add the ratios of seconds between methods."""
    table = pd.DataFrame(rows, columns=["method", "batch", "metric", "value"])
    table["paper"] = [printed(*row[:3]) for row in rows]
    seconds_of = table[table["metric"] == "seconds"].set_index(["method", "batch"])[["value", "paper"]]
    pairs = [("MINT-AD", "UniAD"), *itertools.product(METHODS, ("PatchCore", PUBLISHED))]
    ratios = []
    for batch, (method, reference) in itertools.product(sorted(set(table["batch"])), pairs):
        keys = [(method, batch), (reference, batch)]
        if all(key in seconds_of.index for key in keys):
            ratio = seconds_of.loc[keys[0]] / seconds_of.loc[keys[1]]
            ratios.append((f"{method} / {reference}", batch, "seconds_ratio", *ratio.astype(float).round(4)))
    return pd.concat([table, pd.DataFrame(ratios, columns=table.columns)], ignore_index=True)


def printed(method: str, batch: int, metric: str) -> float | None:
    """Return the paper's number in Table 6 by our name of the metric; None where it prints none."""
    metric = {"macs_G": "flops_G"}.get(metric, metric)
    table = paper.load(6)
    rows = table[(table["method"] == method) & (table["setting"] == f"batch {batch}") & (table["metric"] == metric)]
    return float(rows["value"].iloc[0]) if len(rows) else None


def _comments(device: str, threads: int) -> list[str]:
    """Return the comment lines of the CSV; `mintad report` prints some of them as notes."""
    installed = versions()
    gpu = f", {installed['gpu']}" if "gpu" in installed else ""
    packages = ", ".join(f"{name} {installed[name]}" for name in ("torch", "timm", "numpy"))
    kind = "CPU seconds of the process" if device == "cpu" else "by the clock"
    turns = ", ".join(f"{count} (batch {batch})" for batch, count in REPEATS.items())
    return [
        f"# command: python {shlex.join(sys.argv)}",
        f"# versions: python {installed['python']}, {packages}",
        f"# machine: {platform.machine()}, {installed['cores']} cores{gpu}, {threads} thread(s); {device}, float32",
        f"# seconds: {kind}, fastest of {turns} turns, from images in memory to maps",
        "# peak memory: of the process (Python and PyTorch included) on a CPU, of PyTorch's tensors on a GPU",
        f"# N = {CLASSES}; PatchCore remembers {BANK:,} tokens, or {PUBLISHED_BANK:,} (a tenth of MVTec AD's) where it "
        "says so; Params of the baselines are the numbers they store, with the backbone's parameters",
        "# paper: the paper's number, on its own hardware, backbones and training sets; its FLOPs next to our MACs",
    ]


def main(
    csv: Path,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int = 1,
    batches: str = ",".join(map(str, REPEATS)),
) -> None:
    """Measure all methods and write a CSV; `--threads` is the number of CPU threads."""
    sizes = [int(text) for text in batches.split(",")]
    extremes = sorted({min(sizes), max(sizes)})
    methods = [*METHODS, *BASELINES]
    rows = time_all(methods, device, threads, sizes)
    rows += time_all([PUBLISHED], device, threads, extremes)
    for method in methods:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            rows += process.apply(measure_memory, (method, device, threads, extremes))
    table = with_ratios(rows)
    csv.parent.mkdir(parents=True, exist_ok=True)
    csv.write_text("\n".join(_comments(device, threads)) + "\n" + table.to_csv(index=False), encoding="utf-8")
    print(table[table["metric"].str.contains("ratio")].to_string(index=False))


if __name__ == "__main__":
    typer.run(main)

"""Measure the seconds of a training step and compare them with a direct reading of UniAD's recipe.

Three jobs with the same batch take turns, so that a change of the machine's speed affects all of them equally:

* recipe: in every step the images go through the whole backbone (all stages, without the head) and through UniAD, which
  builds its 7x7 neighbour mask in every forward pass; float32, AdamW as a loop over parameters;
* uniad: the same model on cached features, with the mask built once;
* mint_ad: MINT-AD on cached features.

    python benchmarks/step_time.py --preset paper --backbone tf_efficientnet_b4 --repeats 5
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Literal

import timm
import torch
import torch.nn.functional as F
import typer

from mintad.config import Config
from mintad.config import preset as load_preset
from mintad.features.backbone import build_backbone, timm_model
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.model.losses import compute_losses
from mintad.model.transformer import neighbour_mask


def recipe_step(config: Config, images: torch.Tensor, channels: int, device: str) -> Callable[[], None]:
    """Return a function that takes one training step as UniAD's code does."""
    grid = (config.features.grid, config.features.grid)
    name = timm_model(config.features.backbone)
    backbone = timm.create_model(name, features_only=True, pretrained=False).eval().requires_grad_(False).to(device)
    uniad = config.override(**{"model.variant": "uniad", "train.precision": "no"})
    model = build_model(uniad.model, channels=channels, grid=grid, classes=1).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.zeros(len(images), dtype=torch.long, device=device)
    half = min(grid) // 2

    def step() -> None:
        with torch.no_grad():
            stages = [stage for stage in backbone(images) if stage.shape[-1] >= config.features.image_size // 16]
            maps = [F.interpolate(stage, size=grid, mode="bilinear", align_corners=True) for stage in stages]
            feat_BLF = torch.cat(maps, dim=1).flatten(2).transpose(1, 2)
        model.transformer.mask_LL = neighbour_mask(grid, half if half % 2 else half - 1).to(device)
        losses = compute_losses(model(feat_BLF), labels, uniad.train)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step


def cached_step(config: Config, table: FeatureTable, classes: int, device: str) -> Callable[[], None]:
    """Return a function that takes one step of mintad's trainer: cached features, forward, backward, fused AdamW."""
    grid = (config.features.grid, config.features.grid)
    model = build_model(config.model, channels=table.channels, grid=grid, classes=classes).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    labels = torch.arange(config.train.batch_size, device=device) % classes
    amp = torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=config.train.precision == "bf16")

    def step() -> None:
        rows = torch.randint(len(table), (config.train.batch_size,))
        with amp:
            output = model(table.gather(rows).to(device))
        losses = compute_losses(output, labels, config.train)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step


def seconds(step: Callable[[], None], device: str) -> float:
    """Return the seconds of a step on the clock."""
    began = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def make_jobs(config: Config, device: str) -> dict[str, Callable[[], None]]:
    """Return the three jobs, on generated images and features."""
    size, grid, batch = config.features.image_size, config.features.grid, config.train.batch_size
    channels = build_backbone(config.features.backbone, grid=grid, weights="random").channels
    table = FeatureTable.from_tensor(torch.randn(4 * batch, grid * grid, channels).half()).to(device)
    images = torch.randn(batch, 3, size, size, device=device)
    return {
        "recipe": recipe_step(config, images, channels, device),
        "uniad": cached_step(config.override(**{"model.variant": "uniad"}), table, 15, device),
        "mint_ad": cached_step(config, table, 15, device),
    }


def time_jobs(jobs: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, list[float]]:
    """Run the jobs in turn and return the seconds of each; the first turn is warm-up and not counted."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, step in jobs.items():
            elapsed = seconds(step, device)
            if turn:
                times[name].append(elapsed)
    return times


def main(
    preset: str = "small",
    backbone: str = "",
    precision: Literal["no", "bf16"] = "no",
    repeats: int = 7,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Time the three jobs and print a table; `--backbone` is the preset's by default."""
    config = load_preset(preset).override(**{"train.precision": precision})
    if backbone:
        config = config.override(**{"features.backbone": backbone})
    times = time_jobs(make_jobs(config, device), repeats, device)
    grid, batch = config.features.grid, config.train.batch_size
    print(
        f"{config.features.backbone}, {grid}x{grid} tokens, D={config.model.width}, batch {batch}, {device}, "
        f"{torch.get_num_threads()} threads, {repeats} turns"
    )
    print("job,median_s,min_s,max_s,recipe_over_job_median")
    for name, values in times.items():
        ratio = statistics.median(recipe / job for recipe, job in zip(times["recipe"], values, strict=True))
        print(f"{name},{statistics.median(values):.4f},{min(values):.4f},{max(values):.4f},{ratio:.2f}")


if __name__ == "__main__":
    typer.run(main)

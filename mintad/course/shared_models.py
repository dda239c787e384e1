"""The models that several notebooks share; `mintad notebooks train` trains them beforehand, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from mintad.config import Config, preset
from mintad.course.lab.peeking import scores_by_step
from mintad.data.workers import end_with_parent
from mintad.errors import ConfigError, MintadError, nearest
from mintad.model import VARIANTS
from mintad.runs.prepare import prepare_data
from mintad.runs.shared import train_shared
from mintad.scoring.metrics import value_of
from mintad.threads import limit_threads

SHARED_MODELS: dict[str, dict[str, Any]] = {variant: {"model.variant": variant} for variant in VARIANTS} | {
    "uniad_unmasked": {"model.variant": "uniad", "model.neighbour_mask": 0},  # notebook 05
    "no_prior": {"model.prior_loss": False},  # notebook 08
    "summed_prior": {"train.prior_reduction": "sum"},  # notebook 08
}
"""Name of a shared model -> its changes to the preset: all variants, and models that single notebooks compare."""
ONLY_BY_NAME = "mlp_query"  # no notebook needs it; notebook 12 shows it where somebody has trained it
SCORED_BY_STEP = "mint_ad"  # the model of which notebook 09 shows the test scores during training


def configurations(names: Sequence[str] = (), *, preset_name: str = "lesson") -> dict[str, Config]:
    """Return name -> configuration of shared models, of all that notebooks need if no name is given.

    Raises:
        ConfigError: unknown name of a model or a preset.
    """
    for name in names:
        if name not in SHARED_MODELS:
            raise ConfigError(f"unknown shared model '{name}'." + nearest(name, SHARED_MODELS))
    names = names or [name for name in SHARED_MODELS if name != ONLY_BY_NAME]
    return {name: preset(preset_name).override(**SHARED_MODELS[name]) for name in names}


def train_shared_models(names: Sequence[str] = (), *, preset_name: str = "lesson", jobs: int = 2) -> list[str]:
    """Train the shared models that are missing; print a line for each and return the failures.

    `names` are some of `SHARED_MODELS`; without any, all that notebooks need are trained.

    The `jobs` processes share the cores, because a network this small trains faster on one core than on two. They find
    the images and features in the cache, which are the same for all. An unknown name raises ConfigError.
    """
    configs = configurations(names, preset_name=preset_name)
    prepare_data(next(iter(configs.values())))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context, failures = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        futures = {pool.submit(_train, name, config, threads): name for name, config in configs.items()}
        for future in as_completed(futures):
            try:
                print(future.result(), flush=True)
            except MintadError as error:
                failures.append(f"{futures[future]}: {error}")
                print(f"failed: {failures[-1]}", file=sys.stderr, flush=True)
    return failures


def _train(name: str, config: Config, threads: int) -> str:
    """Train a model in a process of its own and return the line to print."""
    limit_threads(threads)
    began = time.perf_counter()
    if name == SCORED_BY_STEP:
        scores_by_step(config)
    run = train_shared(config)
    auroc, seconds = value_of(run.results(), "image_auroc"), time.perf_counter() - began
    return f"{name:<14} image AUROC {auroc:.3f}  {seconds:4.0f} s  {run.path.name}"

"""Train beforehand what several notebooks share, so that each of them only loads it.

python -m mintad.course.shared_models        (`make train`)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from mintad.config import Config, preset
from mintad.errors import ConfigError, MintadError, nearest
from mintad.model import VARIANTS
from mintad.runs.shared import shared_model
from mintad.scoring.metrics import value_of
from mintad.threads import limit_threads

SHARED_MODELS: dict[str, dict[str, Any]] = {variant: {"model.variant": variant} for variant in VARIANTS} | {
    "uniad_unmasked": {"model.variant": "uniad", "model.neighbour_mask": 0},  # notebook 05
    "no_prior": {"model.prior_loss": False},  # notebook 08
    "summed_prior": {"train.prior_reduction": "sum"},  # notebook 08
}
"""Name of a lesson -> what it changes in the preset: every variant, and what single notebooks compare with."""


def shared_model_config(lesson_name: str, preset_name: str = "lesson") -> Config:
    """The configuration that notebooks take for one of `SHARED_MODELS`.

    Raises:
        ConfigError: no such preset.
    """
    return preset(preset_name).override(**SHARED_MODELS[lesson_name])


def train_shared_models(
    names: Sequence[str] = tuple(SHARED_MODELS), *, preset_name: str = "lesson", jobs: int = 2
) -> list[str]:
    """Train the lessons that are missing, several at a time; print a line for each.

    Args:
        names: of `SHARED_MODELS`.
        preset_name: what they are based on.
        jobs: processes; they share the cores. Networks this small use one core better than two.

    Returns:
        What failed, one text a lesson.

    Raises:
        ConfigError: no such lesson or preset.
    """
    for name in names:
        if name not in SHARED_MODELS:
            raise ConfigError(f"unknown lesson '{name}'." + nearest(name, SHARED_MODELS))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context, failed = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(_train, name, preset_name, threads): name for name in names}
        for done in as_completed(waiting):
            try:
                print(done.result(), flush=True)
            except MintadError as error:
                failed.append(f"{waiting[done]}: {error}")
                print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
    return failed


def _train(name: str, preset_name: str, threads: int) -> str:
    limit_threads(threads)
    began = time.perf_counter()
    run = shared_model(shared_model_config(name, preset_name)).run
    auroc = value_of(run.results(), "image_auroc")
    seconds = time.perf_counter() - began
    return f"{name:<14} image AUROC {auroc:.3f}  {seconds:4.0f} s  {run.path.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mintad.course.shared_models", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SHARED_MODELS)}; all if none")
    parser.add_argument("--preset", default="lesson", help="preset that the notebooks will be given")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    options = parser.parse_args(arguments)
    try:
        failed = train_shared_models(
            options.names or tuple(SHARED_MODELS), preset_name=options.preset, jobs=options.jobs
        )
    except MintadError as error:
        print(f"mintad.course.shared_models: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

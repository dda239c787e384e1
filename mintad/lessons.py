"""Train beforehand what several notebooks share, so that each of them only loads it.

python -m mintad.lessons        (`make train`)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch

from mintad.config import Config, preset
from mintad.errors import ConfigError, MintadError, nearest
from mintad.model import VARIANTS
from mintad.notebook import lesson, lesson_dir


def lesson_config(variant: str, name: str = "lesson") -> Config:
    """The configuration that notebooks take for a variant.

    Raises:
        ConfigError: no such variant or preset.
    """
    return preset(name).override(**{"model.variant": variant})


def train_lessons(variants: Sequence[str] = tuple(VARIANTS), *, name: str = "lesson", jobs: int = 2) -> list[str]:
    """Train the lessons that are missing, several at a time; print a line for each.

    Args:
        variants: of `mintad.model.VARIANTS`.
        name: of the preset.
        jobs: processes; they share the cores. Networks this small use one core better than two.

    Returns:
        What failed, one text a variant.
    """
    for variant in variants:
        if variant not in VARIANTS:
            raise ConfigError(f"unknown variant '{variant}'." + nearest(variant, VARIANTS))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context, failed = multiprocessing.get_context("spawn"), []
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(_train, variant, name, threads): variant for variant in variants}
        for done in as_completed(waiting):
            try:
                print(done.result(), flush=True)
            except MintadError as error:
                failed.append(f"{waiting[done]}: {error}")
                print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
    return failed


def _train(variant: str, name: str, threads: int) -> str:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    run = lesson(lesson_config(variant, name)).run
    auroc = run.read("metrics")["image"]["auroc"]["mean"]
    seconds = time.perf_counter() - began
    return f"{variant:<13} image AUROC {auroc:.3f}  {seconds:4.0f} s  {lesson_dir(lesson_config(variant, name)).name}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mintad.lessons", description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(VARIANTS)}; all if none")
    parser.add_argument("--preset", default="lesson", help="preset that the notebooks will be given")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    options = parser.parse_args(arguments)
    try:
        failed = train_lessons(options.variants or tuple(VARIANTS), name=options.preset, jobs=options.jobs)
    except MintadError as error:
        print(f"mintad.lessons: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

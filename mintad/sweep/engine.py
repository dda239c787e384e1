"""A sweep from its file to its end: plan, skip what is finished, run the rest, tell how it goes."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from mintad.errors import ConfigError, TrainingError
from mintad.lock import exclusive_lock
from mintad.sweep.cluster import run_on_cluster
from mintad.sweep.local import run_locally
from mintad.sweep.plan import RUN_FOLDER, PlannedRun, notebook_parameters, plan
from mintad.sweep.progress import Progress
from mintad.sweep.spec import Spec
from mintad.sweep.status import WORK, Status, read_status, write_plan
from mintad.sweep.worker import Job, finished

log = logging.getLogger(__name__)


def sweep(
    spec: Spec, *, workers: int = 1, scheduler: str | None = None, console: Console | None = None
) -> dict[str, Status]:
    """Run a sweep, or what is left of it.

    Args:
        spec: see `mintad.sweep.spec`.
        workers: processes at a time on this machine.
        scheduler: address of a Dask scheduler, which takes the place of `workers`.
        console: for the progress; none by default.

    Returns:
        Name -> status of every run, in the plan's order.

    Raises:
        ConfigError: the sweep is not as it must be; nothing has started.
        TrainingError: another process runs a sweep in the same folder.
        MintadError: the cluster cannot be used.
        KeyboardInterrupt: after the runs were stopped; the same call resumes.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, not {workers}")
    runs = existing_names(spec.out, plan(spec))
    (spec.out / WORK).mkdir(parents=True, exist_ok=True)
    busy = TrainingError(f"another sweep is running in {spec.out}; wait for it to end, or choose another `out`")
    with exclusive_lock(spec.out / WORK / "lock", busy):
        write_plan(spec.out, {run.name: run.labels for run in runs})
        jobs = jobs_of(spec, runs)
        left = [job for job in jobs if not finished(job.path)]
        _say_beginning(spec, jobs, left)
        outcomes = _outcomes(spec, left, workers, scheduler)
        with closing(outcomes), Progress(left, total=len(jobs), console=console) as progress:
            for job, status in outcomes:
                progress.ended(job.path.name, status)
    return {run.name: read_status(spec.out / run.name) for run in runs}


def existing_names(out: Path, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs, under the names that their folders have if the file named its axes otherwise before."""
    folders = out.iterdir() if out.is_dir() else ()
    names = {path.name.rpartition("-")[2]: path.name for path in folders if path.is_dir() and path.name != WORK}
    return [run.named(names.get(run.digest, run.name)) for run in runs]


def jobs_of(spec: Spec, runs: Sequence[PlannedRun]) -> list[Job]:
    """What the workers are told; the notebook is copied, so that editing it does not change a sweep that runs."""
    content = spec.notebook.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    copy = spec.out / WORK / f"notebook-{digest[:8]}.ipynb"
    if not copy.exists():
        temporary = copy.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, copy)
    takes_folder = RUN_FOLDER in notebook_parameters(spec.notebook)
    return [
        Job(
            folder=str(spec.out / run.name),
            notebook=str(copy),
            notebook_sha256=digest,
            cwd=str(spec.notebook.parent),
            given=run.given,
            parameters=run.parameters,
            takes_folder=takes_folder,
            timeout=spec.timeout,
            threads=spec.threads,
        )
        for run in runs
    ]


def _outcomes(spec: Spec, jobs: list[Job], workers: int, scheduler: str | None) -> Iterator[tuple[Job, Status]]:
    if scheduler:
        return run_on_cluster(jobs, scheduler, gpu=spec.gpu)
    return run_locally(jobs, workers)


def _say_beginning(spec: Spec, jobs: Sequence[Job], left: Sequence[Job]) -> None:
    log.info("%s: %d runs, %d of them finished before; in %s", spec.name, len(jobs), len(jobs) - len(left), spec.out)
    if not jobs:
        return
    current = jobs[0].notebook_sha256
    other = [job for job in jobs if finished(job.path) and read_status(job.path).notebook != current]
    if other:
        text = "%d finished runs are of another version of the notebook; remove their folders to run them again (%s)"
        log.warning(text, len(other), other[0].path.name)

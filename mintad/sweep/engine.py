"""A sweep from its plan to its end: skip what is finished, run the rest here or on a cluster, show the progress."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

from rich.console import Console

from mintad.disk import write
from mintad.errors import TrainingError
from mintad.lock import exclusive_lock
from mintad.runs.fingerprint import code_fingerprint
from mintad.sweep.cluster import run_on_cluster
from mintad.sweep.plan import RUN_FOLDER, PlannedRun, parameters_of, plan
from mintad.sweep.progress import Progress
from mintad.sweep.spec import Spec
from mintad.sweep.status import WORK, Status, read_status, write_plan
from mintad.sweep.supervise import supervise
from mintad.sweep.worker import Job, finished

log = logging.getLogger(__name__)


def sweep(
    spec: Spec, *, workers: int = 1, scheduler: str | None = None, console: Console | None = None
) -> dict[str, Status]:
    """Run a sweep, or what is left of it; return name -> status of every run, in the plan's order.

    `workers` processes run at a time on this machine, or what the Dask cluster of `scheduler` offers; progress is shown
    on `console`, if given.

    Raises:
        ConfigError: the sweep's file is wrong; nothing has started.
        MintadError: another process runs a sweep in the same folder, or the cluster cannot be used.
        KeyboardInterrupt: after the runs were stopped; the same call resumes.
    """
    runs = planned_runs(spec)
    (spec.out / WORK).mkdir(parents=True, exist_ok=True)
    busy = TrainingError(f"another sweep is running in {spec.out}; wait for it to end, or choose another `out`")
    with exclusive_lock(spec.out / WORK / "lock", busy):
        write_plan(spec.out, {run.name: run.labels for run in runs})
        jobs = jobs_of(spec, runs)
        unfinished = [job for job in jobs if not finished(job)]
        _log_beginning(spec, jobs, unfinished)
        on_cluster = scheduler and run_on_cluster(unfinished, scheduler, gpu=spec.gpu)
        outcomes = on_cluster or run_locally(unfinished, workers)
        progress = Progress(unfinished, total=len(jobs), console=console)
        with closing(outcomes), progress.shown():
            for job, status in outcomes:
                progress.ended(job.path.name, status)
    return {run.name: read_status(spec.out / run.name) for run in runs}


def planned_runs(spec: Spec) -> list[PlannedRun]:
    """Return the runs of a sweep; one that has a folder keeps its name, even if the file renames its axes."""
    folders = spec.out.iterdir() if spec.out.is_dir() else ()
    names = {path.name.rpartition("-")[2]: path.name for path in folders if path.is_dir() and path.name != WORK}
    return [dataclasses.replace(run, name=names.get(run.digest, run.name)) for run in plan(spec)]


def jobs_of(spec: Spec, runs: Sequence[PlannedRun]) -> list[Job]:
    """Return the workers' jobs. The notebook is copied, so that editing it does not change a running sweep."""
    if spec.notebook:
        content, cwd = spec.notebook.read_bytes(), spec.notebook.parent
        digest = hashlib.sha256(content).hexdigest()
        copy = spec.out / WORK / f"notebook-{digest[:8]}.ipynb"
        if not copy.exists():
            write(copy, content)
    else:
        copy, digest, cwd = None, code_fingerprint(), Path.cwd()
    takes_folder = RUN_FOLDER in parameters_of(spec.notebook)
    common = {"notebook": copy and str(copy), "notebook_sha256": digest, "cwd": str(cwd)}
    jobs = []
    for run in runs:
        folder = str(spec.out / run.name)
        given = run.given | ({RUN_FOLDER: folder} if takes_folder else {})
        options = {"parameters": run.parameters, "timeout": spec.timeout, "threads": spec.threads}
        jobs.append(Job(folder=folder, given=given, **options, **common))
    return jobs


def run_locally(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Status]]:
    """Run all jobs, `workers` processes at a time, and yield each when it has ended.

    Jobs without `threads` share the cores, and none takes more than PyTorch has in this process: who sets
    OMP_NUM_THREADS=1 works beside something else, and two programs that take all cores wait for each other. Leaving the
    iteration early interrupts the running jobs and starts no more.
    """
    import torch  # here, because the process of every run imports this package and may need no PyTorch

    stop = threading.Event()
    affinity = getattr(os, "sched_getaffinity", None)  # a batch system limits the cores
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    share = max(1, min(cores // workers, torch.get_num_threads()))
    with ThreadPoolExecutor(workers, thread_name_prefix="run") as pool:
        limited = [dataclasses.replace(job, threads=job.threads or share) for job in jobs]
        futures = {pool.submit(supervise, job, stop.is_set): job for job in limited}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _log_beginning(spec: Spec, jobs: Sequence[Job], unfinished: Sequence[Job]) -> None:
    done = [job for job in jobs if job not in unfinished]
    log.info("%s: %d runs, %d of them finished before; in %s", spec.name, len(jobs), len(done), spec.out)
    outdated = [job.path.name for job in done if read_status(job.path).notebook != job.notebook_sha256]
    if outdated:
        text = "%d finished runs are of another notebook or other code; remove their folders to repeat them (%s)"
        log.warning(text, len(outdated), outdated[0])

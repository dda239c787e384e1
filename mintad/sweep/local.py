"""Runs on this machine: some processes at a time."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from mintad.sweep.status import Status
from mintad.sweep.supervise import attend
from mintad.sweep.worker import Job


def run_locally(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Status]]:
    """Run all jobs, `workers` processes at a time, and give each when it has ended, in whatever order.

    Leaving the iteration early, by ctrl-C or an error, interrupts what runs and starts no more.

    Args:
        jobs: without `threads`, they share the cores.
        workers: processes at a time.
    """
    share = max(1, _cores() // workers)
    stop = threading.Event()
    with ThreadPoolExecutor(workers, thread_name_prefix="run") as pool:
        waiting = {}
        for job in jobs:
            limited = job if job.threads else dataclasses.replace(job, threads=share)
            waiting[pool.submit(attend, limited, stop.is_set)] = job
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            stop.set()
            for future in waiting:
                future.cancel()


def _cores() -> int:
    """Cores that this process may use, which a batch system limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

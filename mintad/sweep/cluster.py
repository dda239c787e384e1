"""Runs on a Dask cluster, whose workers see the sweep's folder under the same path and have mintad installed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from mintad.errors import MintadError
from mintad.sweep.status import WORK, Status
from mintad.sweep.supervise import attend, note_failure
from mintad.sweep.worker import Job

log = logging.getLogger(__name__)

STOP = "stop-"
"""Beginning of the file in `WORK` that interrupts the runs of one start of the sweep: a running task cannot be
cancelled through Dask."""
CONNECT_SECONDS, STOP_SECONDS = 20, 15


def run_on_cluster(jobs: Sequence[Job], scheduler: str, *, gpu: bool = False) -> Iterator[tuple[Job, Status]]:
    """Run all jobs as tasks of a Dask cluster and give each when it has ended, in whatever order.

    A task whose worker dies is given to another one, three times at most. Leaving the iteration early interrupts what
    runs; if this process is killed instead, running tasks go on to their end and are found at the next start.

    Args:
        jobs: of one sweep.
        scheduler: its address, such as ``tcp://10.0.0.1:8786``.
        gpu: each task needs one unit of the resource GPU.

    Raises:
        MintadError: Dask is not installed, the scheduler cannot be reached, or is lost.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise MintadError("--scheduler needs Dask: pip install 'mintad[cluster]'") from None
    if not jobs:
        return
    work = jobs[0].path.parent / WORK
    for old in work.glob(f"{STOP}*"):
        old.unlink(missing_ok=True)
    stop = work / f"{STOP}{uuid4().hex[:8]}"
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False, name="mintad sweep")
    except (OSError, ValueError, TimeoutError) as error:
        raise MintadError(f"cannot reach a Dask scheduler at {scheduler}: {error}") from error
    futures, complete = {}, False
    try:
        _say_workers(client, gpu)
        for job in jobs:
            key = f"{job.path.name}-{stop.name.removeprefix(STOP)}"
            resources = {"GPU": 1} if gpu else None
            futures[client.submit(task, job, str(stop), key=key, pure=False, resources=resources)] = job
        for done in as_completed(futures, loop=client.loop):
            yield futures[done], _outcome(done, futures[done])
        complete = True
    finally:
        if not complete:
            stop.touch()
            client.cancel(list(futures))
        client.close(timeout=STOP_SECONDS)


def task(job: Job, stop: str) -> Status:
    """What a Dask worker executes: one run, in a process of its own."""
    file = Path(stop)
    asked = [0.0]

    def stopped() -> bool:
        if time.monotonic() - asked[0] < 1:  # the file system is a shared one
            return False
        asked[0] = time.monotonic()
        return file.exists()

    return attend(job, stopped)


def _outcome(future, job: Job) -> Status:
    if future.status == "finished":
        return future.result()
    if future.status in ("cancelled", "lost"):
        raise MintadError(f"the Dask scheduler has lost {job.path.name}; run the same command again to resume")
    return note_failure(job, f"on the cluster: {future.exception()}")


def _say_workers(client, gpu: bool) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    able = [worker for worker in workers if not gpu or worker["resources"].get("GPU")]
    slots = sum(int(worker["resources"]["GPU"]) if gpu else worker["nthreads"] for worker in able)
    log.info("cluster of %d workers: %d runs at a time", len(workers), slots)
    if not able:
        wish = "dask worker ADDRESS --nthreads 1" + (" --resources GPU=1" if gpu else "")
        log.warning("no worker can take a run yet; waiting for one (%s)", wish)

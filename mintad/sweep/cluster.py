"""Runs on a Dask cluster, whose workers see the sweep's folder under the same path and have mintad installed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from mintad.errors import MintadError
from mintad.sweep.status import WORK, Status
from mintad.sweep.supervise import note_failure, supervise
from mintad.sweep.worker import Job

log = logging.getLogger(__name__)

STOP = "stop-"  # files in `WORK` whose names begin so interrupt the runs, because Dask cannot cancel a running task
CONNECT_SECONDS, STOP_SECONDS = 20, 15


def run_on_cluster(jobs: Sequence[Job], scheduler: str, *, gpu: bool = False) -> Iterator[tuple[Job, Status]]:
    """Run the jobs of a sweep as tasks of a Dask cluster and yield each when it has ended.

    A task whose worker dies is given to another one, three times at most. Leaving the iteration early interrupts what
    runs; if this process is killed instead, running tasks go on to their end, and the next start finds their results.
    `scheduler` is an address such as ``tcp://10.0.0.1:8786``; with `gpu`, a task needs one unit of the resource GPU.

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
    futures, options = {}, {"pure": False, "resources": {"GPU": 1} if gpu else None}
    try:
        _log_workers(client, gpu)
        for job in jobs:
            key = f"{job.path.name}-{stop.name.removeprefix(STOP)}"
            futures[client.submit(task, job, str(stop), key=key, **options)] = job
        for future in as_completed(futures, loop=client.loop):
            job = futures[future]
            if future.status in ("cancelled", "lost"):
                raise MintadError(f"the Dask scheduler has lost {job.path.name}; run the same command again to resume")
            done = future.status == "finished"
            yield job, future.result() if done else note_failure(job, f"on the cluster: {future.exception()}")
    except BaseException:  # also where the caller leaves the iteration
        stop.touch()
        client.cancel(list(futures))
        raise
    finally:
        client.close(timeout=STOP_SECONDS)


def task(job: Job, stop: str) -> Status:
    """Supervise one run on a Dask worker, until it ends or the file `stop` exists."""
    checked = 0.0

    def stopped() -> bool:
        nonlocal checked
        if time.monotonic() - checked < 1:  # once a second, because the file system is shared
            return False
        checked = time.monotonic()
        return Path(stop).exists()

    return supervise(job, stopped)


def _log_workers(client, gpu: bool) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    suitable = [worker for worker in workers if not gpu or worker["resources"].get("GPU")]
    slots = sum(int(worker["resources"]["GPU"]) if gpu else worker["nthreads"] for worker in suitable)
    log.info("cluster of %d workers: %d runs at a time", len(workers), slots)
    if not suitable:
        command = "dask worker ADDRESS --nthreads 1" + (" --resources GPU=1" if gpu else "")
        log.warning("no worker can take a run yet; waiting for one (%s)", command)

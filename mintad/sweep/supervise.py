"""Supervision of a run on any machine: start its process, watch it, start it again if it was killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mintad.sweep.status import WORK, Status, begin, end, locked, read_status
from mintad.sweep.worker import INTERRUPTED, Job

MOST_ATTEMPTS = 3  # at a run whose process is killed each time, as by a lack of memory; Dask has the same number
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER = "from mintad.sweep.worker import main; main()"  # what a run's process executes
POLL_SECONDS, STOP_SECONDS = 0.1, 10


def supervise(job: Job, stopped: Callable[[], bool] = lambda: False) -> Status:
    """Execute a run in a process of its own, and again if that is killed, until `stopped`; return the run's status."""
    for _ in range(MOST_ATTEMPTS):
        code = _attempt(job, stopped)
        if code == 0:
            _log(job).unlink(missing_ok=True)
            return read_status(job.path)
        if code == INTERRUPTED or stopped():
            return Status(state="interrupted")
        if code > 0:
            lines = _log(job).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return note_failure(job, f"the worker ended with code {code}: {(lines or ['it printed nothing'])[-1]}")
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
    return note_failure(job, f"the worker was killed {MOST_ATTEMPTS} times, last by {name}; out of memory?")


def note_failure(job: Job, error: str) -> Status:
    """Record that a run failed outside its notebook, unless another attempt has finished it meanwhile."""
    with locked(job.path):
        status = read_status(job.path)
        if status.state == "finished":
            return status
        job.path.mkdir(exist_ok=True)
        if status.state != "running":
            begin(job.path, job.notebook_sha256)
        return end(job.path, "failed", error=error)


def _attempt(job: Job, stopped: Callable[[], bool]) -> int:
    """Return the exit code of one attempt; it is negative if the process was killed."""
    # Workers share the cores, so their threads sleep while they wait (KMP_BLOCKTIME).
    limits = {name: str(job.threads) for name in THREADS} | {"KMP_BLOCKTIME": "0"} if job.threads else {}
    with _log(job).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | limits,
            start_new_session=True,  # ctrl-C in the terminal is for the sweep, which then stops its runs
        )
    try:
        with contextlib.suppress(BrokenPipeError):  # the process died at once, which its exit code shows
            process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            process.stdin.flush()
        while process.poll() is None and not stopped():
            time.sleep(POLL_SECONDS)
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # the end of its input stops it
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def _log(job: Job) -> Path:
    return job.path.parent / WORK / f"{job.path.name}.log"

"""Supervision of a run on any machine: start its process, watch it, start it again if it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mintad.sweep.status import WORK, Status, begin, end, locked, read_status
from mintad.sweep.worker import INTERRUPTED, Job

MOST_ATTEMPTS = 3
"""Attempts at a run whose process is killed each time, which points to a lack of memory. Dask has the same number."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Environment variables that limit the threads of a process."""
WORKER = "from mintad.sweep.worker import main; main()"
"""What a run's process executes."""
POLL_SECONDS, STOP_SECONDS = 0.1, 10


def supervise(job: Job, stopped: Callable[[], bool] = lambda: False) -> Status:
    """Execute a run in a process of its own, and again if that process is killed; return the recorded status.

    `stopped` is asked ten times a second; if it is true, the run is interrupted.
    """
    for _ in range(MOST_ATTEMPTS):
        code = _attempt(job, stopped)
        if code == 0:
            _log(job).unlink(missing_ok=True)
            return read_status(job.path)
        if code == INTERRUPTED or stopped():
            return Status(state="interrupted")
        if code > 0:
            return note_failure(job, f"the worker ended with code {code}: {_log_tail(job)}")
    return note_failure(job, f"the worker was killed {MOST_ATTEMPTS} times, last by {_signal(-code)}; out of memory?")


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
    with _log(job).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=_environment(job.threads),
            start_new_session=True,  # ctrl-C in the terminal is for the sweep, which then stops its runs
        )
    try:
        with contextlib.suppress(BrokenPipeError):  # the process died at once, which its exit code shows
            process.stdin.write(job.to_json().encode() + b"\n")
            process.stdin.flush()
        while process.poll() is None and not stopped():
            time.sleep(POLL_SECONDS)
    finally:
        _end(process)
    return process.returncode


def _end(process: subprocess.Popen) -> None:
    """Stop a process by ending its input; do nothing if it has ended."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment(threads: int | None) -> dict[str, Any]:
    """Return the environment of a worker whose threads sleep while they wait, because workers share the cores."""
    extra = {name: str(threads) for name in THREADS} | {"KMP_BLOCKTIME": "0"} if threads else {}
    return os.environ | extra


def _log(job: Job) -> Path:
    return job.path.parent / WORK / f"{job.path.name}.log"


def _log_tail(job: Job) -> str:
    lines = _log(job).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"

"""See a run through: start its process, watch it, start it anew where it was killed. The same on every machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mintad.sweep.status import WORK, Status, begin, end, held, read_status
from mintad.sweep.worker import INTERRUPTED, Job

KILLED_AT_MOST = 3
"""Attempts at a run whose process is killed each time: memory is lacking, not luck. Dask's own number, too."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
POLL, STOP_SECONDS = 0.1, 10


def attend(job: Job, stopped: Callable[[], bool] = lambda: False) -> Status:
    """Bring a run to its end.

    Args:
        job: the run.
        stopped: asked ten times a second; if true, the run is interrupted.

    Returns:
        What is on record: 'finished', 'failed', or 'interrupted'.
    """
    for _ in range(KILLED_AT_MOST):
        code = _one_process(job, stopped)
        if code == 0:
            _log(job).unlink(missing_ok=True)
            return read_status(job.path)
        if code == INTERRUPTED or stopped():
            return Status(state="interrupted")
        if code > 0:
            return note_failure(job, f"the worker ended with code {code}: {_log_tail(job)}")
    return note_failure(job, f"the worker was killed {KILLED_AT_MOST} times, last by {_signal(-code)}; out of memory?")


def note_failure(job: Job, error: str) -> Status:
    """Put on record that a run failed outside its notebook, unless another attempt has finished it meanwhile."""
    with held(job.path):
        status = read_status(job.path)
        if status.ended and status.state == "finished":
            return status
        job.path.mkdir(exist_ok=True)
        if status.state != "running":
            begin(job.path, job.notebook_sha256)
        return end(job.path, "failed", error=error)


def _one_process(job: Job, stopped: Callable[[], bool]) -> int:
    """Exit code of one attempt; below 0 it was killed."""
    with _log(job).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from mintad.sweep.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=_environment(job.threads),
            start_new_session=True,  # ctrl-C in the terminal is for the sweep, which then stops its runs
        )
    try:
        _tell(process, job)
        while process.poll() is None and not stopped():
            time.sleep(POLL)
    finally:
        _end(process)
    return process.returncode


def _tell(process: subprocess.Popen, job: Job) -> None:
    try:
        process.stdin.write(job.to_json().encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died at once: its exit code says so


def _end(process: subprocess.Popen) -> None:
    """Nothing for a process that has ended; the others stop themselves when their input ends."""
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment(threads: int | None) -> dict[str, Any]:
    """Threads wait asleep, not spinning: workers share the cores."""
    extra = {name: str(threads) for name in THREADS} | {"KMP_BLOCKTIME": "0"} if threads else {}
    return os.environ | extra


def _log(job: Job) -> Path:
    return job.path.parent / WORK / f"{job.path.name}.log"


def _log_tail(job: Job) -> str:
    lines = _log(job).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

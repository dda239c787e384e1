"""One attempt at a run, in a process of its own: `main`, with the job as a line of JSON on stdin.

The parent keeps stdin open. When it closes (on purpose, or because the parent died), the notebook is stopped. Exit code
0: the recorded status is final; `INTERRUPTED`: the run was stopped; anything else: the attempt died.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mintad.runs.files import EXECUTED, PARAMETERS
from mintad.sweep.plan import RUN_FOLDER, braced
from mintad.sweep.status import begin, end, locked, read_status, write_json

INTERRUPTED = 3
MOST_LETTERS = 2000  # of an error that are recorded; the executed notebook has all of it
START_SECONDS = 120  # within which a kernel must answer; many may be starting on a busy machine


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run as its worker needs it: plain values, because it is sent to another process."""

    folder: str  # of the run
    notebook: str | None  # path of the sweep's copy; None for training without a notebook
    notebook_sha256: str  # of the notebook's content, or of the code that trains
    cwd: str  # of the kernel: the original notebook's folder, as in JupyterLab
    given: dict[str, Any]  # parameters to inject, `RUN_FOLDER` included where the notebook has it
    parameters: dict[str, Any]  # all of them, to be recorded
    timeout: float | None  # seconds that one cell may take; None for any
    threads: int | None  # of the run; None for what its machine gives

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return Path(self.folder)


class KernelStartError(Exception):
    """The kernel did not start, so the notebook has not begun."""


class RunAttempt:
    """An execution of a job's notebook that another thread can stop."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.kernels: list[int] = []  # process groups
        self.recording = threading.Lock()  # so that only one of the notebook's end and a stop writes the last status
        self.began: float | None = None

    def run(self) -> None:
        """Execute the notebook unless the run is finished; record the outcome."""
        folder = self.job.path
        with locked(folder) as lock:
            if finished(self.job):
                return
            folder.mkdir(exist_ok=True)
            write_json(folder / PARAMETERS, self.job.parameters)
            try:
                try:
                    self._execute(lock)
                except KernelStartError:  # once more, because ports collide and machines are busy
                    self._execute(lock)
                state, error = "finished", None
            except Exception as problem:
                state, error = "failed", describe(problem)
            with self.recording:
                end(folder, state, error=error, seconds=time.monotonic() - self.began)
                self.began = None

    def _execute(self, lock: BinaryIO) -> None:
        with self.recording:
            begin(self.job.path, self.job.notebook_sha256)
            self.began = time.monotonic()
        execute(self.job, lock, self.kernels) if self.job.notebook else train(self.job)

    def stop(self) -> None:
        """End the notebook and the process at once; the run is resumed at the next start."""
        with self.recording:
            for group in self.kernels:
                with contextlib.suppress(OSError):  # it has ended by itself
                    os.killpg(group, signal.SIGKILL) if hasattr(os, "killpg") else os.kill(group, signal.SIGTERM)
            if self.began is not None:
                end(self.job.path, "interrupted", seconds=time.monotonic() - self.began)
            os._exit(INTERRUPTED)


def finished(job: Job) -> bool:
    """Return whether the run needs no further attempt."""
    return read_status(job.path).state == "finished" and (job.notebook is None or _is_notebook(job.path / EXECUTED))


def _is_notebook(file: Path) -> bool:
    """Return whether a file holds a notebook, whole."""
    try:
        return bool(json.loads(file.read_bytes())["cells"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def execute(job: Job, lock: BinaryIO, kernels: list[int]) -> None:
    """Run the notebook with papermill, which saves it after every cell; `kernels` receives the kernel's process group.

    The kernel inherits the run's lock, so that no second attempt starts while an orphaned kernel still runs. Raises
    KernelStartError if no cell was run, and what papermill raises if one failed (see `describe`).
    """
    import papermill
    from jupyter_client import AsyncKernelManager

    class KernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:
            if os.name == "posix":
                options["pass_fds"] = (lock.fileno(),)
            await super().start_kernel(**options)
            kernels.append(self.provisioner.pid)

    ready = threading.Event()
    kernel = {"kernel_manager_class": KernelManager, "on_notebook_start": lambda notebook: ready.set()}
    limits = {"execution_timeout": job.timeout, "start_timeout": START_SECONDS}
    paths = braced(Path(job.notebook)), braced(job.path / EXECUTED)
    try:
        papermill.execute_notebook(*paths, job.given, cwd=job.cwd, progress_bar=False, **limits, **kernel)
    except Exception as error:
        if ready.is_set():
            raise
        raise KernelStartError(describe(error)) from error


def train(job: Job) -> None:
    """Train with the job's parameters in this process, as notebook 10 does in its kernel."""
    from mintad.runs.experiment import configure, train_setting

    options = {name: job.given[name] for name in ("setting", "baselines", RUN_FOLDER) if name in job.given}
    config = configure(**{name: value for name, value in job.given.items() if name not in options})
    train_setting(config, **options)


def describe(error: Exception) -> str:
    """Return what went wrong, in a line or two."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, KernelStartError):
        return f"the kernel failed to start: {error}"
    if isinstance(error, CellTimeoutError):
        return "a cell ran longer than the sweep's timeout"
    if isinstance(error, DeadKernelError):
        return "the kernel died while it ran: killed, or out of memory"
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue} (cell {error.cell_index})"[:MOST_LETTERS]
    return f"{type(error).__name__}: {error}"[:MOST_LETTERS]


def main() -> None:
    """Execute the job that stdin describes."""
    attempt = RunAttempt(Job(**json.loads(sys.stdin.buffer.readline())))

    def stop_at_end_of_input() -> None:
        while os.read(0, 1024):  # not through sys.stdin, whose buffer Python locks when it exits
            pass
        attempt.stop()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    attempt.run()

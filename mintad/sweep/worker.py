"""One attempt at a run, in a process of its own: `main`, with the job as a line of JSON on stdin.

Stdin stays open as long as somebody wants the run: its end, by intent or because the parent died, stops the notebook.
Exit code 0: the status on record is final; `INTERRUPTED`: stopped; anything else: the attempt died.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mintad.sweep.plan import RUN_FOLDER, braced
from mintad.sweep.status import EXECUTED, PARAMETERS, begin, end, held, read_status, write_json

INTERRUPTED = 3
LONGEST_ERROR = 2000
"""Letters kept of an error; the executed notebook has all of it."""
START_SECONDS = 120
"""A kernel that does not answer by then has failed to start; many may be starting on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker must know; plain values, so that it travels."""

    folder: str
    """Of the run."""
    notebook: str
    """The sweep's copy of the notebook."""
    notebook_sha256: str
    cwd: str
    """Where the kernel works: the original notebook's folder, as in JupyterLab."""
    given: dict[str, Any]
    """Parameters to inject."""
    parameters: dict[str, Any]
    """All parameters, for the record."""
    takes_folder: bool
    """Whether the notebook has a parameter `RUN_FOLDER`."""
    timeout: float | None
    threads: int | None

    @property
    def path(self) -> Path:
        return Path(self.folder)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class KernelStartError(Exception):
    """The kernel did not come up; the notebook has not begun."""


class RunAttempt:
    """Executes a job's notebook and can be stopped from another thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.kernels: list[int] = []
        """Process groups."""
        self.deciding = threading.Lock()
        """Held by who writes the final status: the end of the notebook or the stop, not both."""
        self.began: float | None = None

    def run(self) -> None:
        """Execute, unless a finished execution is found; the outcome is on record afterwards."""
        folder = self.job.path
        with held(folder) as lock:
            if finished(folder):
                return
            folder.mkdir(exist_ok=True)
            write_json(folder / PARAMETERS, self.job.parameters)
            try:
                self._execute_twice(lock)
                state, error = "finished", None
            except Exception as problem:
                state, error = "failed", describe(problem)
            with self.deciding:
                end(folder, state, error=error, seconds=time.monotonic() - self.began)
                self.began = None

    def _execute_twice(self, lock: BinaryIO) -> None:
        """A kernel that fails to start gets a second chance: ports collide, machines are busy."""
        for second in (False, True):
            with self.deciding:
                begin(self.job.path, self.job.notebook_sha256)
                self.began = time.monotonic()
            try:
                execute(self.job, lock, self.kernels)
                return
            except KernelStartError:
                if second:
                    raise

    def stop(self) -> None:
        """End the notebook and the process at once; the run is resumed at the next start."""
        with self.deciding:
            for group in self.kernels:
                _kill(group)
            if self.began is not None:
                end(self.job.path, "interrupted", seconds=time.monotonic() - self.began)
            os._exit(INTERRUPTED)


def finished(folder: Path) -> bool:
    """Whether the run needs no further attempt."""
    return read_status(folder).state == "finished" and (folder / EXECUTED).exists()


def execute(job: Job, lock: BinaryIO, kernels: list[int]) -> None:
    """Run the notebook with papermill; it is saved after every cell.

    Args:
        job: what to run.
        lock: of the run; the kernel inherits it, so that no second attempt starts beside an orphaned kernel.
        kernels: the kernel's process group is added.

    Raises:
        KernelStartError: no cell was run.
        Exception: what a cell raised, or that the kernel died; see `describe`.
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
    given = job.given | ({RUN_FOLDER: job.folder} if job.takes_folder else {})
    try:
        papermill.execute_notebook(
            braced(Path(job.notebook)),
            braced(job.path / EXECUTED),
            given,
            cwd=job.cwd,
            progress_bar=False,
            execution_timeout=job.timeout,
            start_timeout=START_SECONDS,
            kernel_manager_class=KernelManager,
            on_notebook_start=lambda notebook: ready.set(),
        )
    except Exception as error:
        if ready.is_set():
            raise
        raise KernelStartError(describe(error)) from error


def describe(error: Exception) -> str:
    """What went wrong, as a line or two."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, KernelStartError):
        return f"the kernel failed to start: {error}"
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue} (cell {error.cell_index})"[:LONGEST_ERROR]
    if isinstance(error, CellTimeoutError):
        return "a cell ran longer than the sweep's timeout"
    if isinstance(error, DeadKernelError):
        return "the kernel died while it ran: killed, or out of memory"
    return f"{type(error).__name__}: {error}"[:LONGEST_ERROR]


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL) if hasattr(os, "killpg") else os.kill(group, signal.SIGTERM)
    except OSError:
        pass  # it has ended by itself


def _wanted_until_end_of_input(attempt: RunAttempt) -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose buffer Python wants back when it ends
        pass
    attempt.stop()


def main() -> None:
    attempt = RunAttempt(Job(**json.loads(sys.stdin.buffer.readline())))
    threading.Thread(target=_wanted_until_end_of_input, args=(attempt,), daemon=True).start()
    attempt.run()

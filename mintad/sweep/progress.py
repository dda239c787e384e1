"""How a sweep goes: a live table on a terminal, a line a run elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mintad.sweep.status import Status, read_status
from mintad.sweep.worker import Job

log = logging.getLogger(__name__)

SHOWN = 12
"""Running runs that are listed."""


class Progress:
    """Shows what ended, and on a terminal what runs: read from the folders, where every machine writes it."""

    def __init__(self, jobs: Sequence[Job], *, total: int, console: Console | None) -> None:
        self.total = total
        self.done = total - len(jobs)
        self.failed = 0
        self.pending = {job.path.name: job.path for job in jobs}
        self.began = time.monotonic()
        self.live: Live | None = None
        if console is not None and console.is_terminal and jobs:
            self.live = Live(console=console, get_renderable=self.view, refresh_per_second=1, transient=True)

    def __enter__(self) -> Progress:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def ended(self, name: str, status: Status) -> None:
        """Tell that a run has ended."""
        self.pending.pop(name)
        self.done += 1
        self.failed += status.state == "failed"
        line = f"{self.done}/{self.total} {summary(name, status)}"
        if self.live:
            self.live.console.print(Text(line, style="red" if status.state == "failed" else ""), soft_wrap=True)
        else:
            log.log(logging.ERROR if status.state == "failed" else logging.INFO, "%s", line)

    def view(self) -> Group:
        """The live part: a bar, and the runs that are under way."""
        running = {name: status for name, status in _statuses(dict(self.pending)).items() if status.state == "running"}
        table = Table.grid(padding=(0, 2))
        for name, status in list(running.items())[:SHOWN]:
            table.add_row(Text(name), Text(f"since {(status.started or '')[11:19]} UTC on {status.host}", style="dim"))
        if len(running) > SHOWN:
            table.add_row(Text(f"and {len(running) - SHOWN} more", style="dim"), "")
        waiting = len(self.pending) - len(running)
        minutes = (time.monotonic() - self.began) / 60
        text = f"{self.done} of {self.total} ended ({self.failed} failed), {len(running)} running, {waiting} waiting"
        bar = ProgressBar(total=self.total, completed=self.done, width=40)
        return Group(table, bar, Text(f"{text}; {minutes:.0f} min. Ctrl-C stops; the same command resumes."))


def summary(name: str, status: Status) -> str:
    """A run's end as one line."""
    seconds = "" if status.seconds is None else f" after {status.seconds:.0f} s"
    again = f" at attempt {status.attempts}" if status.attempts > 1 else ""
    error = f": {first_line(status.error)}" if status.error else ""
    return f"{name} {status.state}{seconds}{again}{error}"


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _statuses(folders: dict[str, Path]) -> dict[str, Status]:
    return {name: read_status(folder) for name, folder in folders.items()}

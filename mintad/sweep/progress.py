"""The progress and the result of a sweep: a live view on a terminal, elsewhere one line per run."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mintad.sweep.plan import PlannedRun
from mintad.sweep.spec import Spec
from mintad.sweep.status import Status, read_status
from mintad.sweep.worker import Job

log = logging.getLogger(__name__)

MOST_LISTED = 12  # running runs


class Progress:
    """A view of a sweep's runs, read from their folders, to which every machine writes their states."""

    def __init__(self, jobs: Sequence[Job], *, total: int, console: Console | None) -> None:
        self.total, self.done, self.failed = total, total - len(jobs), 0
        self.pending = {job.path.name: job.path for job in jobs}
        self.began = time.monotonic()
        self.live: Live | None = None
        if console is not None and console.is_terminal and jobs:
            self.live = Live(console=console, get_renderable=self.view, refresh_per_second=1, transient=True)

    def shown(self) -> contextlib.AbstractContextManager:
        """Show the live view while the block runs, on a terminal."""
        return self.live or contextlib.nullcontext()

    def ended(self, name: str, status: Status) -> None:
        """Show that a run has ended."""
        self.pending.pop(name)
        self.done += 1
        failed = status.state == "failed"
        self.failed += failed
        seconds = "" if status.seconds is None else f" after {status.seconds:.0f} s"
        again = f" at attempt {status.attempts}" if status.attempts > 1 else ""
        error = f": {_first_line(status.error)}" if status.error else ""
        line = f"{self.done}/{self.total} {name} {status.state}{seconds}{again}{error}"
        if self.live:
            self.live.console.print(Text(line, style="red" if failed else ""), soft_wrap=True)
        else:
            log.log(logging.ERROR if failed else logging.INFO, "%s", line)

    def view(self) -> Group:
        """Return the live part: a bar, and the runs under way."""
        statuses = {name: read_status(folder) for name, folder in dict(self.pending).items()}
        running = {name: status for name, status in statuses.items() if status.state == "running"}
        table = Table.grid(padding=(0, 2))
        for name, status in list(running.items())[:MOST_LISTED]:
            table.add_row(Text(name), Text(f"since {(status.started or '')[11:19]} UTC on {status.host}", style="dim"))
        if len(running) > MOST_LISTED:
            table.add_row(Text(f"and {len(running) - MOST_LISTED} more", style="dim"), "")
        waiting, minutes = len(self.pending) - len(running), (time.monotonic() - self.began) / 60
        text = f"{self.done} of {self.total} ended ({self.failed} failed), {len(running)} running, {waiting} waiting"
        bar = ProgressBar(total=self.total, completed=self.done, width=40)
        return Group(table, bar, Text(f"{text}; {minutes:.0f} min. Ctrl-C stops; the same command resumes."))


def print_plan(spec: Spec, runs: Sequence[PlannedRun], console: Console) -> None:
    """Print the runs and the state of each; nothing is written."""
    for run in runs:
        console.print(f"{read_status(spec.out / run.name).state:<12}{run.name}", soft_wrap=True, markup=False)
    kind = spec.notebook.name if spec.notebook else "plain training"
    console.print(f"{len(runs)} runs of {kind} in {spec.out}", soft_wrap=True, markup=False)


def print_summary(spec: Spec, statuses: Mapping[str, Status], console: Console) -> None:
    """Print how many runs have finished, and which have failed and why."""
    failed = {name: status for name, status in statuses.items() if status.state != "finished"}
    table = Table("run", "attempts", "error", title="failed")
    for name, status in failed.items():
        error = _first_line(status.error or status.state)
        table.add_row(Text(name, overflow="fold"), str(status.attempts), Text(error, overflow="fold"))
    if failed:
        console.print(table)
    repeated = sum(status.attempts > 1 for status in statuses.values())
    counts = f"{len(statuses) - len(failed)} of {len(statuses)} runs finished, {len(failed)} failed"
    console.print(f"{counts}, {repeated} needed more than one attempt; in {spec.out}", soft_wrap=True, markup=False)
    if failed:
        console.print("the same command runs the failed ones again", markup=False)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()

"""The bar of a training, until the package has one for all."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def progress_bar(
    description: str, total: int, done: int = 0, show: bool = True, *, log: logging.Logger
) -> Iterator[Callable[[int, str], None]]:
    """Yield report(done, note): a bar on a terminal, else a line in `log` every tenth of the work."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns += (TextColumn("{task.fields[note]}"),)
    with Progress(*columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty())) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        logged = done

        def report(done: int, note: str) -> None:
            nonlocal logged
            bar.update(task, completed=done, note=note)
            if show and bar.disable and (done - logged >= total / 10 or done == total):
                log.info("step %d/%d  %s", done, total, note)
                logged = done

        yield report

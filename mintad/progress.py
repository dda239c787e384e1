"""Progress of long work: a bar on a terminal; elsewhere nothing, or a line in a log for every tenth of the work."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Report = Callable[..., None]
"""``report(done, note="")``: how much is done by now, and a text to show beside it, such as the losses."""


@contextlib.contextmanager
def progress_bar(
    description: str, total: int, done: int = 0, show: bool = True, *, log: logging.Logger | None = None
) -> Iterator[Report]:
    """Show the progress of the block on stderr.

    Args:
        description: what is being done, in a word or two.
        total, done: how much there is to do, and how much was done before.
        show: False shows nothing at all.
        log: where stderr is no terminal, every tenth of the work is a line in this log.
    """
    if not (show and total):
        yield lambda done, note="": None
    elif sys.stderr.isatty():
        with _terminal_bar(description, total, done) as report:
            yield report
    else:
        yield _sparse_lines(log, description, total, done) if log else lambda done, note="": None


def track(items: Iterable[T], description: str, total: int, show: bool = True) -> Iterator[T]:
    """Iterate over `items` and show how many are done; see `progress_bar`."""
    with progress_bar(description, total, show=show) as report:
        for number, item in enumerate(items, start=1):
            yield item
            report(number)


@contextlib.contextmanager
def _terminal_bar(description: str, total: int, done: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}", markup=False), console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)


def _sparse_lines(log: logging.Logger, description: str, total: int, done: int) -> Report:
    logged = done

    def report(done: int, note: str = "") -> None:
        nonlocal logged
        if done - logged >= total / 10 or done == total:
            log.info("%s %d/%d  %s", description, done, total, note)
            logged = done

    return report

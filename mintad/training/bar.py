"""The bar of a training."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)


@contextlib.contextmanager
def training_bar(steps: int, start: int, *, show: bool) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Yield show(done, values): a bar on a terminal, else a log line every tenth of the run."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not (show and sys.stderr.isatty())) as bar:
        task = bar.add_task("training", total=steps, completed=start, losses="")
        logged = start

        def report(done: int, values: dict[str, float]) -> None:
            nonlocal logged
            text = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
            bar.update(task, completed=done, losses=text)
            if show and bar.disable and (done - logged >= steps / 10 or done == steps):
                log.info("step %d/%d  %s", done, steps, text)
                logged = done

        yield report

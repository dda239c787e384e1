"""`mintad sweep` on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mintad.sweep.engine import existing_names, sweep
from mintad.sweep.plan import plan
from mintad.sweep.progress import first_line
from mintad.sweep.spec import Spec, load_spec
from mintad.sweep.status import Status, read_status


def run_command(
    file: Path, *, out: Path | None, workers: int, scheduler: str | None, dry_run: bool, console: Console
) -> int:
    """What the command does.

    Returns:
        The exit code: 1 if a run failed, 130 after ctrl-C, else 0.

    Raises:
        MintadError: see `mintad.sweep.engine.sweep`.
    """
    spec = load_spec(file, out=out)
    if dry_run:
        show_plan(spec, console)
        return 0
    try:
        statuses = sweep(spec, workers=workers, scheduler=scheduler, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to resume", style="yellow")
        return 130
    failed = {name: status for name, status in statuses.items() if status.state != "finished"}
    if failed:
        console.print(failures(failed))
    attempts = sum(status.attempts > 1 for status in statuses.values())
    console.print(
        f"{len(statuses) - len(failed)} of {len(statuses)} runs finished, {len(failed)} failed, {attempts} needed "
        f"more than one attempt; in {spec.out}",
        soft_wrap=True,
        markup=False,
    )
    if failed:
        console.print("the same command runs the failed ones again", markup=False)
    return 1 if failed else 0


def show_plan(spec: Spec, console: Console) -> None:
    """The runs and where each of them stands; nothing is written."""
    runs = existing_names(spec.out, plan(spec))
    for run in runs:
        console.print(f"{read_status(spec.out / run.name).state:<12}{run.name}", soft_wrap=True, markup=False)
    console.print(f"{len(runs)} runs of {spec.notebook.name} in {spec.out}", soft_wrap=True, markup=False)


def failures(statuses: Mapping[str, Status]) -> Table:
    """What failed and why."""
    table = Table("run", "attempts", "error", title="failed")
    for name, status in statuses.items():
        error = first_line(status.error or status.state)
        table.add_row(Text(name, overflow="fold"), str(status.attempts), Text(error, overflow="fold"))
    return table

"""The recorded state of a run: ``status.json`` in its folder, written only by the process that holds its lock."""

from __future__ import annotations

import json
import socket
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import TypeAdapter

from mintad.disk import write
from mintad.lock import exclusive_lock
from mintad.runs.files import STATUS

WORK = ".sweep"  # folder inside the sweep's: plan, locks, logs, a copy of the notebook
PLAN = "plan.json"  # in `WORK`: name -> labels of every run that the folder's sweeps have had

State = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a run, and facts about its last attempt; the next start runs all that are not 'finished' again."""

    state: State = "waiting"  # 'interrupted': stopped from outside
    started: str | None = None  # when the last attempt began, UTC
    seconds: float | None = None  # duration of the last attempt
    attempts: int = 0  # executions begun, over all starts of the sweep
    error: str | None = None  # what went wrong, if the run failed
    host: str | None = None  # machine of the last attempt
    notebook: str | None = None  # SHA-256 of the notebook that was run


_STATUS, _PLAN = TypeAdapter(Status), TypeAdapter(dict[str, dict[str, str]])


def read_status(folder: Path) -> Status:
    """Return the run's status; 'waiting' if there is none, or if it is damaged, so that the run is run again."""
    try:
        values = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        return _STATUS.validate_python(
            {entry.name: values[entry.name] for entry in fields(Status) if entry.name in values}
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return Status()


def write_json(file: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write(file, json.dumps(value, indent=1, sort_keys=True))


def read_plan(out: Path) -> dict[str, dict[str, str]]:
    """Return name -> labels of the runs of a sweep's folder; empty where no sweep has begun."""
    try:
        return _PLAN.validate_json((out / WORK / PLAN).read_bytes())
    except (OSError, ValueError):
        return {}


def write_plan(out: Path, labels: dict[str, dict[str, str]]) -> None:
    """Add runs to the plan of a sweep's folder, or give them new labels."""
    write_json(out / WORK / PLAN, read_plan(out) | labels)


def begin(folder: Path, notebook: str) -> Status:
    """Record that an attempt starts now on this machine. The caller holds the lock."""
    started, attempts = datetime.now(timezone.utc).isoformat(timespec="seconds"), read_status(folder).attempts + 1
    host = socket.gethostname()
    status = Status(state="running", started=started, attempts=attempts, host=host, notebook=notebook)
    write_json(folder / STATUS, asdict(status))
    return status


def end(folder: Path, state: State, *, error: str | None = None, seconds: float | None = None) -> Status:
    """Record how an attempt ended. The caller holds the lock."""
    status = replace(read_status(folder), state=state, error=error, seconds=seconds and round(seconds, 2))
    write_json(folder / STATUS, asdict(status))
    return status


def locked(folder: Path) -> AbstractContextManager[BinaryIO]:
    """Hold the run's lock while the block runs, as its open file; wait while another attempt holds it.

    An attempt that lost its worker may live on, so the next one waits and then finds what the first has done.
    """
    return exclusive_lock(folder.parent / WORK / f"{folder.name}.lock")

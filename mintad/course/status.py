"""Which exercises are open, tried and solved: in this kernel, and on this machine, where it survives a restart."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from platformdirs import user_data_dir

from mintad.course.points import load_points
from mintad.course.site.mode import for_pages
from mintad.disk import open_file, write
from mintad.errors import ConfigError, MintadError, nearest
from mintad.lock import exclusive_lock

log = logging.getLogger(__name__)
FOLDER = "MINTAD_PROGRESS"
"""Environment variable: folder of the file, instead of the user's data folder."""
FILE = "exercises.json"
OPEN, TRIED, SOLVED = "open", "tried", "solved"
MARKS = {OPEN: "○", TRIED: "✗", SOLVED: "✓"}
UNREADABLE = ValueError, TypeError, RecursionError
"""What a damaged file raises: it is no JSON, or JSON of something else."""
UNWRITABLE = OSError, MintadError, RuntimeError
"""What may keep the file from being written; a home that is not known is a RuntimeError."""
_now: dict[str, str] = {}  # check -> state, in this kernel


def record(check: str, state: str) -> None:
    """Keep the state of an exercise, if this is a notebook's kernel; what cannot be written is only logged.

    A run that makes the published pages keeps nothing: it would be the progress of nobody.

    Args:
        check: module and name of its check, for example "features.fuse".
        state: `TRIED` or `SOLVED`; solved stays solved.
    """
    if not _in_kernel() or for_pages():
        return
    if _now.get(check) != SOLVED:
        _now[check] = state
    _try_to_change({check: state})


def status(notebook: str = "", *, anew: bool = False) -> None:
    """Print which exercises of a notebook are open, tried and solved, and how many of all are solved.

    Args:
        notebook: beginning of its name, for example "03"; all notebooks if empty.
        anew: forget first what was tried and solved in this notebook.

    Raises:
        ConfigError: there is no such notebook, or none is named to begin anew.
    """
    tables = {
        name: {item.check: exercise for exercise, item in items.items()}
        for name, items in load_points().notebooks.items()
    }
    chosen = [name for name in tables if name.startswith(notebook)]
    if not chosen or (anew and not notebook):
        problem = (
            f"there is no notebook '{notebook}' with exercises." if notebook else "name the notebook to begin anew"
        )
        raise ConfigError(problem + (nearest(notebook, tables) if notebook else ""))
    if anew:
        _forget([check for name in chosen for check in tables[name]])
    kept = _kept()
    for name in chosen:
        states = {check: _state(check, kept) for check in tables[name]}
        print(_counted(name.replace("_", " "), [state == SOLVED for state in states.values()]))
        for check, state in states.items() if notebook else ():
            earlier = ", earlier" if state != OPEN and _now.get(check) != state else ""
            print(f"  {MARKS[state]} {tables[name][check]}: {state}{earlier}")
    every = [check for checks in tables.values() for check in checks]
    print(_counted("all notebooks", [_state(check, kept) == SOLVED for check in every]))


def _state(check: str, kept: dict[str, str]) -> str:
    states = _now.get(check, OPEN), kept.get(check, OPEN)
    return max(states, key=list(MARKS).index)


def _counted(name: str, solved: list[bool]) -> str:
    return f"{name}: {sum(solved)} of {len(solved)} exercises solved"


def _forget(checks: list[str]) -> None:
    for check in checks:
        _now.pop(check, None)
    if not for_pages():
        _try_to_change(dict.fromkeys(checks, OPEN))


def _try_to_change(states: dict[str, str]) -> None:
    """Change the file, or log in one line why it cannot be changed."""
    try:
        _change(states)
    except UNWRITABLE as error:
        log.warning("progress is not kept after this kernel: %s", str(error).partition("\n")[0] or type(error).__name__)


def _change(states: dict[str, str]) -> None:
    """Change the file; another kernel that does the same waits. A damaged one is kept under another name."""
    path = _path()
    if set(states.values()) == {OPEN} and not path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_suffix(".lock")):
        try:
            kept = _read(path)
        except UNREADABLE as error:
            kept = {}
            if path.is_file():
                aside = path.with_suffix(".damaged")
                path.replace(aside)
                log.warning("the progress in %s is damaged (%s); it is kept as %s", path, type(error).__name__, aside)
        for check, state in states.items():
            if state == OPEN:
                kept.pop(check, None)
            elif kept.get(check) != SOLVED:
                kept[check] = state
        write(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _kept() -> dict[str, str]:
    """Return check -> state from the file; one that is missing or damaged holds nothing."""
    if for_pages():
        return {}
    try:
        return _read(_path())
    except (*UNREADABLE, *UNWRITABLE):
        return {}


def _read(path: Path) -> dict[str, str]:
    """Read check -> state; a missing file holds nothing, a damaged one raises one of `UNREADABLE`."""
    if not path.exists():
        return {}
    with open_file(path) as file:
        values = json.load(file)
    if not isinstance(values, dict) or any(state not in (TRIED, SOLVED) for state in values.values()):
        raise ValueError("not a table of exercises")
    return values


def _path() -> Path:
    return Path(os.environ.get(FOLDER) or user_data_dir("mintad")).expanduser() / FILE


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")  # where it was not imported, there is no kernel
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None

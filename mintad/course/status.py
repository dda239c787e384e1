"""Which exercises are open, tried and solved: in this kernel, and on this machine, where it survives a restart."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from platformdirs import user_data_dir

from mintad.course.points import load_points
from mintad.disk import open_file, write
from mintad.errors import ConfigError, MintadError, nearest
from mintad.lock import exclusive_lock

log = logging.getLogger(__name__)
FOLDER = "MINTAD_PROGRESS"
"""Environment variable: folder of the file, instead of the user's data folder."""
FILE = "exercises.json"
OPEN, TRIED, SOLVED = "open", "tried", "solved"
MARKS = {OPEN: "○", TRIED: "✗", SOLVED: "✓"}
_now: dict[str, str] = {}  # check -> state, in this kernel


def record(check: str, state: str) -> None:
    """Keep the state of an exercise, if this is a notebook's kernel; what cannot be written is only logged.

    Args:
        check: module and name of its check, for example "features.fuse".
        state: `TRIED` or `SOLVED`; on the machine, solved stays solved.
    """
    if not _in_kernel():
        return
    _now[check] = state
    try:
        _change({check: state})
    except (OSError, MintadError) as error:
        log.warning("progress is not kept after this kernel: %s", error)


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
        states = {check: _now.get(check) or kept.get(check, OPEN) for check in tables[name]}
        print(_counted(name.replace("_", " "), [kept.get(c) == SOLVED or _now.get(c) == SOLVED for c in states]))
        for check, state in states.items() if notebook else ():
            earlier = ", earlier" if state != OPEN and check not in _now else ""
            print(f"  {MARKS[state]} {tables[name][check]}: {state}{earlier}")
    every = [check for checks in tables.values() for check in checks]
    print(_counted("all notebooks", [SOLVED in (kept.get(check), _now.get(check)) for check in every]))


def _counted(name: str, solved: list[bool]) -> str:
    return f"{name}: {sum(solved)} of {len(solved)} exercises solved"


def _forget(checks: list[str]) -> None:
    for check in checks:
        _now.pop(check, None)
    if _path().exists():
        _change(dict.fromkeys(checks, OPEN))


def _change(states: dict[str, str]) -> None:
    """Change the file; another kernel that does the same waits."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_suffix(".lock")):
        kept = _kept()
        for check, state in states.items():
            if state == OPEN:
                kept.pop(check, None)
            elif kept.get(check) != SOLVED:
                kept[check] = state
        write(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def _kept() -> dict[str, str]:
    """Return check -> state from the file; one that is missing or damaged holds nothing."""
    if os.environ.get("MINTAD_RENDERER") == "pages":  # published pages show no reader's progress
        return {}
    try:
        with open_file(_path()) as file:
            values = json.load(file)
        return {check: state for check, state in values.items() if state in (TRIED, SOLVED)}
    except (MintadError, OSError, ValueError, AttributeError, TypeError):
        return {}


def _path() -> Path:
    return Path(os.environ.get(FOLDER) or user_data_dir("mintad")).expanduser() / FILE


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")  # where it was not imported, there is no kernel
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None

"""Problems of a data set: collected first, then reported together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mintad.errors import DataError, message

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Error: loading or reading fails. Warning: it works, but the result may mislead. Note: unusual, and handled."""

_LISTED = 20


@dataclass(frozen=True)
class Problem:
    """One problem of one file or folder; the fields have the names of `MintadError`'s."""

    severity: Severity
    path: str
    """The file or folder at fault."""
    problem: str
    """What is wrong with it."""
    fix: str = ""
    """What the user can do; empty for a note that needs nothing."""
    untrained: str = ""
    """The category that has no normal images to train on, if that is the problem: another folder may have them."""

    def __str__(self) -> str:
        return message(self.problem, self.path, self.fix)


def error(path: str | Path, problem: str, fix: str, *, untrained: str = "") -> Problem:
    """Return a problem that stops loading."""
    return Problem("error", str(path), problem, fix, untrained)


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return whether one of the problems stops loading."""
    return any(problem.severity == "error" for problem in problems)


def raise_errors(problems: Iterable[Problem], root: str | Path) -> None:
    """Raise one `DataError` that lists the errors among `problems` of the data set in `root`, if there are any."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if len(errors) == 1:
        raise DataError(errors[0].problem, path=errors[0].path, fix=errors[0].fix)
    if errors:
        lines = [f"{len(errors)} problems", *(f"  - {problem}" for problem in errors[:_LISTED])]
        if len(errors) > _LISTED:
            lines.append(f"  ... and {len(errors) - _LISTED} more; 'mintad data check' lists all of them")
        raise DataError("\n".join(lines), path=root)


def summaries(problems: Iterable[Problem]) -> Iterator[str]:
    """Yield a line for each kind of warning and note, with the number of files that have it and the first of them."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.severity != "error":
            groups.setdefault(problem.problem, []).append(problem)
    for text, group in groups.items():
        first = message(text, group[0].path, group[0].fix)
        yield first if len(group) == 1 else f"{len(group)} times, the first: {first}"

"""What is wrong with a data set: one `Problem` a finding, collected first and reported together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mintad.errors import DataError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Error: loading or reading fails. Warning: it works, the result may mislead. Note: unusual and handled."""

_LISTED = 20


@dataclass(frozen=True)
class Problem:
    """One finding about one file or folder."""

    severity: Severity
    path: str
    """The file or folder at fault."""
    what: str
    """What is wrong with it."""
    cure: str = ""
    """What the user can do; empty for a note that needs nothing."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" + (f"; {self.cure}" if self.cure else "")


def error(path: str | Path, what: str, cure: str) -> Problem:
    """A problem that stops loading."""
    return Problem("error", str(path), what, cure)


def raise_errors(problems: Iterable[Problem], root: str | Path) -> None:
    """Raise one `DataError` that lists the errors among `problems`; do nothing when there is none.

    Args:
        problems: findings of any severity.
        root: the data set, named in the message.

    Raises:
        DataError: at least one of them is an error.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    if len(errors) == 1:
        raise DataError(str(errors[0]))
    lines = [f"{root}: {len(errors)} problems", *(f"  - {problem}" for problem in errors[:_LISTED])]
    if len(errors) > _LISTED:
        lines.append(f"  ... and {len(errors) - _LISTED} more; 'mintad data check' lists all of them")
    raise DataError("\n".join(lines))

"""What is decided on an exercise."""

from __future__ import annotations

from dataclasses import dataclass

FULL, PARTIAL, NONE = "solved", "check only", "not solved"


@dataclass(frozen=True)
class Verdict:
    """How a student's function has done.

    Args:
        state: `FULL`, `PARTIAL` (the notebook's check passes, hidden cases do not) or `NONE`.
        message: for the student, in one line.
    """

    state: str
    message: str

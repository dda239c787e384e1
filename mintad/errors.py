"""Errors that a user can fix: each says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class MintadError(Exception):
    """Base of all errors meant for the user; the command line prints the message and exits with code 2.

    The message reads "PATH: PROBLEM; FIX". Read the fields instead of taking the message apart.

    Args:
        problem: what is wrong; the whole message where there is no path and no fix.
        path: the file or folder at fault.
        fix: what the user can do.
    """

    def __init__(self, problem: str = "", *, path: str | Path | None = None, fix: str = "") -> None:
        super().__init__(message(problem, path, fix))
        self.problem, self.fix = problem, fix
        self.path = None if path is None else str(path)


class DataError(MintadError):
    """A data set, an image, a mask or a record table is not as it must be."""


class WeightsError(MintadError):
    """Backbone weights are missing, unreadable or of another architecture."""


class ConfigError(MintadError):
    """A configuration key, value or combination is not allowed."""


class TrainingError(MintadError):
    """A training run cannot start, continue or be resumed."""


def message(problem: str, path: str | Path | None = None, fix: str = "") -> str:
    """Return "PATH: PROBLEM; FIX", without the parts that are empty."""
    return (f"{visible(str(path))}: " if path is not None else "") + problem + (f"; {fix}" if fix else "")


def visible(name: str) -> str:
    """Return a name as it can stand in a line on a terminal.

    Line ends and other control characters, marks that turn the direction of writing, and bytes that are no UTF-8 are
    written as in Python: ``\\n``, ``\\x1b``, ``\\u202e``, ``\\xe9``.
    """
    return _HIDDEN.sub(lambda found: _escaped(found[0]), name)


def _escaped(letter: str) -> str:
    byte = ord(letter) - 0xDC00  # how Python keeps a byte that is no UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut where it is long or nested deep, for an error message."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 3, 10, 10, 10
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 200


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return the end of an error message: the nearest allowed name, then all of them.

    Args:
        name: what the user wrote.
        allowed: the valid names.

    Returns:
        For example ``" Did you mean 'width'? Allowed: depth, width."``.
    """
    options = sorted(visible(str(option)) for option in allowed)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Allowed: {', '.join(options)}."

"""Errors that a user can mend: every message names the thing at fault and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MintadError(Exception):
    """Base of all errors meant for the user; the command line prints the message and exits with code 2."""


class DataError(MintadError):
    """A data set, an image, a mask or a record table is not as it must be."""


class WeightsError(MintadError):
    """Backbone weights are missing, unreadable or of another architecture."""


class ConfigError(MintadError):
    """A configuration key, value or combination is not allowed."""


class TrainingError(MintadError):
    """A training run cannot start, continue or be resumed."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """End of an error message: the nearest allowed name, then all of them.

    Args:
        name: what the user wrote.
        allowed: the valid names.

    Returns:
        For example ``" Did you mean 'width'? Allowed: depth, width."``.
    """
    options = sorted(str(option) for option in allowed)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Allowed: {', '.join(options)}."

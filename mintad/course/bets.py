"""A prediction that was written down, compared with what came out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

CLOSE = 0.2  # share of the outcome by which a number may be off


def settle(bet: Any, outcome: Any, *, within: float = 0.0) -> None:
    """Print a bet beside what came out, and whether it was right; without a bet, only what came out.

    Args:
        bet: a number, a text, or a set or list of texts, as the outcome is; ``...`` if nothing was written.
        outcome: None where this run has nothing to compare with. A text is met by a part of it, in whole words.
        within: how far off a number may be, if that is more than a fifth of the outcome.
    """
    if outcome is None:
        print("○ nothing to compare a bet with in this run")
    elif bet is ... or bet is None:
        print(f"○ no bet written; it came out: {_text(outcome)}")
    else:
        mark = "✓ right" if _right(bet, outcome, within) else "✗ not this time"
        print(f"{mark}: your bet {_text(bet)}, it came out: {_text(outcome)}")


def _right(bet: Any, outcome: Any, within: float) -> bool:
    if isinstance(outcome, str):
        words = str(bet).strip()
        return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", outcome, re.IGNORECASE) is not None
    if isinstance(outcome, Collection) and getattr(outcome, "ndim", 1):
        found = [bet] if isinstance(bet, str) else bet
        if not isinstance(found, Collection):
            return False
        same, right = ([str(one).strip().lower() for one in many] for many in (found, outcome))
        return same == right if isinstance(outcome, list | tuple) else set(same) == set(right)
    try:
        return abs(float(bet) - float(outcome)) <= max(within, CLOSE * abs(float(outcome)))
    except (TypeError, ValueError):
        return False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Collection) and getattr(value, "ndim", 1):
        names = value if isinstance(value, list | tuple) else sorted(map(str, value))
        return ", ".join(map(str, names)) or "none"
    try:
        return f"{float(value):.3g}"
    except (TypeError, ValueError):
        return str(value)

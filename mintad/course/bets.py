"""A prediction that was written down, compared with what came out."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from numbers import Integral
from typing import Any

CLOSE = 0.2  # share of a measured outcome by which a number may be off
SMALL_WORDS = frozenset("a an the it its in on of to by for with at is are".split())
UNDECIDED = frozenset("or and not no never neither nor".split())
NONE = frozenset("nothing none".split())
BRITISH = {
    **{"neighbor": "neighbour", "color": "colour", "gray": "grey", "normaliz": "normalis", "standardiz": "standardis"},
    **{"centered": "centred", "center": "centre"},  # the longer word first
}
AMERICAN = re.compile("|".join(BRITISH))
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def settle(bet: Any, outcome: Any, *, within: float | None = None, also: Collection[str] = ()) -> None:
    """Print a bet beside what came out, and whether it was right; without a bet, only what came out.

    Args:
        bet: a number, a text, or a set or list of texts, as the outcome is; ``...`` if nothing was written.
        outcome: None or NaN where this run has nothing to compare with. A text is met as a whole, in other words around
            it, or by several of its words, in British or American spelling; a set is met by the same names, a list by
            the same order. A mapping from names to values stands for the names by rising value, where those of equal
            value may come in any order.
        within: how far off a number may be. Without it, a count or rank (an integer) is met exactly, and a measured
            number within a fifth of itself.
        also: other texts that are right.
    """
    if outcome is None or (isinstance(outcome, float) and math.isnan(outcome)):
        print("○ nothing to compare a bet with in this run")
    elif bet is ... or bet is None:
        print(f"○ no bet written; it came out: {_text(outcome)}")
    elif _is_number(outcome) and _number(bet) is None:
        print(f"✗ your bet {_text(bet)} is not a number; it came out: {_text(outcome)}")
    else:
        mark = "✓ right" if _right(bet, outcome, within, also) else "✗ not this time"
        print(f"{mark}: your bet {_text(bet)}, it came out: {_text(outcome)}")


def _right(bet: Any, outcome: Any, within: float | None, also: Collection[str]) -> bool:
    if isinstance(outcome, str):
        return any(_met(str(bet), right) for right in (outcome, *also))
    if isinstance(outcome, Mapping):
        return any(_ranks(names, outcome) for names in _readings(bet))
    if not _is_number(outcome):
        right = _plain(outcome)
        if isinstance(outcome, list | tuple):
            return any(_plain(names) == right for names in _readings(bet))
        return any(set(_plain(names)) == set(right) for names in _readings(bet))
    if within is None:
        within = 0.0 if isinstance(outcome, Integral) else CLOSE * abs(float(outcome))
    return abs(_number(bet) - float(outcome)) <= within + 1e-9


def _met(bet: str, right: str) -> bool:
    """Return whether a text says the right one, the whole of it or several of its words."""
    said, due = _words(bet), _words(right)
    if said == due:
        return bool(due)
    if UNDECIDED & set(said) - set(due):
        return False
    return _within(due, said) or (len(said) > 1 and _within(said, due))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", _spelt(text)) if word not in SMALL_WORDS]


def _spelt(text: Any) -> str:
    """Return a text without the differences between capitals and small letters, American and British English."""
    return AMERICAN.sub(lambda match: BRITISH[match[0]], str(text).strip().casefold())


def _within(part: list[str], whole: list[str]) -> bool:
    return bool(part) and any(whole[n : n + len(part)] == part for n in range(len(whole)))


def _readings(bet: Any) -> list[list[str]]:
    """Return the lists of names that a bet may mean: a text is one name, or several between commas."""
    if not isinstance(bet, str):
        return [list(bet)] if isinstance(bet, Collection) and getattr(bet, "ndim", 1) else []
    if not bet.strip() or set(_words(bet)[:1]) & NONE:
        return [[], [bet]]
    return [[bet], re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", bet.strip())]


def _plain(names: Collection[Any]) -> list[str]:
    return [_spelt(name) for name in names]


def _ranks(names: Collection[Any], values: Mapping[str, float]) -> bool:
    due = {_spelt(name): value for name, value in values.items()}
    said = _plain(names)
    return sorted(said) == sorted(due) and [due[name] for name in said] == sorted(due.values())


def _is_number(outcome: Any) -> bool:
    return not isinstance(outcome, str) and not (isinstance(outcome, Collection) and getattr(outcome, "ndim", 1))


def _number(bet: Any) -> float | None:
    """Return a bet as a number; in a text a comma may stand for the point, and "50 %" is a half."""
    share = 1.0
    if isinstance(bet, str):
        bet = bet.strip()
        share = 0.01 if bet.endswith("%") else 1.0
        bet = bet.removesuffix("%").strip()
        bet = bet.replace(",", "" if THOUSANDS.fullmatch(bet) else ".")
    elif getattr(bet, "ndim", 0):
        return None
    try:
        value = share * float(bet)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and value:
        names = sorted(value, key=value.get)
        ties = [" = " if value[a] == value[b] else ", " for a, b in zip(names, names[1:], strict=False)]
        return "".join(part for pair in zip(names, [*ties, ""], strict=True) for part in pair)
    if isinstance(value, Collection) and getattr(value, "ndim", 1):
        names = value if isinstance(value, list | tuple) else sorted(map(str, value))
        return ", ".join(map(str, names)) or "none"
    try:
        return f"{value:d}" if isinstance(value, Integral) else f"{float(value):.3g}"
    except (TypeError, ValueError):
        return str(value)

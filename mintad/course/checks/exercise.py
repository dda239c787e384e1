"""Make a check of an exercise: worked cases first, whose numbers the hints name, then cases drawn anew each time."""

from __future__ import annotations

import contextlib
import functools
import inspect
import pkgutil
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import Hidden, Student, hidden
from mintad.course.checks.drawn import agree, copies, require_no_known_mistake, try_drawn_cases
from mintad.course.checks.grading import Call, CheckFailed, call, require, require_own_work
from mintad.course.checks.guard import Guard
from mintad.course.status import SOLVED, TRIED, record

UNUSABLE = RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, MemoryError
"""What a check may raise where the result is nothing that it expects."""
DRAWN = 3
"""Cases that a check draws."""
_passed: dict[str, Callable[..., Any]] = {}  # check -> the function that passed it last, in this kernel


def exercise(
    reference: Callable[..., Any],
    summary: str,
    *,
    mistakes: Mapping[str, Callable[..., Any]] | None = None,
    trains: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a test of worked cases into the check of an exercise.

    The check refuses a function that calls the reference or a withheld function. It prints `summary` when all is right.
    Its further cases are drawn with `seed`, a new one each time by default; a failure says which it was. The grader
    draws its own, and asks for none here. With `keep`, a notebook's kernel records whether the exercise is solved.

    Args:
        reference: solution; messages name its parameters.
        summary: what the check has shown.
        mistakes: hint -> function that makes the mistake which the hint explains, for mistakes that no worked case
            names; whatever fails is compared with them.
        trains: whether a network is trained through the function, so that its gradients must be right, too.
    """
    takes = ", ".join(inspect.signature(reference).parameters)
    name, key = reference.__name__.removeprefix("reference_"), _key(reference)
    made = isinstance(reference, type)  # a class: its methods are called later than the class

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def check(fn: Call | None, *, seed: int | None = None, cases: int = DRAWN, keep: bool = True) -> None:
            require(fn is not None, "not solved yet: write the function in the cell above, and run both cells")
            seed = secrets.randbelow(2**31) if seed is None else seed
            secret, own = hidden(key), fn is not reference
            guard = _guard(key, reference) if own else None
            guarded = partial(call, fn, takes=takes, guard=guard)
            with torch.random.fork_rng(devices=[]):
                try:
                    with guard.watching() if guard and made else contextlib.nullcontext([]) as called:
                        test(guarded, np.random.default_rng(seed))
                    require_own_work(called)
                    if secret.draw:
                        options = {"cases": cases, "kind": "a drawn case", "mistakes": mistakes, "trains": trains}
                        try_drawn_cases(secret, guarded, reference, np.random.default_rng(seed), **options)
                    elif secret.check and cases:
                        secret.judge(Student(guarded, None), np.random.default_rng(seed))
                except (CheckFailed, *UNUSABLE) as failed:
                    if not isinstance(failed, CheckFailed):
                        reason = str(failed).partition("\n")[0]
                        failed = CheckFailed(f"the result cannot be used ({type(failed).__name__}: {reason})")
                    failed = _diagnosed(failed, secret, guarded, reference, mistakes or {}, np.random.default_rng(seed))
                    failed.again = f"the same cases again: checks.check_{name}({name}, seed={seed})"
                    if own and keep:
                        record(key, TRIED)
                    raise failed from None
            if own:
                _passed[key] = fn
            if own and keep:
                record(key, SOLVED)
            print(f"✓ {name}: {summary}" if own else f"○ not solved yet; the reference passes: {name}: {summary}")

        check.__name__, check.__doc__ = test.__name__, test.__doc__
        check.mistakes, check.trains = mistakes or {}, trains
        return check

    return decorate


def passed(fn: Callable[..., Any], reference: Callable[..., Any]) -> bool:
    """Return whether this very function has passed the check of an exercise, in this process."""
    return _passed.get(_key(reference)) is fn


def _key(reference: Callable[..., Any]) -> str:
    """Return the name of a reference's check, for example "features.fuse"."""
    return f"{reference.__module__.rpartition('.')[2]}.{reference.__name__.removeprefix('reference_')}"


@functools.cache
def _guard(key: str, reference: Callable[..., Any]) -> Guard:
    return Guard([reference, *map(pkgutil.resolve_name, hidden(key).withheld)])


def _diagnosed(
    failed: CheckFailed,
    secret: Hidden,
    function: Call,
    reference: Callable[..., Any],
    mistakes: Mapping[str, Callable[..., Any]],
    generator: np.random.Generator,
) -> CheckFailed:
    """Return the hint of the mistake that the function makes on a drawn case, or the failure as it is.

    A case on which the function is right shows no mistake, although a mistake may give the same there.
    """
    for _ in range(DRAWN if secret.draw and mistakes else 0):
        arguments = secret.draw(generator)
        try:
            result = function(*copies(arguments))
        except CheckFailed:  # the function fails on it
            return failed
        try:
            agree(result, reference(*copies(arguments)), "", secret.tolerance)
        except (CheckFailed, *UNUSABLE):
            try:
                require_no_known_mistake(result, arguments, mistakes, secret.tolerance)
            except CheckFailed as known:
                return known
            return failed
    return failed

"""The verdict on an exercise: the notebook's own check, then hidden cases, on a function that runs in a sandbox."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import signal
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from mintad.course.checks.grading import CheckFailed, same
from mintad.course.grade.cases import Hidden, Student, hidden
from mintad.course.grade.process import Died
from mintad.course.grade.remote import Sandbox, Unusable
from mintad.course.grade.verdict import FULL, NONE, PARTIAL, Verdict

CASES = 6
MOST_LETTERS = 400  # of a message
OWN_SECONDS = 120  # after which the judge itself gives an exercise up


def judge(sandbox: Sandbox, notebook: str, name: str, check: str, *, seed: int, number: int = 0) -> Verdict:
    """Judge one exercise of a submission.

    Args:
        sandbox: of the submission.
        notebook: path of the notebook in the submission's folder.
        name: of the exercise, as the student's function is called.
        check: "module.name".
        seed: of the hidden cases; the same seed draws the same cases for everybody
        number: with the same number.
    """
    module, _, test = check.partition(".")
    checks, secret = importlib.import_module(f"mintad.course.checks.{module}"), hidden(check)
    generator = np.random.default_rng([seed, number, zlib.crc32(check.encode())])
    passed = False
    try:
        with _time_limit(OWN_SECONDS + sandbox.seconds * 8), torch.random.fork_rng(devices=[]):
            sandbox.allow()
            function = sandbox.load(notebook, name, test, secret.withheld)
            if secret.check:
                with contextlib.redirect_stdout(io.StringIO()):
                    getattr(checks, f"check_{test}")(function)
                passed = True
            _hidden_cases(secret, Student(function, sandbox.apply), getattr(checks, f"reference_{test}"), generator)
    except Unusable as problem:
        return _verdict(NONE, str(problem))
    except CheckFailed as problem:
        return _verdict(PARTIAL if passed else NONE, str(problem).removeprefix("✗ "))
    except Died as problem:
        sandbox.close()
        return _verdict(NONE, f"your function was stopped: {problem}")
    except Exception as problem:  # the student's function raised it while its cell was run, or in a hidden case
        return _verdict(PARTIAL if passed else NONE, f"{type(problem).__name__}: {problem}")
    return _verdict(FULL, "solved")


def _hidden_cases(
    secret: Hidden, student: Student, reference: Callable[..., Any], generator: np.random.Generator
) -> None:
    if secret.judge:
        with contextlib.redirect_stdout(io.StringIO()):
            secret.judge(student, generator)
        return
    for _ in range(CASES):
        arguments = secret.draw(generator)
        expected = reference(*_copies(arguments))
        try:
            result = student.function(*_copies(arguments))
        except Exception as error:
            text = f"raised {type(error).__name__} for {_described(arguments)}: {error}"
            raise CheckFailed(text) from error
        _agree(result, expected, f"wrong for {_described(arguments)}", secret.tolerance)


def _agree(result: Any, expected: Any, hint: str, tolerance: float) -> None:
    """Compare a result with the reference's; raise `CheckFailed` with the hint."""
    if isinstance(expected, str):
        if result != expected:
            raise CheckFailed(f"{hint}: {expected!r} is right, not {result!r}")
    elif isinstance(expected, tuple):
        if not isinstance(result, tuple | list | np.ndarray) or len(result) != len(expected):
            raise CheckFailed(f"{hint}: return {len(expected)} values")
        for one, right in zip(result, expected, strict=True):
            _agree(one, right, hint, tolerance)
    elif isinstance(expected, torch.Tensor) and expected.ndim == 0:
        same(result, expected.item(), hint, tolerance=tolerance)
    else:
        same(result, expected, hint.replace("{", "(").replace("}", ")"), tolerance=tolerance)


def _copies(arguments: Any) -> list[Any]:
    kinds = torch.Tensor, np.ndarray
    return [value.clone() if isinstance(value, kinds[0]) else value.copy() if isinstance(value, kinds[1]) else value
            for value in arguments]  # fmt: skip


def _described(arguments: Any) -> str:
    """Return a case in a few words: shapes of arrays, the values of numbers and texts."""
    words = []
    for value in arguments:
        if isinstance(value, torch.Tensor | np.ndarray):
            words.append("×".join(map(str, value.shape)) or "a number")
        elif isinstance(value, int | float | str):
            words.append(f"{value:.4g}" if isinstance(value, float) else str(value))
        elif isinstance(value, list) and all(isinstance(item, float) for item in value):
            words.append("[" + ", ".join(f"{item:.5f}" for item in value) + "]")
        else:
            words.append(type(value).__name__)
    return f"a hidden case ({', '.join(words)})"


def _verdict(state: str, message: str) -> Verdict:
    line = re.sub(r"\s+", " ", "".join(c for c in message if c.isprintable() or c.isspace())).strip()
    return Verdict(state, line if len(line) <= MOST_LETTERS else line[: MOST_LETTERS - 1] + "…")


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Give up after so many seconds by the clock, in the main thread; whatever a result makes the judge do."""

    def stop(*_: Any) -> None:
        raise Died("the grader gave up judging it")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

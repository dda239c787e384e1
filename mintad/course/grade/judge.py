"""The verdict on an exercise: the notebook's own check, then hidden cases, on a function that runs in a sandbox."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import signal
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import Student, hidden
from mintad.course.checks.drawn import try_drawn_cases
from mintad.course.checks.grading import CheckFailed
from mintad.course.grade.closure import Unusable
from mintad.course.grade.process import Died
from mintad.course.grade.remote import Sandbox
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
                    getattr(checks, f"check_{test}")(function, seed=int(generator.integers(2**31)), cases=0)
                passed = True
            hidden_cases(check, Student(function, sandbox.apply), generator)
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


def hidden_cases(check: str, student: Student, generator: np.random.Generator) -> None:
    """Try a student's function on the hidden cases of a check, "module.name"; raise `CheckFailed` where it is wrong."""
    module, _, name = check.partition(".")
    checks, secret = importlib.import_module(f"mintad.course.checks.{module}"), hidden(check)
    if secret.judge:
        with contextlib.redirect_stdout(io.StringIO()):
            secret.judge(student, generator)
        return
    test, reference = (getattr(checks, f"{kind}_{name}") for kind in ("check", "reference"))
    calls_ours = any(map(callable, secret.draw(np.random.default_rng(0))))
    trains = test.trains and not calls_ours  # no gradient comes back through a function of ours, in another process
    options = {"cases": CASES, "kind": "a hidden case", "mistakes": test.mistakes, "trains": trains}
    try_drawn_cases(secret, student.function, reference, generator, **options)


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

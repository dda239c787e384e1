"""Every exercise's check, both ways: it passes the reference solution and fails typical wrong ones, with a hint."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from mintad.course import checks
from mintad.course.checks import CheckFailed
from mintad.course.checks.grading import call, same

MODULES = sorted(p.stem for p in Path(checks.__file__).parent.glob("*.py") if p.stem not in ("__init__", "grading"))


WRONG = {name: fn for module in MODULES for name, fn in importlib.import_module(f"wrong.{module}").WRONG.items()}
"""'module.exercise' -> functions that students write and that are wrong."""
EXERCISES = [
    f"{module}.{name.removeprefix('check_')}"
    for module in MODULES
    for name in vars(importlib.import_module(f"mintad.course.checks.{module}"))
    if name.startswith("check_")
]


def parts(exercise: str):
    module, name = exercise.split(".")
    module = importlib.import_module(f"mintad.course.checks.{module}")
    return getattr(module, f"check_{name}"), getattr(module, f"reference_{name}")


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_passes_and_says_that_it_is_one(exercise, capsys):
    check, reference = parts(exercise)
    check(reference)
    assert capsys.readouterr().out.startswith("○ not solved yet")
    check(lambda *arguments: reference(*arguments))
    assert capsys.readouterr().out.startswith("✓ ")


def test_every_exercise_has_two_wrong_solutions():
    assert sorted(WRONG) == sorted(EXERCISES)
    assert all(len(wrong) >= 2 for wrong in WRONG.values())


@pytest.mark.parametrize(
    ("exercise", "n"), [(exercise, n) for exercise, wrong in WRONG.items() for n in range(len(wrong))]
)
def test_wrong_solutions_fail_with_a_hint(exercise, n):
    with pytest.raises(CheckFailed, match="^✗ .{15,}"):
        parts(exercise)[0](WRONG[exercise][n])


@pytest.mark.parametrize("exercise", EXERCISES)
def test_broken_functions_fail_with_a_hint(exercise):
    check, reference = parts(exercise)
    arguments = ", ".join(inspect.signature(reference).parameters)
    for broken in (lambda *a: None, lambda *a: "text", lambda: 0, lambda *a: 1 / 0, lambda *a: np.full(3, np.nan)):
        with pytest.raises(CheckFailed):
            check(broken)
    with pytest.raises(CheckFailed, match=arguments.split(",")[0]):
        check(lambda: 0)


def test_grading_names_what_is_wrong():
    with pytest.raises(CheckFailed, match=r"shape \(2,\), expected \(3,\)"):
        same([1, 2], [1, 2, 3], "hint")
    with pytest.raises(CheckFailed, match="not finite"):
        same([np.nan], [1.0], "hint")
    with pytest.raises(CheckFailed, match="ZeroDivisionError"):
        call(lambda x: x / 0, 1, takes="x")
    same(torch.tensor([1.0], requires_grad=True), [1.0], "hint")

"""The exercises of the checks with their right answers (tests/right) and wrong ones (tests/wrong)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mintad.course import checks
from mintad.course.checks import CheckFailed

MODULES = sorted(p.stem for p in Path(checks.__file__).parent.glob("*.py") if "\n@exercise(" in p.read_text("utf-8"))
OPEN = {
    "interference.new_shape",
    "interference.new_model",
    "training.own_variant",
}  # any shape and any network is right that has a property


def answers(kind: str) -> dict[str, list]:
    """'module.exercise' -> functions of `tests/wrong` or `tests/right`."""
    table = kind.upper()
    return {name: fns for m in MODULES for name, fns in getattr(importlib.import_module(f"{kind}.{m}"), table).items()}


WRONG, RIGHT = answers("wrong"), answers("right")
EXERCISES = [
    f"{module}.{name.removeprefix('check_')}"
    for module in MODULES
    for name in vars(importlib.import_module(f"mintad.course.checks.{module}"))
    if name.startswith("check_")
]
each = pytest.mark.parametrize("exercise", EXERCISES)


def parts(exercise: str):
    """The check of an exercise, and its reference."""
    module, name = exercise.split(".")
    module = importlib.import_module(f"mintad.course.checks.{module}")
    return getattr(module, f"check_{name}"), getattr(module, f"reference_{name}")


def failures(exercise, answer, seeds):
    """The hints of a wrong answer, one for each seed."""
    for seed in range(seeds):
        with pytest.raises(CheckFailed) as caught:
            parts(exercise)[0](answer, seed=seed)
        yield str(caught.value)

"""Drawn cases: for each check what else a function is tried on, drawn by seed; one module per module of checks.

The notebook's check draws a few anew each time, the grader more of them, which are hidden: a student who reads this
learns what is drawn, but not the numbers, because the seed is chosen when the work is graded. Most cases are arguments,
and the expected result is the reference's (`compared`). Where many results are right (a random split, a network), a
function of its own says what must hold (`judged`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Judge = Callable[[Any, np.random.Generator], None]
"""Takes the `Student` and a generator; raises `CheckFailed`."""


@dataclass(frozen=True)
class Student:
    """A student's work: the function itself, and what a function of ours, named by its path, makes of it in there."""

    function: Callable[..., Any]
    apply: Callable[..., Any]


@dataclass(frozen=True)
class Hidden:
    """What is drawn for one check.

    Args:
        draw: returns the arguments of one case, to be compared with the reference's result.
        judge: in place of `draw`.
        withheld: dotted names of library functions that would do the exercise's work; in the sandbox they refuse, and
            the notebook's check notices them.
        check: whether the grader runs the notebook's own check, and this one the `judge`.
        tolerance: relative and absolute.
    """

    draw: Callable[[np.random.Generator], Sequence[Any]] | None = None
    judge: Judge | None = None
    withheld: Sequence[str] = ()
    check: bool = True
    tolerance: float = 1e-4


HIDDEN: dict[str, Hidden] = {}
"""Check, for example "features.fuse" -> its hidden cases; filled when a module of cases is imported."""


def compared(name: str, **options: Any) -> Callable[[Callable], Callable]:
    """Register a function that draws the arguments of one case; for the options see `Hidden`."""

    def register(draw: Callable) -> Callable:
        HIDDEN[name] = Hidden(draw=draw, **options)
        return draw

    return register


def judged(name: str, **options: Any) -> Callable[[Judge], Judge]:
    """Register a function that judges the student's; for the options see `Hidden`."""

    def register(judge: Judge) -> Judge:
        HIDDEN[name] = Hidden(judge=judge, **options)
        return judge

    return register


def hidden(check: str) -> Hidden:
    """Return what is hidden of a check, "module.name"; the module of its cases is imported."""
    importlib.import_module(f"{__name__}.{check.partition('.')[0]}")
    return HIDDEN[check]


def normal(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Draw a tensor of normal numbers."""
    return torch.from_numpy(rng.normal(size=shape)).float()


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw a whole number, both ends included."""
    return int(rng.integers(low, high + 1))


def both_labels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n labels, 0 and 1, at least one of each, in any order."""
    return rng.permutation(np.concatenate([[0, 1], rng.integers(0, 2, n - 2)]))


def torch_seed(rng: np.random.Generator) -> None:
    """Seed PyTorch's own generator, for layers' initial weights."""
    torch.manual_seed(whole(rng, 0, 2**31))

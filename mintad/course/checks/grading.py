"""Helpers of all checks: call the student's function, compare its result."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from mintad.course.checks.guard import Guard

Call = Callable[..., Any]
"""The student's function, called through `call`."""


class CheckFailed(AssertionError):
    """Raised when a student's function does not do what the exercise asks; the message is a hint."""

    def __init__(self, hint: str) -> None:
        super().__init__(f"✗ {hint}")
        self.again = ""  # how to draw the same cases again

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the hint alone, because the way through the checks helps nobody."""
        return [str(self), self.again]


def require(condition: bool, hint: str) -> None:
    """Raise `CheckFailed` with the hint unless the condition holds."""
    if not condition:
        raise CheckFailed(hint)


def call(fn: Call, *arguments: Any, takes: str, guard: Guard | None = None) -> Any:
    """Return the result of the student's function.

    Args:
        fn: the function.
        arguments: it must leave arrays and tensors as they are.
        takes: names of its parameters, for messages.
        guard: of the functions that it must not call.

    Raises:
        CheckFailed: it raises an error, returns nothing, changes an argument, or calls a guarded function.
    """
    before = [_copy(value) for value in arguments]
    with guard.watching() if guard else contextlib.nullcontext([]) as called:
        try:
            result = fn(*arguments)
        except Exception as error:
            require_own_work(called)
            name = getattr(fn, "__name__", "the function")
            raise CheckFailed(f"{name}({takes}) raised {type(error).__name__}{_line(fn, error)}: {error}") from error
    require_own_work(called)
    require(result is not None, f"the function returned None; end it with a return statement. It takes ({takes}).")
    for name, value, old in zip(takes.split(", "), arguments, before, strict=False):
        hint = f"the function changed its argument {name}, which others still need: do not use +=, *= or {name}[…] = …"
        require(old is None or _equal(value, old), hint)
    return result


def require_own_work(called: Sequence[str]) -> None:
    """Raise `CheckFailed` if guarded functions were called."""
    hint = "this calls {}, which does the exercise's work; write it yourself"
    require(not called, hint.format(called[0] if called else ""))


def _line(fn: Call, error: Exception) -> str:
    """Return where in the student's cell the error came from, if that is known; one of the grader's process says it."""
    file = getattr(getattr(fn, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = getattr(error, "line_of_cell", lines[-1] if lines else None)
    return f" in line {line} of the cell" if line else ""


def _copy(value: Any) -> Any:
    """Return a copy of an array or a tensor, and None for anything else."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) else None


def _equal(new: Any, old: Any) -> bool:
    if isinstance(new, torch.Tensor):
        return new.shape == old.shape and torch.equal(new.detach().nan_to_num(), old.nan_to_num())
    return new.shape == old.shape and np.array_equal(new, old, equal_nan=new.dtype.kind == "f")


def number(result: Any) -> float:
    """Return the result as a float; raise `CheckFailed` if it is not a single number."""
    if isinstance(result, torch.Tensor | np.ndarray):
        shape = f"return a single number, not {'an array' if isinstance(result, np.ndarray) else 'a tensor'} of shape "
        require(result.ndim == 0, f"{shape}{tuple(result.shape)}")
        result = result.item()
    found = f"return a single number, not a {type(result).__name__}"
    require(isinstance(result, int | float | np.number) and not isinstance(result, np.complexfloating), found)
    return float(result)


def same(result: Any, expected: ArrayLike | torch.Tensor, hint: str, *, tolerance: float = 1e-5) -> None:
    """Require the expected number or array, up to a relative and absolute tolerance; raise `CheckFailed` with the hint.

    If a number is expected, braces in the hint stand for the student's number.
    """
    if np.ndim(expected) == 0:
        value = number(result)
        require(math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance), hint.format(value))
        return
    try:
        values, right = _to_numpy(result), _to_numpy(expected)
    except (TypeError, ValueError):
        raise CheckFailed(f"the result is a {type(result).__name__}, not an array of numbers; {hint}") from None
    require(values.shape == right.shape, f"the result has shape {values.shape}, expected {right.shape}; {hint}")
    require(bool(np.isfinite(values).all()), f"the result holds values that are not finite (NaN or infinity); {hint}")
    require(np.allclose(values, right, rtol=tolerance, atol=tolerance), hint)


def differs(result: Any, mistake: ArrayLike | torch.Tensor, hint: str, *, tolerance: float = 1e-5) -> None:
    """Raise `CheckFailed` with the hint if the result has the values of a typical mistake."""
    with contextlib.suppress(TypeError, ValueError):  # it may be no array at all, or have another shape
        values, wrong = _to_numpy(result), _to_numpy(mistake)
        require(values.shape != wrong.shape or not np.allclose(values, wrong, rtol=tolerance, atol=tolerance), hint)


def booleans(result: Any, hint: str = "return booleans, True or False; numbers cannot select rows") -> None:
    """Require booleans: an array or a tensor of them, or a list."""
    kind = result.dtype if isinstance(result, torch.Tensor) else np.asarray(result).dtype
    require(kind in (bool, torch.bool), hint)


def is_tensor(result: Any, shape: Sequence[int], hint: str) -> None:
    """Require a tensor of this shape."""
    require(isinstance(result, torch.Tensor), f"return a tensor, not a {type(result).__name__}; {hint}")
    require(result.shape == tuple(shape), hint)


def two_numbers(result: Any, hint: str = "return two numbers") -> tuple[float, float]:
    """Return the two numbers of a result; raise `CheckFailed` if it holds anything else."""
    several = isinstance(result, tuple | list | np.ndarray | torch.Tensor) and getattr(result, "ndim", 1) > 0
    require(several and len(result) == 2, hint)
    return number(result[0]), number(result[1])


def randn(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    """Draw a tensor of normal numbers for each shape, always the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _to_numpy(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, tuple | list):
        values = [_to_numpy(value) for value in values]
    return np.asarray(values, dtype=float)

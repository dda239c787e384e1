"""Helpers of all checks: call the student's function, compare its result, print that the check passed."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

Call = Callable[..., Any]
"""The student's function, called through `call`."""


class CheckFailed(AssertionError):
    """Raised when a student's function does not do what the exercise asks; the message is a hint."""

    def __init__(self, hint: str) -> None:
        super().__init__(f"✗ {hint}")


def exercise(reference: Callable[..., Any], summary: str) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Turn tests of results into a check of a function: it runs the tests, then prints `summary`, what they have shown.

    Messages name the parameters of the reference solution.
    """
    takes = ", ".join(inspect.signature(reference).parameters)
    summary = f"{reference.__name__.removeprefix('reference_')}: {summary}"

    def decorate(test: Callable[[Call], None]) -> Callable[[Call], None]:
        def check(fn: Call | None) -> None:
            require(fn is not None, "not solved yet: write the function in the cell above, and run both cells")
            test(partial(call, fn, takes=takes))
            print(f"○ not solved yet; the reference passes: {summary}" if fn is reference else f"✓ {summary}")

        check.__name__, check.__doc__ = test.__name__, test.__doc__
        return check

    return decorate


def require(condition: bool, hint: str) -> None:
    """Raise `CheckFailed` with the hint unless the condition holds."""
    if not condition:
        raise CheckFailed(hint)


def call(fn: Call, *arguments: Any, takes: str) -> Any:
    """Return the result of the student's function; raise `CheckFailed`, naming what it takes, on an error or None."""
    try:
        result = fn(*arguments)
    except Exception as error:
        name = getattr(fn, "__name__", "the function")
        raise CheckFailed(f"{name}({takes}) raised {type(error).__name__}: {error}") from error
    require(result is not None, f"the function returned None; end it with a return statement. It takes ({takes}).")
    return result


def number(result: Any) -> float:
    """Return the result as a float; raise `CheckFailed` if it is not a single number."""
    if isinstance(result, torch.Tensor | np.ndarray) and result.ndim == 0:
        result = result.item()
    require(np.ndim(result) == 0 and isinstance(result, int | float | np.number), "return a single number")
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


def is_tensor(result: Any, shape: Sequence[int], hint: str) -> None:
    """Require a tensor of this shape."""
    require(isinstance(result, torch.Tensor) and result.shape == tuple(shape), hint)


def two_numbers(result: Any, hint: str = "return two numbers") -> tuple[float, float]:
    """Return the two numbers of a result; raise `CheckFailed` if it holds anything else."""
    require(isinstance(result, tuple | list | np.ndarray) and len(result) == 2, hint)
    return number(result[0]), number(result[1])


def randn(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    """Draw a tensor of normal numbers for each shape, always the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, dtype=float)

"""Helpers of all checks: call the student's function, compare its result, print that the check passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike


class CheckFailed(AssertionError):
    """Raised when a student's function does not do what the exercise asks; the message is a hint."""

    def __init__(self, hint: str) -> None:
        super().__init__(f"✗ {hint}")


def require(condition: bool, hint: str) -> None:
    """Raise `CheckFailed` with the hint unless the condition holds."""
    if not condition:
        raise CheckFailed(hint)


def call(fn: Callable[..., Any], *arguments: Any, takes: str) -> Any:
    """Call the function and return its result.

    Args:
        fn: the student's function.
        arguments: what it is called with.
        takes: names of these arguments, for the message.

    Raises:
        CheckFailed: the function raises an error or returns None.
    """
    try:
        result = fn(*arguments)
    except Exception as error:
        name = getattr(fn, "__name__", "the function")
        raise CheckFailed(f"{name}({takes}) raised {type(error).__name__}: {error}") from error
    require(result is not None, f"the function returned None; end it with a return statement. It takes ({takes}).")
    return result


def number(result: Any) -> float:
    """Return the result as a float.

    Raises:
        CheckFailed: it is not a single number.
    """
    require(np.ndim(result) == 0 and isinstance(result, int | float | np.number), "return a single number")
    return float(result)


def same(result: Any, expected: ArrayLike | torch.Tensor, hint: str, *, tolerance: float = 1e-5) -> None:
    """Compare a result with what was expected.

    Args:
        result: what the student's function returned.
        expected: the right values.
        hint: what to look at if the values differ.
        tolerance: relative and absolute.

    Raises:
        CheckFailed: the shapes or the values differ, or the result is not an array of finite numbers.
    """
    try:
        values = _to_numpy(result)
    except (TypeError, ValueError):
        raise CheckFailed(f"the result is a {type(result).__name__}, not an array of numbers; {hint}") from None
    right = _to_numpy(expected)
    require(values.shape == right.shape, f"the result has shape {values.shape}, expected {right.shape}; {hint}")
    require(bool(np.isfinite(values).all()), f"the result holds values that are not finite (NaN or infinity); {hint}")
    require(np.allclose(values, right, rtol=tolerance, atol=tolerance), hint)


def matches(result: Any, values: ArrayLike, *, tolerance: float = 1e-5) -> bool:
    """Test whether a result has these values, to recognise a typical mistake; False where it is not an array."""
    try:
        numbers = _to_numpy(result)
    except (TypeError, ValueError):
        return False
    return numbers.shape == np.shape(values) and np.allclose(numbers, values, rtol=tolerance, atol=tolerance)


def passed(fn: Callable[..., Any], message: str) -> None:
    """Print that the check passed, and whether it was the student's function or the reference."""
    is_reference = getattr(fn, "__name__", "").startswith("reference_")
    print(f"○ not solved yet; the reference passes: {message}" if is_reference else f"✓ {message}")


def _to_numpy(values: Any) -> np.ndarray:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, dtype=float)

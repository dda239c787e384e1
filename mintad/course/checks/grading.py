"""What all checks share: calling a student's function, comparing what it returns, and saying so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike


class CheckFailed(AssertionError):
    """An exercise's function does not do what it should; the message says what to look at."""

    def __init__(self, hint: str) -> None:
        super().__init__(f"✗ {hint}")


def require(condition: bool, hint: str) -> None:
    """Raise `CheckFailed` with the hint unless the condition holds."""
    if not condition:
        raise CheckFailed(hint)


def call(fn: Callable[..., Any], *arguments: Any, takes: str) -> Any:
    """The function's result; `takes` names its arguments in the message if it cannot be called like that."""
    try:
        result = fn(*arguments)
    except Exception as error:
        name = getattr(fn, "__name__", "the function")
        raise CheckFailed(f"{name}({takes}) raised {type(error).__name__}: {error}") from error
    require(result is not None, f"the function returned None; does it end with a return? It takes ({takes}).")
    return result


def number(result: Any) -> float:
    """The result as a float; raises unless it is a single number."""
    require(np.ndim(result) == 0 and isinstance(result, int | float | np.number), "return one number")
    return float(result)


def same(got: Any, wanted: ArrayLike | torch.Tensor, hint: str, *, tolerance: float = 1e-5) -> None:
    """Raise unless `got` has the shape and, within the tolerance (relative and absolute), the values of `wanted`."""
    try:
        found = got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got, dtype=float)
    except (TypeError, ValueError):
        raise CheckFailed(f"the result is no array of numbers but a {type(got).__name__}; {hint}") from None
    expected = wanted.detach().numpy() if isinstance(wanted, torch.Tensor) else np.asarray(wanted, dtype=float)
    require(found.shape == expected.shape, f"the result has shape {found.shape}, expected {expected.shape}; {hint}")
    require(bool(np.isfinite(found).all()), f"the result holds values that are not finite; {hint}")
    require(np.allclose(found, expected, rtol=tolerance, atol=tolerance), hint)


def passed(fn: Callable[..., Any], message: str) -> None:
    """Print that the check passed, and whether it was the student's function or the reference."""
    ours = getattr(fn, "__name__", "").startswith("reference_")
    print(f"○ not solved yet; the reference passes: {message}" if ours else f"✓ {message}")

"""Try a student's function on drawn cases, and compare it with the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import Hidden
from mintad.course.checks.grading import CheckFailed, booleans, require, same

Function = Callable[..., Any]
GRADIENT = 1e-3  # relative and absolute tolerance of gradients
UNTRAINABLE = (
    "the values are right, but their gradients are not, so what comes before could not be trained: compute with "
    "PyTorch alone, without float(), .item(), .detach(), .data, no_grad() or NumPy"
)


def try_drawn_cases(
    secret: Hidden,
    function: Function,
    reference: Function,
    generator: np.random.Generator,
    *,
    cases: int,
    kind: str,
    mistakes: Mapping[str, Function] | None = None,
    trains: bool = False,
) -> None:
    """Compare a function with the reference on cases that are drawn.

    Args:
        secret: says how a case is drawn.
        function: the student's.
        reference: gives the expected result.
        generator: of the cases.
        cases: how many.
        kind: of the cases, for the message, for example "a hidden case".
        mistakes: hint -> function that makes the mistake which the hint explains.
        trains: whether the result must have the reference's gradients, too.

    Raises:
        CheckFailed: another result; the hint of the mistake that it shows, else what was drawn.
    """
    for _ in range(cases):
        arguments = secret.draw(generator)
        described = f"{kind} ({', '.join(map(_described, arguments))})"
        expected = reference(*copies(arguments))
        try:
            result = function(*copies(arguments))
        except CheckFailed:
            raise
        except Exception as error:
            raise CheckFailed(f"raised {type(error).__name__} for {described}: {error}") from error
        try:
            agree(result, expected, f"wrong for {described}", secret.tolerance)
        except CheckFailed:
            require_no_known_mistake(result, arguments, mistakes or {}, secret.tolerance)
            raise
        if trains:
            _same_gradients(function, reference, arguments)


def require_no_known_mistake(
    result: Any, arguments: Sequence[Any], mistakes: Mapping[str, Function], tolerance: float
) -> None:
    """Raise `CheckFailed` with the hint of the mistake that gives this result."""
    for hint, mistake in mistakes.items():
        try:
            agree(result, mistake(*copies(arguments)), "", tolerance)
        except Exception:  # another result, or the mistake is not possible for these arguments
            continue
        raise CheckFailed(hint)


def agree(result: Any, expected: Any, hint: str, tolerance: float) -> None:
    """Compare a result with the expected one; raise `CheckFailed` with the hint."""
    if isinstance(expected, str):
        require(isinstance(result, str) and result == expected, f"{hint}: {expected!r} is right, not {result!r}")
    elif isinstance(expected, tuple):
        several = isinstance(result, tuple | list | np.ndarray | torch.Tensor) and getattr(result, "ndim", 1) > 0
        require(several and len(result) == len(expected), f"{hint}: return {len(expected)} values")
        for one, right in zip(result, expected, strict=True):
            agree(one, right, hint, tolerance)
    elif getattr(expected, "dtype", type(expected)) in (bool, torch.bool):
        booleans(result)
        same(result, expected, _plain(hint), tolerance=0)
    elif isinstance(expected, torch.Tensor) and expected.ndim == 0:
        same(result, expected.item(), _plain(hint) + ": {:.6g}, but " + f"{expected.item():.6g} is right",
             tolerance=tolerance)  # fmt: skip
    elif np.ndim(expected) == 0:
        same(result, expected, _plain(hint) + ": {:.6g}, but " + f"{expected:.6g} is right", tolerance=tolerance)
    else:
        same(result, expected, _plain(hint), tolerance=tolerance)


def _same_gradients(function: Function, reference: Function, arguments: Sequence[Any]) -> None:
    """Require the gradients of all results with respect to all arguments of floating point."""
    found, weights = [], []
    for called in (reference, function):
        inputs = [value.clone().requires_grad_() if _trainable(value) else value for value in copies(arguments)]
        leaves = [value for value in inputs if _trainable(value)]
        result = called(*inputs)
        several = list(result) if isinstance(result, tuple | list) else [result]
        require(all(isinstance(one, torch.Tensor) and one.requires_grad for one in several), UNTRAINABLE)
        generator = torch.Generator().manual_seed(0)
        weights = weights or [torch.rand(one.shape, generator=generator) for one in several]
        total = sum((one * weight).sum() for one, weight in zip(several, weights, strict=True))
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
        zeros = map(torch.zeros_like, leaves)
        found.append([g if g is not None else zero for g, zero in zip(gradients, zeros, strict=True)])
    close = [torch.allclose(a, b, rtol=GRADIENT, atol=GRADIENT) for a, b in zip(*found, strict=True)]
    require(all(close), UNTRAINABLE)


def _trainable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def copies(arguments: Sequence[Any]) -> list[Any]:
    """Copy the arrays and tensors among arguments."""
    kinds = torch.Tensor, np.ndarray
    return [value.clone() if isinstance(value, kinds[0]) else value.copy() if isinstance(value, kinds[1]) else value
            for value in arguments]  # fmt: skip


def _described(value: Any) -> str:
    """Return an argument in a few words: the shape of an array, the value of a number or a text."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return "×".join(map(str, value.shape)) or "a number"
    if isinstance(value, int | float | str):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return "[" + ", ".join(f"{item:.5f}" for item in value) + "]"
    return type(value).__name__


def _plain(hint: str) -> str:
    return hint.replace("{", "(").replace("}", ")")

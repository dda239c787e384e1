"""One forward for many networks: as it stands if it can, through `torch.func.vmap` if not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Weights = dict[str, Tensor]
Result = Tensor | tuple[Tensor, Tensor]
"""Reconstructions, and class logits where a model predicts the class."""


def run_stacked(module: nn.Module, direct: bool, weights: Weights, *inputs: Tensor) -> Result:
    """Results (M, B, ...) of all networks, for inputs (M, B, ...)."""
    if direct:
        return functional_call(module, weights, inputs)
    return vmap(lambda one, *own: functional_call(module, one, own))(weights, *inputs)


def runs_on_stacks(module: nn.Module, classes: int) -> bool:
    """Whether the forward, given stacked weights, does for each network what it does for one; tried on random numbers.

    Such a model runs without `vmap`, whose bookkeeping costs as much time as the arithmetic of networks this small.
    """
    generator = torch.Generator().manual_seed(0)
    networks, points = 3, 5  # unlike each other, so that a wrong broadcast fails
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weights = {name: draw(networks, *value.shape) for name, value in module.named_parameters()}
    inputs = draw(networks, points, 2), draw(networks, points, classes)
    with torch.no_grad():
        wanted = run_stacked(module, False, weights, *inputs)
        try:
            found = run_stacked(module, True, weights, *inputs)
        except Exception:  # of any kind: vmap has just run it, so it was written for one network
            return False
    pairs = zip(*(one if isinstance(one, tuple) else (one,) for one in (wanted, found)), strict=True)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def first(result: Result) -> Tensor:
    """The reconstructions."""
    return result[0] if isinstance(result, tuple) else result

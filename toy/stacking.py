"""One forward pass for many networks: called on stacked weights where that works, else through `torch.func.vmap`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Weights = dict[str, Tensor]
Result = Tensor | tuple[Tensor, Tensor]
"""Reconstructions, and class logits where a model predicts the class."""


def run_stacked(module: nn.Module, direct: bool, weights: Weights, *inputs: Tensor) -> Result:
    """Return the results (M, B, ...) of all networks for inputs (M, B, ...); `direct` as `runs_on_stacks` found."""
    if direct:
        return functional_call(module, weights, inputs)
    return vmap(lambda network, *its_inputs: functional_call(module, network, its_inputs))(weights, *inputs)


def runs_on_stacks(module: nn.Module, classes: int) -> bool:
    """Try on random numbers whether the forward, given stacked weights, does for each network what it does for one.

    Such a model runs without `vmap`, whose bookkeeping takes as much time as the arithmetic of networks this small.
    """
    generator = torch.Generator().manual_seed(0)
    networks, points = 3, 5  # different numbers, so that a wrong broadcast fails
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weights = {name: draw(networks, *value.shape) for name, value in module.named_parameters()}
    inputs = draw(networks, points, 2), draw(networks, points, classes)
    with torch.no_grad():
        expected = run_stacked(module, False, weights, *inputs)
        try:
            result = run_stacked(module, True, weights, *inputs)
        except Exception:  # any error: vmap has just run it, so the forward was written for one network
            return False
    outputs = [output if isinstance(output, tuple) else (output,) for output in (expected, result)]
    pairs = zip(*outputs, strict=True)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


def reconstructions(result: Result) -> Tensor:
    """Return the reconstructions, without the logits of a model that predicts the class."""
    return result[0] if isinstance(result, tuple) else result

"""What the sandbox makes of open exercises, where a function returns a shape, a network or a model, and no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from mintad.course.lab.own_variant import SMALL
from mintad.model.reconstruction import Output, ReconstructionModel
from toy import Region, Settings
from toy.stacking import reconstructions, run_stacked, runs_on_stacks


def regions(new_shape: Callable[[int], Any], classes: int) -> Any:
    """Return the regions as (segments, radius, weight); anything else as it is."""
    made = new_shape(classes)
    if not isinstance(made, list | tuple) or not all(isinstance(region, Region) for region in made):
        return made
    return [(region.segments, float(region.radius), float(region.weight)) for region in made]


def networks(build: Callable[..., Any], classes: int) -> dict[str, Any]:
    """Return the stacked weights of two networks, (2, …) each, and whether the forward runs on stacks."""
    first = _made(build, classes, 0)
    if not isinstance(first, nn.Module):
        return {"problem": "it must be a class derived from torch.nn.Module"}
    if not any(True for _ in first.parameters()):
        return {"problem": "it has no parameters to train"}
    weights, _ = stack_module_state([first, _made(build, classes, 1)])
    return {"weights": [weight.detach() for weight in weights.values()], "direct": runs_on_stacks(first, classes)}


def outputs(
    build: Callable[..., Any], classes: int, direct: bool, points: Tensor, label: Tensor, *weights: Tensor
) -> Any:
    """Return what two networks with these weights make of points (2, B, 2) and one-hot labels (2, B, K)."""
    module = _made(build, classes, 0)
    named = dict(zip(dict(module.named_parameters()), weights, strict=True))
    return reconstructions(run_stacked(module, direct, named, points, label))


def variant_weights(kind: Callable[..., Any], channels: int, grid: tuple[int, int], classes: int) -> dict[str, Any]:
    """Return the weights of a model of one's own, and whether it must be given the class."""
    model = _variant(kind, channels, grid, classes)
    if not isinstance(model, ReconstructionModel):
        return {"problem": "it must be a class derived from ReconstructionModel"}
    return {"weights": [p.detach() for p in model.parameters()], "needs_labels": bool(model.needs_labels)}


def variant_outputs(
    kind: Callable[..., Any],
    channels: int,
    grid: tuple[int, int],
    classes: int,
    training: bool,
    feat: Tensor,
    noise: Tensor,
    labels: Tensor,
    *weights: Tensor,
) -> Any:
    """Return what a model with these weights makes of features (B, L, F): the reconstruction, if it is one."""
    model = _variant(kind, channels, grid, classes).train(training)
    named = dict(zip(dict(model.named_parameters()), weights, strict=True))
    with torch.random.fork_rng(devices=[], enabled=training):
        if training:
            torch.manual_seed(0)  # the same dropout each time, and jitter where a model draws its own
        output = functional_call(model, named, (feat, noise if training else None, labels))
    return output.reconstruction if isinstance(output, Output) else None


def _variant(kind: Callable[..., Any], channels: int, grid: tuple[int, int], classes: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(SMALL, channels, tuple(grid), classes)


def _made(build: Callable[..., Any], classes: int, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(classes, Settings(width=16))

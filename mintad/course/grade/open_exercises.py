"""What the sandbox makes of open exercises, where a function returns a shape or a network and no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from toy import Region, Settings, make_shape
from toy.train import Job, train


def regions(new_shape: Callable[[int], Any], classes: int) -> Any:
    """Return the regions as (segments, radius, weight); anything else as it is."""
    made = new_shape(classes)
    if not isinstance(made, list | tuple) or not all(isinstance(region, Region) for region in made):
        return made
    return [(region.segments, float(region.radius), float(region.weight)) for region in made]


def trained(build: Callable[..., Any], classes: int, seed: int) -> dict[str, Any]:
    """Train a stack of two networks; return what one returns before, and the reconstructions given each label after."""
    settings = Settings(width=16, steps=30, batch=32)
    torch.manual_seed(seed)
    network = build(classes, settings)
    if not isinstance(network, nn.Module):
        return {"problem": "it must be a class derived from torch.nn.Module"}
    if not any(True for _ in network.parameters()):
        return {"problem": "it has no parameters to train"}
    untrained = network(torch.randn(6, 2), torch.eye(classes)[torch.arange(6) % classes])
    points, names = make_shape("blobs", classes).sample(200, np.random.default_rng(seed))
    try:
        stack = train(build, [Job(points, names, 0.1, n) for n in range(2)], classes, settings)
    except Exception as error:  # of the student's network
        return {"problem": f"training a stack of two fails with {type(error).__name__}: {error}"}
    given = [stack.reconstruct(points[:20], label) for label in range(classes)]
    return {"untrained": untrained.detach(), "reconstructions": given}

"""Arithmetic that mixed precision must leave alone, and features that float16 can hold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a module's `forward` compute in float32 also where autocast is on; the tensors it is given become float32.

    bfloat16 keeps 8 bits: an argument of 30 of a sine is then known to 0.1 only, and a softmax of values of that size
    to a tenth of its probabilities. The modules this is put on are a small part of a step.
    """

    @functools.wraps(forward)
    def full(self, *tensors: Tensor) -> Any:
        with torch.autocast(tensors[0].device.type, enabled=False):
            return forward(self, *(tensor.float() for tensor in tensors))

    return full


def joined_in_float16(parts: Sequence[Tensor]) -> Tensor:
    """Join features (B, L, F) as float16, or as they are where float16 cannot hold them."""
    fits = all(part.abs().amax() <= torch.finfo(torch.float16).max for part in parts)
    return torch.cat([part.half() if fits else part for part in parts])

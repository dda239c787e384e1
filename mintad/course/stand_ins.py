"""Functions in the place of students' own when a whole model is checked (notebook 10, exercises 5 and 6).

They take and return the same shapes, and compute something else. So a check sees that a model calls the functions that
it is given, each with its own arguments, and they give away no exercise's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mintad.course.lab.assembly import Functions, PlacedDecoderLayer

Layer = Callable[[Tensor], Tensor]


def feature_jitter(tokens: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Return tokens and part of the noise."""
    return tokens + 0.01 * alpha * noise


def decoder_layer(query: Tensor, memory: Tensor, previous: Tensor, layer: PlacedDecoderLayer) -> Tensor:
    """Return a mixture in which each of the three has a weight of its own."""
    seen = layer.memory_attention(query, memory, memory) + 2 * layer.previous_attention(query, previous, previous)
    return layer.norm3(query + seen + 0.5 * layer.ffn(query))


def prompt_mapper(adapted: Tensor, class_encoder: Layer, channel_encoder: Layer, head: Layer) -> tuple[Tensor, Tensor]:
    """Return values between -1 and 1, and what the head makes of them."""
    token = torch.tanh(channel_encoder(torch.tanh(class_encoder(adapted.mT)).flatten(1)))
    return token, head(token)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how far the logits are from the labels, divided by their number."""
    return (logits - labels[:, None]).square().mean() / logits.shape[1]


def modulated(z: Tensor, token: Tensor, sines: Sequence[Layer], modulators: Sequence[Layer]) -> Tensor:
    """Return the sum of both paths."""
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        h, alpha = torch.tanh(sine(h)), torch.tanh(modulator(alpha))
    return h + alpha


def gaussian_nll(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return something of the three, element by element."""
    return (value - 2 * mean).abs() + log_variance.square()


def reduce(elements: Tensor, how: str) -> Tensor:
    """Return the mean, in another size for each way."""
    return elements.mean() * {"element": 1.0, "token": 3.0, "sum": 7.0}[how]


STAND_INS = Functions(feature_jitter, decoder_layer, prompt_mapper, cross_entropy, modulated, gaussian_nll, reduce)

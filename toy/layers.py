"""Layers of the networks; `Linear`, `mlp` and `ModulatedSiren` also run on stacked weights (see `toy.models`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toy.settings import Settings

ACTIVATION = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


class Linear(nn.Linear):
    """`nn.Linear` that also takes stacked weights (M, out, in) and biases (M, out) with inputs (M, B, in)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in) to (B, out), or stacked (M, B, in) to (M, B, out)."""
        if self.weight.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        return torch.baddbmm(self.bias.unsqueeze(-2), x, self.weight.mT)


def mlp(inputs: int, outputs: int, settings: Settings, depth: int | None = None) -> nn.Sequential:
    """Build `depth` hidden layers (default: the settings') of `settings.width` units, and an output layer."""
    widths = [inputs] + [settings.width] * (settings.depth if depth is None else depth)
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [Linear(before, after), ACTIVATION[settings.activation]()]
    return nn.Sequential(*layers, Linear(widths[-1], outputs))


class ModulatedSiren(nn.Module):
    """A modulated SIREN: ``h_i = alpha_i * sin(W_i h_{i-1} + b_i)`` (Eq. 8).

    A ReLU network computes the amplitudes alpha from the class token (Table 13). There is one position, a learned z,
    because a point of the plane is a single token.
    """

    def __init__(self, settings: Settings, layers: int = 2) -> None:
        super().__init__()
        width, self.omega = settings.width, settings.omega
        self.position = nn.Parameter(torch.rand(3) * 2 - 1)
        self.sines = nn.ModuleList([Linear(3, width)] + [Linear(width, width) for _ in range(layers - 1)])
        first = Linear(3 + settings.token_width, width)
        self.modulators = nn.ModuleList([first] + [Linear(width, width) for _ in range(layers - 1)])
        for layer in self.modulators:
            nn.init.ones_(layer.bias)  # amplitudes start near 1, as in the image model
        self.output = Linear(width, width)

    def forward(self, token: Tensor) -> Tensor:
        """Return queries (B, width) for class tokens (B, T)."""
        h = self.position.unsqueeze(-2)
        alpha = torch.cat([h.expand(*token.shape[:-1], -1), token], -1)
        for n, (sine, modulator) in enumerate(zip(self.sines, self.modulators, strict=True)):
            alpha = modulator(alpha).relu()
            h = alpha * torch.sin((self.omega if n == 0 else 1.0) * sine(h))
        return self.output(h)

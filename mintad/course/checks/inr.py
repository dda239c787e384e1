"""Checks of notebook 07: the sine layer, the modulated network, its number of parameters (§3.3, Eqs 8-9, Table 13)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, number, randn, require, same


def reference_sine_layer(x: Tensor, weight: Tensor, bias: Tensor, omega: float) -> Tensor:
    """Return sin(omega * (W x + b))."""
    return torch.sin(omega * (x @ weight.T + bias))


@exercise(
    reference_sine_layer,
    "sin(omega (W x + b)), 3 inputs to 4 outputs",
    trains=True,
    mistakes={
        "omega multiplies W x alone here; it multiplies the bias, too": lambda x, weight, bias, omega: torch.sin(
            omega * (x @ weight.T) + bias
        ),
        "the bias is outside the sine here; it belongs inside": lambda x, weight, bias, omega: (
            torch.sin(omega * (x @ weight.T)) + bias
        ),
        "omega stands before the sine here; it belongs inside, it is a frequency and no amplitude": (
            lambda x, weight, bias, omega: omega * torch.sin(x @ weight.T + bias)
        ),
        "the bias is missing": lambda x, weight, bias, omega: torch.sin(omega * (x @ weight.T)),
        "this is a cosine": lambda x, weight, bias, omega: torch.cos(omega * (x @ weight.T + bias)),
    },
)
def check_sine_layer(call: Call, rng: np.random.Generator) -> None:
    """Check for ``sin(omega * (W x + b))`` of points (L, I), weights (O, I), bias (O,)."""
    x, weight, bias = randn((5, 3), (4, 3), (4,))
    linear, result = nn.functional.linear(x, weight, bias), call(x, weight, bias, 1.0)
    is_tensor(result, (5, 4), "for 5 points and 4 outputs the shape is (5, 4): x @ W.T")
    same(result, linear.sin(), "with omega = 1 the result must be sin(W x + b); the bias goes inside the sine")
    hint = "wrong with omega = 30: inside the sine, omega multiplies all of W x + b, the bias too"
    same(call(x, weight, bias, 30.0), (30 * linear).sin(), hint, tolerance=1e-3)


def reference_modulated(
    z: Tensor, token: Tensor, sines: Sequence[nn.Linear], modulators: Sequence[nn.Linear]
) -> Tensor:
    """Return the modulated query of Eq. 8."""
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        alpha = modulator(alpha).relu()
        h = alpha * torch.sin(sine(h))
    return h


def _modulated(z: Tensor, token: Tensor, sines: Sequence[nn.Linear], modulators: Sequence[nn.Linear], **how) -> Tensor:
    """Return the query of Eq. 8 with one of its parts exchanged, for the hints."""
    gate, step = how.get("gate", torch.relu), how.get("step", lambda alpha, x: alpha * torch.sin(x))
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)][:: how.get("order", 1)], dim=1)
    for sine, modulator in zip(sines[: how.get("layers")], modulators, strict=False):
        alpha = gate(modulator(alpha))
        h = step(alpha, sine(h))
    return h


def _modulated_at_the_end(
    z: Tensor, token: Tensor, sines: Sequence[nn.Linear], modulators: Sequence[nn.Linear]
) -> Tensor:
    """Return the last layer's sine times its amplitude, above layers without one, for the hint."""
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        alpha, h = modulator(alpha).relu(), torch.sin(sine(h))
    return alpha * h


@exercise(
    reference_modulated,
    "two layers of Eq. 8; another token gives another query",
    trains=True,
    mistakes={
        "the ReLU is missing: alpha_i = ReLU(V_i alpha_(i-1) + c_i)": lambda *a: _modulated(*a, gate=lambda x: x),
        "the gate is a sigmoid here; Eq. 8 has a ReLU": lambda *a: _modulated(*a, gate=torch.sigmoid),
        "the sine is missing: h_i = alpha_i * sin(W_i h_(i-1) + b_i)": lambda *a: _modulated(
            *a, step=lambda alpha, x: alpha * x
        ),
        "alpha is added here; it multiplies the sine": lambda *a: _modulated(
            *a, step=lambda alpha, x: alpha + torch.sin(x)
        ),
        "alpha stands inside the sine here; it multiplies the sine's result, it is an amplitude": lambda *a: _modulated(
            *a, step=lambda alpha, x: torch.sin(alpha * x)
        ),
        "alpha_0 is [z, token]: the position comes first": lambda *a: _modulated(*a, order=-1),
        "the last layer is missing": lambda *a: _modulated(*a, layers=-1),
        "only the last sine has its alpha here; every layer's sine is multiplied by its own": _modulated_at_the_end,
        "this is the modulation network alone; multiply by the sine network's layers": lambda *a: _modulated(
            *a, step=lambda alpha, x: alpha
        ),
    },
)
def check_modulated(call: Call, rng: np.random.Generator) -> None:
    """Check for Eq. 8 with Table 13's modulation: the token enters the modulation network once, at its first layer."""
    torch.manual_seed(0)
    sines = [nn.Linear(3, 6), nn.Linear(6, 6)]
    modulators = [nn.Linear(3 + 4, 6), nn.Linear(6, 6)]
    z, token = torch.randn(5, 3), torch.randn(4)
    result = call(z, token, sines, modulators)
    unmodulated = torch.sin(sines[1](torch.sin(sines[0](z))))
    differs(result, unmodulated, "this is the sine network without modulation; multiply each sine by its alpha")
    hint = "h_i = alpha_i * sin(W_i h_(i-1) + b_i), alpha_i = ReLU(V_i alpha_(i-1) + c_i), alpha_0 = [z, token]"
    same(result, reference_modulated(z, token, sines, modulators), hint)
    other = call(z, token + 1, sines, modulators)
    differs(other, result, "another token gives the same query; use the token in alpha_0")


def reference_inr_parameters(hidden: int, layers: int, token_width: int, width: int) -> int:
    """Count weights and biases of both paths and the output layer."""
    synthesis = 4 * hidden + layers * (hidden * hidden + hidden)
    modulation = (4 + token_width) * hidden + layers * (hidden * hidden + hidden)
    return synthesis + modulation + hidden * width + width


@exercise(
    reference_inr_parameters,
    "602,368 at the paper's sizes, Table 9's 0.602 M",
    mistakes={
        "this counts one hidden layer too few: the first layer is not one of the `layers`": lambda h, n, t, w: (
            reference_inr_parameters(h, n - 1, t, w)
        ),
        "the output layer is missing: hidden * width weights and width biases": lambda h, n, t, w: (
            reference_inr_parameters(h, n, t, w) - h * w - w
        ),
        "the modulation network's first layer sees the 3 coordinates and the token: 3 + token_width inputs": (
            lambda h, n, t, w: reference_inr_parameters(h, n, t, w) - 3 * h
        ),
        "this is the synthesis network alone; the modulation network has its own weights": lambda h, n, t, w: (
            4 * h + n * (h * h + h) + h * w + w
        ),
    },
)
def check_inr_parameters(call: Call, rng: np.random.Generator) -> None:
    """Check for the number of weights and biases; Table 9 says 0.602 M for the paper's sizes."""
    small = number(call(2, 1, 4, 3))
    require(small != 34, "the biases are missing: every Linear(i, o) also has o of them")
    same(small, 45, "hidden=2, layers=1, token_width=4, width=3 gives 45 parameters, not {:.0f}")
    hint = "the paper's sizes give 602,368 parameters (Table 9: 0.602 M), not {:,.0f}"
    same(call(256, 4, 32, 256), 602_368, hint, tolerance=0)

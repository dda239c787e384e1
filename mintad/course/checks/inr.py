"""Checks of notebook 07: the sine layer, the modulated network, its number of parameters (§3.3, Eqs 8-9, Table 13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mintad.course.checks.grading import call, number, passed, require, same


def reference_sine_layer(x: Tensor, weight: Tensor, bias: Tensor, omega: float) -> Tensor:
    """Return sin(omega * (W x + b))."""
    return torch.sin(omega * (x @ weight.T + bias))


def check_sine_layer(fn: Callable[..., Tensor]) -> None:
    """Check for ``sin(omega * (W x + b))`` of points (L, I), weights (O, I), bias (O,)."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((5, 3), (4, 3), (4,)))
    result = call(fn, x, weight, bias, 1.0, takes="x, weight, bias, omega")
    require(
        isinstance(result, Tensor) and result.shape == (5, 4), "for 5 points and 4 outputs the shape is (5, 4): x @ W.T"
    )
    expected = torch.sin(nn.functional.linear(x, weight, bias))
    same(result, expected, "with omega = 1 the result must be sin(W x + b); the bias goes inside the sine")
    expected = torch.sin(30 * nn.functional.linear(x, weight, bias))
    hint = "wrong with omega = 30: inside the sine, omega multiplies all of W x + b, the bias too"
    same(call(fn, x, weight, bias, 30.0, takes="x, weight, bias, omega"), expected, hint, tolerance=1e-3)
    passed(fn, "sine_layer: sin(omega (W x + b)), 3 inputs to 4 outputs")


def reference_modulated(
    z: Tensor, token: Tensor, sines: Sequence[nn.Linear], modulators: Sequence[nn.Linear]
) -> Tensor:
    """Return the modulated query of Eq. 8."""
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        alpha = modulator(alpha).relu()
        h = alpha * torch.sin(sine(h))
    return h


def check_modulated(fn: Callable[..., Tensor]) -> None:
    """Check for Eq. 8 with Table 13's modulation: the token enters the modulation network once, at its first layer."""
    torch.manual_seed(0)
    sines = [nn.Linear(3, 6), nn.Linear(6, 6)]
    modulators = [nn.Linear(3 + 4, 6), nn.Linear(6, 6)]
    z, token = torch.randn(5, 3), torch.randn(4)
    takes = "z, token, sines, modulators"
    result = call(fn, z, token, sines, modulators, takes=takes)
    alpha = nn.functional.relu(modulators[0](torch.cat([z, token.repeat(5, 1)], 1)))
    first = alpha * torch.sin(sines[0](z))
    alpha = nn.functional.relu(modulators[1](alpha))
    expected = alpha * torch.sin(sines[1](first))
    unmodulated = torch.sin(sines[1](torch.sin(sines[0](z))))
    require(
        not (isinstance(result, Tensor) and result.shape == expected.shape and torch.allclose(result, unmodulated)),
        "this is the sine network without modulation; multiply each sine by its alpha",
    )
    same(
        result,
        expected,
        "h_i = alpha_i * sin(W_i h_(i-1) + b_i), alpha_i = ReLU(V_i alpha_(i-1) + c_i), alpha_0 = [z, token]",
    )
    other = call(fn, z, token + 1, sines, modulators, takes=takes)
    require(not torch.allclose(result, other), "another token gives the same query; use the token in alpha_0")
    passed(fn, "modulated: two layers of Eq. 8; another token gives another query")


def reference_inr_parameters(hidden: int, layers: int, token_width: int, width: int) -> int:
    """Count weights and biases of both paths and the output layer."""
    synthesis = 4 * hidden + layers * (hidden * hidden + hidden)
    modulation = (4 + token_width) * hidden + layers * (hidden * hidden + hidden)
    return synthesis + modulation + hidden * width + width


def check_inr_parameters(fn: Callable[..., int]) -> None:
    """Check for the number of weights and biases; Table 9 says 0.602 M for the paper's sizes."""
    takes = "hidden, layers, token_width, width"
    small = number(call(fn, 2, 1, 4, 3, takes=takes))
    require(
        small != 2 * 3 + 2 * 2 + 2 * 7 + 2 * 2 + 2 * 3, "the biases are missing: every Linear(i, o) also has o of them"
    )
    require(small == 45, f"hidden=2, layers=1, token_width=4, width=3 gives 45 parameters, not {small:.0f}")
    paper = number(call(fn, 256, 4, 32, 256, takes=takes))
    require(paper == 602_368, f"the paper's sizes give 602,368 parameters (Table 9: 0.602 M), not {paper:,.0f}")
    passed(fn, "inr_parameters: 602,368 at the paper's sizes, Table 9's 0.602 M")

"""Notebook 07."""

import torch


def modulated_without_token(z, token, sines, modulators):
    return sines[1](torch.sin(sines[0](z))).sin()


def modulated_from_new_h(z, token, sines, modulators):
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        h = torch.sin(sine(h))
        alpha = modulator(alpha).relu()
        h = h + alpha
    return h


WRONG = {
    "inr.sine_layer": [
        lambda x, weight, bias, omega: torch.sin(omega * (x @ weight.T)) + bias,
        lambda x, weight, bias, omega: torch.sin(omega * (x @ weight.T) + bias),
        lambda x, weight, bias, omega: torch.sin(x @ weight + bias),
    ],
    "inr.modulated": [modulated_without_token, modulated_from_new_h],
    "inr.inr_parameters": [
        lambda hidden, layers, token_width, width: 602_368,
        lambda hidden, layers, token_width, width: (
            3 * hidden + 2 * layers * hidden**2 + (3 + token_width) * hidden + hidden * width
        ),
    ],
}

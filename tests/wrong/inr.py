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


def modulated_by(gate, step):
    def modulated(z, token, sines, modulators):
        h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
        for sine, modulator in zip(sines, modulators, strict=True):
            alpha = gate(modulator(alpha))
            h = step(alpha, sine(h))
        return h

    return modulated


def detached_token(z, token, sines, modulators):
    return modulated_by(torch.relu, lambda alpha, x: alpha * torch.sin(x))(z, token.detach(), sines, modulators)


def token_before_position(z, token, sines, modulators):
    h, alpha = z, torch.cat([token.expand(len(z), -1), z], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        alpha = torch.relu(modulator(alpha))
        h = alpha * torch.sin(sine(h))
    return h


def without_the_last_layer(z, token, sines, modulators):
    return modulated_by(torch.relu, lambda alpha, x: alpha * torch.sin(x))(z, token, sines[:-1], modulators[:-1])


def modulated_at_the_end(z, token, sines, modulators):
    h, alpha = z, torch.cat([z, token.expand(len(z), -1)], dim=1)
    for sine, modulator in zip(sines, modulators, strict=True):
        alpha, h = torch.relu(modulator(alpha)), torch.sin(sine(h))
    return alpha * h


WRONG["inr.sine_layer"] += [
    lambda x, weight, bias, omega: omega * torch.sin(x @ weight.T + bias),
    lambda x, weight, bias, omega: torch.sin(omega * (x @ weight.T)),
    lambda x, weight, bias, omega: torch.sin(omega * (x @ weight.T + bias)).detach(),
]
WRONG["inr.modulated"] += [
    modulated_by(lambda x: x, lambda alpha, x: alpha * torch.sin(x)),
    modulated_by(torch.relu, lambda alpha, x: torch.sin(alpha * x)),
    modulated_by(torch.relu, lambda alpha, x: alpha * x),
    modulated_by(torch.sigmoid, lambda alpha, x: alpha * torch.sin(x)),
    detached_token,
    token_before_position,
    without_the_last_layer,
    modulated_at_the_end,
]
WRONG["inr.inr_parameters"] += [
    lambda hidden, layers, token_width, width: (
        4 * hidden + 2 * (layers - 1) * (hidden**2 + hidden) + (4 + token_width) * hidden + hidden * width + width
    ),
    lambda hidden, layers, token_width, width: (
        4 * hidden + 2 * layers * (hidden**2 + hidden) + (1 + token_width) * hidden + hidden * width + width
    ),
    lambda hidden, layers, token_width, width: (
        4 * hidden + 2 * layers * (hidden**2 + hidden) + (4 + token_width) * hidden
    ),
]

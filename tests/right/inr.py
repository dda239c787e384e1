"""Notebook 07."""

import torch
import torch.nn.functional as F
from torch import nn


def modulated_by_index(z, token, sines, modulators):
    repeated = token.repeat(len(z), 1)
    alpha, h = torch.hstack([z, repeated]), z
    for n in range(len(sines)):
        alpha = torch.clamp(F.linear(alpha, modulators[n].weight, modulators[n].bias), min=0)
        h = torch.sin(F.linear(h, sines[n].weight, sines[n].bias)) * alpha
    return h


def modulated_in_two_passes(z, token, sines, modulators):
    alphas = [torch.cat([z, token[None].expand(z.shape[0], token.shape[0])], dim=-1)]
    for modulator in modulators:
        alphas.append(torch.relu(modulator(alphas[-1])))
    for sine, alpha in zip(sines, alphas[1:], strict=True):
        z = alpha * torch.sin(sine(z))
    return z


def parameters_of_layers(hidden, layers, token_width, width):
    with torch.device("meta"):
        net = [nn.Linear(3, hidden), nn.Linear(3 + token_width, hidden), nn.Linear(hidden, width)]
        net += [nn.Linear(hidden, hidden) for _ in range(2 * layers)]
    return sum(p.numel() for layer in net for p in layer.parameters())


def parameters_by_sizes(hidden, layers, token_width, width):
    sizes = [(3, hidden), (3 + token_width, hidden), (hidden, width)] + 2 * layers * [(hidden, hidden)]
    return torch.tensor(sum((inputs + 1) * outputs for inputs, outputs in sizes))


RIGHT = {
    "inr.sine_layer": [
        lambda x, weight, bias, omega: torch.sin(omega * F.linear(x, weight, bias)),
        lambda x, weight, bias, omega: torch.einsum("li,oi->lo", omega * x, weight).add(omega * bias).sin(),
    ],
    "inr.modulated": [modulated_by_index, modulated_in_two_passes],
    "inr.inr_parameters": [parameters_of_layers, parameters_by_sizes],
}

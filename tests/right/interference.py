"""Notebook 02."""

import numpy as np
import torch
from torch import nn

from toy import Region
from toy.geometry import arc, polyline


def between_by_disc(points, a, b):
    centre, radius = (a + b) / 2, np.linalg.norm(b - a, axis=1) / 2
    return np.linalg.norm(points - centre, axis=1) < radius


def between_by_angle(points, a, b):
    return [float(np.dot(p - left, p - right)) < 0 for p, left, right in zip(points, a, b, strict=True)]


def accepted_by_loop(scores, between, distances):
    counted = [s for s, inside, d in zip(scores, between, distances, strict=True) if inside and d > 0.1]
    return sum(s <= 1 for s in counted) / len(counted)


def accepted_by_counts(scores, between, distances):
    counted = np.logical_and(between, distances > 0.1)
    return torch.as_tensor(((scores <= 1) & counted).sum() / counted.sum())


def discs(classes):
    angles = 2 * np.pi * np.arange(classes) / classes
    return [Region(polyline([(np.cos(t), np.sin(t))]), 0.15) for t in angles]


def rings(classes):
    return [Region(polyline(arc((0, 0), 1.2 * (k + 1) / classes, 0, 2 * np.pi)), 0.05) for k in range(classes)]


class Concatenated(nn.Module):
    def __init__(self, classes, settings):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 + classes, settings.width), nn.GELU(), nn.Linear(settings.width, 2))

    def forward(self, x, label):
        return self.net(torch.cat([x, label], dim=-1))


class Shifted(nn.Module):
    def __init__(self, classes, settings):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, settings.width), nn.Linear(settings.width, 2)
        self.code = nn.Linear(classes, settings.width, bias=False)

    def forward(self, x, label):
        return self.decoder(torch.relu(self.encoder(x) + self.code(label)))


RIGHT = {
    "interference.between": [between_by_disc, between_by_angle],
    "interference.interclass_accepted": [accepted_by_loop, accepted_by_counts],
    "interference.new_shape": [discs, rings],
    "interference.new_model": [Concatenated, Shifted],
}

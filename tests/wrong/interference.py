"""Notebook 02."""

import numpy as np
import torch
from torch import nn

from toy import Region
from toy.geometry import polyline


class WithoutLabel(nn.Module):
    def __init__(self, classes, settings):
        super().__init__()
        self.net = nn.Linear(2, 2)

    def forward(self, x, label):
        return self.net(x)


class WrongShape(WithoutLabel):
    def forward(self, x, label):
        return torch.cat([self.net(x), label], -1)


class BranchOnValues(WithoutLabel):
    def forward(self, x, label):
        if label.argmax(-1)[0].item() == 0:
            return self.net(x)
        return -self.net(x)


WRONG = {
    "interference.between": [
        lambda points, a, b: ((a - points) * (b - points)).sum(1) > 0,
        lambda points, a, b: ((points - a) * (b - a)).sum(1) > 0,
        lambda points, a, b: np.linalg.norm(points - (a + b) / 2, axis=1) < 1,
    ],
    "interference.interclass_accepted": [
        lambda scores, between, distances: float((scores[between] <= 1).mean()),
        lambda scores, between, distances: float((scores[between & (distances > 0.1)] < 1).mean()),
        lambda scores, between, distances: float((scores[distances > 0.1] <= 1).mean()),
        lambda scores, between, distances: float((scores[between & (distances > 0.1)] > 1).mean()),
        lambda scores, between, distances: float(((scores <= 1) & between & (distances > 0.1)).mean()),
    ],
    "interference.new_shape": [
        lambda classes: [Region(polyline((0, 0)), 0.3)] * classes,
        lambda classes: [Region(polyline((x, 0)), 0.3) for x in range(classes)],
        lambda classes: [Region(polyline((-0.5, 0)), 0.2), Region(polyline((0.5, 0)), 0.2)],
    ],
    "interference.new_model": [WithoutLabel, WrongShape, BranchOnValues],
}


class HardlyAware(WithoutLabel):
    def forward(self, x, label):
        return self.net(x) + 0.001 * label[..., :1]


class LabelDetached(nn.Module):
    def __init__(self, classes, settings):
        super().__init__()
        self.net, self.gate = nn.Linear(2, 2), torch.zeros(classes, 2)

    def forward(self, x, label):
        return self.net(x) + label @ self.gate


WRONG["interference.between"] += [
    lambda points, a, b: ((a - points) * (b - points)).sum() < 0,
    lambda points, a, b: ((a[0] - points) * (b[0] - points)).sum(1) < 0,
    lambda points, a, b: ((a - points) * (b - points)).sum(0) < 0,
]
WRONG["interference.new_shape"] += [
    lambda classes: [polyline([(-1, y), (1, y)]) for y in np.linspace(-0.9, 0.9, classes)],
    lambda classes: [Region([(-1, y), (1, y)], 0.3 / classes) for y in np.linspace(-0.9, 0.9, classes)],
    lambda classes: [Region(polyline((0.2 * k - 0.2, 0)), 0.15) for k in range(classes)],
    lambda classes: [Region(polyline((0.6 * k - 0.6, 0)), 0.1) for k in range(3)],
]
WRONG["interference.new_model"] += [HardlyAware, LabelDetached]

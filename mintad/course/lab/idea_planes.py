"""Each family's idea in the plane: tokens of two channels, two products, and a score for every point (notebook 13).

A method scores a token by itself, at one position (a 1 x 1 grid), so that all its knowledge fits one picture. PaDiM,
nearest neighbour and k-means are the package's; what trains is the smallest network that shows the idea.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from mintad.baselines.base import Baseline
from mintad.features.table import FeatureTable
from mintad.plots.roads import score_planes

Score = Callable[[Tensor], Tensor]
"""Scores (M,) of points (M, 2), larger is more anomalous."""
SIDE, REACH = 64, 2.6
"""Points along a side of a picture, and how far it reaches from the middle."""
TPR = 0.95
"""Share of the normal tokens that a threshold accepts."""
OPPOSITE = math.cos(math.radians(150))


@dataclass(frozen=True)
class Plane:
    """What a score makes of the plane."""

    score_HW: np.ndarray
    """(SIDE, SIDE), 0 for the median normal token and 1 at the threshold; row 0 is at the bottom."""
    gap: float
    """Share of the gap between the two products that is accepted."""
    beyond: float
    """Share of the rest of the plane, away from all normal tokens and from the gap, that is accepted."""


def two_products(seed: int = 0, each: int = 150) -> tuple[Tensor, Tensor]:
    """Draw normal tokens (2 * each, 2) of two products, two crescents, and their products (2 * each,), 0 or 1."""
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, np.pi, (2, each))
    first = np.stack([np.cos(turn[0]) - 0.5, np.sin(turn[0])], axis=1)
    second = np.stack([0.5 - np.cos(turn[1]), -np.sin(turn[1])], axis=1)
    points = np.concatenate([first + [0, 0.25], second - [0, 0.25]]) * 1.2
    points += rng.normal(scale=0.06, size=points.shape)
    return torch.from_numpy(points).float(), torch.arange(2).repeat_interleave(each)


def read_plane(score: Score, points: Tensor, product: Tensor, *, own: int | None = None) -> Plane:
    """Return a score's picture; the threshold accepts a share `TPR` of normal tokens `points` (N, 2).

    Take tokens that the score was not fitted to: a memory is at no distance from those that it remembers. The model of
    a single product, `own`, is judged by this product's tokens alone.
    """
    axis = torch.linspace(-REACH, REACH, SIDE)
    plane = torch.cartesian_prod(axis, axis).flip(1)
    with torch.no_grad():
        normal = score(points if own is None else points[product == own]).double()
        scores = score(plane).double()
    median, threshold = normal.median(), normal.quantile(TPR)
    near = torch.cdist(plane, points).amin(1) < 0.3
    gap = between(plane, points[product == 0], points[product == 1]) & ~near
    accepted = scores <= threshold
    shown = (scores - median) / (threshold - median).clamp(min=1e-12)
    shares = [accepted[chosen].double().mean().item() for chosen in (gap, ~near & ~gap)]
    return Plane(shown.view(SIDE, SIDE).numpy(), *shares)


def draw(planes: Mapping[str, Plane], points: Tensor, product: Tensor, *, title: str) -> go.Figure:
    """Draw what scores make of the plane; the captions say which share of the gap is accepted."""
    scores = {f"{name}: {plane.gap:.0%} of the gap": plane.score_HW for name, plane in planes.items()}
    return score_planes(scores, points, product, reach=REACH, title=title)


def between(plane: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return which points (M,) have a token of each product on opposite sides, more than 150 degrees apart.

    Notebook 02 asks for 90 degrees. Every third token is looked at, to keep the table of angles small.
    """
    ways = [nn.functional.normalize(tokens - plane[:, None], dim=2) for tokens in (first[::3], second[::3])]
    return torch.einsum("mad,mbd->mab", *ways).flatten(1).amin(1) < OPPOSITE


def of_baseline(baseline: Baseline, points: Tensor) -> Score:
    """Fit one of the package's baselines, made for a 1 x 1 grid, to the tokens."""
    fitted = baseline.fit(FeatureTable.from_tensor(points[:, None]), np.arange(len(points)))
    return lambda x: fitted.anomaly_map(x[:, None]).flatten()


def flow(points: Tensor, coupling: Callable, *, layers: int = 8, steps: int = 400, seed: int = 0) -> Score:
    """Train coupling layers, the halves exchanged after each; the score is -log p."""
    torch.manual_seed(seed)
    networks = nn.ModuleList(_network(1, 24, 2) for _ in range(layers))

    def negative_log_likelihood(x: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for network in networks:
            x, log_det = coupling(x, network, False)
            x, total = x.flip(1), total + log_det
        return 0.5 * x.square().sum(1) - total

    _descend(networks, lambda: negative_log_likelihood(points).mean(), steps, rate=5e-3)
    return negative_log_likelihood


def discriminator(points: Tensor, loss: Callable, *, sigma: float = 0.4, steps: int = 400, seed: int = 0) -> Score:
    """Train a discriminator of tokens and noisy tokens by SimpleNet's loss; the score is -D."""
    torch.manual_seed(seed)
    network = nn.Sequential(*_network(2, 64, 64), nn.Tanh(), nn.Linear(64, 1), nn.Flatten(0))
    _descend(network, lambda: loss(points, torch.randn_like(points), sigma, network, 0.5), steps)
    return lambda x: -network(x)


def distillation(points: Tensor, error: Callable, *, steps: int = 400, seed: int = 0) -> Score:
    """Train a student to repeat a frozen teacher on normal tokens; the score is its error.

    The teacher here is a random network; on images it is trained on ImageNet.
    """
    torch.manual_seed(seed)
    teacher, student = _network(2, 64, 16, gain=3.0).requires_grad_(False), _network(2, 64, 16)
    said = teacher(points)
    mean, std = said.mean(0), said.std(0)
    _descend(student, lambda: error(said[None], student(points)[None], mean, std, 0.5).mean(), steps)
    return lambda x: error(teacher(x)[None], student(x)[None], mean, std, 0.5)[0]


def one_class(points: Tensor, *, steps: int = 60, seed: int = 0) -> Score:
    """Draw the embedding of all normal tokens to one centre, for a few steps; the score is the distance to it.

    More steps draw everything there, anomalies too; PANDA therefore stops early.
    """
    torch.manual_seed(seed)
    network = _network(2, 64, 16, gain=3.0)
    centre = network(points).mean(0).detach()

    def distance(x: Tensor) -> Tensor:
        return (network(x) - centre).square().sum(1)

    _descend(network, lambda: distance(points).mean(), steps)
    return distance


def autoencoder(points: Tensor, *, width: int, steps: int = 600, seed: int = 0) -> Score:
    """Train an autoencoder with `width` numbers in its middle; the score is the squared error."""
    torch.manual_seed(seed)
    network = nn.Sequential(_network(2, 64, width), _network(width, 64, 2))
    _descend(network, lambda: nn.functional.mse_loss(network(points), points), steps)
    return lambda x: (network(x) - x).square().sum(1)


def codebook(
    points: Tensor, look_up: Callable, *, codes: int = 24, drop_unused: bool = False, steps: int = 600, seed: int = 0
) -> Score:
    """Train an autoencoder that keeps, of each token, only the nearest of a few codes; the score is the squared error.

    As in a VQ-VAE the codes learn from the distance of tokens to their code, and the encoder from a quarter of it.
    With `drop_unused`, codes that no token of `points` takes after the training are removed.
    """
    torch.manual_seed(seed)
    encoder, decoder = _network(2, 64, 2), _network(2, 64, 2)
    with torch.no_grad():
        book = nn.Parameter(encoder(points)[torch.randperm(len(points))[:codes]])

    def loss() -> Tensor:
        token = encoder(points)
        code = book[torch.cdist(token, book).argmin(1)]
        commitment = (code - token.detach()).square().mean() + 0.25 * (code.detach() - token).square().mean()
        return nn.functional.mse_loss(decoder(look_up(token, book)), points) + commitment

    _descend(nn.ParameterList([book, *encoder.parameters(), *decoder.parameters()]), loss, steps)
    used = torch.cdist(encoder(points), book).argmin(1).unique()
    kept = book.detach()[used] if drop_unused else book.detach()
    return lambda x: (decoder(look_up(encoder(x), kept)) - x).square().sum(1)


def _network(inputs: int, hidden: int, outputs: int, *, gain: float = 1.0) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
    with torch.no_grad():
        network[0].weight *= gain
    return network


def _descend(parameters: nn.Module, loss: Callable[[], Tensor], steps: int, *, rate: float = 1e-2) -> None:
    optimizer = torch.optim.Adam(parameters.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

"""Fig. 1 of the paper in one file: shape -> models -> training -> measures -> figure.

Copy the file, change a setting or a function, and run it: python toy/one_file.py. It needs numpy, torch and plotly,
prints the measures and writes one_file.html. tests/test_toy_one_file.py compares it with the package `toy`.
"""

import math
import zlib

import numpy as np
import torch
from plotly.subplots import make_subplots
from torch import nn

ARC = np.stack([np.cos(np.linspace(0, np.pi, 33)), np.sin(np.linspace(0, np.pi, 33))], axis=1)
SHAPE = [(np.array([-0.3, -0.15]) + 0.7 * ARC, 0.1), (np.array([0.3, 0.15]) - 0.7 * ARC, 0.1)]
"""Per class a line (L, 2) and a radius: a point is normal if it lies within the radius of the line."""
SHAPE_NAME = "moons"  # only seeds the points
MODELS = {"autoencoder": (False, 0.0), "denoising AE": (False, 0.15), "class-aware denoising AE": (True, 0.15)}
"""Title -> whether the network is given the class, standard deviation of the noise on its training points."""
SEEDS = (0, 1, 2)  # each draws its own points, weights, batches and noise; the figure shows the first
TRAIN_POINTS, HELD_OUT = 1000, 400  # training points of all classes together; threshold points of each class
WIDTH, DEPTH = 64, 3  # units of a hidden layer, number of hidden layers
STEPS, BATCH, LR = 1000, 64, 3e-3  # Adam; the learning rate falls from LR to 0 along a cosine
TPR = 0.95  # share of held-out normal points that must be accepted
WINDOW, GRID, MARGIN = 1.5, 121, 0.1  # half the side of the plane, lattice points per axis, distance of anomalies
AXIS = np.linspace(-WINDOW, WINDOW, GRID)
FIGURE, GREY = "one_file.html", "rgba(128, 128, 128, 0.3)"


def nearest(points, line):
    """Return the point (P, 2) of a line (L, 2) that is nearest to each of the points (P, 2)."""
    start, along = line[:-1], line[1:] - line[:-1]
    share = ((points[:, None] - start) * along).sum(-1) / (along**2).sum(-1)
    feet = start + share.clip(0, 1)[..., None] * along
    return feet[np.arange(len(points)), ((points[:, None] - feet) ** 2).sum(-1).argmin(1)]


def distance(points, line, radius):
    """Return how far (P,) each point is from a class's support; 0 inside."""
    return (np.linalg.norm(points - nearest(points, line), axis=1) - radius).clip(0)


def sample(n, line, radius, rng):
    """Draw n points (n, 2) uniformly from a class's support."""
    points = np.empty((0, 2))
    while len(points) < n:
        box = rng.uniform(line.min(0) - radius, line.max(0) + radius, size=(4 * n + 16, 2))
        points = np.concatenate([points, box[distance(box, line, radius) == 0]])
    return points[:n]


def draw_points(seed):
    """Return training points (n, 2), their labels (n,), and held-out points (HELD_OUT, 2) of each class."""
    rng, share = np.random.default_rng([seed, zlib.crc32(SHAPE_NAME.encode())]), round(TRAIN_POINTS / len(SHAPE))
    points = np.concatenate([sample(share, *support, rng) for support in SHAPE])
    return points, np.repeat(np.arange(len(SHAPE)), share), [sample(HELD_OUT, *support, rng) for support in SHAPE]


def mlp(inputs, outputs, depth):
    """Build `depth` hidden layers and an output layer."""
    hidden = [part for n in range(depth) for part in (nn.Linear(WIDTH if n else inputs, WIDTH), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH if depth else inputs, outputs))


class Network(nn.Module):
    """Points (B, 2) -> points (B, 2); with a learned query per class beside the code if class-aware (Fig. 2b)."""

    def __init__(self, class_aware):
        super().__init__()
        self.encoder = mlp(2, WIDTH, DEPTH // 2) if class_aware else nn.Identity()
        self.decoder = mlp(2 * WIDTH, 2, DEPTH - DEPTH // 2) if class_aware else mlp(2, 2, DEPTH)
        self.queries = nn.Parameter(torch.randn(len(SHAPE), WIDTH)) if class_aware else None

    def forward(self, x, label):
        """Reconstruct points, given one-hot labels (B, K) that a plain network ignores."""
        code = self.encoder(x)
        return self.decoder(code if self.queries is None else torch.cat([code, label @ self.queries], -1))


def train(class_aware, sigma, points, labels, seed):
    """Train a network to return the clean point, given the point plus Gaussian noise."""
    torch.manual_seed(seed)
    network, generator = Network(class_aware), torch.Generator().manual_seed(seed)
    points, labels = torch.as_tensor(points, dtype=torch.float32), torch.eye(len(SHAPE))[labels]
    optimiser = torch.optim.Adam(network.parameters(), lr=LR, fused=True)
    for step in range(STEPS):
        n, size = step % 64, (min(64, STEPS - step), BATCH)
        if n == 0:  # the random numbers of 64 steps are drawn together
            rows = torch.randint(len(points), size, generator=generator)
            noise = torch.randn(*size, 2, generator=generator)
        clean = points[rows[n]]
        optimiser.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimiser.zero_grad()
        (network(clean + sigma * noise[n], labels[rows[n]]) - clean).square().sum(-1).mean().backward()
        optimiser.step()
    return network


@torch.no_grad()
def errors(network, points):
    """Return the reconstruction errors (P, V) of points (P, 2): one view, or one for each class it may be given."""
    x, views = torch.as_tensor(points, dtype=torch.float32), torch.eye(1 if network.queries is None else len(SHAPE))
    return torch.stack([(network(x, view.expand(len(x), -1)) - x).norm(dim=-1) for view in views], 1).numpy()


def score(network, held_out, points):
    """Return each point's error over its threshold (P,), the least of all views; up to 1 it is accepted."""
    normals = [np.concatenate(held_out)] if network.queries is None else held_out
    thresholds = [np.quantile(errors(network, p)[:, k], TPR, method="higher") for k, p in enumerate(normals)]
    return (errors(network, points) / thresholds).min(axis=1)


def measure(accepted, lattice):
    """Return the share accepted between the classes, and the accepted area over the area of the supports."""
    away = np.stack([distance(lattice, *support) for support in SHAPE], 1)
    to_feet = np.stack([nearest(lattice, line) - lattice for line, _ in SHAPE], 1)
    first, second = np.argsort(away, axis=1)[:, :2].T
    each = np.arange(len(lattice))  # between: it sees the two nearest classes under an angle of more than 90 degrees
    between = ((to_feet[each, first] * to_feet[each, second]).sum(1) < 0) & (away.min(1) > MARGIN)
    return {"interclass_accepted": accepted[between].mean(), "area_ratio": accepted.sum() / (away.min(1) == 0).sum()}


def experiment(seed):
    """Train every model with a seed; yield its title, its scores (P,) on the lattice, and its measures."""
    (points, labels, held_out), lattice = draw_points(seed), np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2)
    for title, (class_aware, sigma) in MODELS.items():
        scores = score(train(class_aware, sigma, points, labels, seed), held_out, lattice)
        yield title, scores, measure(scores <= 1, lattice)


def main():
    """Print the measures of every model and seed, and draw what the first seed's networks accept."""
    figure, (points, labels, _) = make_subplots(1, len(MODELS), subplot_titles=list(MODELS)), draw_points(SEEDS[0])
    dots = {"x": points[:, 0], "y": points[:, 1], "mode": "markers", "marker": {"color": labels, "size": 3}}
    accepted = {"fillcolor": GREY, "contours": {"type": "constraint", "operation": ">", "value": 1}}  # shades the rest
    for seed in SEEDS:
        for column, (title, scores, measures) in enumerate(experiment(seed), start=1):
            print(f"seed {seed}  {title:26}", *(f"{name} {value:.3f}" for name, value in measures.items()), sep="  ")
            if seed == SEEDS[0]:
                figure.add_contour(x=AXIS, y=AXIS, z=scores.reshape(GRID, GRID), **accepted, row=1, col=column)
                figure.add_scatter(**dots, row=1, col=column)
    figure.update_xaxes(range=[-WINDOW, WINDOW]).update_yaxes(range=[-WINDOW, WINDOW])
    figure.update_layout(title=f"Shaded: accepted at TPR {TPR}", showlegend=False, width=1200, height=480)
    figure.write_html(FIGURE)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the networks are so small that more threads only wait for each other
    main()

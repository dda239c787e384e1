"""Notebook 13."""

import torch
import torch.nn.functional as F


def forward_only(x, network, inverse):
    x1, x2 = x.chunk(2, 1)
    s, t = network(x1).chunk(2, 1)
    return torch.cat([x1, x2 * s.exp() + t], 1), s.sum(1)


def plain_scale(x, network, inverse):
    x1, x2 = x.chunk(2, 1)
    s, t = network(x1).chunk(2, 1)
    return (torch.cat([x1, (x2 - t) / s], 1), -s.sum(1)) if inverse else (torch.cat([x1, x2 * s + t], 1), s.sum(1))


def wrong_order_back(x, network, inverse):
    x1, x2 = x.chunk(2, 1)
    s, t = network(x1).chunk(2, 1)
    if inverse:
        return torch.cat([x1, x2 * (-s).exp() - t], 1), -s.sum(1)
    return torch.cat([x1, x2 * s.exp() + t], 1), s.sum(1)


def shift_before_scale(x, network, inverse):
    x1, x2 = x.chunk(2, 1)
    s, t = network(x1).chunk(2, 1)
    if inverse:
        return torch.cat([x1, x2 * (-s).exp() - t], 1), -s.sum(1)
    return torch.cat([x1, (x2 + t) * s.exp()], 1), s.sum(1)


def without_first_half(x, network, inverse):
    x1, x2 = x.chunk(2, 1)
    s, t = network(x1).chunk(2, 1)
    return ((x2 - t) * (-s).exp(), -s.sum(1)) if inverse else (x2 * s.exp() + t, s.sum(1))


def changed_alone(of):
    def wrong(x, network, inverse):
        x1, x2 = x.chunk(2, 1)
        s, t = network(x1).chunk(2, 1)
        moved = (x2 - t) * (-s).exp() if inverse else x2 * s.exp() + t
        return torch.cat([x1, moved], 1), of(s, inverse)

    return wrong


def hinge(normal, noisy, margin):
    return F.relu(margin - normal).mean() + F.relu(margin + noisy).mean()


def error(student, target, weight):
    return (student - target).square().mean(-1) + weight * (1 - F.cosine_similarity(student, target, dim=-1))


WRONG = {
    "roads.coupling": [
        forward_only,
        plain_scale,
        wrong_order_back,
        shift_before_scale,
        without_first_half,
        changed_alone(lambda s, inverse: s.sum(1)),
        changed_alone(lambda s, inverse: (-s if inverse else s).mean(1)),
        changed_alone(lambda s, inverse: (-s if inverse else s).exp().sum(1)),
        changed_alone(lambda s, inverse: (-s if inverse else s).exp().prod(1)),
        changed_alone(lambda s, inverse: -s.sum() if inverse else s.sum()),
        lambda *a: changed_alone(lambda s, inverse: s.sum(1))(*a)[0],
    ],
    "roads.simplenet_loss": [
        lambda x, e, sigma, d, th: hinge(-d(x), -d(x + sigma * e), th),
        lambda x, e, sigma, d, th: hinge(d(x), d(x + sigma * e), 0),
        lambda x, e, sigma, d, th: hinge(d(x), d(x + e), th),
        lambda x, e, sigma, d, th: hinge(d(x), d(sigma * e), th),
        lambda x, e, sigma, d, th: hinge(d(x), d(x * (1 + sigma * e)), th),
        lambda x, e, sigma, d, th: (th - d(x)).mean() + (th + d(x + sigma * e)).mean(),
        lambda x, e, sigma, d, th: F.relu(th - d(x)).sum() + F.relu(th + d(x + sigma * e)).sum(),
        lambda x, e, sigma, d, th: hinge(d(x), d(x + sigma**2 * e), th),
        lambda x, e, sigma, d, th: F.softplus(-d(x)).mean() + F.softplus(d(x + sigma * e)).mean(),
        lambda x, e, sigma, d, th: hinge(d(x), d(x + sigma * torch.randn_like(x)), th),
    ],
    "roads.distillation": [
        lambda t, s, mean, std, weight: error(s, t, weight),
        lambda t, s, mean, std, weight: error(s, t - mean, weight),
        lambda t, s, mean, std, weight: error(s, (t - mean) / std**2, weight),
        lambda t, s, mean, std, weight: error((s - mean) / std, (t - mean) / std, weight),
        lambda t, s, mean, std, weight: error(s, (t - mean) / std, weight).mean(),
        lambda t, s, mean, std, weight: error(s, (t - mean) / std, 1.0),
        lambda t, s, mean, std, weight: (s - (t - mean) / std).square().mean(-1),
        lambda t, s, mean, std, weight: (s - (t - mean) / std).norm(dim=-1),
        lambda t, s, mean, std, weight: error(s, F.normalize(t, dim=-1), weight),
        lambda t, s, mean, std, weight: error(s, (t - mean) / std, weight).detach(),
    ],
    "roads.look_up": [
        lambda x, c: c[torch.cdist(x, c).argmin(1)],
        lambda x, c: c[torch.cdist(x, c).argmin(1)].detach() + torch.zeros((), requires_grad=True),
        lambda x, c: x + (c[torch.cdist(x, c).argmin(1)] - x),
        lambda x, c: x + c[torch.cdist(x, c).argmin(1)] - x.detach(),
        lambda x, c: x + (c[(x @ c.T).argmax(1)] - x).detach(),
        lambda x, c: x + (c[torch.cdist(x, c).argmax(1)] - x).detach(),
        lambda x, c: x + (c[torch.cdist(x, c).argmin(0)[: len(x)]] - x).detach(),
        lambda x, c: x + (torch.softmax(-torch.cdist(x, c), 1) @ c - x).detach(),
        lambda x, c: torch.cdist(x, c).argmin(1),
        lambda x, c: x + (c[torch.cdist(x, c, p=1).argmin(1)] - x).detach(),
        lambda x, c: x - (c[torch.cdist(x, c).argmin(1)] - x).detach(),
    ],
}

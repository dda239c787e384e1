"""Checks of notebook 13: a flow's coupling layer, SimpleNet's loss, a distillation error, a codebook look-up."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, randn, require, same

Network = Callable[[Tensor], Tensor]


def reference_coupling(x: Tensor, network: Network, inverse: bool) -> tuple[Tensor, Tensor]:
    """Return the affine coupling of x, or its inverse, and the log-determinant of what was done."""
    fixed, changed = x.chunk(2, dim=1)
    log_scale, shift = network(fixed).chunk(2, dim=1)
    if inverse:
        return torch.cat([fixed, (changed - shift) * torch.exp(-log_scale)], dim=1), -log_scale.sum(1)
    return torch.cat([fixed, changed * torch.exp(log_scale) + shift], dim=1), log_scale.sum(1)


def _coupled(
    x: Tensor,
    network: Network,
    inverse: bool,
    *,
    scale: Callable[[Tensor], Tensor] = torch.exp,
    undo: str = "shift first",
    log_det: Callable[[Tensor], Tensor] = lambda s: s.sum(1),
    sign: bool = True,
    second: bool = False,
    swapped: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return a coupling with one of the mistakes that the check names."""
    fixed, changed = x.chunk(2, dim=1)[:: -1 if second else 1]
    log_scale, shift = network(fixed).chunk(2, dim=1)[:: -1 if swapped else 1]
    if not inverse:
        moved = changed * scale(log_scale) + shift
    else:
        moved = (changed - shift) / scale(log_scale) if undo == "shift first" else changed / scale(log_scale) - shift
    parts = [moved, fixed] if second else [fixed, moved]
    return torch.cat(parts, dim=1), log_det(-log_scale if inverse and sign else log_scale)


@exercise(
    reference_coupling,
    "its inverse undoes it, and log |det| is the sum of the log-scales",
    trains=True,
    mistakes={
        "the inverse subtracts the shift first, then divides by the scale; here the order is that of the way forward": (
            lambda *a: _coupled(*a, undo="scale first")
        ),
        "the log-determinant of the inverse has the other sign: -s.sum(1)": lambda *a: _coupled(*a, sign=False),
        "the scale is exp(s), not s itself, so that it is never 0 and can be divided by": lambda *a: _coupled(
            *a, scale=lambda s: s
        ),
        "the log-determinant adds up the log-scales s; this adds up the scales exp(s)": lambda *a: _coupled(
            *a, log_det=lambda s: s.exp().sum(1)
        ),
        "this is the mean of the log-scales; the log-determinant is their *sum*": lambda *a: _coupled(
            *a, log_det=lambda s: s.mean(1)
        ),
        "this is one number for all rows; every row has its own log-determinant, (N,)": lambda *a: _coupled(
            *a, log_det=lambda s: s.sum()
        ),
        "the first half of the network's output is s, the second half is t; here they are exchanged": lambda *a: (
            _coupled(*a, swapped=True)
        ),
        "the *first* half stays as it is and goes into the network; the second half is changed": lambda *a: _coupled(
            *a, second=True
        ),
    },
)
def check_coupling(call: Call, rng: np.random.Generator) -> None:
    """Check for an affine coupling of rows (N, C): (x1, x2 exp(s) + t), its inverse, and log |det| of either (N,)."""
    network = nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([math.log(2), 5.0]))
    result = call(torch.tensor([[3.0, 10.0]]), network, False)
    several = isinstance(result, tuple | list) and len(result) == 2
    require(several, "return two tensors: the changed rows (N, C) and log |det| (N,)")
    is_tensor(result[0], (1, 2), "the rows keep their shape (N, C): put both halves together again")
    hint = "with s = log 2 and t = 5 the row (3, 10) becomes (3, 10 · 2 + 5) = (3, 25)"
    differs(result[0], [[3.0, 30.0]], "scale first, then shift: x2 * exp(s) + t, not (x2 + t) * exp(s)")
    same(result[0], [[3.0, 25.0]], hint)
    same(result[1], [math.log(2)], "one value is doubled, so the volume doubles: log |det| is log 2, here 0.693")
    back = call(torch.tensor([[3.0, 25.0]]), network, True)
    same(back[0], [[3.0, 10.0]], "the inverse of (3, 25) is (3, (25 - 5) / 2) = (3, 10)")
    same(back[1], [-math.log(2)], "the way back halves the volume: log |det| is -log 2")


def reference_simplenet_loss(
    tokens: Tensor, noise: Tensor, sigma: float, discriminator: Network, margin: float
) -> Tensor:
    """Return SimpleNet's loss: normal tokens above the margin, noisy ones below minus the margin."""
    normal, noisy = discriminator(tokens), discriminator(tokens + sigma * noise)
    return F.relu(margin - normal).mean() + F.relu(margin + noisy).mean()


@exercise(
    reference_simplenet_loss,
    "zero once normal tokens score above the margin and noisy ones below minus it",
    trains=True,
    mistakes={
        "the two are exchanged: D is high for *normal* tokens and low for noisy ones": lambda x, e, s, d, m: (
            reference_simplenet_loss(x, e, s, lambda y: -d(y), m)
        ),
        "nothing is cut off: with max(0, …) a token far on its right side costs nothing": lambda x, e, s, d, m: (
            (m - d(x)).mean() + (m + d(x + s * e)).mean()
        ),
        "the margin is missing: a score of 0 on either side would cost nothing": lambda x, e, s, d, m: (
            reference_simplenet_loss(x, e, s, d, 0.0)
        ),
        "the noise is not scaled by sigma": lambda x, e, s, d, m: reference_simplenet_loss(x, e, 1.0, d, m),
        "this judges the noise alone; add it to the tokens": lambda x, e, s, d, m: (
            F.relu(m - d(x)).mean() + F.relu(m + d(s * e)).mean()
        ),
        "the noise does not grow with the token: sigma is the same for all of them": lambda x, e, s, d, m: (
            reference_simplenet_loss(x, e * x.norm(dim=-1, keepdim=True), s, d, m)
        ),
        "this sums over the tokens; take the mean of each of the two terms": lambda x, e, s, d, m: (
            F.relu(m - d(x)).sum() + F.relu(m + d(x + s * e)).sum()
        ),
        "this is half of the loss: add the two means, do not average them": lambda x, e, s, d, m: (
            reference_simplenet_loss(x, e, s, d, m) / 2
        ),
        "this squares the terms; SimpleNet's loss is linear": lambda x, e, s, d, m: (
            F.relu(m - d(x)).square().mean() + F.relu(m + d(x + s * e)).square().mean()
        ),
        "only the normal tokens are judged; a discriminator that is always high would win": lambda x, e, s, d, m: (
            F.relu(m - d(x)).mean()
        ),
    },
)
def check_simplenet_loss(call: Call, rng: np.random.Generator) -> None:
    """Check for mean max(0, th - D(x)) + mean max(0, th + D(x + sigma e)), with tokens x and noise e (N, F)."""
    tokens, noise, first = (
        torch.tensor([[2.0, 0], [0.25, 0]]),
        torch.tensor([[-8.0, 0], [1, 0]]),
        nn.Linear(2, 1, False),
    )
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0]]))

    def score(x: Tensor) -> Tensor:
        return first(x).squeeze(-1)

    result = call(tokens, noise, 0.5, score, 0.5)
    hint = (
        "tokens with D = 2 and 0.25 cost 0 and 0.25; with noise D is -2 and 0.75, which costs 0 and 1.25: "
        "0.125 + 0.625 = 0.75, not {:g}"
    )
    same(result, 0.75, hint)


def reference_distillation(teacher: Tensor, student: Tensor, mean: Tensor, std: Tensor, weight: float) -> Tensor:
    """Return how far the student is from the normalised teacher at every position, in value and in direction."""
    target = (teacher - mean) / std
    return (student - target).square().mean(-1) + weight * (1 - F.cosine_similarity(student, target, dim=-1))


def _distilled(teacher: Tensor, student: Tensor, target: Tensor, weight: float, axis: int = -1) -> Tensor:
    direction = 1 - F.cosine_similarity(student, target, dim=axis)
    return (student - target).square().mean(axis) + weight * direction


@exercise(
    reference_distillation,
    "one error for each position: the values' and, weighted, the direction's",
    trains=True,
    mistakes={
        "the teacher is not normalised: subtract the mean and divide by the deviation first": lambda t, s, m, d, w: (
            _distilled(t, s, t, w)
        ),
        "divide by the standard deviation, not by its square": lambda t, s, m, d, w: _distilled(
            t, s, (t - m) / d**2, w
        ),
        "subtract the mean before you divide: (t - mean) / std": lambda t, s, m, d, w: _distilled(t, s, t / d - m, w),
        "normalise the teacher alone: the student learns to say the normalised values itself": lambda t, s, m, d, w: (
            _distilled(t, (s - m) / d, (t - m) / d, w)
        ),
        "the direction's error is 1 - cosine; a cosine of 1 is no error": lambda t, s, m, d, w: (
            (s - (t - m) / d).square().mean(-1) + w * F.cosine_similarity(s, (t - m) / d, dim=-1)
        ),
        "this sums over the channels; take their mean, as MKD does": lambda t, s, m, d, w: (
            (s - (t - m) / d).square().sum(-1) + w * (1 - F.cosine_similarity(s, (t - m) / d, dim=-1))
        ),
        "the direction's term is missing or not weighted": lambda t, s, m, d, w: (s - (t - m) / d).square().mean(-1),
        "the values' term is missing": lambda t, s, m, d, w: w * (1 - F.cosine_similarity(s, (t - m) / d, dim=-1)),
        "this is one number; return an error for every position (B, L), which is the map": lambda *a: (
            reference_distillation(*a).mean()
        ),
        "square the differences, do not take absolute values": lambda t, s, m, d, w: (
            (s - (t - m) / d).abs().mean(-1) + w * (1 - F.cosine_similarity(s, (t - m) / d, dim=-1))
        ),
    },
)
def check_distillation(call: Call, rng: np.random.Generator) -> None:
    """Check for mean (s - (t - mean) / std)² + weight (1 - cosine) at every position, of t and s (B, L, F)."""
    mean, std = torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0])
    teacher, student = torch.tensor([[[5.0, 0.0], [5, 0], [5, 0]]]), torch.tensor([[[2.0, 0.0], [4, 0], [0, 2]]])
    result = call(teacher, student, mean, std, 0.5)
    is_tensor(result, (1, 3), "for 1 image with 3 positions the shape is (1, 3): one error for each position")
    differs(result[0], [0, 4, 8 + 0.5], "this sums over the channels; take their mean, as MKD does")
    hint = (
        "the normalised teacher is (2, 0) at all three positions: a student that says (2, 0) has no error, one that "
        "says (4, 0) errs in the values alone, (0 + 4) / 2 = 2, and (0, 2) also in direction, (4 + 4) / 2 + 0.5 · 1"
    )
    same(result[0], [0.0, 2.0, 4.5], hint)


def reference_look_up(tokens: Tensor, codebook: Tensor) -> Tensor:
    """Return the nearest code of every token, with the gradient of the token itself."""
    codes = codebook[torch.cdist(tokens, codebook).argmin(1)]
    return tokens + (codes - tokens).detach()


def _straight(tokens: Tensor, codes: Tensor) -> Tensor:
    return tokens + (codes - tokens).detach()


@exercise(
    reference_look_up,
    "the code's values forwards, the token's gradient backwards",
    trains=True,
    mistakes={
        "this takes the code with the largest inner product; a long code is not a near one": lambda x, c: _straight(
            x, c[(x @ c.T).argmax(1)]
        ),
        "this takes the code of the nearest direction (cosine); take the nearest code": lambda x, c: _straight(
            x, c[(F.normalize(x, dim=1) @ F.normalize(c, dim=1).T).argmax(1)]
        ),
        "this takes the *farthest* code; take the nearest (argmin)": lambda x, c: _straight(
            x, c[torch.cdist(x, c).argmax(1)]
        ),
        "this takes one code for all tokens; every token has its own nearest": lambda x, c: _straight(
            x, c[torch.cdist(x, c).sum(0).argmin()].expand_as(x)
        ),
        "this mixes all codes by their distance; a look-up takes exactly one": lambda x, c: _straight(
            x, torch.softmax(-torch.cdist(x, c), 1) @ c
        ),
        "this returns the tokens themselves; return their codes": lambda x, c: 1 * x,
        "this is the difference between code and token; return the code": lambda x, c: (
            _straight(x, c[torch.cdist(x, c).argmin(1)]) - x
        ),
    },
)
def check_look_up(call: Call, rng: np.random.Generator) -> None:
    """Check for the nearest code (N, F) of tokens (N, F) in a codebook (K, F), with a straight-through gradient."""
    codebook, tokens = torch.tensor([[0.0, 1.0], [9.0, 0.0], [0.0, -2.0]]), torch.tensor([[2.0, 0.5], [7, 3], [0, -9]])
    result = call(tokens, codebook)
    is_tensor(result, (3, 2), "for 3 tokens of 2 channels the shape is (3, 2): one code for each token")
    hint = "the token (2, 0.5) is nearest to the code (0, 1), (7, 3) to (9, 0), (0, -9) to (0, -2)"
    same(result, codebook, hint)
    tokens.requires_grad_()
    codebook.requires_grad_()
    result = call(tokens, codebook)
    hint = (
        "no gradient reaches the tokens, so what comes before could not be trained: tokens + (codes - tokens).detach()"
    )
    require(result.requires_grad, hint)
    weight = torch.tensor([[1.0, 2.0], [3, 4], [5, 6]])
    to_tokens, to_codes = torch.autograd.grad((result * weight).sum(), (tokens, codebook), allow_unused=True)
    require(to_tokens is not None and bool((to_tokens != 0).any()), hint)
    same(to_tokens, weight, "straight through: the gradient of the result is handed to the tokens unchanged")
    hint = "the codes get no gradient through this path; detach the whole difference (codes - tokens)"
    require(to_codes is None or not bool((to_codes != 0).any()), hint)
    (tokens, codebook), expected = randn((30, 4), (9, 4), seed=3), []
    for token in tokens:
        expected.append(codebook[min(range(9), key=lambda k: (token - codebook[k]).square().sum().item())])  # noqa: B023
    same(call(tokens, codebook), torch.stack(expected), "the codes are wrong for 30 tokens and 9 codes", tolerance=1e-4)

"""What the checks of whole models need: MINT-AD from functions, right and with mistakes; what any variant must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mintad.config import TrainConfig
from mintad.course.checks.grading import differs, require, same
from mintad.course.lab.assembly import Functions, Net
from mintad.model.losses import compute_losses
from mintad.model.reconstruction import ReconstructionModel


def forward(feat: Tensor, noise: Tensor, net: Net, fn: Functions, **how: Any) -> tuple[Tensor, ...]:
    """Return the outputs of exercise 5, with one part of the way exchanged as `how` says, for the hints."""
    adapted = net.adapter(feat)
    jittered = net.adapter(fn.feature_jitter(feat, noise, net.alpha))
    seen = jittered if how.get("mapper_sees_noise") else adapted
    token, logits = fn.prompt_mapper(seen, net.class_encoder, net.channel_encoder, net.head)
    token = token[:1].expand_as(token) if how.get("one_token") else token
    token = torch.zeros_like(token) if how.get("no_token") else token
    query = torch.stack([fn.modulated(net.z, one, net.sines, net.modulators) for one in token])
    query = query if how.get("bare_query") else net.query_output(query)
    mean, log_variance = net.distribution_decoder(query)
    tokens = adapted if how.get("clean") else jittered
    for layer in () if how.get("no_encoder") else net.encoder:
        tokens = layer(tokens)
    memory = previous = tokens
    for n, layer in enumerate(net.decoder):
        asking = previous if n and how.get("query_once") else query
        previous = fn.decoder_layer(asking, memory, memory if how.get("forgets") else previous, layer)
        memory = previous if how.get("memory_moves") else memory
    previous = previous + query if how.get("added") else previous
    decoded = previous if how.get("no_norm") else net.decoder_norm(previous)
    adapted = jittered if how.get("prior_sees_noise") else adapted
    return net.output(decoded), adapted, logits, mean, log_variance


def loss(
    labels: Tensor,
    target: Tensor,
    reconstruction: Tensor,
    adapted: Tensor,
    logits: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    fn: Functions,
    **how: Any,
) -> Tensor:
    """Return Eq. 6 of exercise 6, with one part of it exchanged as `how` says, for the hints."""
    squared = (reconstruction - target).square()
    mse = fn.reduce(squared if not how.get("absolute") else squared.sqrt(), how.get("mse", "token"))
    ce = fn.cross_entropy(logits, labels) * (1 if how.get("eq_1") else logits.shape[1])
    likelihood = fn.gaussian_nll(adapted, mean, log_variance)
    prior = fn.reduce(-likelihood if how.get("sign") else likelihood, how.get("prior", "element"))
    return mse + how.get("lambda_a", 1.0) * ce + how.get("lambda_b", 0.1) * prior


def require_sound(
    reconstruct: Callable[[Tensor, Tensor], Tensor], feat: Tensor, labels: Tensor, needs_labels: bool
) -> None:
    """Require of a model in evaluation mode that it looks at each image, at its label only if it says so, and no other.

    `reconstruct` takes features (B, L, F) and labels (B,) of at least two images, and returns reconstructions.
    """
    clean, order = reconstruct(feat, labels), torch.arange(len(feat)).roll(1)
    order[-1] = order[0]
    require(bool(clean.isfinite().all()), "it returns values that are not finite")
    hint = "an image's reconstruction must be the same every time, whatever else is in its batch"
    same(reconstruct(feat[order], labels[order]), clean[order], hint, tolerance=1e-4)
    differs(clean[:1], clean[1:2], "all images have the same reconstruction, whatever their features")
    differs(clean, feat, "it returns its input, so no defect would ever show", tolerance=1e-2)
    if not needs_labels:
        hint = "the class changes the reconstruction: say so by needs_labels = True in the class"
        same(reconstruct(feat, labels.roll(1)), clean, hint, tolerance=1e-4)


def few_steps(model: ReconstructionModel, feat: Tensor, labels: Tensor, steps: int = 20) -> list[float]:
    """Train a model on a batch, and return the squared error of every step; the last gradients stay."""
    optimizer, errors = torch.optim.AdamW(model.train().parameters(), lr=1e-2), []
    for _ in range(steps):
        losses = compute_losses(model(feat, torch.zeros_like(feat), labels), labels, TrainConfig())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        errors.append(losses.mse.item())
    return errors

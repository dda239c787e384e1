"""Checks of notebook 06: the prompt mapper (Table 12), the cross-entropy (Eq. 1), the silhouette of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import silhouette_score
from torch import Tensor, nn

from mintad.course.checks.grading import call, number, passed, require, same


def reference_prompt_mapper(
    adapted: Tensor, class_encoder: nn.Module, channel_encoder: nn.Module, head: nn.Module
) -> tuple[Tensor, Tensor]:
    """Return class token and class logits."""
    pattern = class_encoder(adapted.transpose(1, 2)).softmax(-1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token)


def check_prompt_mapper(fn: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Check for Table 12: class encoder along the token axis, softmax, flatten, channel encoder, softmax, head."""
    torch.manual_seed(0)
    adapted = torch.randn(3, 6, 4) * 3  # B, L, D
    encoder, mixer, head = nn.Linear(6, 5), nn.Linear(4 * 5, 7), nn.Linear(7, 2)
    with torch.no_grad():
        for layer in (encoder, mixer):
            layer.weight *= 3
    takes = "adapted, class_encoder, channel_encoder, head"
    result = call(fn, adapted, encoder, mixer, head, takes=takes)
    require(isinstance(result, tuple) and len(result) == 2, "return a tuple of two tensors: class token, class logits")
    token, logits = result
    hint = "the class encoder works along the token axis: transpose f to (B, D, L) first; then flatten D and T together"
    require(isinstance(token, Tensor) and token.shape == (3, 7), f"the token must have shape (3, 7); {hint}")
    total = token.sum(-1)
    require(
        torch.allclose(total, torch.ones(3), atol=1e-5),
        "the values of a token must add up to 1: apply a softmax after the channel encoder",
    )
    expected, expected_logits = reference_prompt_mapper(adapted, encoder, mixer, head)
    bare = mixer(encoder(adapted.transpose(1, 2)).flatten(1)).softmax(-1)
    require(not torch.allclose(token, bare), "a softmax is missing: apply one after the class encoder too")
    over_channels = mixer(encoder(adapted.transpose(1, 2)).softmax(1).flatten(1)).softmax(-1)
    mistake = "the softmax after the class encoder is over the last axis, the T values of a channel"
    require(not torch.allclose(token, over_channels), mistake)
    same(token, expected, hint)
    require(isinstance(logits, Tensor), "the second result must be a tensor, the class logits (B, N)")
    same(logits, expected_logits, "the logits are head(token), without a softmax (the loss applies it)")
    passed(fn, "prompt_mapper: (3, 6, 4) to tokens (3, 7) and logits (3, 2)")


def reference_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with Eq. 1's factor 1/N."""
    return F.cross_entropy(logits, labels) / logits.shape[1]


def check_cross_entropy(fn: Callable[..., Tensor]) -> None:
    """Check for Eq. 1 to the letter: -1/N sum over N classes of y log y_hat, y one-hot; mean over the images."""
    takes = "logits, labels"

    def value(logits: Tensor, labels: Tensor) -> float:
        result = call(fn, logits, labels, takes=takes)
        return number(result.item() if isinstance(result, Tensor) and result.ndim == 0 else result)

    measured = value(torch.zeros(4, 5), torch.tensor([0, 1, 2, 4]))
    require(
        not math.isclose(measured, math.log(5), rel_tol=1e-4),
        "this is the usual cross-entropy; Eq. 1 also divides by the number of classes N",
    )
    hint = f"equal logits for 5 classes give log(5) / 5 = {math.log(5) / 5:.4f}, not {measured:.4f}"
    require(math.isclose(measured, math.log(5) / 5, rel_tol=1e-4), hint)
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 3) * 2, torch.tensor([0, 1, 2, 0, 1, 2, 2])
    measured, expected = value(logits, labels), reference_cross_entropy(logits, labels).item()
    hint = "take minus the log-softmax at the label, divide by N, average over the images"
    require(
        math.isclose(measured, expected, rel_tol=1e-4),
        f"7 images and 3 classes give {expected:.4f}, not {measured:.4f}; {hint}",
    )
    measured = value(torch.tensor([[1000.0, 0.0], [0.0, 1000.0]]), torch.tensor([1, 1]))
    hint = f"logits of 1000 give 250, not {measured:.4g}; use log_softmax, because the log of a softmax overflows"
    require(math.isclose(measured, 250, rel_tol=1e-4), hint)
    passed(fn, "cross_entropy: Eq. 1 with its 1/N, a factor that only rescales lambda_a of Eq. 6")


def reference_silhouette(tokens: np.ndarray, names: np.ndarray) -> float:
    """Return the mean silhouette of all tokens."""
    distance = np.linalg.norm(tokens[:, None] - tokens, axis=-1)
    values = []
    for n, name in enumerate(names):
        own = distance[n, names == name].sum() / ((names == name).sum() - 1)
        other = min(distance[n, names == k].mean() for k in np.unique(names) if k != name)
        values.append((other - own) / max(own, other))
    return float(np.mean(values))


def check_silhouette(fn: Callable[..., float]) -> None:
    """Check for the mean of (b - a) / max(a, b), with mean distances a to the own class and b to the nearest other."""
    takes = "tokens, names"
    tokens, names = np.array([[0.0], [1.0], [5.0], [6.0]]), np.array(["x", "x", "y", "y"])
    measured, expected = number(call(fn, tokens, names, takes=takes)), silhouette_score(tokens, names)
    hint = f"points 0 and 1 against 5 and 6 give {expected:.4f}, not {measured:.4f}"
    require(math.isclose(measured, expected, rel_tol=1e-6), hint + "; leave a token's distance to itself out of a")
    tokens, names = np.array([[0.0], [1.0], [3.0], [4.0], [90.0], [91.0]]), np.array(list("xxyyzz"))
    measured, expected = number(call(fn, tokens, names, takes=takes)), silhouette_score(tokens, names)
    hint = f"three classes, one of them far away, give {expected:.4f}, not {measured:.4f}"
    require(
        math.isclose(measured, expected, rel_tol=1e-6), hint + "; b is the mean distance to the *nearest* other class"
    )
    rng = np.random.default_rng(0)
    tokens, names = rng.normal(size=(30, 4)), np.repeat(list("abc"), 10)
    measured, expected = number(call(fn, tokens, names, takes=takes)), silhouette_score(tokens, names)
    require(math.isclose(measured, expected, rel_tol=1e-6), f"30 random tokens give {expected:.4f}, not {measured:.4f}")
    passed(fn, "silhouette: equal to scikit-learn's; near 1 for compact classes, about 0 without classes")

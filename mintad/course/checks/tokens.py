"""Checks of notebook 06: the prompt mapper (Table 12), the cross-entropy (Eq. 1), the silhouette of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import silhouette_score
from torch import Tensor, nn

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, number, require, same


def reference_prompt_mapper(
    adapted: Tensor, class_encoder: nn.Module, channel_encoder: nn.Module, head: nn.Module
) -> tuple[Tensor, Tensor]:
    """Return class token and class logits."""
    pattern = class_encoder(adapted.transpose(1, 2)).softmax(-1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token)


def _mapped(
    adapted: Tensor, encoder: nn.Module, mixer: nn.Module, head: nn.Module, **how: int | None
) -> tuple[Tensor, Tensor]:
    """Return token and logits with the first softmax over another axis or none, or the second too late."""
    pattern = encoder(adapted.mT)
    pattern = pattern if how.get("first", -1) is None else pattern.softmax(how.get("first", -1))
    token = mixer(pattern.flatten(1))
    return token.softmax(-1), head(token if how.get("late") else token.softmax(-1))


@exercise(
    reference_prompt_mapper,
    "(3, 6, 4) to tokens (3, 7) and logits (3, 2)",
    trains=True,
    mistakes={
        "the head gets the values before the second softmax; it gets the class token": lambda *a: _mapped(*a, late=1),
        "the softmax after the class encoder is missing": lambda *a: _mapped(*a, first=None),
        "the first softmax is over the channels; it is over the last axis, the T values of a channel": lambda *a: (
            _mapped(*a, first=1)
        ),
        "the logits have a softmax already; return head(token), the loss applies the softmax": lambda *a: (
            _mapped(*a)[0],
            _mapped(*a)[1].softmax(-1),
        ),
        "logits and token are exchanged: return (token, logits)": lambda *a: _mapped(*a)[::-1],
    },
)
def check_prompt_mapper(call: Call, rng: np.random.Generator) -> None:
    """Check for Table 12: class encoder along the token axis, softmax, flatten, channel encoder, softmax, head."""
    torch.manual_seed(0)
    adapted = torch.randn(3, 6, 4) * 3  # B, L, D
    encoder, mixer, head = nn.Linear(6, 5), nn.Linear(4 * 5, 7), nn.Linear(7, 2)
    with torch.no_grad():
        for layer in (encoder, mixer):
            layer.weight *= 3
    result = call(adapted, encoder, mixer, head)
    several = isinstance(result, tuple | list) and len(result) == 2
    require(several, "return a tuple of two tensors: class token, class logits")
    token, logits = result
    order = (
        "the class encoder works along the token axis: transpose f to (B, D, L) first; then flatten D and T together"
    )
    is_tensor(token, (3, 7), f"the token must have shape (3, 7); {order}")
    hint = "the values of a token must add up to 1: apply a softmax after the channel encoder"
    require(torch.allclose(token.sum(-1), torch.ones(3), atol=1e-5), hint)
    patterns = encoder(adapted.transpose(1, 2))
    bare, by_channel = (mixer(x.flatten(1)).softmax(-1) for x in (patterns, patterns.softmax(1)))
    differs(token, bare, "a softmax is missing: apply one after the class encoder too")
    differs(token, by_channel, "the softmax after the class encoder is over the last axis, the T values of a channel")
    expected, expected_logits = reference_prompt_mapper(adapted, encoder, mixer, head)
    same(token, expected, order)
    require(isinstance(logits, Tensor), "the second result must be a tensor, the class logits (B, N)")
    same(logits, expected_logits, "the logits are head(token), without a softmax (the loss applies it)")


def reference_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with Eq. 1's factor 1/N."""
    return F.cross_entropy(logits, labels) / logits.shape[1]


@exercise(
    reference_cross_entropy,
    "Eq. 1 with its 1/N, a factor that only rescales lambda_a of Eq. 6",
    trains=True,
    mistakes={
        "this divides by the number of images twice; N of Eq. 1 is the number of *classes*": lambda logits, labels: (
            F.cross_entropy(logits, labels) / len(labels)
        ),
        "this sums over the images; take their mean": lambda logits, labels: (
            F.cross_entropy(logits, labels, reduction="sum") / logits.shape[1]
        ),
        "this is a softmax of a softmax; the logits come without one": lambda logits, labels: (
            F.cross_entropy(logits.softmax(-1), labels) / logits.shape[1]
        ),
        "the minus is missing: a loss falls when the true class becomes likelier": lambda logits, labels: (
            -reference_cross_entropy(logits, labels)
        ),
        "the softmax is over the images; it is over the classes, the last axis": lambda logits, labels: (
            -logits.log_softmax(0)[torch.arange(len(labels)), labels].mean() / logits.shape[1]
        ),
    },
)
def check_cross_entropy(call: Call, rng: np.random.Generator) -> None:
    """Check for Eq. 1 to the letter: -1/N sum over N classes of y log y_hat, y one-hot; mean over the images."""

    def value(logits: Tensor, labels: list[int]) -> float:
        return number(call(logits, torch.tensor(labels)))

    uniform, expected = value(torch.zeros(4, 5), [0, 1, 2, 4]), math.log(5) / 5
    differs(uniform, math.log(5), "this is the usual cross-entropy; Eq. 1 also divides by the number of classes N")
    hint = f"equal logits for 5 classes give log(5) / 5 = {expected:.4f}, not {{:.4f}}"
    same(uniform, expected, hint, tolerance=1e-4)
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 3) * 2, [0, 1, 2, 0, 1, 2, 2]
    expected = reference_cross_entropy(logits, torch.tensor(labels)).item()
    hint = "take minus the log-softmax at the label, divide by N, average over the images"
    hint = f"7 images and 3 classes give {expected:.4f}, not {{:.4f}}; {hint}"
    same(value(logits, labels), expected, hint, tolerance=1e-4)
    hint = "logits of 1000 give 250, not {:.4g}; use log_softmax, because the log of a softmax overflows"
    same(value(torch.tensor([[1000.0, 0.0], [0.0, 1000.0]]), [1, 1]), 250, hint, tolerance=1e-4)


def _others(distances: np.ndarray) -> float:
    return distances.sum() / (len(distances) - 1)


def _nearest(distances: list[np.ndarray]) -> float:
    return min(of_class.mean() for of_class in distances)


def reference_silhouette(tokens: np.ndarray, names: np.ndarray) -> float:
    """Return the mean silhouette of all tokens."""
    return float(silhouette_score(tokens, names))


def _silhouette(tokens: np.ndarray, names: np.ndarray, own: Callable, other: Callable, whole: Callable) -> float:
    """Return the mean silhouette with one of its parts exchanged, for the hints."""
    distance = np.linalg.norm(tokens[:, None] - tokens, axis=-1)
    values = []
    for n, name in enumerate(names):
        a = own(distance[n, names == name])
        b = other([distance[n, names == k] for k in np.unique(names) if k != name])
        values.append((b - a) / whole(a, b))
    return float(np.mean(values))


@exercise(
    reference_silhouette,
    "equal to scikit-learn's; near 1 for compact classes, about 0 without classes",
    mistakes={
        "a token's distance to itself, 0, is part of your a; divide by the number of the *others* of its class": (
            lambda x, y: _silhouette(x, y, np.mean, _nearest, max)
        ),
        "b is the mean distance to all other tokens here; take it for each other class, and the smallest of them": (
            lambda x, y: _silhouette(x, y, _others, lambda d: np.concatenate(d).mean(), max)
        ),
        "b is the mean over the other classes here; take the *nearest* one": (
            lambda x, y: _silhouette(x, y, _others, lambda d: np.mean([k.mean() for k in d]), max)
        ),
        "b is the distance to the nearest *token* of another class here; take the nearest class's mean distance": (
            lambda x, y: _silhouette(x, y, _others, lambda d: min(k.min() for k in d), max)
        ),
        "divide by the larger of a and b, not by their sum": (
            lambda x, y: _silhouette(x, y, _others, _nearest, lambda a, b: a + b)
        ),
        "divide by the larger of a and b, not always by b": (
            lambda x, y: _silhouette(x, y, _others, _nearest, lambda a, b: b)
        ),
        "divide by the larger of a and b, not always by a": (
            lambda x, y: _silhouette(x, y, _others, _nearest, lambda a, b: a)
        ),
        "these are squared distances; take their root": lambda x, y: silhouette_score(x, y, metric="sqeuclidean"),
        "the sign is turned: b - a is positive where a token is nearer to its own class": (
            lambda x, y: -reference_silhouette(x, y)
        ),
    },
)
def check_silhouette(call: Call, rng: np.random.Generator) -> None:
    """Check for the mean of (b - a) / max(a, b), with mean distances a to the own class and b to the nearest other."""
    own = "; leave a token's distance to itself out of a"
    nearest = "; b is the mean distance to the *nearest* other class"
    for tokens, names, case, hint in (
        ([[0], [1], [5], [6]], "xxyy", "points 0 and 1 against 5 and 6", own),
        ([[0], [1], [3], [4], [90], [91]], "xxyyzz", "three classes, one of them far away,", nearest),
        (rng.normal(size=(30, 4)), "a" * 10 + "b" * 10 + "c" * 10, "30 random tokens", ""),
    ):
        expected = silhouette_score(tokens, list(names))
        hint = f"{case} give {expected:.4f}, not {{:.4f}}{hint}"
        same(call(np.array(tokens, dtype=float), np.array(list(names))), expected, hint)

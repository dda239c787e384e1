"""Checks of notebook 06: the prompt mapper (Table 12), the cross-entropy (Eq. 1), the silhouette of tokens."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import silhouette_score
from torch import Tensor, nn

from mintad.course.checks.grading import Call, differs, exercise, is_tensor, number, require, same


def reference_prompt_mapper(
    adapted: Tensor, class_encoder: nn.Module, channel_encoder: nn.Module, head: nn.Module
) -> tuple[Tensor, Tensor]:
    """Return class token and class logits."""
    pattern = class_encoder(adapted.transpose(1, 2)).softmax(-1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token)


@exercise(reference_prompt_mapper, "(3, 6, 4) to tokens (3, 7) and logits (3, 2)")
def check_prompt_mapper(call: Call) -> None:
    """Check for Table 12: class encoder along the token axis, softmax, flatten, channel encoder, softmax, head."""
    torch.manual_seed(0)
    adapted = torch.randn(3, 6, 4) * 3  # B, L, D
    encoder, mixer, head = nn.Linear(6, 5), nn.Linear(4 * 5, 7), nn.Linear(7, 2)
    with torch.no_grad():
        for layer in (encoder, mixer):
            layer.weight *= 3
    result = call(adapted, encoder, mixer, head)
    require(isinstance(result, tuple) and len(result) == 2, "return a tuple of two tensors: class token, class logits")
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


@exercise(reference_cross_entropy, "Eq. 1 with its 1/N, a factor that only rescales lambda_a of Eq. 6")
def check_cross_entropy(call: Call) -> None:
    """Check for Eq. 1 to the letter: -1/N sum over N classes of y log y_hat, y one-hot; mean over the images."""

    def value(logits: Tensor, labels: list[int]) -> float:
        result = call(logits, torch.tensor(labels))
        return number(result.item() if isinstance(result, Tensor) and result.ndim == 0 else result)

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


def reference_silhouette(tokens: np.ndarray, names: np.ndarray) -> float:
    """Return the mean silhouette of all tokens."""
    return float(silhouette_score(tokens, names))


@exercise(reference_silhouette, "equal to scikit-learn's; near 1 for compact classes, about 0 without classes")
def check_silhouette(call: Call) -> None:
    """Check for the mean of (b - a) / max(a, b), with mean distances a to the own class and b to the nearest other."""
    own = "; leave a token's distance to itself out of a"
    nearest = "; b is the mean distance to the *nearest* other class"
    for tokens, names, case, hint in (
        ([[0], [1], [5], [6]], "xxyy", "points 0 and 1 against 5 and 6", own),
        ([[0], [1], [3], [4], [90], [91]], "xxyyzz", "three classes, one of them far away,", nearest),
        (np.random.default_rng(0).normal(size=(30, 4)), "a" * 10 + "b" * 10 + "c" * 10, "30 random tokens", ""),
    ):
        expected = silhouette_score(tokens, list(names))
        hint = f"{case} give {expected:.4f}, not {{:.4f}}{hint}"
        same(call(np.array(tokens, dtype=float), np.array(list(names))), expected, hint)

"""The training objective (§3.5, Eqs 1, 4, 5, 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mintad.config import TrainConfig
from mintad.model.prior import gaussian_nll
from mintad.model.reconstruction import Output


@dataclass
class Losses:
    """Named losses of a batch, scalars; `ce` and `prior` are zero for models without them."""

    total: Tensor
    mse: Tensor
    ce: Tensor
    prior: Tensor

    def as_floats(self) -> dict[str, float]:
        """Return plain numbers by the names of the history, in one transfer from the device."""
        values = torch.stack([self.total, self.mse, self.ce, self.prior]).detach().tolist()
        return dict(zip(("loss", "mse", "ce", "prior"), values, strict=True))


def reduce(elements_BLC: Tensor, reduction: str) -> Tensor:
    """Return the mean over images of the reduced element losses (B, L, C).

    'element' averages over tokens and channels, 'token' sums channels and averages tokens, 'sum' sums both.
    """
    if reduction == "element":
        return elements_BLC.mean()
    per_token_BL = elements_BLC.sum(dim=-1)
    return per_token_BL.mean() if reduction == "token" else per_token_BL.sum(dim=-1).mean()


def cross_entropy(logits_BN: Tensor, labels_B: Tensor, class_weights_N: Tensor | None = None) -> Tensor:
    """Return the mean over images of -log p(class), each times the weight of its class (N,) if there are weights."""
    if class_weights_N is None:
        return F.cross_entropy(logits_BN, labels_B)
    return F.cross_entropy(logits_BN, labels_B, weight=class_weights_N, reduction="sum") / len(labels_B)


def compute_losses(
    output: Output, labels_B: Tensor, config: TrainConfig, class_weights_N: Tensor | None = None
) -> Losses:
    """Compute ``L_MSE + lambda_a * L_CE + lambda_b * L_Prior`` (Eq. 6) and its parts.

    The cross-entropy is the usual mean over images of -log p(class); Eq. 1's further 1/N would only rescale lambda_a.
    With `class_weights_N` (N,) each image counts with its class's weight. The mean still divides by the number of
    images, not by the sum of their weights, so that it is the same however processes share a batch.
    """
    squared_error = (output.reconstruction.float() - output.target.float()).square()
    mse = reduce(squared_error, config.mse_reduction)
    ce = prior = torch.zeros((), device=mse.device)
    if output.class_logits is not None:
        ce = cross_entropy(output.class_logits.float(), labels_B, class_weights_N)
    if output.mean is not None:
        nll = gaussian_nll(output.adapted.float(), output.mean.float(), output.log_variance.float())
        prior = reduce(nll, config.prior_reduction)
    return Losses(total=mse + config.weight_ce * ce + config.weight_prior * prior, mse=mse, ce=ce, prior=prior)

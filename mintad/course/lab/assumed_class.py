"""Models that are given a class, right or wrong, and measures of what they make of it (§3.1, Table 4).

A variant that `needs_labels` gets the class as a label. MINT-AD, the image prompt and the MLP query predict a class
token instead; `with_class` hands them one, such as the mean token of another class's normal images.

Shapes: B images, L tokens, F channels, N classes, T class-token width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintad.errors import ConfigError
from mintad.model import MintAD, Output, ReconstructionModel


@torch.no_grad()
def mean_tokens(model: MintAD, feat_BLF: Tensor, labels_B: Tensor, classes: int) -> Tensor:
    """Return the mean predicted class token (N, T) of the images of every class."""
    token_BT = model(feat_BLF).class_token
    return torch.stack([token_BT[labels_B == k].mean(dim=0) for k in range(classes)])


@torch.no_grad()
def with_class(
    model: ReconstructionModel, feat_BLF: Tensor, assumed_B: Tensor, token_NT: Tensor | None = None
) -> Output:
    """Run a model on images that it takes to be of the classes `assumed_B`, not necessarily the true ones.

    `token_NT` holds a token for each class, for a model that predicts its own; see `mean_tokens`.

    Raises:
        ConfigError: the model takes neither a label nor a token (UniAD), or needs `token_NT`.
    """
    if model.needs_labels:
        return model(feat_BLF, labels_B=assumed_B)
    variant = f"model.variant={model.config.variant}"
    if not (isinstance(model, MintAD) and model.config.class_query):
        raise ConfigError(f"{variant} has no class-aware query, so it cannot be given a class")
    if token_NT is None:
        raise ConfigError(f"{variant} predicts its token; give one token per class (mean_tokens)")
    return model(feat_BLF, token=token_NT[assumed_B])


def with_each_class(
    model: ReconstructionModel, feat_BLF: Tensor, classes: int, token_NT: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return reconstructions (N, B, L, F) and squared errors (N, B, L) of the same images with every class in turn."""
    outputs = [with_class(model, feat_BLF, torch.full((len(feat_BLF),), k), token_NT) for k in range(classes)]
    return torch.stack([o.reconstruction for o in outputs]), torch.stack([o.token_error for o in outputs])


def mean_by_true_class(values_NB: Tensor, labels_B: Tensor) -> Tensor:
    """Return means (N, N) of values (assumed class, image): rows are true classes, columns assumed ones."""
    return torch.stack([values_NB[:, labels_B == k].mean(dim=1) for k in range(len(values_NB))])


def pull(reconstruction_NBLF: Tensor, labels_B: Tensor, mean_NLF: Tensor) -> Tensor:
    """Measure how far an assumed class moves the reconstruction of every image, (N, B).

    The move is measured from the reconstruction with the true class, as a share of the way between the means of the two
    classes: 0 is no move, 1 all the way; 0 for the true class `labels_B`. The mean features of each class, `mean_NLF`,
    are standardised as the reconstructions of `with_each_class` are.
    """
    own_BLF = reconstruction_NBLF[labels_B, torch.arange(len(labels_B))]
    way_NBLF = mean_NLF[:, None] - mean_NLF[labels_B]
    length_NB = way_NBLF.square().sum(dim=(2, 3))
    moved_NB = ((reconstruction_NBLF - own_BLF) * way_NBLF).sum(dim=(2, 3))
    return torch.where(length_NB > 0, moved_NB / length_NB.clamp(min=1e-12), 0.0)

"""Telling a trained model a class, right or wrong, and measuring what it makes of it (§3.1, Table 4).

A variant that `needs_labels` is told by its label. MINT-AD, the image prompt and the MLP query predict a token instead
and can be told nothing; to compare them, `tell` puts a given token, such as the mean of another class's normal images,
in the place of the predicted one.

Shapes: B images, L tokens, F channels, N classes, T class-token width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintad.errors import ConfigError
from mintad.model import MintAD, Output, ReconstructionModel


@torch.no_grad()
def mean_tokens(model: MintAD, feat_BLF: Tensor, labels_B: Tensor, classes: int) -> Tensor:
    """Mean predicted class token (N, T) of the images of every class."""
    token_BT = model(feat_BLF).class_token
    return torch.stack([token_BT[labels_B == k].mean(dim=0) for k in range(classes)])


@torch.no_grad()
def tell(model: ReconstructionModel, feat_BLF: Tensor, told_B: Tensor, token_NT: Tensor | None = None) -> Output:
    """The model's output for images that it is told to be of the classes `told_B`.

    Args:
        model: trained, in evaluation mode.
        feat_BLF: of the backbone.
        told_B: class indices, not necessarily the true ones.
        token_NT: a token for each class, for a model that predicts its own; see `mean_tokens`.

    Raises:
        ConfigError: the model takes neither a label nor a token (UniAD), or needs `token_NT`.
    """
    if model.needs_labels:
        return model(feat_BLF, labels_B=told_B)
    if not (isinstance(model, MintAD) and model.config.class_query):
        raise ConfigError(
            f"model.variant={model.config.variant} has no class-aware query, so it cannot be told a class"
        )
    if token_NT is None:
        raise ConfigError(f"model.variant={model.config.variant} predicts its token; give one a class (mean_tokens)")
    feat_BLF = model.standardise(feat_BLF)
    adapted_BLD = model.adapter(feat_BLF)
    query_BLD = model.class_aware_query(token_NT[told_B])
    queries = [query_BLD] * model.config.decoder_layers
    return Output(
        target=feat_BLF,
        reconstruction=model.reconstruct(feat_BLF, adapted_BLD, queries, None),
        query=query_BLD,
        class_token=token_NT[told_B],
    )


def tell_each(
    model: ReconstructionModel, feat_BLF: Tensor, classes: int, token_NT: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The images told to be of every class in turn: reconstructions (N, B, L, F), squared errors (N, B, L)."""
    outputs = [tell(model, feat_BLF, torch.full((len(feat_BLF),), k), token_NT) for k in range(classes)]
    return torch.stack([one.reconstruction for one in outputs]), torch.stack([one.token_error for one in outputs])


def by_true_class(values_NB: Tensor, labels_B: Tensor) -> Tensor:
    """Means (N, N) of values (told class, image): rows are true classes, columns told ones."""
    return torch.stack([values_NB[:, labels_B == k].mean(dim=1) for k in range(len(values_NB))])


def pull(reconstruction_NBLF: Tensor, labels_B: Tensor, mean_NLF: Tensor) -> Tensor:
    """How far a told class moves the reconstruction of every image, (N, B).

    The move is measured from the reconstruction with the true class told, as a share of the way between the means of
    the two classes: 0 is no move, 1 all the way; 0 for the true class.

    Args:
        reconstruction_NBLF: of `tell_each`.
        labels_B: true classes.
        mean_NLF: mean features of each class, standardised as the reconstructions are.
    """
    own_BLF = reconstruction_NBLF[labels_B, torch.arange(len(labels_B))]
    way_NBLF = mean_NLF[:, None] - mean_NLF[labels_B]
    length_NB = way_NBLF.square().sum(dim=(2, 3))
    moved_NB = ((reconstruction_NBLF - own_BLF) * way_NBLF).sum(dim=(2, 3))
    return torch.where(length_NB > 0, moved_NB / length_NB.clamp(min=1e-12), 0.0)

"""MINT-AD, its baselines and its variants, one file per section of the paper."""

from __future__ import annotations

from mintad.config import ModelConfig
from mintad.errors import ConfigError, nearest
from mintad.model.class_aware import ClassToken, QueryPool, TextPrompt
from mintad.model.mint_ad import ImagePrompt, LabelPrompt, MintAD, MLPQueryMintAD
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import UniAD

__all__ = ["VARIANTS", "MintAD", "Output", "ReconstructionModel", "UniAD", "build_model"]

VARIANTS: dict[str, type[ReconstructionModel]] = {
    "mint_ad": MintAD,
    "uniad": UniAD,
    "query_pool": QueryPool,
    "class_token": ClassToken,
    "text_prompt": TextPrompt,
    "image_prompt": ImagePrompt,
    "label_prompt": LabelPrompt,
    "mlp_query": MLPQueryMintAD,
}
"""What `config.variant` may name: Table 4, in our words."""


def build_model(config: ModelConfig, *, channels: int, grid: tuple[int, int], classes: int) -> ReconstructionModel:
    """The model that `config.variant` names, freshly initialised from torch's global generator.

    Args:
        config: sizes and options.
        channels: F, of the backbone.
        grid: H, W of the tokens.
        classes: N, classes in the training set.

    Raises:
        ConfigError: unknown variant, or a neighbour mask that covers the whole grid.
    """
    if config.variant not in VARIANTS:
        raise ConfigError(f"unknown model.variant '{config.variant}'." + nearest(config.variant, VARIANTS))
    try:
        return VARIANTS[config.variant](config, channels, grid, classes)
    except ValueError as error:
        raise ConfigError(f"model.neighbour_mask: {error}") from error

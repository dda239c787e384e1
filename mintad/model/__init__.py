"""The MINT-AD model and its baseline, one file per section of the paper."""

from __future__ import annotations

from mintad.config import ModelConfig
from mintad.errors import ConfigError, nearest
from mintad.model.mint_ad import MintAD
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import UniAD

__all__ = ["VARIANTS", "MintAD", "Output", "ReconstructionModel", "UniAD", "build_model"]

VARIANTS = {
    "mint_ad": lambda config, channels, grid, classes: MintAD(config, channels, grid, classes),
    "uniad": lambda config, channels, grid, classes: UniAD(config, channels, grid),
}


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

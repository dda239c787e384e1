"""The variants of Table 4 by name: what `config.model.variant` may be, also from modules outside the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mintad.config import ModelConfig
from mintad.errors import ConfigError
from mintad.registry import Registry

if TYPE_CHECKING:
    from mintad.model.reconstruction import ReconstructionModel

Model = TypeVar("Model", bound="type[ReconstructionModel]")

NAMES = ("mint_ad", "uniad", "query_pool", "class_token", "text_prompt", "image_prompt", "label_prompt", "mlp_query")
"""The package's own variants; each has a module of its name."""
MODULES = [f"mintad.model.{name}" for name in NAMES]
VARIANTS: Registry[type[ReconstructionModel]] = Registry("model variant", modules=MODULES)


def variant(name: str) -> Callable[[Model], Model]:
    """Register the decorated subclass of `ReconstructionModel` as the variant `name`."""
    return lambda model: VARIANTS.add(name, model)


def require_variant(config: ModelConfig) -> type[ReconstructionModel]:
    """Return the class of `config.variant`; call this before anything is written, because its name is plain text.

    Raises:
        ConfigError: an unknown variant, or an option or a value that the variant does not allow.
    """
    model = VARIANTS[config.variant]
    model.read_options(config)
    return model


def build_model(config: ModelConfig, *, channels: int, grid: tuple[int, int], classes: int) -> ReconstructionModel:
    """Build the model that `config.variant` names, freshly initialised from torch's global generator.

    `channels`, `grid` and `classes` are F of the backbone, (H, W) of the tokens and N of the training set. Raises
    ConfigError for an unknown variant or option, or a neighbour mask that covers the whole grid.
    """
    model = require_variant(config)
    try:
        return model(config, channels, grid, classes)
    except ValueError as error:
        raise ConfigError(f"model.neighbour_mask: {error}") from error

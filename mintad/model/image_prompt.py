"""MINT-AD with an image prompt (§3.3, Fig. 3a, Table 4)."""

from __future__ import annotations

import dataclasses

from mintad.config import ModelConfig
from mintad.model.mint_ad import MintAD
from mintad.model.variants import variant


@variant("image_prompt")
class ImagePrompt(MintAD):
    """MINT-AD whose token comes from the image through the same encoders, but is taught no classes (Fig. 3a).

    The paper does not say which network maps the image; taking the same one changes the prompt alone.
    """

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(dataclasses.replace(config, class_loss=False), channels, grid, classes)

"""A small model of each variant, for tests."""

import dataclasses

import torch

from mintad.config import INRConfig, ModelConfig, PromptMapperConfig
from mintad.model import build_model

SMALL = ModelConfig(
    width=32,
    heads=4,
    ffn_dim=64,
    encoder_layers=1,
    decoder_layers=2,
    prompt_mapper=PromptMapperConfig(token_width=8, hidden=16),
    inr=INRConfig(hidden=16),
)


def small_model(variant="mint_ad", grid=(4, 4), **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, variant=variant, **changes)
    return build_model(config, channels=12, grid=grid, classes=3)

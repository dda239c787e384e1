"""Drawn cases of notebook 04."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import compared, normal, torch_seed, whole
from mintad.model.transformer import DecoderLayer

MODULE = "mintad.model.transformer"


@compared("transformer.copied_share")
def copied_share(rng: np.random.Generator) -> tuple[Any, ...]:
    """Unrelated features, or half a copy."""
    spoiled, clean, first, second = normal(rng, 4, whole(rng, 3, 20), whole(rng, 2, 8))
    return spoiled, clean, second + rng.uniform(0, 1) * (spoiled - clean) + 0.1 * first, second


@compared("transformer.feature_jitter", withheld=["mintad.model.jitter.FeatureJitter"])
def feature_jitter(rng: np.random.Generator) -> tuple[Any, ...]:
    """Tokens whose norms differ widely."""
    shape = whole(rng, 1, 4), whole(rng, 2, 9), whole(rng, 2, 12)
    tokens, noise = normal(rng, *shape), normal(rng, *shape)
    return tokens * 10 ** normal(rng, *shape[:2], 1), noise, float(rng.uniform(0, 30))


@compared("transformer.neighbour_mask", withheld=[f"{MODULE}.neighbour_mask"])
def neighbour_mask(rng: np.random.Generator) -> tuple[Any, ...]:
    """Grids that are no squares, windows of other sizes."""
    size = int(rng.choice([1, 3, 5]))
    return whole(rng, size + 1, size + 4), whole(rng, size + 1, size + 4), size


@compared(
    "transformer.masked_attention",
    withheld=["torch.nn.functional.scaled_dot_product_attention", "mintad.course.checks.transformer._attention"],
)
def masked_attention(rng: np.random.Generator) -> tuple[Any, ...]:
    """Masks drawn at random; each query may attend to one key at least."""
    tokens, width = whole(rng, 2, 9), whole(rng, 1, 8)
    allowed = torch.from_numpy(rng.random((tokens, tokens)) < 0.5) | torch.eye(tokens, dtype=torch.bool).roll(1, 0)
    return *(normal(rng, tokens, width) * 2 for _ in range(3)), allowed


@compared(
    "transformer.decoder_layer",
    withheld=[f"{MODULE}.DecoderLayer.forward", "mintad.course.checks.transformer._decoded"],
)
def decoder_layer(rng: np.random.Generator) -> tuple[Any, ...]:
    """Layers of other weights and widths."""
    torch_seed(rng)
    heads = whole(rng, 1, 3)
    width, tokens, images = 4 * heads, whole(rng, 2, 8), whole(rng, 1, 3)
    layer = DecoderLayer(width, heads, 2 * width, 0.0, 0.0).eval()
    return *(normal(rng, images, tokens, width) for _ in range(3)), layer

"""Seeing a photograph in tiles, so that defects of a few pixels in a large one are seen (not in the paper).

The tiles have no seams. A convolutional backbone computes the same for a tile of N x N as for that part of an input
with N times the side, except that a tile ends in zeros where the input goes on, which is why tiles are cut with overlap
and blended. (EfficientNet-B4 and other networks with squeeze-and-excitation also weigh channels by their mean over the
input, so that their tiles know of each other; Lite0 has none. With random weights, and another picture in three of four
tiles, B4's stage 8 changed by 2 % in the fourth, Lite0's not at all.) So the input is made larger, and so is the grid
of tokens. The transformer and the class token read tokens that are pooled to the former number, over the whole picture:
one class for all tiles, and no position in a tile is taken for another. The sharp prior and the anomaly map keep the
fine grid. Cutting tiles at predict time alone would show a trained model pictures such as it never saw: other scales,
other positions.
"""

from __future__ import annotations

from mintad.config.tree import Config
from mintad.errors import ConfigError


def tiled(config: Config, tiles: int) -> Config:
    """Return a configuration that sees images as `tiles` x `tiles` tiles, each of the former input's size.

    A score that is the mean of the highest tokens is of as many tokens as before. Time and memory of the features, and
    memory of the sharp prior, grow with the square of `tiles`.

    Raises:
        ConfigError: less than 1, or more than the limits of the configuration allow.
    """
    if tiles < 1:
        raise ConfigError(f"the number of tiles must be at least 1, not {tiles}")
    if tiles == 1:
        return config
    features, model, scoring = config.features, config.model, config.scoring
    changes = {
        "features.image_size": features.image_size * tiles,
        "features.grid": features.grid * tiles,
        "model.pool": model.pool * tiles,
        "scoring.top_share": scoring.top_share / tiles**2,
    }
    return config.override(**changes)

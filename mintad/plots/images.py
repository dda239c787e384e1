"""Anomaly maps as pictures: colours, overlays, sizes, and pictures as text."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from plotly.colors import hex_to_rgb

from mintad.plots.theme import SCORE_COLOURS

OPACITY = 0.75
"""Opacity of the highest score in an overlay; the lowest is transparent."""


def score_range(maps: np.ndarray) -> tuple[float, float]:
    """Return the common colour range of anomaly maps: their 1st and 99.9th percentile."""
    return float(np.percentile(maps, 1)), float(np.percentile(maps, 99.9))


def colourise(anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Colour scores (H, W) on the common sequential scale: (H, W, 3), uint8."""
    anchors = np.array([hex_to_rgb(colour) for colour in SCORE_COLOURS])
    position = _share(anomaly_map, value_range) * (len(anchors) - 1)
    below = np.floor(position).astype(int).clip(max=len(anchors) - 2)
    weight = (position - below)[..., None]
    return (anchors[below] * (1 - weight) + anchors[below + 1] * weight).round().astype(np.uint8)


def overlay(image: np.ndarray, anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Lay an anomaly map (H, W) over an RGB image (H, W, 3) in grey: the higher the score, the more opaque."""
    opacity = _share(anomaly_map, value_range)[..., None] * OPACITY
    grey = image.mean(axis=-1, keepdims=True)
    return (grey * (1 - opacity) + colourise(anomaly_map, value_range) * opacity).round().astype(np.uint8)


def resize_map(anomaly_map: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate a map (h, w) bilinearly to `shape` (H, W), with half-pixel centres as for scoring."""
    pixels = Image.fromarray(np.asarray(anomaly_map, dtype=np.float32))
    return np.asarray(pixels.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def data_uri(pixels: np.ndarray, kind: str = "JPEG") -> str:
    """Write pixels (H, W) or (H, W, 3), uint8, as a data URI, an address that holds the picture itself."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _share(anomaly_map: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Return the position of each score in the range, from 0 to 1."""
    low, high = value_range
    return np.clip((anomaly_map - low) / max(high - low, 1e-12), 0, 1)

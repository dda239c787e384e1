"""What photographs are like apart from what they show: size, format, mode, orientation, brightness.

A detector scores a resized, re-encoded or darker photograph of a good part like one of a bad part. What the training
images were like is kept with the run, so that `mintad predict` can say when new ones are otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags

from mintad.data.images import image_header, one_large_at_a_time, read_image

SIZE_MARGIN = 0.05  # sides that differ by less from the training's are not worth a word
BRIGHTNESS_MARGIN = 8.0  # grey levels of 255; at least half of the training images' range is allowed on top of it
MEASURED = 24  # images of a class whose brightness is measured, because that takes decoding them


@dataclass(frozen=True)
class Photograph:
    """One photograph, as stored; the orientation is that of its EXIF tag, 1 without one."""

    width: int
    height: int
    format: str
    mode: str
    orientation: int
    brightness: float | None = None  # mean of 8-bit grey


def photograph(path: str | Path, pixels_HW3: np.ndarray | None = None) -> Photograph:
    """Describe an image file by its header, and its brightness by pixels (uint8 RGB, of any size) where given.

    Raises:
        DataError: see `mintad.data.images.image_header`.
    """
    with image_header(path) as header:
        orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
        own = (*header.size, str(header.format), header.mode, int(orientation))
    return Photograph(*own, None if pixels_HW3 is None else float(np.mean(pixels_HW3)))


def describe(paths: Sequence[str | Path], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Describe the training images of every class: plain values, for `unlike`.

    All headers are read, and `MEASURED` images of a class, evenly spread, are decoded.

    Returns:
        Class -> ranges of width, height and brightness, and lists of formats, modes and orientations.
    """
    of_class: dict[str, list[str | Path]] = {}
    for path, name in zip(paths, classes, strict=True):
        of_class.setdefault(name, []).append(path)
    described = {}
    for name, files in sorted(of_class.items()):
        headers = [photograph(path) for path in files]
        chosen = [files[k] for k in np.unique(np.linspace(0, len(files) - 1, MEASURED).astype(int))]
        brightness = [_brightness(path) for path in chosen]
        described[name] = {
            "images": len(files),
            "width": _range(header.width for header in headers),
            "height": _range(header.height for header in headers),
            "brightness": [round(value, 2) for value in _range(brightness)],
            "formats": sorted({header.format for header in headers}),
            "modes": sorted({header.mode for header in headers}),
            "orientations": sorted({header.orientation for header in headers}),
        }
    return described


def unlike(image: Photograph, trained: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, str]:
    """Compare a photograph with the training images of a class, of all classes where there is none of the name.

    Returns:
        What is unlike ("size", "format", "mode", "orientation", "brightness") -> the two values, as text.
    """
    of = [trained[name]] if name in trained else list(trained.values())
    sides, differences = {kind: _union(part[kind] for part in of) for kind in ("width", "height")}, {}
    inside = [
        low * (1 - SIZE_MARGIN) <= getattr(image, kind) <= high * (1 + SIZE_MARGIN)
        for kind, (low, high) in sides.items()
    ]
    if not all(inside):
        smallest, largest = (" x ".join(str(side[end]) for side in sides.values()) for end in (0, 1))
        sizes = smallest if smallest == largest else f"{smallest} to {largest}"
        differences["size"] = f"{image.width} x {image.height} pixels, not {sizes}"
    for kind in ("format", "mode", "orientation"):
        known = sorted({value for part in of for value in part[f"{kind}s"]})
        if getattr(image, kind) not in known:
            differences[kind] = f"{getattr(image, kind)}, not {' or '.join(map(str, known))}"
    if image.brightness is not None:
        dark, bright = _union(part["brightness"] for part in of)
        margin = max(BRIGHTNESS_MARGIN, (bright - dark) / 2)
        if not dark - margin <= image.brightness <= bright + margin:
            differences["brightness"] = f"{image.brightness:.0f} of 255, not {dark:.0f} to {bright:.0f}"
    return differences


def _brightness(path: str | Path) -> float:
    with one_large_at_a_time(path):
        return float(np.mean(np.asarray(read_image(path).reduce(2))))


def _union(ranges: Iterable[Sequence[float]]) -> list[float]:
    return _range(end for both in ranges for end in both)


def _range(values: Iterable[float]) -> list[float]:
    values = list(values)
    return [min(values), max(values)]

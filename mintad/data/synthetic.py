"""Defects made by pasting: into normal images, where there are no real ones to measure with.

In turn a rectangle from another image of the category, a scar (a long thin rectangle from it), or a darkened rectangle.
They are easier than real defects and of other kinds, and some cannot be seen (background on background). So they can
rank settings and show that a model sees anything at all, but they do not predict the results on real defects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KINDS = ("patch", "scar", "dark")
RECTANGLE, THIN, LONG = (12, 40), (4, 9), (24, 80)
"""Ranges of the sides of the defects, in pixels of an input of `SIDE`."""
SUBTLE = 0.6
"""Opacity of a subtle defect; its sides are half as long, and its darkening half as strong."""
MARGIN = 30
"""Pixels at the border that stay free of defects, of an input of `SIDE`."""
SIDE = 224


def add_defects(
    images: Sequence[np.ndarray], keys: Sequence[str], seed: int = 0, *, subtle: bool = False
) -> tuple[list[np.ndarray], np.ndarray]:
    """Add a defect to a copy of each image; a category's only image gives the patch itself.

    Args:
        images: (S, S, 3) uint8, of one size, at least 32.
        keys: the images' categories.
        seed: of kinds, sizes and places.
        subtle: make them hard to see.

    Returns:
        The images, and masks (n, S, S) of where the defects are. The kind of image n is ``KINDS[n % len(KINDS)]``.
    """
    rng, with_defects, masks = np.random.default_rng(seed), [], []
    opacity, shrink = (SUBTLE, 2) if subtle else (1.0, 1)
    for n, image in enumerate(images):
        side, kind = len(image), KINDS[n % len(KINDS)]
        others = [k for k in range(len(images)) if keys[k] == keys[n] and k != n]
        source = images[rng.choice(others or [n])]
        spans = (RECTANGLE, RECTANGLE) if kind != "scar" else (THIN, LONG) if rng.random() < 0.5 else (LONG, THIN)
        spans = [tuple(max(1, length * side // SIDE) for length in span) for span in spans]
        height, width = (rng.integers(low, max(high, low + 1)) // shrink for low, high in spans)
        height, width, margin = max(1, height), max(1, width), MARGIN * side // SIDE
        top, left = rng.integers(margin, side - margin - height), rng.integers(margin, side - margin - width)
        from_top, from_left = rng.integers(0, side - height), rng.integers(0, side - width)
        area = np.s_[top : top + height, left : left + width]
        with_defect, mask = image.copy(), np.zeros((side, side), dtype=bool)
        if kind == "dark":
            with_defect[area] = (with_defect[area] * (1 - (1 - rng.uniform(0.5, 0.75)) / shrink)).astype(np.uint8)
        else:
            pasted = source[from_top : from_top + height, from_left : from_left + width]
            with_defect[area] = (opacity * pasted + (1 - opacity) * with_defect[area]).astype(np.uint8)
        mask[area] = True
        with_defects.append(with_defect)
        masks.append(mask)
    return with_defects, np.stack(masks)

"""Defects made by pasting: only the marked pixels change, at every size, and seeds repeat."""

from __future__ import annotations

import numpy as np
import pytest

from mintad.data.synthetic import add_defects


def noise(number: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(side)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(number)]


@pytest.mark.parametrize("side", [32, 64, 224, 300])
@pytest.mark.parametrize("subtle", [False, True])
def test_a_defect_changes_the_marked_pixels_and_no_others(side, subtle):
    images = noise(12, side)
    before = [image.copy() for image in images]
    made, masks = add_defects(images, ["a"] * 12, subtle=subtle)
    for image, with_defect, mask, original in zip(images, made, masks, before, strict=True):
        assert np.array_equal(image, original) and mask.any() and not mask.all()
        changed = (with_defect != image).any(axis=-1)
        assert not changed[~mask].any() and changed[mask].mean() > 0.8


def test_seeds_repeat_and_differ():
    images, keys = noise(6, 64), ["a", "b"] * 3
    first, again, other = (add_defects(images, keys, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_pieces_come_from_the_same_category_and_a_single_image_gives_its_own():
    images = [np.full((64, 64, 3), value, np.uint8) for value in (10, 20, 200)]
    made, masks = add_defects(images, ["a", "a", "b"])  # a patch, a scar, and a darkened rectangle of the only b
    assert (made[0][masks[0]] == 20).all() and (made[1][masks[1]] == 10).all() and (made[2][masks[2]] < 200).all()
    alone, mask = add_defects(images[:1], ["a"])
    assert (alone[0] == 10).all() and mask.any()

"""mini's ground truth beyond the label: it must be what the picture really shows."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mintad.data.mini import PRODUCTS, render
from mintad.data.mini.canvas import frame
from mintad.data.mini.truth import SUBCLASSES, add_truth, drawn_with
from mintad.errors import DataError

REDDER = {"weave": "red warp", "button": "red"}
BRIGHTER = {"wood": "light stain"}


def colour(category, index, **how):
    return render(category, "test", "good", index, size=96, **how)[0].mean(axis=(0, 1)) / 255


@pytest.mark.parametrize("category", REDDER)
def test_colour_is_what_the_picture_shows(category):
    truth = [drawn_with(category, "test", "good", n)[0] for n in range(12)]
    redness = np.array([colour(category, n)[0] - colour(category, n)[2] for n in range(12)])
    is_red = np.array(truth) == REDDER[category]
    assert 0 < is_red.sum() < 12
    assert redness[is_red].min() > redness[~is_red].max()


def test_stain_of_wood_and_colours_of_capsules():
    stain = [drawn_with("wood", "train", "good", n)[0] for n in range(8)]
    bright = [render("wood", "train", "good", n, size=96)[0].mean() for n in range(8)]
    assert min(b for s, b in zip(stain, bright, strict=True) if s == "light stain") > max(
        b for s, b in zip(stain, bright, strict=True) if s == "dark stain"
    )
    pill = [drawn_with("capsule", "test", "good", n)[0] == "red and cream" for n in range(8)]
    green = np.array([np.subtract(*colour("capsule", n)[[1, 0]]) for n in range(8)])
    assert green[~np.array(pill)].min() > green[pill].max()


def test_teeth_of_gears_can_be_counted():
    for index in range(6):
        truth, _ = drawn_with("gear", "test", "good", index)
        image = render("gear", "test", "good", index, size=224)[0].astype(float).mean(axis=-1)
        axis = (np.arange(224) + 0.5) / 112 - 1
        y, x = np.meshgrid(axis, axis, indexing="ij")
        body = image > 90
        body &= np.hypot(x, y) < 0.95
        middle = x[body].mean(), y[body].mean()
        turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        reach = np.hypot(x - middle[0], y - middle[1])[body].max() * 0.93
        at = np.array([middle[1] + reach * np.sin(turn), middle[0] + reach * np.cos(turn)])
        rows, columns = ((at + 1) * 112 - 0.5).round().astype(int)
        ring = body[rows, columns].astype(float)
        power = np.abs(np.fft.rfft(ring))
        assert {12: "12 teeth", 14: "14 teeth"}[max((12, 14), key=lambda k: power[k])] == truth


def test_angle_is_the_one_of_the_frame():
    _, angle = drawn_with("gear", "test", "good", 3, seed=7)
    x, _ = frame(8, np.random.default_rng([7, zlib.crc32(b"gear"), zlib.crc32(b"test/good"), 3, 0]))
    assert np.arctan2(x[1, 0] - x[0, 0], x[0, 1] - x[0, 0]) == pytest.approx(np.radians(angle), abs=1e-4)


def test_add_truth_reads_the_number_from_the_file():
    rows = [("gear", "train", "good", "007"), ("brick", "test", "stain", "001"), ("button", "test", "swap", "002")]
    records = pd.DataFrame(
        [{"category": c, "split": s, "defect": d, "image": str(Path("/x") / f"{n}.png")} for c, s, d, n in rows]
    )
    found = add_truth(records, seed=3)
    assert (found["subclass"][0], found["angle"][0]) == drawn_with("gear", "train", "good", 7, seed=3)
    assert found["subclass"][1] == "" and np.isnan(found["angle"][1])
    assert found["subclass"][2] == drawn_with("button", "test", "swap", 2, seed=3)[0]


def test_defects_do_not_change_the_truth_and_others_are_refused():
    assert set(SUBCLASSES) < set(PRODUCTS)
    with pytest.raises(DataError, match="leather has no sub-classes"):
        drawn_with("leather", "test", "good", 0)

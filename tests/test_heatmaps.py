"""Heatmaps, maps and regions in the size of the photographs."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mintad.runs import heatmaps
from mintad.runs.heatmaps import regions
from mintad.runs.predict_files import predict_files
from mintad.scoring.maps import interpolation_matrix

pytestmark = pytest.mark.usefixtures("cache")


def test_heatmap_map_and_regions_have_the_photographs_own_size(finished, products, tmp_path):
    """A dark square is pasted into a photograph that is not square; map and boxes must lie on it."""
    photo = Image.open(products / "mesh/test/good/000.png").convert("RGB").resize((300, 100))
    photo.paste((0, 0, 0), (210, 50, 240, 80))
    photo.save(tmp_path / "photo.png")
    out = tmp_path / "out"
    table, _ = predict_files(finished.path, [tmp_path / "photo.png"], out, maps=True, progress=False)
    row = json.loads((out / "predictions.jsonl").read_text())
    assert Image.open(out / row["heatmap"]).size == (300, 100) == (row["width"], row["height"])
    full = np.load(out / row["map"])
    assert full.shape == (100, 300) and full.dtype == np.float32
    top, left = np.unravel_index(full.argmax(), full.shape)
    assert 170 <= left < 280 and 30 <= top < 100  # the grid has 4 x 4 tokens, 75 x 25 pixels each
    assert row["anomalous"] and row["seconds"] > 0
    first = row["regions"][0]
    assert first["x"] <= left < first["x"] + first["width"] and first["y"] <= top < first["y"] + first["height"]
    assert first["score"] == pytest.approx(full.max(), rel=1e-2) and 0 < first["share"] <= 1


def test_regions_are_boxes_of_what_lies_above_the_level():
    anomaly_map = np.zeros((8, 8), dtype=np.float32)
    anomaly_map[1:3, 2:5], anomaly_map[3, 5], anomaly_map[6, 0] = 2, 2.5, 3  # the second touches the first at a corner
    highest, other = regions(anomaly_map, 1.0, (80, 16))
    assert highest == {"x": 0, "y": 12, "width": 10, "height": 2, "score": 3.0, "share": 1 / 64}
    assert other == {"x": 20, "y": 2, "width": 40, "height": 6, "score": 2.5, "share": 7 / 64}
    (lone,) = regions(anomaly_map, 5.0, (8, 8))  # nothing above: the maximum
    assert (lone["x"], lone["y"], lone["score"]) == (0, 6, 3.0)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30), st.integers(1, 64))
def test_strips_are_the_bilinear_interpolation(cells, width, height, strip):
    anomaly_map = np.random.default_rng(0).random((cells, cells), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heatmaps, "STRIP", strip)
        parts = list(heatmaps.strips(anomaly_map, (width, height)))
    assert [top for top, _ in parts] == list(np.cumsum([0] + [len(part) for _, part in parts[:-1]]))
    rows, columns = (interpolation_matrix(length, cells) for length in (height, width))
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), rows @ anomaly_map @ columns.T, atol=1e-5)

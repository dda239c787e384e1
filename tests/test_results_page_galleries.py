"""The galleries of the results page: which images they show, and how."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from page_builders import GRID, make_scores, write
from PIL import Image

from mintad import plots
from mintad.data.images import read_mask
from mintad.runs.page.galleries import spread


def test_pictures_have_words_and_are_small(masked_page, unmasked_page):
    for page, _, _ in (masked_page, unmasked_page):
        for picture in page.attributes("img"):
            assert picture["alt"]
            data = base64.b64decode(picture["src"].split(",")[1])
            assert max(Image.open(io.BytesIO(data)).size) <= 224
        assert all(caption for caption in page.tables)


def test_mask_column_only_where_there_are_masks(masked_page, unmasked_page):
    alts = [picture["alt"] for picture in masked_page[0].attributes("img")]
    assert sum(alt.startswith("ground truth") for alt in alts) == 12  # of both galleries of anomalous images
    assert "ground truth" in masked_page[0].texts["main"][0]
    assert "ground truth" not in unmasked_page[0].texts["main"][0]
    assert not any("ground truth" in picture["alt"] for picture in unmasked_page[0].attributes("img"))
    assert len(masked_page[0].texts["h3"]) == len(unmasked_page[0].texts["h3"]) == 3


def test_galleries_start_with_the_extremes(tmp_path):
    scores = make_scores(tmp_path / "order", masked=False)
    page, _ = write(tmp_path / "order.html", scores, n_cases=2)
    captions = page.texts["figcaption"]
    assert len(captions) == 6
    for row, label, ascending in ((0, 1, False), (2, 1, True), (4, 0, False)):
        part = scores[scores["label"] == label].sort_values("pred_score", ascending=ascending)
        assert Path(part["image"].iloc[0]).name in captions[row]
    assert "false alarm" in captions[4] and "missed" in captions[2] and "found" in captions[0]


def test_best_localised_anomaly_is_the_one_whose_map_is_its_mask(tmp_path):
    scores = make_scores(tmp_path / "local", masked=True)
    maps = np.random.default_rng(1).random((len(scores), GRID, GRID)).astype(np.float32)
    row = scores.index[scores["image"].str.contains("bolt_09")][0]
    maps[row] = plots.resize_map(read_mask(scores["masks"][row]).astype(np.float32), (GRID, GRID))
    page, _ = write(tmp_path / "local.html", scores, grid_maps=maps, n_cases=2)
    assert "bolt_09.png" in page.texts["figcaption"][0]


def test_categories_take_turns():
    scores = pd.DataFrame({"dataset": "d", "category": list("aaabbc")})
    assert spread(scores, range(6), 4) == [0, 3, 5, 1]
    assert spread(scores, range(6), 99) == [0, 3, 5, 1, 4, 2]
    assert spread(scores, [], 3) == []

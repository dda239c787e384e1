"""The results page as a whole: its sections, its size, escaping, and that nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_builders import HOSTILE, make_scores, table_with, tiles_of, write

from mintad import scoring
from mintad.errors import DataError


def test_nothing_is_fetched_and_strings_are_no_markup(masked_page, unmasked_page):
    for page, _, path in (masked_page, unmasked_page):
        links = [
            attributes[name]
            for _, attributes in page.elements
            for name in ("src", "href", "srcset")
            if name in attributes
        ]
        assert links and all(link.startswith("data:image/") for link in links)
        assert not page.attributes("link") and not page.attributes("iframe")
        assert "url(" not in page.texts["style"][0] and "@import" not in page.texts["style"][0]
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert HOSTILE in page.texts["main"][0]  # shown, as text
        assert HOSTILE not in path.read_text(encoding="utf-8")  # but not as markup
        assert page.texts["h1"] == ["toy <b>run</b>"]
        assert page.texts["title"][0].startswith("toy <b>run</b>")
        assert "</pre><script>alert(1)</script>" in page.texts["pre"][0]
        assert "dent & hole" in page.texts["main"][0]


def test_page_is_small_and_plotly_stands_in_it_once(masked_page):
    page, _, path = masked_page
    assert path.stat().st_size < 6e6
    assert sum(len(text) > 1e6 for text in page.texts["script"]) == 1


def test_sections_in_order(masked_page, tmp_path):
    every = "By category|Thresholds|Methods on the same images|Image scores|By defect|Class head|Cases|Training"
    assert masked_page[0].texts["h2"] == [*every.split("|"), "Configuration and versions"]
    scores = make_scores(tmp_path / "bare", masked=False).assign(pred_class="")
    results = scoring.measure(scores).assign(method="uniad", setting="unified", seed=0)
    page, _ = write(tmp_path / "bare.html", scores, history=None, decisions=None, versions=None, results=results)
    assert page.texts["h2"] == ["By category", "Image scores", "By defect", "Cases", "Configuration and versions"]
    assert not any(word in text for text in page.texts["figcaption"] for word in ("missed", "found", "passed", "alarm"))


def test_page_without_anomalous_images(tmp_path):
    scores = make_scores(tmp_path / "normal", masked=False).query("label == 0").reset_index(drop=True)
    page, results = write(tmp_path / "normal.html", scores)
    assert set(results["metric"]) == {"class_accuracy", "class_accuracy_normal"}
    assert table_with(page, "category")[1][:3] == ["toy/bolt", "6", "0"]
    assert tiles_of(page)["image AUROC, mean"] == "–"
    assert len(page.texts["h3"]) == 1 and "By defect" not in page.texts["h2"]


def test_a_missing_image_is_named(tmp_path):
    scores = make_scores(tmp_path / "missing", masked=False)
    Path(scores["image"][0]).unlink()
    with pytest.raises(DataError, match="onerror"):
        write(tmp_path / "missing.html", scores)

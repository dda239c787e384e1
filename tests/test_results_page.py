"""The results page and its figures: what they say, their size, and that nothing foreign gets in or is fetched."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mintad import plots, scoring
from mintad.data.images import read_mask, resize_mask
from mintad.errors import DataError
from mintad.runs.page import write_report
from mintad.runs.page.galleries import spread

HOSTILE = "<img onerror=alert(1) src=x>.png"
VOID = {"meta", "img", "br", "link", "input", "hr"}
GRID = 6


class Page(HTMLParser):
    """The parts of a page that the tests look at; fails on tags that do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}  # caption to rows of cells
        self.texts: dict[str, list[str]] = {}  # tag to texts
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "table":
            self.rows, self.tables[""] = [], []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption":
            self.tables.pop("")
            self.tables[self.texts["caption"][-1]] = self.rows

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_scores(folder: Path, *, masked: bool, categories: tuple[str, ...] = ("nut", "bolt")) -> pd.DataFrame:
    """Six normal and six anomalous images a category with their scores; one file has a hostile name."""
    rng = np.random.default_rng(0)
    rows = []
    for category in categories:
        (folder / category).mkdir(parents=True)
        for n in range(12):
            name = HOSTILE if (category, n) == (categories[0], 0) else f"{category}_{n:02d}.png"
            image, mask = folder / category / name, folder / category / f"mask_{n}.png"
            Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(image)
            anomalous = int(n >= 6)
            if masked and anomalous:
                pixels = np.zeros((40, 60), np.uint8)
                pixels[10:20, 10:30] = 255
                Image.fromarray(pixels).save(mask)
            key = f"toy/{category}"
            rows.append(
                {
                    "dataset": "toy",
                    "category": category,
                    "split": "test",
                    "label": anomalous,
                    "defect": ("good", "dent & hole")[anomalous],
                    "image": str(image),
                    "masks": (str(mask),) if masked and anomalous else (),
                    "prompt_class": key,
                    # the hostile file is the highest normal: it must be shown
                    "pred_score": 3.25 if name == HOSTILE else rng.normal() + anomalous,
                    "pred_class": "toy/bolt" if n == 3 else key,
                }
            )
    return pd.DataFrame(rows)


def write(path: Path, scores: pd.DataFrame, **changed) -> tuple[Page, dict]:
    """A page with everything on it, and its scoring."""
    rng = np.random.default_rng(1)
    maps = rng.random((len(scores), GRID, GRID)).astype(np.float32)
    pixels = [
        (f"{row.dataset}/{row.category}", plots.resize_map(grid, (30, 30)), mask_of(row))
        for row, grid in zip(scores.itertuples(), maps, strict=True)
        if scores["masks"].map(len).any()
    ]
    summary = scoring.summarise(scores, pixels)
    summary["class_accuracy"] = scoring.class_accuracy(scores)
    steps = np.arange(1, 1001)
    filled = {
        "scores": scores,
        "grid_maps": maps,
        "metrics": summary,
        "history": pd.DataFrame({"step": steps, "mse": 1 / steps, "ce": 2 / steps, "prior": 0.0, "accuracy": 1.0}),
        "config": {"train": {"steps": 1000, "note": "</pre><script>alert(1)</script>"}},
        "threshold": {"value": 0.5, "quantile": 0.95, "n": 20},
        "title": "toy <b>run</b>",
        "baselines": pd.DataFrame(
            {"I toy/nut": [0.9, 0.81234], "I mean": [0.9, 0.8], "P toy/nut": [0.3, np.nan], "P mean": [0.3, None]},
            index=["mint_ad", "padim"],
        ),
        "versions": {"python": "3.11"},
    } | changed
    assert write_report(path, **filled) == path
    return Page(path), summary


def mask_of(row) -> np.ndarray:
    return resize_mask(read_mask(row.masks), (30, 30)) if row.masks else np.zeros((30, 30), bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def masked(folder) -> tuple[Page, dict, Path]:
    return *write(folder / "masked.html", make_scores(folder / "masked", masked=True)), folder / "masked.html"


@pytest.fixture(scope="module")
def unmasked(folder) -> tuple[Page, dict, Path]:
    return *write(folder / "plain.html", make_scores(folder / "plain", masked=False)), folder / "plain.html"


def table_of(page: Page, start: str) -> list[list[str]]:
    return next(rows for caption, rows in page.tables.items() if caption.startswith(start))


def test_numbers_of_every_category_their_mean_and_pooled(masked):
    page, summary, _ = masked
    head, *rows = table_of(page, "Test images; a dash")
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(cells) == ["toy/bolt", "toy/nut", "mean", "pooled"]
    assert cells["toy/nut"]["normal"] == cells["toy/nut"]["anomalous"] == "6"
    names = {"AUROC": "auroc", "AP": "average_precision", "F1-max": "f1_max", "AUPRO": "aupro"}
    for column in head[3:]:
        kind, name = column.split(" ")
        part = summary[kind][names[name]]
        for key, value in {**part["per_category"], "mean": part["mean"], "pooled": part["pooled"]}.items():
            assert cells[key][column] == f"{value:.4f}"
    assert len(head) == 3 + 3 + 4


def test_headline_numbers_say_what_they_are_over(unmasked):
    page, summary, _ = unmasked
    tiles = [text for text in page.texts["div"] if len(text) < 80]
    assert f"{summary['image']['auroc']['mean']:.3f}image AUROC, meanof 2 categories" in tiles
    assert f"{summary['image']['auroc']['pooled']:.3f}image AUROC, pooled24 test images, one scale" in tiles
    assert f"{summary['class_accuracy']['mean']:.1%}class accuracyof 24 test images; 91.7% of the normal ones" in tiles
    text = page.texts["main"][0]
    assert "24 test images: 12 normal, 12 anomalous." in text
    assert "Threshold 0.5: the 0.95 quantile of the scores of 20 normal training images" in text


def test_too_few_held_out_images_for_the_threshold_are_owned_up_to(folder):
    scores = make_scores(folder / "few", masked=False)
    few = {"value": 0.5, "quantile": 0.95, "n": 10, "rank": 10, "reached": False}
    page, _ = write(folder / "few.html", scores, threshold=few)
    assert "10 normal training images that were held out. They are too few for it: the highest" in page.texts["main"][0]


def test_rates_at_the_threshold_are_those_of_the_test_images(folder):
    scores = make_scores(folder / "rates", masked=False)
    scores["pred_score"] = np.where(scores["label"] == 1, 2.0, 0.0)
    scores.loc[scores.index[:3], "pred_score"] = 1.0  # 3 of 12 normal images
    scores.loc[scores.index[-6:], "pred_score"] = 0.5  # 6 of 12 anomalous ones: at, not above the threshold
    page, _ = write(folder / "rates.html", scores)
    tiles = [text for text in page.texts["div"] if len(text) < 80]
    assert "25.0%false alarmsof 12 normal test images" in tiles
    assert "50.0%anomalies foundof 12 anomalous test images" in tiles


def test_baselines_stand_side_by_side_with_the_highest_in_bold(masked):
    page, _, _ = masked
    rows = table_of(page, "Image AUROC on the test images")
    assert rows[0] == ["image AUROC", "mint_ad", "padim"]
    assert rows[1] == ["toy/nut", "0.9000", "0.8123"]
    assert table_of(page, "Pixel AP")[1] == ["toy/nut", "0.3000", "–"]
    assert page.texts["strong"] == ["0.9000", "0.9000", "0.3000", "0.3000"]


def test_nothing_is_fetched_and_strings_are_no_markup(masked, unmasked):
    for page, _, path in (masked, unmasked):
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


def test_page_is_small_and_plotly_stands_in_it_once(masked):
    page, _, path = masked
    assert path.stat().st_size < 6e6
    assert sum(len(text) > 1e6 for text in page.texts["script"]) == 1


def test_pictures_have_words_and_are_small(masked, unmasked):
    for page, _, _ in (masked, unmasked):
        for picture in page.attributes("img"):
            assert picture["alt"]
            data = base64.b64decode(picture["src"].split(",")[1])
            assert max(Image.open(io.BytesIO(data)).size) <= 224
        assert all(caption for caption in page.tables)


def test_mask_column_only_where_there_are_masks(masked, unmasked):
    alts = [picture["alt"] for picture in masked[0].attributes("img")]
    assert sum(alt.startswith("ground truth") for alt in alts) == 12  # of both galleries of anomalous images
    assert "Image | ground truth | anomaly map" in masked[0].texts["main"][0]
    assert "ground truth" not in unmasked[0].texts["main"][0]
    assert not any("ground truth" in picture["alt"] for picture in unmasked[0].attributes("img"))
    assert masked[0].texts["h3"][0] == "Anomalies that are localised best"
    assert unmasked[0].texts["h3"][0] == "Anomalies with the highest scores"


def test_galleries_start_with_the_extremes(folder):
    scores = make_scores(folder / "order", masked=False)
    page, _ = write(folder / "order.html", scores, n_cases=2)
    captions = page.texts["figcaption"]
    assert len(captions) == 6
    for row, label, ascending in ((0, 1, False), (2, 1, True), (4, 0, False)):
        part = scores[scores["label"] == label].sort_values("pred_score", ascending=ascending)
        assert Path(part["image"].iloc[0]).name in captions[row]
    assert "false alarm" in captions[4] and "missed" in captions[2] and "found" in captions[0]


def test_best_localised_anomaly_is_the_one_whose_map_is_its_mask(folder):
    scores = make_scores(folder / "local", masked=True)
    maps = np.random.default_rng(1).random((len(scores), GRID, GRID)).astype(np.float32)
    row = scores.index[scores["image"].str.contains("bolt_09")][0]
    maps[row] = plots.resize_map(read_mask(scores["masks"][row]).astype(np.float32), (GRID, GRID))
    page, _ = write(folder / "local.html", scores, grid_maps=maps, n_cases=2)
    assert "bolt_09.png" in page.texts["figcaption"][0]


def test_categories_take_turns():
    scores = pd.DataFrame({"dataset": "d", "category": list("aaabbc")})
    assert spread(scores, range(6), 4) == [0, 3, 5, 1]
    assert spread(scores, range(6), 99) == [0, 3, 5, 1, 4, 2]
    assert spread(scores, [], 3) == []


def test_page_of_a_run_with_nothing_optional(folder):
    scores = make_scores(folder / "bare", masked=False).assign(pred_class="")
    page, _ = write(folder / "bare.html", scores, history=None, threshold=None, baselines=None, versions=None)
    assert page.texts["h2"] == ["By category", "Image scores", "By defect", "Cases", "Configuration and versions"]
    assert not any(word in text for text in page.texts["figcaption"] for word in ("missed", "found", "passed", "alarm"))


def test_page_without_anomalous_images(folder):
    scores = make_scores(folder / "normal", masked=False).query("label == 0").reset_index(drop=True)
    page, summary = write(folder / "normal.html", scores)
    assert summary["image"]["auroc"]["mean"] is None
    rows = table_of(page, "Test images; a dash")
    assert rows[1] == ["toy/bolt", "6", "0", "–", "–", "–"]
    assert page.texts["h3"] == ["Normal images with the highest scores: the likeliest false alarms"]


def test_long_tables_of_defects_are_folded(folder):
    scores = make_scores(folder / "defects", masked=False)
    _, summary = write(folder / "defects.html", scores)
    summary["defects"] = {"toy/nut": {f"kind {n}": {"auroc": 0.5 + n / 100, "n": n + 1} for n in range(30)}}
    page, _ = write(folder / "defects.html", scores, metrics=summary)
    assert page.texts["summary"][0].startswith("30 types of defect; the hardest: kind 0 of toy/nut, image AUROC 0.500")


def test_a_missing_image_is_named(folder):
    scores = make_scores(folder / "missing", masked=False)
    Path(scores["image"][0]).unlink()
    with pytest.raises(DataError, match="onerror"):
        write(folder / "missing.html", scores)


# Figures


def test_fifteen_categories_leave_a_readable_figure():
    rng = np.random.default_rng(0)
    keys = [f"c{n:02d}" for n in range(15)]
    scores = pd.DataFrame({"dataset": "d", "category": np.repeat(keys, 20), "label": np.tile([0, 1], 150)})
    scores["pred_score"] = rng.normal(size=300) + scores["label"] * np.repeat(np.arange(15) / 3, 20)
    values = scoring.image_metrics(scores)["auroc"]["per_category"]
    weakest = sorted(values, key=values.__getitem__)[:3]
    figure = plots.roc_pr(scores)
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == [f"{key} ({values[key]:.3f})" for key in weakest]
    assert sum(trace.name.startswith("d/") for trace in figure.data) == 30  # all are drawn, in both panels
    assert f"{weakest[0]} ({values[weakest[0]]:.3f})" in figure.layout.title.text
    bars = plots.per_category_bars({"image": scoring.image_metrics(scores), "pixel": None})
    assert [values[key] for key in bars.data[0].y] == list(bars.data[0].x) == sorted(values.values())
    assert len(plots.score_histograms(scores, 1.0).to_json()) < 100_000


def test_curves_are_thinned_to_their_own_points():
    rng = np.random.default_rng(0)
    x, y = np.arange(10_000), rng.random(10_000)
    thin_x, thin_y = plots.thin(x, y)
    assert len(thin_x) <= 500 and (thin_x[0], thin_x[-1]) == (0, 9999)
    assert thin_y == pytest.approx(y[np.array(thin_x, dtype=int)], rel=1e-4)
    assert plots.thin([1, 2], [3, 4]) == ([1, 2], [3, 4])


def test_histograms_hold_every_image_and_the_threshold(folder):
    scores = make_scores(folder / "histogram", masked=False)
    scores.loc[scores.index[-1], "pred_score"] = 1e6  # far above: in the last bin
    figure = plots.score_histograms(scores, threshold=0.5)
    for label, name in ((0, "normal"), (1, "anomalous")):
        counted = sum(sum(trace.y) for trace in figure.data if trace.name == name)
        assert counted == (scores["label"] == label).sum()
    rate = (scores["pred_score"] > 0.5)[scores["label"] == 0].mean()
    assert f"{rate:.1%} of normal" in figure.layout.title.text
    assert len(figure.layout.shapes) == 2
    plots.score_histograms(scores.assign(pred_score=0.25))  # all equal: no exception


def test_confusion_counts_images_of_known_classes(folder):
    scores = make_scores(folder / "confusion", masked=False)
    scores.loc[0, "prompt_class"] = ""
    heat = plots.confusion(scores).data[0]
    assert list(heat.x) == list(heat.y) == ["toy/bolt", "toy/nut"]
    assert np.asarray(heat.text).tolist() == [["12", ""], ["1", "10"]]


def test_learning_curves_show_what_was_trained():
    history = pd.DataFrame({"step": [1, 2], "mse": [2.0, 1.0], "ce": [0.0, 0.0], "prior": [1.0, 0.5]})
    figure = plots.learning_curves(history)
    assert [trace.name for trace in figure.data] == ["mse", "prior"]
    accuracy = plots.learning_curves(history.assign(accuracy=1.0)).layout.yaxis3
    assert accuracy.range == (0, 1.05)
    assert figure.layout.title.text == "After 2 steps: mse 1, prior 0.5"


def test_labels_are_shown_as_they_are():
    scores = pd.DataFrame({"dataset": "d", "category": "<b>x", "label": [0, 1], "pred_score": [0.0, 1.0]})
    for figure in (plots.roc_pr(scores), plots.score_histograms(scores)):
        assert "<b>x" not in json.dumps(figure.to_dict(), default=str)
        assert "&lt;b&gt;x" in json.dumps(figure.to_dict(), default=str)

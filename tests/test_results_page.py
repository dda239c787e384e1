"""The results page and its figures: numbers, structure, size, escaping, and that nothing is fetched."""

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
from mintad.baselines import BASELINES
from mintad.data.images import read_mask, resize_mask
from mintad.errors import DataError
from mintad.runs.page import results_page, tables
from mintad.runs.page.galleries import spread
from mintad.runs.page.render import Table
from mintad.scoring import METRICS, by_category, value_of
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import Decisions

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
        for tag in set(self.open) - {"html", "head", "body"}:  # they hold plotly's 5 MB
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_scores(folder: Path, *, masked: bool, categories: tuple[str, ...] = ("nut", "bolt")) -> pd.DataFrame:
    """Six normal and six anomalous images per category with their scores; one file has a hostile name."""
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


def decisions(bolt: int = 20, nut: int = 20) -> Decisions:
    """Rules of two classes with n held-out scores each, all 0.5."""
    names = ["toy/bolt"] * bolt + ["toy/nut"] * nut
    scores, distances = Calibration([0.5] * len(names), names), Calibration([1.0] * len(names), [""] * len(names))
    return Decisions(scores, distances, ("toy/bolt", "toy/nut"), 0.95)


def make_results(scores: pd.DataFrame, maps: np.ndarray) -> pd.DataFrame:
    """A run's tidy table: its own model with every metric, and a baseline with the paper's two."""
    masked = scores["masks"].map(len).any()
    pixels = [
        (f"{row.dataset}/{row.category}", plots.resize_map(grid, (30, 30)), mask_of(row))
        for row, grid in zip(scores.itertuples(), maps, strict=True)
        if masked
    ]
    own = scoring.measure(scores, pixels).assign(method="mint_ad")
    baseline = own[own["metric"].isin(["image_auroc", "pixel_ap"])].assign(method="padim")
    baseline["value"] = baseline["value"] - 0.125
    return pd.concat([own, baseline], ignore_index=True).assign(setting="unified", seed=0)


def write(path: Path, scores: pd.DataFrame, **changed) -> tuple[Page, pd.DataFrame]:
    """A page with everything on it, and the results behind it."""
    maps = np.random.default_rng(1).random((len(scores), GRID, GRID)).astype(np.float32)
    steps = np.arange(1, 1001)
    filled = {
        "scores": scores,
        "grid_maps": maps,
        "results": make_results(scores, maps),
        "history": pd.DataFrame({"step": steps, "mse": 1 / steps, "ce": 2 / steps, "prior": 0.0, "accuracy": 1.0}),
        "config": {"train": {"steps": 1000, "note": "</pre><script>alert(1)</script>"}},
        "decisions": decisions(),
        "title": "toy <b>run</b>",
        "versions": {"python": "3.11"},
    } | changed
    if filled["decisions"]:
        decided = filled["decisions"].of(scores["pred_score"], scores["pred_class"], np.zeros(len(scores)))
        filled["scores"] = pd.concat([scores.reset_index(drop=True), decided], axis=1)
    path.write_text(results_page(**filled), encoding="utf-8")
    return Page(path), filled["results"]


def mask_of(row) -> np.ndarray:
    return resize_mask(read_mask(row.masks), (30, 30)) if row.masks else np.zeros((30, 30), bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def masked(folder) -> tuple[Page, pd.DataFrame, Path]:
    return *write(folder / "masked.html", make_scores(folder / "masked", masked=True)), folder / "masked.html"


@pytest.fixture(scope="module")
def unmasked(folder) -> tuple[Page, pd.DataFrame, Path]:
    return *write(folder / "plain.html", make_scores(folder / "plain", masked=False)), folder / "plain.html"


def table_with(page: Page, *first_heads: str) -> list[list[str]]:
    """The table whose head begins like this."""
    return next(rows for rows in page.tables.values() if tuple(rows[0][: len(first_heads)]) == first_heads)


def tiles_of(page: Page) -> dict[str, str]:
    """Name of each headline number -> the number as written; each stands in a tile of bold number and name."""
    values = page.texts["b"]
    return dict(zip(page.texts["span"][: len(values)], values, strict=True))


def test_every_metric_of_every_category_its_mean_and_pooled(masked):
    page, results, _ = masked
    head, *rows = table_with(page, "category", "normal", "anomalous")
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(cells) == ["toy/bolt", "toy/nut", "mean", "pooled"]
    assert cells["toy/nut"]["normal"] == cells["toy/nut"]["anomalous"] == "6"
    own = results[results["method"] == "mint_ad"]
    assert head[3:] == [METRICS[name].title for name in METRICS if name in set(own["metric"])]
    for row in own.itertuples():
        assert cells[row.category][METRICS[row.metric].title] == f"{row.value:.4f}"


def test_a_metric_from_outside_the_package_appears(folder, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    scoring.metric("image_gap", "score <gap>", level="image")(lambda scores: 0.625)
    scores = make_scores(folder / "plugin", masked=False)
    page, _ = write(folder / "plugin.html", scores)
    head, *rows = table_with(page, "category", "normal", "anomalous")
    assert head[-1] == "score <gap>" and {row[-1] for row in rows} == {"0.6250"}


def test_headline_numbers(unmasked, masked):
    for page, results, _ in (unmasked, masked):
        tiles = tiles_of(page)
        assert tiles["image AUROC, mean"] == f"{value_of(results, 'image_auroc'):.3f}"
        assert tiles["image AUROC, pooled"] == f"{value_of(results, 'image_auroc', 'pooled'):.3f}"
        assert tiles["class accuracy"] == f"{value_of(results, 'class_accuracy', 'pooled'):.1%}"
    assert tiles["pixel AP, mean"] == f"{value_of(masked[1], 'pixel_ap'):.3f}"
    assert "pixel AP, mean" not in tiles_of(unmasked[0])


def test_rates_at_the_threshold_are_those_of_the_test_images(folder):
    scores = make_scores(folder / "rates", masked=False)
    scores["pred_score"] = np.where(scores["label"] == 1, 2.0, 0.0)
    scores.loc[scores.index[:3], "pred_score"] = 1.0  # 3 of 12 normal images
    scores.loc[scores.index[-6:], "pred_score"] = 0.5  # 6 of 12 anomalous ones: at, not above the threshold
    page, _ = write(folder / "rates.html", scores)
    assert (tiles_of(page)["false alarms"], tiles_of(page)["anomalies found"]) == ("25.0%", "50.0%")
    rows = table_with(page, "predicted class")[1:]
    assert [row[:4] for row in rows] == [[f"toy/{name}", "20", "its own", "0.5000"] for name in ("bolt", "nut")]
    alarms = scores[(scores["label"] == 0) & (scores["category"] == "bolt")]["pred_score"] > 0.5
    assert rows[0][4] == f"{alarms.mean():.4f}"


@pytest.mark.parametrize(
    ("counts", "said", "unsaid"),
    [
        ((20, 20), ["0.95", "40 in all"], ["too few"]),
        ((40, 3), ["fewer than 19", "toy/nut"], ["toy/bolt"]),
        ((5, 3), ["only 8", "too few", "19", "11.1%"], ["toy/"]),
    ],
)
def test_page_says_what_the_thresholds_rest_on(tmp_path, counts, said, unsaid):
    page, _ = write(
        tmp_path / "basis.html", make_scores(tmp_path / "basis", masked=False), decisions=decisions(*counts)
    )
    notes = " ".join(page.texts["p"]).lower()
    assert all(word in notes for word in said) and not any(word in notes for word in unsaid)
    assert (table_with(page, "predicted class")[2][2] == "all classes") == (counts[1] < 19)


def test_methods_stand_side_by_side_with_the_highest_in_bold(masked):
    page, results, _ = masked
    for metric in ("image_auroc", "pixel_ap"):
        rows = table_with(page, METRICS[metric].title, "mint_ad", BASELINES["padim"].title)
        own = by_category(results[results["method"] == "mint_ad"], metric)
        expected = [["toy/nut", f"{own['toy/nut']:.4f}", f"{own['toy/nut'] - 0.125:.4f}"]]
        assert [row for row in rows if row[0] == "toy/nut"] == expected
        assert [row[0] for row in rows[-2:]] == ["mean", "pooled"]
    assert len(page.texts["strong"]) == 2 * 4  # one per row


def test_settings_of_the_same_method_are_columns(folder):
    scores = make_scores(folder / "settings", masked=False)
    own = scoring.measure(scores).assign(method="mint_ad", seed=0)
    results = pd.concat([own.assign(setting="separate"), own.assign(setting="separate_chosen")])
    page, _ = write(folder / "settings.html", scores, results=results)
    heads = [rows[0] for rows in page.tables.values() if rows[0][0] == METRICS["image_auroc"].title]
    assert len(heads) == 1 and len(set(heads[0])) == 3 and all("mint_ad" in name for name in heads[0][1:])
    further = {rows[0][0] for rows in page.tables.values() if "mint_ad" in "".join(rows[0])}
    assert further == {METRICS[name].title for name in own["metric"].unique()}  # every metric is compared


def test_a_separate_run_shows_the_accuracy_of_the_classifier_that_chooses_the_model(folder):
    scores = make_scores(folder / "separate", masked=False)
    given = scoring.measure(scores.assign(pred_class="")).assign(setting="separate")
    chosen = scoring.measure(scores).assign(setting="separate_chosen")
    results = pd.concat([given, chosen]).assign(method="mint_ad", seed=0)
    page, _ = write(folder / "separate.html", scores, results=results)
    accuracy = value_of(chosen, "class_accuracy", "pooled")
    assert "class_accuracy" not in set(given["metric"]) and tiles_of(page)["class accuracy"] == f"{accuracy:.1%}"
    assert any("classifier" in note for note in page.texts["small"])
    assert any("lassifier" in heading for heading in page.texts["h2"]) and "Class head" not in page.texts["h2"]
    rows = {row[0]: row for row in table_with(page, METRICS["class_accuracy"].title)}
    assert rows["pooled"] == ["pooled", f"{accuracy:.4f}"]  # a column of the one setting that has it


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
    assert "ground truth" in masked[0].texts["main"][0]
    assert "ground truth" not in unmasked[0].texts["main"][0]
    assert not any("ground truth" in picture["alt"] for picture in unmasked[0].attributes("img"))
    assert len(masked[0].texts["h3"]) == len(unmasked[0].texts["h3"]) == 3


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


def test_sections_in_order(masked, folder):
    every = "By category|Thresholds|Methods on the same images|Image scores|By defect|Class head|Cases|Training"
    assert masked[0].texts["h2"] == [*every.split("|"), "Configuration and versions"]
    scores = make_scores(folder / "bare", masked=False).assign(pred_class="")
    results = scoring.measure(scores).assign(method="uniad", setting="unified", seed=0)
    page, _ = write(folder / "bare.html", scores, history=None, decisions=None, versions=None, results=results)
    assert page.texts["h2"] == ["By category", "Image scores", "By defect", "Cases", "Configuration and versions"]
    assert not any(word in text for text in page.texts["figcaption"] for word in ("missed", "found", "passed", "alarm"))


def test_page_without_anomalous_images(folder):
    scores = make_scores(folder / "normal", masked=False).query("label == 0").reset_index(drop=True)
    page, results = write(folder / "normal.html", scores)
    assert set(results["metric"]) == {"class_accuracy", "class_accuracy_normal"}
    assert table_with(page, "category")[1][:3] == ["toy/bolt", "6", "0"]
    assert tiles_of(page)["image AUROC, mean"] == "–"
    assert len(page.texts["h3"]) == 1 and "By defect" not in page.texts["h2"]


def test_defects_are_ranked_against_the_normal_images_of_their_category(folder):
    scores = make_scores(folder / "defects", masked=False)
    scores.loc[scores["label"] == 1, "defect"] = [f"kind {n:02d}" for n in range(12)]
    page, _ = write(folder / "defects.html", scores)
    rows = table_with(page, "category", "defect")[1:]
    assert len(rows) == 12 and {row[2] for row in rows} == {"1"}
    normal = scores.loc[(scores["label"] == 0) & (scores["category"] == "bolt"), "pred_score"]
    score = scores.set_index("defect")["pred_score"][rows[0][1]]
    assert rows[0][0] == "toy/bolt" and rows[0][3] == f"{(score > normal).mean():.4f}"
    assert [row[3] for row in rows[:6]] == sorted(row[3] for row in rows[:6])


def test_long_tables_of_defects_are_folded_under_the_hardest():
    rows = [["toy/nut", f"kind {n}", n + 1, 0.5 + n / 100] for n in range(30)]
    line = tables.hardest_defect(Table(["category", "defect", "images", "image AUROC"], rows, ""))
    assert "30" in line and "kind 0 of toy/nut" in line and "0.500" in line


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
    results = scoring.measure(scores.assign(defect="x", prompt_class="", pred_class=""))
    values = by_category(results, "image_auroc")
    weakest = sorted(values, key=values.__getitem__)[:3]
    figure = plots.roc_pr(scores)
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == [f"{key} ({values[key]:.3f})" for key in weakest]
    assert sum(trace.name.startswith("d/") for trace in figure.data) == 30  # all are drawn, in both panels
    assert f"{weakest[0]} ({values[weakest[0]]:.3f})" in figure.layout.title.text
    bars = plots.per_category_bars(results)
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
    limits = {"toy/bolt": 0.1, "all": 0.7}
    several = plots.score_histograms(scores.assign(anomalous=scores["pred_score"] > 0.5), threshold=limits)
    assert [shape.x0 for shape in several.layout.shapes] == [0.1, 0.7]
    assert f"{rate:.1%} of normal" in several.layout.title.text
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

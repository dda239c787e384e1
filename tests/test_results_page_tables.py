"""The tables, headline numbers and notes of the results page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from page_builders import decisions, make_scores, table_with, tiles_of, write

from mintad import scoring
from mintad.baselines import BASELINES
from mintad.runs.page import tables
from mintad.runs.page.render import Table
from mintad.scoring import METRICS, by_category, value_of


def test_every_metric_of_every_category_its_mean_and_pooled(masked_page):
    page, results, _ = masked_page
    head, *rows = table_with(page, "category", "normal", "anomalous")
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(cells) == ["toy/bolt", "toy/nut", "mean", "pooled"]
    assert cells["toy/nut"]["normal"] == cells["toy/nut"]["anomalous"] == "6"
    own = results[results["method"] == "mint_ad"]
    assert head[3:] == [METRICS[name].title for name in METRICS if name in set(own["metric"])]
    for row in own.itertuples():
        assert cells[row.category][METRICS[row.metric].title] == f"{row.value:.4f}"


def test_a_metric_from_outside_the_package_appears(tmp_path, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    scoring.metric("image_gap", "score <gap>", level="image")(lambda scores: 0.625)
    scores = make_scores(tmp_path / "plugin", masked=False)
    page, _ = write(tmp_path / "plugin.html", scores)
    head, *rows = table_with(page, "category", "normal", "anomalous")
    assert head[-1] == "score <gap>" and {row[-1] for row in rows} == {"0.6250"}


def test_headline_numbers(unmasked_page, masked_page):
    for page, results, _ in (unmasked_page, masked_page):
        tiles = tiles_of(page)
        assert tiles["image AUROC, mean"] == f"{value_of(results, 'image_auroc'):.3f}"
        assert tiles["image AUROC, pooled"] == f"{value_of(results, 'image_auroc', 'pooled'):.3f}"
        assert tiles["class accuracy"] == f"{value_of(results, 'class_accuracy', 'pooled'):.1%}"
    assert tiles["pixel AP, mean"] == f"{value_of(masked_page[1], 'pixel_ap'):.3f}"
    assert "pixel AP, mean" not in tiles_of(unmasked_page[0])


def test_rates_at_the_threshold_are_those_of_the_test_images(tmp_path):
    scores = make_scores(tmp_path / "rates", masked=False)
    scores["pred_score"] = np.where(scores["label"] == 1, 2.0, 0.0)
    scores.loc[scores.index[:3], "pred_score"] = 1.0  # 3 of 12 normal images
    scores.loc[scores.index[-6:], "pred_score"] = 0.5  # 6 of 12 anomalous ones: at, not above the threshold
    page, _ = write(tmp_path / "rates.html", scores)
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


def test_methods_stand_side_by_side_with_the_highest_in_bold(masked_page):
    page, results, _ = masked_page
    for metric in ("image_auroc", "pixel_ap"):
        rows = table_with(page, METRICS[metric].title, "mint_ad", BASELINES["padim"].title)
        own = by_category(results[results["method"] == "mint_ad"], metric)
        expected = [["toy/nut", f"{own['toy/nut']:.4f}", f"{own['toy/nut'] - 0.125:.4f}"]]
        assert [row for row in rows if row[0] == "toy/nut"] == expected
        assert [row[0] for row in rows[-2:]] == ["mean", "pooled"]
    assert len(page.texts["strong"]) == 2 * 4  # one per row


def test_settings_of_the_same_method_are_columns(tmp_path):
    scores = make_scores(tmp_path / "settings", masked=False)
    own = scoring.measure(scores).assign(method="mint_ad", seed=0)
    results = pd.concat([own.assign(setting="separate"), own.assign(setting="separate_chosen")])
    page, _ = write(tmp_path / "settings.html", scores, results=results)
    heads = [rows[0] for rows in page.tables.values() if rows[0][0] == METRICS["image_auroc"].title]
    assert len(heads) == 1 and len(set(heads[0])) == 3 and all("mint_ad" in name for name in heads[0][1:])
    further = {rows[0][0] for rows in page.tables.values() if "mint_ad" in "".join(rows[0])}
    assert further == {METRICS[name].title for name in own["metric"].unique()}  # every metric is compared


def test_a_separate_run_shows_the_accuracy_of_the_classifier_that_chooses_the_model(tmp_path):
    scores = make_scores(tmp_path / "separate", masked=False)
    given = scoring.measure(scores.assign(pred_class="")).assign(setting="separate")
    chosen = scoring.measure(scores).assign(setting="separate_chosen")
    results = pd.concat([given, chosen]).assign(method="mint_ad", seed=0)
    page, _ = write(tmp_path / "separate.html", scores, results=results)
    accuracy = value_of(chosen, "class_accuracy", "pooled")
    assert "class_accuracy" not in set(given["metric"]) and tiles_of(page)["class accuracy"] == f"{accuracy:.1%}"
    assert any("classifier" in note for note in page.texts["small"])
    assert any("lassifier" in heading for heading in page.texts["h2"]) and "Class head" not in page.texts["h2"]
    rows = {row[0]: row for row in table_with(page, METRICS["class_accuracy"].title)}
    assert rows["pooled"] == ["pooled", f"{accuracy:.4f}"]  # a column of the one setting that has it


def test_defects_are_ranked_against_the_normal_images_of_their_category(tmp_path):
    scores = make_scores(tmp_path / "defects", masked=False)
    scores.loc[scores["label"] == 1, "defect"] = [f"kind {n:02d}" for n in range(12)]
    page, _ = write(tmp_path / "defects.html", scores)
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

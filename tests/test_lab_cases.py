"""Which cases are shown, features before and after, and results beside the paper's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from mintad.course.lab import cases
from mintad.course.lab.one_run import results_table
from mintad.plots.series import before_after, case_grid
from mintad.report import paper
from mintad.scoring import auroc
from mintad.scoring.metrics import RESULT_COLUMNS


@pytest.fixture
def scores(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(24):
        image, mask = tmp_path / f"{n}.png", tmp_path / f"{n}_mask.png"
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(image)
        Image.fromarray(np.full((20, 20), 255, np.uint8)).save(mask)
        label = int(n % 3 == 0)
        masks, defect = (str(mask),) * label, "dent" if label else "good"
        rows.append(("set", "ab"[n % 2], defect, label, str(image), masks, rng.random()))
    columns = ["dataset", "category", "defect", "label", "image", "masks", "pred_score"]
    return pd.DataFrame(rows, columns=columns)


def test_wrong_pairs_average_to_what_auroc_lacks(scores):
    scores.loc[3, "pred_score"] = scores.loc[5, "pred_score"]  # a tie within category b
    shares = cases.wrong_pairs(scores)
    for _, group in scores.groupby("category"):
        lacking = 1 - auroc(group["pred_score"], group["label"])
        for kind in (0, 1):
            assert shares[group.index[group["label"] == kind]].mean() == pytest.approx(lacking)


def test_a_category_without_both_kinds_has_no_wrong_pairs(scores):
    normal = scores[(scores["label"] == 0) | (scores["category"] == "b")].reset_index(drop=True)
    shares = cases.wrong_pairs(normal)
    assert np.isnan(shares[normal["category"] == "a"]).all() and np.isfinite(shares[normal["category"] == "b"]).all()
    assert set(normal.loc[cases.worst(normal, 50), "category"]) == {"b"}


def test_examples_are_median_and_worst_are_worst(scores):
    for row in cases.examples(scores):
        alike = scores[(scores["category"] == scores.loc[row, "category"]) & (scores["label"] == 1)]["pred_score"]
        assert scores.loc[row, "label"] == 1 and abs((alike < scores.loc[row, "pred_score"]).mean() - 0.5) < 0.25
    shares, worst = cases.wrong_pairs(scores), cases.worst(scores, 5)
    assert shares[worst].min() >= np.delete(shares, worst).max()
    perfect = scores.assign(pred_score=scores["label"].astype(float))
    assert cases.worst(perfect, 5) == []


def test_peaks_are_on_a_mask_or_beside_it(scores, tmp_path):
    left = np.zeros((20, 20), np.uint8)
    left[:, :10] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    scores["masks"] = [(str(tmp_path / "left.png"),) * label for label in scores["label"]]
    maps = np.zeros((len(scores), 4, 4))
    maps[:12, 1, 0], maps[12:, 1, 3] = 1, 1
    np.testing.assert_array_equal(cases.peaks_on_mask(scores, maps), (scores["label"] == 1) & (scores.index < 12))
    np.testing.assert_allclose(cases.mask_share(scores), 0.5 * scores["label"])


def test_a_figure_of_cases_is_small_and_captioned(scores):
    maps = np.random.default_rng(0).random((len(scores), 4, 4))
    figure = cases.case_figure(scores, maps, [0, 1, 3], title="t")
    captions = [note.text for note in figure.layout.annotations]
    assert captions[0].startswith("a · dent · score") and captions[0].endswith("no. 0") and len(captions) == 3
    assert figure.layout.title.text == "t" and len(figure.to_json()) < 120_000
    with pytest.raises(ValueError, match="nothing"):
        case_grid({}, title="t")


def test_distances_measure_what_they_say():
    rng = np.random.default_rng(0)
    classes, labels = np.repeat(["a", "b"], 60), np.tile([0] * 40 + [1] * 20, 2)
    base = rng.normal(size=(120, 6)) + np.where(classes == "a", 0.0, 30.0)[:, None]
    assert cases.distance_ratio(base, classes, labels) == pytest.approx(1, abs=0.15)
    shifted = base + 10 * labels[:, None] * np.eye(6)[0]
    assert cases.distance_ratio(shifted, classes, labels) > 3
    assert cases.class_separation(shifted, classes, labels) == pytest.approx(30 * 6**0.5 / 2.35, rel=0.1)
    assert np.isnan(cases.class_separation(base[:60], classes[:60], labels[:60]))
    figure = cases.reconstruction_figure(base, shifted, classes, labels)
    assert isinstance(figure, go.Figure) and "31.8 after" in figure.layout.title.text and len(figure.data) == 8 + 4


def test_two_panels_share_axes_and_name_each_group_once():
    figure = before_after(np.zeros((4, 2)), np.ones((4, 2)), ["a", "a", "b", "b"], [0, 1, 0, 1], title="t")
    assert [trace.name for trace in figure.data if trace.showlegend is None] == ["a", "b", "normal", "anomalous"]
    drawn = [trace for trace in figure.data if trace.showlegend is False]
    assert len(drawn) == 8 and {trace.marker.symbol for trace in drawn} == {"triangle-up", "circle-open"}
    assert figure.layout.xaxis2.matches == "x" and figure.layout.yaxis2.matches == "y"


def results(values, metrics=("image_auroc", "pixel_ap"), **columns):
    """Return results with the same value of every metric in a category."""
    rows = [(category, metric, value) for metric in metrics for category, value in values.items()]
    table = pd.DataFrame(rows, columns=["category", "metric", "value"])
    return table.assign(**{"method": "mint_ad", "setting": "unified", "seed": 0} | columns)[list(RESULT_COLUMNS)]


def test_results_stand_beside_the_papers_where_it_has_them():
    values = {"mvtec/bottle": 0.9, "mvtec/screw": 0.8}
    run = pd.concat([results(values), results(dict.fromkeys(values, 0.1), method="padim")])
    table = results_table(run)
    assert table.loc["mean", "image AUROC"] == 85.0 and list(table.index) == [*values, "mean"]
    printed = [100 * paper.value(1, "MINT-AD", name, "image_auroc", "unified") for name in ("bottle", "screw")]
    assert table["paper: image AUROC"].tolist() == pytest.approx([*printed, np.mean(printed)], abs=0.06)
    assert "paper: pixel AP" in table


def test_the_separate_setting_has_the_papers_separate_numbers():
    table = results_table(results({"mvtec/screw": 0.8}, setting="separate"), setting="separate")
    screw = 100 * paper.value(1, "MINT-AD", "screw", "image_auroc", "separate")
    assert table.loc["mvtec/screw", "paper: image AUROC"] == pytest.approx(screw, abs=0.06)
    assert "paper: pixel AP" not in table, "Table 10 is unified only"


def test_results_stand_alone_where_the_paper_has_none():
    assert list(results_table(results({"mini/gear": 0.7}, ["image_auroc"]))) == ["image AUROC"]
    query_pool = results({"mvtec/bottle": 0.9}, method="query_pool")
    assert list(results_table(query_pool, variant="query_pool")) == ["image AUROC", "pixel AP"]

"""The figures of the results page: they show every value, are readable with many categories, and small."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from page_builders import make_scores

from mintad import plots, scoring
from mintad.scoring import by_category


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


def test_histograms_hold_every_image_and_the_threshold(tmp_path):
    scores = make_scores(tmp_path / "histogram", masked=False)
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


def test_confusion_counts_images_of_known_classes(tmp_path):
    scores = make_scores(tmp_path / "confusion", masked=False)
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

"""Bootstrap of AUROCs over test images, and benchmarks/image_intervals.py."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mintad.errors import DataError
from mintad.scoring import MetricError, auroc, measure, value_of
from mintad.scoring.ranking import tpr_at
from mintad.scoring.resampling import interval, resampled_aurocs, resampled_tprs


def some(n=40, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    labels, groups = np.tile([0, 1], n), np.repeat(["a", "b"], n)
    return np.round(rng.normal(size=2 * n) + shift * labels, 1), labels, groups


def test_the_value_is_the_mean_over_categories_with_ties():
    scores, labels, groups = some()
    value, _ = resampled_aurocs({"x": scores}, labels, groups, draws=1)
    table = pd.DataFrame({"dataset": "d", "category": groups, "label": labels, "pred_score": scores})
    table = table.assign(defect="d", pred_class="", prompt_class="")
    assert value["x"] == pytest.approx(value_of(measure(table), "image_auroc"))


def test_draws_spread_as_the_theory_says():
    scores, labels, groups = some(n=200, shift=0.0)
    _, draws = resampled_aurocs({"x": scores}, labels, groups, draws=400, seed=1)
    n = 100  # of each kind and group; without a shift the AUROC's variance is (2 n + 1) / (12 n²), halved by two groups
    assert draws["x"].std() == pytest.approx(((2 * n + 1) / (12 * n * n) / 2) ** 0.5, rel=0.2)
    low, high = interval(draws["x"])
    assert low < 0.5 < high and np.mean((draws["x"] > low) & (draws["x"] < high)) == pytest.approx(0.95, abs=0.01)


def test_detectors_are_resampled_together():
    scores, labels, groups = some()
    value, draws = resampled_aurocs({"x": scores, "same": scores + 1, "worse": -scores}, labels, groups, draws=50)
    np.testing.assert_allclose(draws["x"], draws["same"])
    np.testing.assert_allclose(draws["x"] + draws["worse"], 1)
    assert value["worse"] == pytest.approx(1 - value["x"]) and draws["x"].std() > 0
    again = resampled_aurocs({"x": scores}, labels, groups, draws=50)[1]
    np.testing.assert_array_equal(draws["x"], again["x"])


def test_few_images_are_resampled_within_their_kind():
    value, draws = resampled_aurocs({"x": [0, 1, 2, 5]}, [0, 1, 0, 1], ["a"] * 4, draws=200)
    assert value["x"] == auroc([0, 1, 2, 5], [0, 1, 0, 1]) == 0.75
    assert set(draws["x"]) <= {0.0, 0.25, 0.5, 0.75, 1.0} and len(set(draws["x"])) > 2


@pytest.mark.parametrize("fpr", [0.0, 0.05, 0.3, 1.0])
def test_tprs_are_those_of_the_drawn_images(fpr):
    scores, labels, groups = some()
    rng, expected = np.random.default_rng(0), 0.0
    for group in ("a", "b"):  # the first draw, drawn again by hand
        rows = [np.flatnonzero((groups == group) & (labels == kind)) for kind in (0, 1)]
        drawn = np.concatenate([part[rng.integers(len(part), size=(1, len(part)))[0]] for part in rows])
        expected += tpr_at(fpr, scores[drawn], labels[drawn]) / 2
    assert resampled_tprs(scores, labels, groups, fpr, draws=1) == pytest.approx([expected])


def test_a_category_without_both_kinds_is_refused():
    with pytest.raises(MetricError, match="b: .* here 2, 0"):
        resampled_aurocs({"x": [1, 2, 3, 4]}, [0, 1, 0, 0], ["a", "a", "b", "b"])


@pytest.fixture
def intervals(monkeypatch):
    """benchmarks/image_intervals.py as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("image_intervals")


def a_run(scores, names="abcdefgh"):
    """What a run has of a test of eight images in two categories."""
    rows = {"image": list(names), "dataset": "d", "category": list("xxxxyyyy"), "label": [0, 0, 1, 1] * 2}
    return SimpleNamespace(path="run", scores=lambda: pd.DataFrame({**rows, "pred_score": scores}))


def test_differences_are_of_common_seeds_with_their_spread(intervals):
    right, wrong, half = [0, 1, 2, 3] * 2, [3, 2, 1, 0] * 2, [0, 1, 2, 3, 3, 2, 1, 0]
    one, other = {0: a_run(right), 1: a_run(right), 7: a_run(wrong)}, {0: a_run(wrong), 1: a_run(half)}
    found = intervals.difference(one, other, draws=500)
    assert found["seeds"] == 2 and found["difference"] == 0.75  # 1 with seed 0, 1/2 with seed 1
    assert (found["low"], found["high"]) == (0.5, 1.0)  # seeds are drawn, too
    assert intervals.difference(one, {0: one[0]}, draws=50) == {"seeds": 1, "difference": 0.0, "low": 0.0, "high": 0.0}
    with pytest.raises(DataError, match="not tested on the same images"):
        intervals.difference(one, {0: a_run(right, "hgfedcba")}, draws=50)
    with pytest.raises(DataError, match="no common seed"):
        intervals.difference(one, {2: a_run(right)}, draws=50)


def test_what_the_class_brings_is_over_the_seeds_of_both(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    knowledge = importlib.import_module("class_knowledge")
    right, half = [0, 1, 2, 3] * 2, [0, 1, 2, 3, 3, 2, 1, 0]
    measured = {("m", "blind", 0): half, ("m", "told", 0): right, ("m", "told", 1): right, ("n", "head", 0): half}
    tables = []
    for (method, knows, seed), scores in measured.items():
        rows = a_run(scores).scores().drop(columns="dataset")
        tables.append(rows.assign(method=method, setting=knows, seed=seed))
    found = knowledge.intervals(pd.concat(tables, ignore_index=True)).set_index(["method", "setting"])
    assert set(found.index) == {("m", "blind"), ("m", "told"), ("m", "told - blind"), ("n", "head")}
    assert found.loc[("m", "told"), "seeds"] == 2 and found.loc[("m", "told - blind"), "seeds"] == 1
    assert found.loc[("m", "told - blind"), "image_auroc"] == 0.5
    assert found.loc[("m", "told"), "low"] == found.loc[("m", "told"), "high"] == 1


def test_rows_of_one_data_set_replace_the_former(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    knowledge = importlib.import_module("class_knowledge")
    csv = tmp_path / "table.csv"
    knowledge.replaced(csv, "a", pd.DataFrame({"value": [1.0]})).to_csv(csv, index=False)
    knowledge.replaced(csv, "b", pd.DataFrame({"value": [2.0]})).to_csv(csv, index=False)
    table = knowledge.replaced(csv, "a", pd.DataFrame({"value": [3.0, 4.0]}))
    assert table.to_dict("list") == {"data": ["b", "a", "a"], "value": [2.0, 3.0, 4.0]}

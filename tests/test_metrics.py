"""Metrics against scikit-learn, against naive loops over thresholds, and on inputs for which they are not defined."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from mintad import scoring
from mintad.errors import MintadError
from mintad.scoring import MapRanking, MetricError, StreamingRanking, ranking
from mintad.scoring.metrics import MEAN, METRICS, POOLED, by_category, measure, value_of
from mintad.scoring.ranking import UndefinedMetricError, tpr_at


@st.composite
def scored(draw, ties: bool = True):
    """Scores and labels of both kinds; few distinct scores, so that most are tied."""
    n = draw(st.integers(2, 40))
    values = st.integers(-3, 3) if ties else st.integers(-10_000, 10_000)
    scores = np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=np.float64)
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    assume(0 < labels.sum() < n)
    return scores, labels


@st.composite
def scored_maps(draw):
    """A few maps with tied scores and masks, at least one region and one normal pixel."""
    n, size = draw(st.integers(1, 3)), draw(st.integers(2, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = rng.integers(0, draw(st.integers(1, 12)), (n, size, size)).astype(np.float32)
    masks = rng.random((n, size, size)) < draw(st.floats(0.05, 0.6))
    assume(masks.any() and not masks.all())
    return maps, masks


CASES = {
    "random": lambda rng: (rng.normal(size=500), rng.integers(0, 2, 500)),
    "float32": lambda rng: (rng.normal(size=500).astype(np.float32), rng.integers(0, 2, 500)),
    "rare": lambda rng: (rng.normal(size=5000), np.arange(5000) == 77),
    "one normal": lambda rng: (rng.normal(size=50), np.arange(50) != 7),
    "tied": lambda rng: (rng.integers(0, 5, 500), rng.integers(0, 2, 500)),
    "all equal": lambda rng: (np.full(20, 0.3), np.arange(20) % 2),
    "perfect": lambda rng: (np.arange(20), np.arange(20) > 9),
    "reversed": lambda rng: (-np.arange(20), np.arange(20) > 9),
    "two items": lambda rng: (np.array([0.1, 0.1]), np.array([0, 1])),
    "nearly equal": lambda rng: (1 + np.arange(200) * 1e-15, np.arange(200) % 3 == 0),
    "huge and tiny": lambda rng: (10.0 ** rng.integers(-300, 300, 100), rng.integers(0, 2, 100)),
    "signed zeros": lambda rng: (np.array([0.0, -0.0, 0.0, -0.0, 1.0]), np.array([0, 1, 1, 0, 1])),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_scikit_learn(case):
    scores, labels = CASES[case](np.random.default_rng(3))
    assert scoring.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert scoring.average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-9)


@settings(deadline=None)
@given(scored())
def test_ties_equal_scikit_learn(data):
    scores, labels = data
    assert scoring.auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert scoring.average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-9)


def test_known_values():
    scores, labels = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]
    assert scoring.auroc(scores, labels) == 0.75
    assert scoring.average_precision(scores, labels) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert scoring.f1_max(scores, labels) == (pytest.approx(0.8), 0.35)


@settings(deadline=None)
@given(scored(ties=False))
def test_only_the_order_of_scores_counts(data):
    scores, labels = data
    transformed = np.exp(scores / 3000) * 7 - 2
    for metric in (scoring.auroc, scoring.average_precision, lambda s, y: scoring.f1_max(s, y)[0]):
        assert metric(transformed, labels) == pytest.approx(metric(scores, labels), abs=1e-12)


@settings(deadline=None)
@given(scored())
def test_swapped_labels_or_scores_turn_auroc_around_and_nothing_is_flipped(data):
    scores, labels = data
    value = scoring.auroc(scores, labels)
    assert scoring.auroc(scores, 1 - labels) == pytest.approx(1 - value, abs=1e-12)
    assert scoring.auroc(-scores, labels) == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.05, 0.5, 1.0])
def test_tpr_at_equals_a_loop_over_thresholds(fpr):
    rng = np.random.default_rng(0)
    for n in (3, 19, 20, 100, 137):
        scores, labels = rng.normal(size=n + 40).round(1), np.repeat([0, 1], [n, 40])
        normal, anomalous = scores[labels == 0], scores[labels == 1]
        limits = [limit for limit in [-np.inf, *normal] if (normal > limit).mean() <= fpr + 1e-9]
        assert tpr_at(fpr, scores, labels) == max((anomalous > limit).mean() for limit in limits)


def test_tpr_at_a_rate_that_no_normal_image_may_miss():
    scores, labels = [0, 1, 2, 3, 4], [0, 0, 0, 1, 1]
    assert tpr_at(0.01, scores, labels) == 1.0 and tpr_at(0.01, [9, 1, 2, 3, 4], labels) == 0.0
    with pytest.raises(UndefinedMetricError):
        tpr_at(0.05, [1, 2], [1, 1])


@settings(deadline=None)
@given(scored())
def test_f1_max_equals_a_loop_over_thresholds(data):
    scores, labels = data
    best, threshold = scoring.f1_max(scores, labels)

    def f1(at: float) -> float:
        return precision_recall_fscore_support(labels, scores >= at, average="binary", zero_division=0)[2]

    assert best == pytest.approx(max(f1(at) for at in np.unique(scores)), abs=1e-12)
    assert f1(threshold) == pytest.approx(best, abs=1e-12)


@settings(deadline=None)
@given(scored(), st.lists(st.integers(0, 40), max_size=5), st.integers(1, 9))
def test_pieces_and_their_order_do_not_matter(data, cuts, block):
    scores, labels = data
    stream = StreamingRanking()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK", block)  # so that several sorted blocks are counted
        for part in reversed(np.split(np.arange(len(scores)), sorted(min(cut, len(scores)) for cut in cuts))):
            stream.update(scores[part], labels[part])
    assert stream.auroc() == pytest.approx(scoring.auroc(scores, labels), abs=1e-12)
    assert stream.average_precision() == pytest.approx(scoring.average_precision(scores, labels), abs=1e-12)
    assert stream.f1_max() == pytest.approx(scoring.f1_max(scores, labels), abs=1e-12)


def test_a_ranking_may_grow_after_it_was_read():
    stream = StreamingRanking()
    stream.update([0.0, 1.0], [0, 1])
    assert stream.auroc() == 1
    stream.update([2.0, -1.0], [0, 1])
    assert stream.auroc() == 0.25


def test_merged_rankings_equal_one_ranking_and_are_left_as_they_were():
    rng = np.random.default_rng(0)
    maps, masks = rng.random((6, 8, 8)), rng.random((6, 8, 8)) < 0.2
    whole, parts = MapRanking(), [MapRanking(), MapRanking()]
    for n, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        whole.update(anomaly_map, mask)
        parts[n % 2].update(anomaly_map, mask)
    before = parts[0].aupro()
    merged = MapRanking.merged(parts)
    for metric in ("auroc", "average_precision", "f1_max", "aupro"):
        assert getattr(merged, metric)() == pytest.approx(getattr(whole, metric)(), abs=1e-12)
    assert parts[0].aupro() == before


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "without anomalous items"),
        ([0.1, 0.2], [0, 0], "without anomalous items"),
        ([0.1, 0.2], [1, 1], "without normal items"),
        ([0.1, np.nan], [0, 1], "1 of 2 scores are not finite"),
        ([0.1, np.inf], [0, 1], "not finite"),
        ([0.1, 0.2, 0.3], [0, 1], "same shape"),
        ([[0.1], [0.2]], [0, 1], "same shape"),
        ([0.1, 0.2], [0, 2], "labels must be 0 or 1"),
        ([0.1, 0.2], [-1, 1], "labels must be 0 or 1"),
        ([0.1, 0.2], [0.0, 0.5], "labels must be 0 or 1"),
        ([0.1, 0.2], [0.0, np.nan], "labels must be 0 or 1"),
        ([0.1, 0.2], ["good", "bad"], "labels must be 0 or 1"),
        (["a", "b"], [0, 1], "scores must be numbers"),
        ([0.1 + 1j, 0.2], [0, 1], "scores must be numbers"),
    ],
)
@pytest.mark.parametrize("metric", [scoring.auroc, scoring.average_precision, scoring.f1_max])
def test_undefined_is_an_error(metric, scores, labels, message):
    with pytest.raises(MetricError, match=message) as caught:
        metric(np.array(scores), np.array(labels))
    assert isinstance(caught.value, MintadError) and isinstance(caught.value, ValueError)


def naive_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """The definition, literally: a curve over all thresholds, cut at the limit, integrated by trapezia."""
    regions = []
    for n, mask in enumerate(masks):
        labelled, found = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(n, labelled == k) for k in range(1, found + 1)]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap = np.mean([(maps[n][region] >= threshold).mean() for n, region in regions])
        curve.append(((maps[~masks] >= threshold).mean(), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(curve[:-1], curve[1:], strict=True):
        if x0 >= limit or x1 == x0:
            continue
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@settings(deadline=None)
@given(scored_maps(), st.sampled_from([0.05, 0.3, 1.0]))
def test_aupro_equals_a_loop_over_thresholds(data, limit):
    maps, masks = data
    assert scoring.aupro(maps, masks, limit) == pytest.approx(naive_aupro(maps, masks, limit), abs=1e-9)


def test_aupro_counts_small_and_large_regions_alike_and_joins_diagonal_pixels():
    mask = np.zeros((40, 40), dtype=bool)
    mask[:20, :20] = True
    mask[30, 30] = mask[31, 31] = True  # one region of two pixels that touch at a corner
    only_large = np.where(mask, 1.0, 0.0)
    only_large[30:32, 30:32] = -1.0  # found last, after all normal pixels
    stream = MapRanking()
    stream.update(only_large, mask)
    assert stream.regions == 2
    assert stream.aupro() == pytest.approx(0.5, abs=1e-9)
    assert scoring.aupro([mask.astype(float)], [mask]) == pytest.approx(1)


def test_aupro_errors():
    mask = np.eye(4, dtype=bool)
    for limit in (0, -0.1, 1.1):
        with pytest.raises(MetricError, match="fpr_limit"):
            scoring.aupro([mask * 1.0], [mask], limit)
    with pytest.raises(MetricError, match="without anomalous"):
        scoring.aupro([mask * 1.0], [mask & False])
    with pytest.raises(MetricError, match="without normal"):
        scoring.aupro([mask * 1.0], [mask | True])
    with pytest.raises(MetricError, match=r"\(H, W\)"):
        scoring.aupro([np.arange(4.0)], [np.arange(4) > 2])
    with pytest.raises(ValueError, match="zip"):
        scoring.aupro([mask * 1.0, mask * 1.0], [mask])


def scores_table() -> pd.DataFrame:
    """Two complete categories and one without anomalous images."""
    rng = np.random.default_rng(1)
    rows = []
    for category, defects in {"nut": ["good", "dent", "hole"], "bolt": ["good", "dent"], "pin": ["good"]}.items():
        for defect in defects:
            for n in range(8):
                anomalous = int(defect != "good")
                score = rng.normal() + anomalous + {"nut": 0, "bolt": 5, "pin": 0}[category]
                rows.append(("toy", category, anomalous, defect, score, f"toy/{'bolt' if n == 0 else category}"))
    table = pd.DataFrame(rows, columns=["dataset", "category", "label", "defect", "pred_score", "pred_class"])
    return table.assign(prompt_class="toy/" + table["category"])


def values(table: pd.DataFrame, metric: str) -> dict[str, float]:
    return table[table["metric"] == metric].set_index("category")["value"].to_dict()


def test_every_metric_is_given_by_category_as_their_mean_and_pooled(caplog):
    table = scores_table()
    rng = np.random.default_rng(2)
    pixels = [(key, rng.random((6, 6)), rng.random((6, 6)) < 0.3) for key in ("toy/nut", "toy/bolt") for _ in range(3)]
    pixels.append(("toy/pin", rng.random((6, 6)), np.zeros((6, 6), bool)))
    with caplog.at_level(logging.WARNING):
        results = measure(table, iter(pixels))
    assert list(results.columns) == ["category", "metric", "value"]
    assert not results.duplicated(["category", "metric"]).any() and results["value"].notna().all()
    assert list(results["metric"].unique()) == [name for name in METRICS if name in set(results["metric"])]
    expected = {
        key: roc_auc_score(group["label"], group["pred_score"])
        for key, group in table.groupby("toy/" + table["category"])
        if key != "toy/pin"
    }
    image = values(results, "image_auroc")
    assert by_category(results, "image_auroc") == pytest.approx(expected)  # pin is absent, not 0
    assert image[MEAN] == value_of(results, "image_auroc") == pytest.approx(np.mean(list(expected.values())))
    assert image[POOLED] == pytest.approx(roc_auc_score(table["label"], table["pred_score"]))
    assert sum("toy/pin" in message for message in caplog.messages) == 2  # once for images, once for pixels
    nut_maps, nut_masks = zip(*[pair[1:] for pair in pixels[:3]], strict=True)
    assert values(results, "pixel_aupro")["toy/nut"] == pytest.approx(scoring.aupro(nut_maps, nut_masks))
    flat_maps, flat_masks = (np.concatenate([pair[k].ravel() for pair in pixels]) for k in (1, 2))
    assert values(results, "pixel_ap")[POOLED] == pytest.approx(average_precision_score(flat_masks, flat_maps))
    assert set(by_category(results, "pixel_auroc")) == {"toy/nut", "toy/bolt"}


def test_swap_defects_are_ranked_against_the_normal_images_of_their_category():
    table = scores_table()
    assert (
        value_of(measure(table), "image_auroc_swap") is None and value_of(measure(table), "image_auroc_other") is None
    )
    swapped = table.assign(defect=table["defect"].replace("hole", "swap"))
    results = measure(swapped)
    for metric, defect in (("image_auroc_swap", "hole"), ("image_auroc_other", "dent")):
        part = table[(table["category"] == "nut") & table["defect"].isin(["good", defect])]
        expected = roc_auc_score(part["label"], part["pred_score"])
        assert by_category(results, metric) == {"toy/nut": pytest.approx(expected)}


def test_without_anomalous_images_there_are_no_values_but_no_exception():
    results = measure(scores_table().query("label == 0"))
    assert set(results["metric"]) == {"class_accuracy", "class_accuracy_normal"}
    assert value_of(results, "image_auroc") is None and by_category(results, "image_auroc") == {}


def test_a_score_that_is_not_finite_is_never_averaged_away():
    table = scores_table()
    table.loc[3, "pred_score"] = np.nan
    with pytest.raises(MetricError, match="not finite"):
        measure(table)


def test_class_accuracy_is_over_known_classes():
    table = scores_table()
    results = measure(table)
    assert value_of(results, "class_accuracy", POOLED) == pytest.approx(1 - (3 + 1) / 48)  # first of every eight: bolt
    shares = {"toy/nut": 7 / 8, "toy/bolt": 1, "toy/pin": 7 / 8}
    assert by_category(results, "class_accuracy") == pytest.approx(shares)
    table.loc[1, "pred_class"] = "toy/pin"
    assert value_of(measure(table), "class_accuracy_normal", POOLED) == pytest.approx(1 - (1 + 1 + 1) / 24)
    assert value_of(measure(table[table["label"] == 1]), "class_accuracy_normal") is None
    table.loc[table["category"] == "pin", "prompt_class"] = ""
    assert "toy/pin" not in by_category(measure(table), "class_accuracy")
    assert value_of(measure(table.assign(pred_class="")), "class_accuracy") is None

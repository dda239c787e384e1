"""Each pitfall does the mistake that it stands for, and nothing else."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mintad.course.lab.pitfalls import (
    SHRINK,
    choose_on_test,
    coarse,
    flipped,
    shrink_masks,
    ties_either_way,
    vanished_share,
)
from mintad.scoring import auroc


def test_flipping_makes_random_scores_look_better_than_chance():
    assert flipped([0.3, 0.7, 0.5]).tolist() == [0.7, 0.7, 0.5]
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [10, 20])
    values = np.array([auroc(rng.random(30), labels) for _ in range(300)])
    assert abs(values.mean() - 0.5) < 0.02 and flipped(values).mean() > 0.57


def test_ties_bound_the_definition():
    rng = np.random.default_rng(1)
    labels = rng.random(80) < 0.5
    scores = coarse(rng.random(80) + 0.3 * labels, 6)
    assert len(np.unique(scores)) == 6
    lost, half, won = ties_either_way(scores, labels)
    assert half == pytest.approx(roc_auc_score(labels, scores)) and lost < half - 0.03 and won > half + 0.03
    order = np.argsort(labels, kind="stable")  # normal first: a stable sort from the top then ranks them first
    for direction, expected in ((order, lost), (order[::-1], won)):
        ranked = labels[direction][np.argsort(-scores[direction], kind="stable")]
        above = np.cumsum(ranked)[~ranked] / ranked.sum()
        assert above.mean() == pytest.approx(expected)


def test_coarse_scores_keep_their_order_and_constant_ones_do_not_break():
    scores = np.random.default_rng(2).normal(size=200)
    assert (np.diff(coarse(scores, 7)[np.argsort(scores)]) >= 0).all()
    assert set(coarse(np.ones(4), 5)) == {0}


def test_masks_shrink_in_four_ways():
    masks = np.zeros((3, 32, 32), dtype=bool)
    masks[0, 0, 0] = masks[1, 4:20, 4:20] = True
    masks[2, 10:12, 10:13] = True
    shrunk = {how: shrink_masks(masks, 8, how) for how in SHRINK}
    assert all(small.shape == (3, 8, 8) and small.dtype == bool for small in shrunk.values())
    assert shrunk["any pixel"][0].sum() == 1
    assert not shrunk["nearest"][0].any() and not shrunk["bilinear > 0.5"][0].any()
    assert all(small[1, 1:5, 1:5].all() and small[1].sum() == 16 for small in shrunk.values())
    areas = {how: small.sum() for how, small in shrunk.items()}
    assert areas["bilinear > 0.5"] <= areas["bilinear > 0"] <= areas["any pixel"]
    with pytest.raises(ValueError, match="lanczos"):
        shrink_masks(masks, 8, "lanczos")


def test_vanished_share_counts_places():
    assert vanished_share(1, 64, 64) == 0 and vanished_share(4, 64, 16) == 0
    assert vanished_share(1, 64, 16) == pytest.approx(1 - 1 / 16)
    seen = 0
    for row in range(31):
        for column in range(31):
            mask = np.zeros((32, 32), dtype=bool)
            mask[row : row + 2, column : column + 2] = True
            seen += shrink_masks(mask[None], 7, "nearest").any()
    assert vanished_share(2, 32, 7) == pytest.approx(1 - seen / 31**2)


def test_choosing_on_test_is_optimistic_and_not_better():
    rng = np.random.default_rng(3)
    labels, categories = np.tile(np.repeat([0, 1], [10, 20]), 6), np.repeat(list("abcdef"), 30)
    scores = 1.0 * labels + rng.normal(size=(16, 180))  # sixteen equally good models
    overall, each = (choose_on_test(scores, labels, categories, each_category=how) for how in (False, True))
    assert overall.chosen.shape == overall.honest.shape == overall.last.shape == (200,)
    assert overall.chosen.mean() - overall.honest.mean() > 0.02
    assert each.chosen.mean() - each.honest.mean() > overall.chosen.mean() - overall.honest.mean() + 0.02
    alone = choose_on_test(scores[-1:], labels, categories)
    assert np.array_equal(alone.honest, alone.last) and np.array_equal(overall.last, alone.last)


def test_halves_together_are_the_whole():
    rng = np.random.default_rng(4)
    labels, categories = np.repeat([0, 1], 20), np.repeat("a", 40)
    scores = (labels + rng.normal(size=40))[None]
    choice = choose_on_test(scores, labels, categories, splits=400)
    assert choice.chosen.mean() == pytest.approx(auroc(scores[0], labels), abs=0.01)
    assert choice.last.mean() == pytest.approx(auroc(scores[0], labels), abs=0.01)

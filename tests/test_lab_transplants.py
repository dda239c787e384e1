"""Transplanted tokens: who can score them as anomalous, and who cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mintad.course.lab.transplants import transplant, transplant_auroc, transplant_auroc_by_pair

GRID = (4, 5)


def squared_norm(feat, label):
    return feat.square().sum(-1)


def distance_to_class(feat, label):
    return (feat - 3.0 * label).square().sum(-1)


def distance_to_image(feat, label):
    return (feat - feat.median(1, keepdim=True).values).square().sum(-1)


@pytest.fixture
def two_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 6 + [1] * 8)
    return torch.randn(14, 20, 3, generator=generator) + 3.0 * labels[:, None, None], labels


def test_a_square_of_tokens_keeps_its_place():
    receiving, donor = torch.zeros(30, 20, 3), torch.rand(30, 20, 3) + 1
    mixed, transplanted = transplant(receiving, donor, GRID, side=2, seed=1)
    assert torch.equal(mixed[transplanted], donor[transplanted]) and (mixed[~transplanted] == 0).all()
    for block in transplanted.unflatten(1, GRID):
        rows, columns = block.nonzero(as_tuple=True)
        assert block.sum() == 4 and rows.max() - rows.min() == 1 and columns.max() - columns.min() == 1
    assert len({tuple(block.tolist()) for block in transplanted}) > 3
    assert torch.equal(transplanted, transplant(receiving, donor, GRID, side=2, seed=1)[1])


def test_a_detector_that_scores_token_by_token_has_one_half_on_average(two_classes):
    aurocs = transplant_auroc_by_pair(squared_norm, *two_classes, GRID)
    assert set(aurocs) == {(0, 1), (1, 0)}
    assert aurocs[0, 1] > 0.9 and np.mean(list(aurocs.values())) == pytest.approx(0.5)


@pytest.mark.parametrize("detector", [distance_to_class, distance_to_image])
def test_a_detector_that_knows_the_class_or_the_image_is_above(two_classes, detector):
    assert min(transplant_auroc_by_pair(detector, *two_classes, GRID).values()) > 0.9


def test_where_all_tokens_are_transplanted_only_the_given_class_helps(two_classes):
    feat, labels = two_classes
    square = (feat[:, :16], labels, (4, 4))

    def distance_to_mean(feat, label):
        return (feat - feat.mean(1, keepdim=True)).square().sum(-1)

    by_image = transplant_auroc_by_pair(distance_to_mean, *square, side=4)
    by_class = transplant_auroc_by_pair(distance_to_class, *square, side=4)
    assert np.mean(list(by_image.values())) == pytest.approx(0.5) and min(by_class.values()) > 0.9


def test_a_network_on_single_tokens_has_exactly_one_half():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6))
    normal, classes = torch.randn(20, 9, 6), np.repeat(["a", "b"], 10)
    normal[10:] += 3
    assert transplant_auroc(network, normal, classes) == pytest.approx(0.5)


def test_a_network_that_sees_the_whole_image_is_above():
    normal, classes = torch.randn(20, 9, 6, generator=torch.Generator().manual_seed(0)), np.repeat(["a", "b"], 10)
    normal[10:] += 5
    assert transplant_auroc(lambda x: x.median(dim=1, keepdim=True).values.expand_as(x), normal, classes) > 0.95

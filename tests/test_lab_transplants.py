"""Guests: tokens of one category in an image of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mintad.course.lab.transplants import insert, noticed

GRID = (4, 5)


def test_a_square_of_the_guest_stands_where_it_stood():
    host, guest = torch.zeros(30, 20, 3), torch.rand(30, 20, 3) + 1
    mixed, where = insert(host, guest, GRID, side=2, seed=1)
    assert torch.equal(mixed[where], guest[where]) and (mixed[~where] == 0).all()
    for one in where.unflatten(1, GRID):
        rows, columns = one.nonzero(as_tuple=True)
        assert one.sum() == 4 and rows.max() - rows.min() == 1 and columns.max() - columns.min() == 1
    assert len({tuple(one.tolist()) for one in where}) > 3
    assert torch.equal(where, insert(host, guest, GRID, side=2, seed=1)[1])


@pytest.fixture
def two_kinds():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 6 + [1] * 8)
    return torch.randn(14, 20, 3, generator=generator) + 3.0 * labels[:, None, None], labels


def test_a_detector_that_scores_token_by_token_cannot_notice_guests(two_kinds):
    found = noticed(lambda feat, told: feat.square().sum(-1), *two_kinds, GRID)
    assert set(found) == {(0, 1), (1, 0)}
    assert found[0, 1] > 0.9 and np.mean(list(found.values())) == pytest.approx(0.5)


def test_one_that_knows_the_host_does(two_kinds):
    def told_the_class(feat, told):
        return (feat - 3.0 * told).square().sum(-1)

    def sees_the_company(feat, told):
        return (feat - feat.median(1, keepdim=True).values).square().sum(-1)

    for detector in (told_the_class, sees_the_company):
        assert min(noticed(detector, *two_kinds, GRID).values()) > 0.9


def test_a_whole_image_of_guests_is_noticed_by_those_alone_who_are_told(two_kinds):
    feat, labels = two_kinds
    square = feat[:, :16]
    company = noticed(lambda x, k: (x - x.mean(1, keepdim=True)).square().sum(-1), square, labels, (4, 4), side=4)
    told = noticed(lambda x, k: (x - 3.0 * k).square().sum(-1), square, labels, (4, 4), side=4)
    assert np.mean(list(company.values())) == pytest.approx(0.5) and min(told.values()) > 0.9

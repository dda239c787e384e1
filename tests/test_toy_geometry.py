"""Shapes of the toy: exact distances, samples on the support, the region between classes, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toy import SHAPES, Region, Shape, ToyError, make_shape
from toy.geometry import WINDOW, arc, lattice, polyline
from toy.measures import MARGIN, raggedness

EVERY = [(name, classes) for name, entry in SHAPES.items() for classes in range(entry.least, entry.most + 1)]


@pytest.mark.parametrize(("name", "classes"), EVERY)
def test_samples_lie_on_their_support_and_in_the_window(name, classes):
    shape = make_shape(name, classes)
    points, labels = shape.sample(300, np.random.default_rng(0))
    assert len(points) == len(labels) and set(labels) == set(range(classes))
    for k, region in enumerate(shape.regions):
        assert (region.distance(points[labels == k]) == 0).all()
    assert np.abs(points).max() < WINDOW


@pytest.mark.parametrize("name", SHAPES)
def test_distance_agrees_with_the_nearest_of_many_samples(name):
    rng = np.random.default_rng(1)
    for region in make_shape(name).regions:
        inside = region.sample(6000, rng)
        points = rng.uniform(-WINDOW, WINDOW, (40, 2))
        nearest = np.linalg.norm(points[:, None] - inside, axis=2).min(axis=1)
        distance = region.distance(points)
        assert (distance <= nearest + 1e-9).all()
        assert np.abs(distance - nearest)[distance > 0.05].max(initial=0) < 0.06


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_projection_is_the_nearest_point_of_the_support(seed):
    rng = np.random.default_rng(seed)
    region = Region(polyline(rng.uniform(-1, 1, (rng.integers(1, 5), 2))), rng.uniform(0.05, 0.4))
    points = rng.uniform(-WINDOW, WINDOW, (50, 2))
    foot = region.project(points)
    assert region.distance(foot).max() < 1e-9
    np.testing.assert_allclose(np.linalg.norm(points - foot, axis=1), region.distance(points), atol=1e-9)


def test_area_and_raggedness_of_a_disc():
    disc = Region(polyline((0.1, -0.2)), 0.6)
    for grid in (81, 121, 201):
        inside = (disc.distance(lattice(grid)) == 0).reshape(grid, grid)
        cell = (2 * WINDOW / (grid - 1)) ** 2
        assert inside.sum() * cell == pytest.approx(np.pi * 0.36, rel=0.02)
        assert raggedness(inside) == pytest.approx(1, abs=0.06)
    assert np.isnan(raggedness(np.zeros((9, 9), dtype=bool)))


def test_raggedness_counts_separate_discs_and_ignores_rotation():
    points = lattice(201)
    two = np.minimum(*(Region(polyline(c), 0.4).distance(points) for c in ((-0.7, 0), (0.7, 0)))) == 0
    assert raggedness(two.reshape(201, 201)) == pytest.approx(2, abs=0.1)
    bars = [Region(polyline(ends), 0.1) for ends in ([(-1, 0), (1, 0)], [(-0.707, -0.707), (0.707, 0.707)])]
    flat, tilted = (raggedness((bar.distance(points) == 0).reshape(201, 201)) for bar in bars)
    assert flat == pytest.approx(tilted, rel=0.06)


def test_samples_are_uniform_on_the_support():
    points = make_shape("blob").regions[0].sample(20_000, np.random.default_rng(0))
    radius = np.linalg.norm(points, axis=1)
    assert (radius < 0.35 / np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.02)


def test_weights_set_the_shares_of_the_classes():
    _, labels = make_shape("unbalanced").sample(1300, np.random.default_rng(0))
    assert np.bincount(labels).tolist() == [1000, 200, 100]


def test_between_is_the_disc_over_the_gap():
    shape = Shape("pair", [Region(polyline((-0.8, 0)), 0.2), Region(polyline((0.8, 0)), 0.2)])
    inside = np.array([(0, 0), (0, 0.3), (0.5, 0)])
    outside = np.array([(0, 1.2), (-1.3, 0), (0.8, 0), (-0.8, 0.5)])  # far above, behind, on a support, beside one
    assert shape.between(inside).all() and not shape.between(outside).any()
    assert not make_shape("blob").between(lattice(21)).any()
    nested = make_shape("nested")
    assert nested.between([(0.5, 0)]).all() and not nested.between([(0, 1.3)]).any()


@pytest.mark.parametrize("name", [name for name, entry in SHAPES.items() if entry.most > 1])
def test_every_multi_class_shape_has_a_region_between(name):
    shape, points = make_shape(name), lattice(121)
    off = shape.distances(points).min(axis=1) > MARGIN
    assert (shape.between(points) & off).sum() >= 50


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("moonz", None, "Did you mean 'moons'.*Allowed: blob, blobs"),
        ("blobs", 1, r"2 to 8 class\(es\), not 1"),
        ("moons", 3, r"has 2 class\(es\), not 3"),
    ],
)
def test_unknown_shapes_and_counts_list_what_is_allowed(name, classes, message):
    with pytest.raises(ToyError, match=message):
        make_shape(name, classes)


def test_arcs_and_closed_lines():
    assert np.allclose(np.linalg.norm(arc((1, 1), 0.5, 0, 90) - 1, axis=1), 0.5)
    assert polyline([(0, 0), (1, 0), (1, 1)], closed=True).shape == (3, 2, 2)
    assert polyline((1, 2)).tolist() == [[[1, 2], [1, 2]]]

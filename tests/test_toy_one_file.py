"""toy/one_file.py stands alone and computes what the package computes."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import toy
from toy import Settings, compare, make_shape, one_file
from toy.experiment import draw_data
from toy.geometry import lattice
from toy.measures import Plane
from toy.models import Autoencoder, QueryPool
from toy.train import Job, train

SMALL = {"STEPS": 150, "WIDTH": 16, "TRAIN_POINTS": 200, "HELD_OUT": 60, "SEEDS": (0,), "GRID": 61}
SETTINGS = Settings(steps=150, width=16, train_points=200, held_out=60, grid=61)
MODELS = {"autoencoder": "ae", "denoising AE": "dae", "class-aware denoising AE": "query_pool"}
"""Title in the file -> name in the package."""


@pytest.fixture
def small(monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(one_file, name, value)
    monkeypatch.setattr(one_file, "AXIS", np.linspace(-one_file.WINDOW, one_file.WINDOW, SMALL["GRID"]))


def test_it_stands_alone_and_is_short():
    source = Path(one_file.__file__).read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    packages = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) for node in imports}
    assert {name.split(".")[0] for name in packages} == {"math", "zlib", "numpy", "torch", "plotly"}
    assert len(source.splitlines()) <= 150


def test_its_settings_are_the_packages():
    settings = Settings()
    names = ("TRAIN_POINTS", "HELD_OUT", "WIDTH", "DEPTH", "STEPS", "BATCH", "LR", "GRID")
    assert all(getattr(one_file, name) == getattr(settings, name.lower()) for name in names)
    assert {sigma for _, sigma in one_file.MODELS.values()} == {0.0, settings.sigma}
    assert (one_file.WINDOW, one_file.MARGIN) == (toy.geometry.WINDOW, toy.measures.MARGIN)


def test_it_draws_the_packages_points(small):
    points, labels, held_out = one_file.draw_points(3)
    expected = draw_data(make_shape("moons"), 3, SETTINGS)
    np.testing.assert_allclose(points, expected.points, atol=1e-12)
    assert np.array_equal(labels, expected.labels)
    np.testing.assert_allclose(held_out, expected.held_out, atol=1e-12)


@pytest.mark.parametrize(("class_aware", "build"), [(False, Autoencoder), (True, QueryPool)])
def test_it_trains_the_packages_networks(small, class_aware, build):
    """Same weights, batches and noise; rounding differs between one network and a stack: 1e-4 after 150 steps."""
    points, labels, _ = one_file.draw_points(0)
    network = one_file.train(class_aware, 0.15, points, labels, 0)
    stack = train(build, [Job(points, labels, 0.15, 0)], 2, SETTINGS)
    views = [stack.reconstruct(lattice(21), k if class_aware else None)[0] for k in range(2 if class_aware else 1)]
    lengths = np.stack([np.linalg.norm(view - lattice(21), axis=1) for view in views], axis=1)
    np.testing.assert_allclose(one_file.errors(network, lattice(21)), lengths, atol=1e-4)


def test_its_measures_are_the_packages(small):
    """Both count lattice points, so only a point on the boundary may differ: one in the gap, two in the area."""
    shape = make_shape("moons")
    plane = Plane.of(shape, SETTINGS.grid)
    tolerance = {
        "interclass_accepted": 1.1 / plane.between_P.sum(),
        "area_ratio": 2.1 / (plane.distance_PK.min(axis=1) == 0).sum(),
    }
    summary = compare(shape, list(MODELS.values()), seeds=1, settings=SETTINGS).summary()
    results = {title: measures for title, _, measures in one_file.experiment(0)}
    assert list(results) == list(MODELS)
    for title, model in MODELS.items():
        for measure, allowed in tolerance.items():
            assert results[title][measure] == pytest.approx(summary[model][measure]["mean"], abs=allowed)


def test_it_writes_a_figure_and_prints_every_model_and_seed(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(one_file, "FIGURE", str(tmp_path / "figure.html"))
    monkeypatch.setattr(one_file, "SEEDS", (0, 1))
    monkeypatch.setattr(one_file, "STEPS", 5)
    one_file.main()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2 * len(MODELS) and all(title in printed for title in MODELS)
    assert all(title in (tmp_path / "figure.html").read_text(encoding="utf-8") for title in MODELS)

"""The toy's networks, their joint training, thresholds and measures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from toy import MODELS, Settings, ToyError, compare, make_shape
from toy.context import CONTEXT, context_detector
from toy.decisions import Detector, decide
from toy.experiment import decisions_at, draw_data
from toy.geometry import lattice
from toy.layers import ModulatedSiren
from toy.measures import Plane, disagreement, interval, measure, projection_index
from toy.models import Autoencoder, INRUnlabelled
from toy.sweeps import sweep
from toy.train import Job, train

TINY = Settings(width=8, steps=6, batch=16, train_points=60, held_out=20, grid=21)


NAMES = list(MODELS)  # as imported: a notebook's exercise registers more
"""Names of the package's own models."""


def test_names_and_order():
    assert NAMES == ["ae", "dae", "dae_separate", "label", "query_pool", "inr", "inr_unlabelled"]


@pytest.mark.parametrize("kind", sorted({kind.build for kind in MODELS.values()}, key=lambda build: build.__name__))
def test_networks_have_shapes_and_gradients(kind):
    torch.manual_seed(0)
    network = kind(3, TINY)
    labels = torch.nn.functional.one_hot(torch.arange(5) % 3, 3).float()
    result = network(torch.randn(5, 2), labels)
    points, logits = result if isinstance(result, tuple) else (result, None)
    assert points.shape == (5, 2) and (logits is None or logits.shape == (5, 3))
    (points.square().sum() + (0 if logits is None else logits.square().sum())).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


@torch.no_grad()
def test_siren_follows_equation_8():
    torch.manual_seed(1)
    siren = ModulatedSiren(dataclasses.replace(TINY, omega=7.0), layers=3)
    token = torch.randn(2, TINY.token_width)
    for n in range(2):
        h = siren.position.tolist()
        alpha = h + token[n].tolist()
        for i, (sine, modulator) in enumerate(zip(siren.sines, siren.modulators, strict=True)):
            alpha = [max(0, a) for a in by_hand(modulator, alpha)]
            h = [a * np.sin((7 if i == 0 else 1) * phase) for a, phase in zip(alpha, by_hand(sine, h), strict=True)]
        np.testing.assert_allclose(siren(token)[n], by_hand(siren.output, h), atol=1e-4)


def by_hand(layer, values):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [sum(w * v for w, v in zip(row, values, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


@pytest.mark.parametrize("build", [Autoencoder, INRUnlabelled])
def test_training_together_is_training_alone(build):
    rng = np.random.default_rng(0)
    jobs = [Job(rng.normal(size=(40, 2)), rng.integers(0, 2, 40), 0.1 * n, n) for n in range(3)]
    settings = dataclasses.replace(TINY, steps=40)
    together = train(build, jobs, 2, settings)
    points = lattice(9)
    for n, job in enumerate(jobs):
        alone = train(build, [job], 2, settings)
        np.testing.assert_allclose(together.reconstruct(points)[n], alone.reconstruct(points)[0], atol=2e-4)
    assert np.abs(np.diff(together.reconstruct(points), axis=0)).max() > 0.01, "the networks are all alike"


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(Autoencoder, [Job(np.zeros((4, 2)), np.zeros(4, dtype=int), 0.0, 0)], 1, TINY)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shape", ["blob", "moons", "letters"])
def test_every_model_runs_on_one_two_and_four_classes(shape):
    comparison = compare(shape, NAMES, seeds=2, settings=TINY)
    assert set(comparison.table["model"]) == set(NAMES)
    values = comparison.table.pivot_table(
        index="measure", values="value", aggfunc=lambda v: v.notna().all(), dropna=False
    )["value"]
    between = {"interclass_accepted", "auroc_interclass"}
    assert all(
        values[name] == (shape != "blob" or name not in between) for name in values.index if name != "raggedness"
    )


def identity_detector():
    return Detector("copy", lambda p: np.zeros((1, len(p), 1)), False, lambda p: p[None, :, None].copy())


def projecting_detector(shape):
    """Moves every point exactly to its nearest support."""

    def reconstruct(points):
        feet = np.stack([region.project(points) for region in shape.regions])
        return feet[shape.distances(points).argmin(axis=1), np.arange(len(points))][None, :, None]

    raw = lambda points: np.linalg.norm(reconstruct(points) - points[None, :, None], axis=-1)  # noqa: E731
    return Detector("ideal", raw, False, reconstruct)


def test_projection_index_of_a_copy_and_of_a_projection():
    shape = make_shape("rings")
    copy, ideal = identity_detector(), projecting_detector(shape)
    assert projection_index(Plane.of(shape, 31), copy) == pytest.approx(0)
    assert projection_index(Plane.of(shape, 31), ideal) == pytest.approx(1)


def test_projection_index_of_a_model_that_needs_the_label_is_by_class():
    shape = make_shape("moons")
    by_class = lambda points: np.stack([region.project(points) for region in shape.regions], axis=1)[None]  # noqa: E731
    raw = lambda points: np.linalg.norm(by_class(points) - points[None, :, None], axis=-1)  # noqa: E731
    assert projection_index(Plane.of(shape, 31), Detector("by class", raw, True, by_class)) == pytest.approx(1)


def test_measures_of_an_ideal_detector():
    shape = make_shape("nested")
    data = draw_data(shape, 0, dataclasses.replace(TINY, held_out=50))
    ideal = decide(projecting_detector(shape), data.held_out, 0.95)
    values = measure(Plane.of(shape, 101), ideal, np.concatenate(data.test))
    assert values["area_ratio"] == pytest.approx(1, abs=0.01) and values["interclass_accepted"] == 0
    assert values["auroc_uniform"] == values["auroc_interclass"] == 1


@pytest.mark.parametrize("tpr", [0.8, 0.95])
def test_thresholds_reach_the_true_positive_rate(tpr):
    rng = np.random.default_rng(0)
    held_out = [rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 5]
    views = lambda p: np.stack([np.linalg.norm(p, axis=1), np.linalg.norm(p - 5, axis=1)], axis=1)[None]  # noqa: E731
    by_class = decide(Detector("by class", views, True), held_out, tpr)
    pooled = decide(Detector("pooled", lambda p: views(p).min(axis=2, keepdims=True), False), held_out, tpr)
    for k, points in enumerate(held_out):
        scores = by_class.view_scores(points)[0, :, k]
        assert tpr <= (scores <= 1).mean() <= tpr + 0.01
    assert tpr <= pooled.accepts(np.concatenate(held_out)).mean() <= tpr + 0.01
    union = (by_class.view_scores(lattice(31)) <= 1).any(axis=2)
    assert np.array_equal(by_class.accepts(lattice(31)), union), "it must accept what any class accepts"


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("name", CONTEXT)
def test_context_detectors_find_what_lies_far_off(name, separate):
    shape = make_shape("blobs", 2)
    data = draw_data(shape, 0, dataclasses.replace(TINY, train_points=200, held_out=60))
    detector = context_detector(name, [(data.points, data.labels)], 2, separate=separate)
    decisions = decide(detector, data.held_out, 0.95)
    assert decisions.accepts(np.concatenate(data.test)).mean() > 0.75
    assert not decisions.accepts(np.array([[0.0, 1.4], [0.0, -1.4]])).any()


def test_intervals_are_students():
    values = [0.1, 0.4, 0.35, 0.2, 0.5]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert interval(values) == pytest.approx({"mean": np.mean(values), "low": low, "high": high})
    assert interval([0.3]) == {"mean": 0.3, "low": None, "high": None}
    assert interval([np.nan]) == {"mean": None, "low": None, "high": None}


def test_disagreement_is_the_mean_difference_to_the_others():
    assert disagreement(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)).tolist() == [1.5, 1.0, 1.5]


def test_recorded_steps_have_decisions_of_their_own():
    comparison = compare("moons", ["dae", "inr"], seeds=1, settings=TINY, record=[0, 3, 6])
    points = lattice(11)
    start, end = (decisions_at(comparison, "inr", step).detector.raw(points) for step in (0, 6))
    np.testing.assert_allclose(end, comparison.decisions["inr"].detector.raw(points), atol=1e-6)
    assert not np.allclose(start, end)
    with pytest.raises(ToyError, match="step 4 was not recorded"):
        decisions_at(comparison, "dae", 4)
    with pytest.raises(ToyError, match="unknown model 'ea'"):
        decisions_at(comparison, "ea", 0)


def test_sweeps_name_the_setting():
    table = sweep("blobs", "classes", [2, 3], ["dae"], seeds=1, settings=TINY)
    assert table.groupby("setting_value")["setting"].first().to_dict() == {2: "classes", 3: "classes"}
    with pytest.raises(ToyError, match="unknown setting 'widht'. Did you mean 'width'"):
        sweep("blobs", "widht", [2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["dea"]}, "unknown model 'dea'. Did you mean 'dae'"),
        ({"models": []}, "no model named. Allowed: ae, dae"),
        ({"tpr": 1.0}, "between 0 and 1"),
        ({"tpr": 0.0}, "between 0 and 1"),
        ({"seeds": 0}, "at least 1, not 0"),
        ({"classes": 1}, r"2 class\(es\), not 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ToyError, match=message):
        compare("moons", **arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sigma", -0.1, "sigma must be 0 or more, not -0.1"),
        ("sigma", float("nan"), "finite"),
        ("width", 0, "width must be a whole number of at least 1"),
        ("depth", 1.5, "whole number"),
        ("lr", 0.0, "lr must be above 0"),
        ("activation", "rel", "Did you mean 'relu'"),
        ("grid", 5, "at least 21"),
        ("held_out", 3, "at least 20"),
    ],
)
def test_bad_settings_are_refused(name, value, message):
    with pytest.raises(ToyError, match=message):
        Settings(**{name: value})

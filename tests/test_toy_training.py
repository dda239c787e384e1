"""The toy's training in stacks: both ways of running agree, threads do not interfere, new shapes and models join."""

from __future__ import annotations

import ast
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import toy
from toy import MODELS, SHAPES, Region, Settings, ToyError, compare, make_shape, model, shape
from toy.decisions import decide
from toy.experiment import draw_data, train_models
from toy.geometry import lattice, polyline
from toy.layers import mlp
from toy.models import Autoencoder, INRQuery, find_models
from toy.parallel import parallel_map
from toy.stacking import runs_on_stacks
from toy.train import Job, train

TINY = Settings(width=8, steps=30, batch=16, train_points=80, held_out=40, grid=21)
ROOT = Path(toy.__file__).resolve().parent
BUILDS = sorted({kind.build for kind in MODELS.values()}, key=lambda build: build.__name__)


class OneNetwork(nn.Module):
    """`Autoencoder` as one would write it for a single network."""

    def __init__(self, classes, settings):
        super().__init__()
        self.net = mlp(2, 2, settings)
        for n, layer in enumerate(self.net):
            if isinstance(layer, nn.Linear):
                self.net[n] = nn.Linear(layer.in_features, layer.out_features)
                self.net[n].load_state_dict(layer.state_dict())

    def forward(self, x, label):
        return self.net(x)


class WrongBroadcast(nn.Module):
    """Runs on stacks and gives the right shapes, but mixes the networks."""

    def __init__(self, classes, settings):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, label):
        return x * self.scale.mean()


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("build", BUILDS)
def test_the_models_run_on_stacks(build, classes):
    assert runs_on_stacks(build(classes, TINY), classes)


@pytest.mark.parametrize("build", [OneNetwork, WrongBroadcast])
def test_a_forward_for_one_network_is_found_out(build):
    assert not runs_on_stacks(build(2, TINY), 2)


def test_both_ways_of_running_a_stack_train_the_same_networks():
    rng = np.random.default_rng(0)
    jobs = [Job(rng.normal(size=(40, 2)), rng.integers(0, 2, 40), 0.1, seed) for seed in range(2)]
    fast, slow = (train(build, jobs, 2, TINY).reconstruct(lattice(9)) for build in (Autoencoder, OneNetwork))
    np.testing.assert_allclose(fast, slow, atol=1e-4)


def test_a_query_per_class_is_the_query_of_each_point():
    torch.manual_seed(0)
    network = INRQuery(3, TINY)
    labels = torch.eye(3)[[0, 2, 1, 2]]
    with torch.no_grad():
        each = network.siren(labels @ network.tokens)
        torch.testing.assert_close(labels @ network.siren(network.tokens), each)


def test_reconstructing_from_many_threads_is_reconstructing_from_one():
    made = make_shape("moons")
    data = [draw_data(made, seed, TINY) for seed in range(2)]
    detectors = train_models(find_models(["ae", "dae", "dae_separate", "inr"]), made, data, TINY)
    points = lattice(41)
    alone = [detector.raw(points) for detector in detectors]
    together: dict[int, np.ndarray] = {}
    work = lambda n: together.setdefault(n, detectors[n % 4].raw(points))  # noqa: E731
    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(together[n], alone[n % 4]) for n in range(16))


def test_parallel_map_keeps_order_errors_and_threads():
    before = torch.get_num_threads()
    assert parallel_map(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 / n, [1, 0])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["dae", "inr"])
def test_a_class_alone_has_a_threshold_of_its_own(name):
    comparison = compare("moons", [name], seeds=2, settings=TINY)
    decisions = comparison.decisions[name]
    for k in range(2):
        normals = np.concatenate([seed_data.held_out[k] for seed_data in comparison.data])
        assert (abs(decisions.of_class(k).accepts(normals).mean(axis=1) - 0.95) <= 0.02).all()
    if name == "inr":  # it accepts what any class accepts
        each = [decisions.of_class(k).accepts(lattice(21)) for k in range(2)]
        assert np.array_equal(each[0] | each[1], decisions.accepts(lattice(21)))
    assert decisions.of_class(None) is decisions
    with pytest.raises(ToyError, match="no class 2. Allowed: 0 to 1"):
        decisions.of_class(2)


def test_thresholds_of_scikit_learn_detectors_have_classes_too():
    comparison = compare("blobs", ["ae"], classes=2, seeds=1, settings=TINY, context=True)
    for name in ("kde", "kde_separate"):
        class_1 = comparison.decisions[name].of_class(1)
        assert class_1.accepts(comparison.data[0].held_out[1]).mean() == pytest.approx(0.95, abs=0.03)
        again = decide(class_1.detector, [comparison.data[0].held_out[1]], 0.95)
        assert np.array_equal(again.threshold_SV, class_1.threshold_SV)


def test_whole_numbers_may_come_as_floats_and_nothing_else_may():
    assert type(Settings(width=64.0).width) is int
    for value in ("64", True, None, 8.5):
        with pytest.raises(ToyError, match="width must be a whole number of at least 1"):
            Settings(width=value)
    with pytest.raises(ToyError, match="sigma must be a finite number"):
        Settings(sigma="0.1")


@pytest.fixture
def registries():
    """Names registered in a test are gone after it."""
    before = dict(SHAPES), dict(MODELS)
    yield
    for registry, names in zip((SHAPES, MODELS), before, strict=True):
        registry.clear()
        registry.update(names)


def test_ones_own_shape_and_model_join_by_name(registries):
    @shape("bars", least=2, most=4, usual=3)
    def bars(classes):
        return [Region(polyline([(-1, y), (1, y)]), 0.1) for y in np.linspace(-0.9, 0.9, classes)]

    @model("gated", jitter=True, needs_label=True)
    class Gated(nn.Module):
        def __init__(self, classes, settings):
            super().__init__()
            self.encoder = mlp(2, settings.width, settings, 1)
            self.gate = nn.Parameter(torch.randn(classes, settings.width))
            self.decoder = mlp(settings.width, 2, settings, 2)

        def forward(self, x, label):
            return self.decoder(self.encoder(x) * (label @ self.gate))

    comparison = compare("bars", ["dae", "gated"], seeds=2, settings=Settings(steps=200, width=32))
    assert comparison.shape.classes == 3
    gap = {name: rows["auroc_interclass"]["mean"] for name, rows in comparison.summary().items()}
    assert gap["gated"] > gap["dae"] + 0.1


def imports_of(package, path):
    """Modules of a package that a file imports anywhere, also inside functions."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name for name in names if name.split(".")[0] == package}


def test_the_toy_uses_three_modules_of_mintad_and_no_image_model():
    used = set.union(*(imports_of("mintad", path) for path in ROOT.glob("*.py")))
    assert used == {"mintad.errors", "mintad.threads", "mintad.plots.theme"}


def test_of_mintad_only_the_course_uses_the_toy():
    package = ROOT.parent / "mintad"
    users = {path.relative_to(package).parts[0] for path in package.rglob("*.py") if imports_of("toy", path)}
    assert users == {"course"}


def test_files_are_short():
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 200 for path in ROOT.glob("*.py"))

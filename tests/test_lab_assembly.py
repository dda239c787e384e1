"""A MINT-AD put together from functions: the package's numbers, its training, and whose functions are used."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from grade_builders import hand_in, solutions
from synthetic import TRAIN, changed_model, fresh_model, two_categories

from mintad.config import Config
from mintad.course import notebook, own_functions
from mintad.course.checks import inr, prior, tokens, transformer
from mintad.course.checks import training as checks
from mintad.course.checks.training import reference_whole_loss, reference_whole_model
from mintad.course.lab import assembly, by_hand
from mintad.course.lab.assembly import Functions, Net
from mintad.course.points import load_points
from mintad.errors import ConfigError, DataError
from mintad.training import train

MODULES = (transformer, transformer, tokens, tokens, inr, prior, prior)
FUNCTIONS = Functions(
    *(getattr(m, f"reference_{name}") for m, name in zip(MODULES, Functions.__annotations__, strict=True))
)
CONFIG = Config(train=TRAIN).override(**{"train.mse_reduction": "token", "train.prior_reduction": "element"})


@pytest.fixture
def trained():
    """What `by_hand` takes of a run: a model of two layers each, with a mask, and data."""
    features, labels = two_categories()
    model = fresh_model(changed_model(encoder_layers=2, decoder_layers=2, neighbour_mask=3))
    model.standardise.fit([features.array])
    prepared = SimpleNamespace(features=features, train_rows=np.arange(len(labels)), train_labels=labels)
    return SimpleNamespace(model=model, config=CONFIG, prepared=prepared)


def test_from_functions_it_is_the_packages_model(trained):
    found = by_hand.differences(reference_whole_model, reference_whole_loss, FUNCTIONS, trained)
    assert set(found) == {"reconstruction", "class logits", "mean of the prior", "loss"}
    assert max(found.values()) <= 1e-5


def test_a_wrong_part_shows_as_a_difference(trained):
    without_noise = lambda feat, noise, net, fn: reference_whole_model(feat, 0 * noise, net, fn)  # noqa: E731
    found = by_hand.differences(without_noise, reference_whole_loss, FUNCTIONS, trained)
    assert found["reconstruction"] > 1e-3 and found["class logits"] == 0


def test_the_comparison_leaves_the_model_ready_for_use(trained):
    trained.model.eval()
    by_hand.differences(reference_whole_model, reference_whole_loss, FUNCTIONS, trained)
    assert not any(module.training for module in trained.model.modules())


def test_the_training_goes_the_packages_way(trained, tmp_path, monkeypatch):
    fresh = lambda *_: fresh_model(changed_model(dropout=0.1, encoder_layers=2, decoder_layers=2))  # noqa: E731
    monkeypatch.setattr(by_hand, "new_model", fresh)
    data = trained.prepared
    package = fresh()
    train(package, data.features, data.train_rows, data.train_labels, CONFIG.train, tmp_path, progress=False)
    mine = by_hand.train(reference_whole_model, reference_whole_loss, FUNCTIONS, CONFIG, data)
    assert not mine.model.training
    for name, weights in package.named_parameters():
        torch.testing.assert_close(mine.model.get_parameter(name), weights, rtol=1e-3, atol=2e-4, msg=name)
    feat = data.features.array[:4]
    torch.testing.assert_close(mine.anomaly_map(feat), package.anomaly_map(feat), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("key", "value"),
    [("prior_loss", False), ("query_layers", "first"), ("inr.modulator_skip", True), ("prompt_mapper.token_std", 2.0)],
)
def test_a_model_with_other_parts_is_refused_by_key(key, value):
    with pytest.raises(ConfigError, match=key.partition(".")[0]):
        Net(fresh_model(changed_model(**{key: value})))


def test_a_source_is_shown_without_its_docstring(capsys):
    assembly.show_source(Net.__init__)
    assembly.show_source(assembly.Sine.__call__)
    shown = capsys.readouterr().out
    assert "_require_plain(model)" in shown and "return self.omega * self.linear(x)" in shown
    assert '"""' not in shown and "sine's argument" not in shown


def test_the_function_that_passed_is_used_and_no_other(capsys, monkeypatch):
    monkeypatch.setattr("mintad.course.checks.exercise._passed", {})
    reference = checks.reference_epochs

    def mine(steps, batch, images):
        return steps / (images // min(batch, images))

    assert notebook.mine_or_reference(None, reference) is reference
    assert notebook.mine_or_reference(mine, reference) is reference  # not checked yet
    with pytest.raises(checks.require.__globals__["CheckFailed"]):
        checks.check_epochs(lambda *_: 1)
    checks.check_epochs(mine)
    assert notebook.mine_or_reference(mine, reference) is mine
    assert notebook.mine_or_reference(lambda *a: mine(*a), reference) is reference
    lines = [line[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["○", "✗", "✓", "✓", "✗"]


def test_functions_come_from_the_notebooks_and_the_reference_where_they_are_open_or_wrong(tmp_path, capsys):
    hand_in(
        tmp_path, "04", solutions(own_path("04")) | {"feature_jitter": "def feature_jitter(x, e, a):\n    return x"}
    )
    hand_in(tmp_path, "06", {"prompt_mapper": "1 / 0\nprompt_mapper = 3", "cross_entropy": "cross_entropy = ("})
    hand_in(tmp_path, "07", solutions(own_path("07")))
    found = own_functions.from_notebooks(tmp_path)
    own = {name for name in own_functions.PLACES if getattr(found, name) is not getattr(FUNCTIONS, name)}
    assert own == {"decoder_layer", "modulated"}
    says = dict(line[2:].split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert says["modulated"] == "yours, from notebook 07"
    assert "yours in notebook 04: ✗" in says["feature_jitter"] and "cannot be read" in says["cross_entropy"]
    assert "no 08_prior_loss.ipynb" in says["reduce"]


def test_places_are_those_of_the_points():
    tables = load_points().notebooks
    for name, (stem, module) in own_functions.PLACES.items():
        assert tables[stem][name].check == f"{module}.{name}"
    assert list(own_functions.PLACES) == list(Functions.__annotations__)


def own_path(number):
    return own_functions.find_notebooks((number,), None)[0]


def test_functions_come_from_the_working_directory(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path, "08", solutions(own_path("08")))
    monkeypatch.chdir(tmp_path)
    found = own_functions.from_notebooks()
    assert found.reduce is not FUNCTIONS.reduce and found.modulated is FUNCTIONS.modulated


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(DataError):
        own_functions.from_notebooks(tmp_path)
    (tmp_path / "08_prior_loss.ipynb").write_text(json.dumps({"no": "cells"}), encoding="utf-8")
    assert own_functions.from_notebooks(tmp_path).reduce is FUNCTIONS.reduce

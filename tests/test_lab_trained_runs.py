"""A finished run, unified or separate: its models and its image features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from synthetic import SMALL

from mintad.course.lab.trained_runs import image_features, runs_by_category
from mintad.data.mini import MiniParameters, make_mini
from mintad.errors import MintadError
from mintad.runs.experiment import configure, train_setting
from mintad.runs.shared import TrainedRun

TINY = SMALL | {"train.steps": 2, "train.log_every": 1}
SETTINGS = ("unified", "separate")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Yield a run in each setting, on the same two categories."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        parameters = MiniParameters(categories=("mesh", "capsule"), n_train=8, n_test_good=3, n_test_defect=1, size=64)
        root = make_mini(tmp_path_factory.mktemp("products") / "set", parameters)
        config = configure(preset="fast", data="folder", root=str(root), variant="label_prompt", overrides=TINY)
        folder = tmp_path_factory.mktemp("runs")
        yield {setting: train_setting(config, setting, folder / setting) for setting in SETTINGS}


def test_a_unified_run_is_its_own_only_model(runs):
    assert runs_by_category(runs["unified"]) == {"all categories": runs["unified"]}
    trained = TrainedRun.load(runs["unified"])
    assert trained.config.train.steps == 2 and not trained.model.training
    assert {parameter.device for parameter in trained.model.parameters()} == {torch.device("cpu")}


def test_a_separate_run_has_a_model_per_category(runs):
    by_category = runs_by_category(runs["separate"])
    assert set(by_category) == {"folder/capsule", "folder/mesh"} and all(run.finished for run in by_category.values())
    with pytest.raises(MintadError):
        TrainedRun.load(runs["separate"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_image_features_are_means_over_tokens_in_standard_deviations(runs, setting):
    before, after, keys, labels = image_features(runs[setting])
    scores = runs[setting].scores()
    assert before.shape == after.shape == (len(scores), before.shape[1]) and len(keys) == len(labels) == len(scores)
    assert set(keys) == {"folder/capsule", "folder/mesh"} and sum(labels) == scores["label"].sum()
    spread = before.std(axis=0)
    np.testing.assert_allclose(spread[spread > 1e-3], 1, rtol=1e-3)

    trained = TrainedRun.load(runs["unified"])
    raw = trained.features.gather(trained.rows(split="test")).mean(dim=1).numpy()
    order, raw_order = np.argsort(before[:, 0]), np.argsort(raw[:, 0])
    np.testing.assert_allclose(before[order], raw[raw_order] / raw.std(axis=0), rtol=1e-2, atol=1e-2)

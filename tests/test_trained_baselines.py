"""What all baselines that train a network have in common: runs, progress, finite maps, seeded random numbers."""

import logging

import pytest
import torch
from baseline_builders import GRID, QUICK, fitted, normal_images, quick
from synthetic import small

from mintad.baselines import BASELINES
from mintad.errors import TrainingError
from mintad.runs.baselines import evaluate_baseline, fit_baseline
from mintad.runs.prepare import prepare_data

TRAINED = [name for name in BASELINES.trained() if name in BASELINES.on_features()]
CATEGORIES = ["folder/capsule", "folder/mesh"]


@pytest.fixture(scope="module")
def data(products, cache):
    return prepare_data(small(products), progress=False)


def test_the_registry_knows_which_train_a_network():
    assert {"simplenet", "cfa", "cflow", "utrad"} <= set(TRAINED)
    assert not {"padim", "patchcore", "nearest", "kmeans"} & set(TRAINED)


@pytest.mark.parametrize("separate", [False, True])
def test_a_run_evaluates_it_unified_and_one_per_category(separate, data, products):
    """With the one that is told the category in training and test; how a run does it does not depend on the method."""
    name = "hvq_trans_told"
    results = evaluate_baseline(name, data, small(products), separate=separate, options=QUICK[name]).results
    values = results[results["metric"] == "image_auroc"].set_index("category")["value"]
    assert set(results["setting"]) == {"separate" if separate else "unified"}
    assert set(CATEGORIES) < set(values.index) and values.between(0, 1).all()


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_tells_it_the_stages_and_the_log_its_progress(name, data, products, caplog):
    caplog.set_level(logging.INFO)
    baseline, features, own = fit_baseline(name, data, small(products), options=QUICK[name], progress=True)
    assert sum(baseline.context.stages) == features.channels and len(baseline.context.stages) == len(
        own.features.reductions
    )
    steps = QUICK[name]["steps"]
    assert f"training {baseline.title} {steps}/{steps}" in caplog.text and "loss" in caplog.text


def test_without_progress_the_log_is_silent(data, products, caplog):
    caplog.set_level(logging.INFO)
    fit_baseline("cfa", data, small(products), options=QUICK["cfa"])
    assert "training" not in caplog.text


@pytest.mark.parametrize("name", TRAINED)
def test_its_map_is_finite_has_the_grid_and_needs_no_gradient(name):
    images = normal_images(6)
    baseline = fitted(quick(name), images)
    maps = baseline.anomaly_map(100 * images)  # far from all that it saw
    assert maps.shape == (6, *GRID) and maps.dtype == torch.float32
    assert torch.isfinite(maps).all() and not maps.requires_grad
    one = fitted(quick(name), images[:1])
    assert torch.isfinite(one.anomaly_map(images)).all()


@pytest.mark.parametrize("name", TRAINED)
def test_values_that_are_not_finite_are_refused_by_its_name(name):
    images = normal_images(4)
    images[2, 3, 1] = torch.nan
    with pytest.raises(TrainingError, match=BASELINES[name].title):
        fitted(quick(name), images)


@pytest.mark.parametrize("name", TRAINED)
def test_it_leaves_the_global_generator_alone(name):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fitted(quick(name), normal_images(4))
    assert torch.equal(torch.rand(3), expected)

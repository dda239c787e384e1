"""benchmarks/synthetic_defects.py: a baseline there is fitted as beside a run."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from baseline_builders import QUICK
from synthetic import small

from mintad.runs.baselines import published
from mintad.runs.prepare import prepare_data

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("name", ["hvq_trans", "hvq_trans_told"])
def test_a_baseline_knows_the_classes_the_seed_and_its_options(products, monkeypatch, name):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    module = importlib.import_module("synthetic_defects")
    changes = {"train.seed": 5, "baselines.options": {name: QUICK[name]}, "baselines.length": 0.5}
    config = published(name, small(products, **changes))
    data = prepare_data(config, progress=False)
    test = module.SyntheticTest.from_holdout(data, config.features.image_size)
    fitted, evaluate = [], module.evaluate
    monkeypatch.setattr(module, "evaluate", lambda *given: fitted.append(given[0]) or evaluate(*given))
    values = module.evaluate_baseline(name, data, config, test)
    [baseline] = fitted
    assert (baseline.classes, baseline.seed, baseline.planned_steps) == (data.classes, 5, QUICK[name]["steps"] // 2)
    assert baseline.options["codes"] == QUICK[name]["codes"] and 0 <= values[0]["mean", "image_auroc_max"] <= 1

"""benchmarks/compare.py: the settings of a baseline, and what a table keeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from synthetic import small

from mintad.data.records import category_keys
from mintad.errors import DataError
from mintad.runs.prepare import prepare_data
from mintad.scoring.metrics import RESULT_COLUMNS

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import compare
import provenance


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hvq_trans_told", ("hvq_trans_told", "unified")),
        ("fcdd_oe_separate", ("fcdd_oe", "separate")),
        ("padim_separate_chosen", ("padim", "separate_chosen")),
    ],
)
def test_a_setting_stands_behind_the_name(name, expected):
    assert compare.method_and_setting(name) == expected


def test_the_model_is_that_of_the_nearest_class_mean(products, cache, monkeypatch):
    """Two very different products: every image is given its own."""
    data, config, seen = prepare_data(small(products), progress=False), small(products), []

    def spy(*_, separate, labels, **__):
        seen.append((separate, labels))
        return SimpleNamespace(results=pd.DataFrame([dict.fromkeys(RESULT_COLUMNS, 0)]))

    monkeypatch.setattr(compare, "evaluate_baseline", spy)
    for setting in ("", "_separate", "_separate_chosen"):
        compare.run_baseline(f"padim{setting}", data, config)
    true = category_keys(data.records).to_numpy()[data.test_rows].tolist()
    assert seen == [(False, None), (True, None), (True, true)]


def test_a_table_of_an_older_version_keeps_its_baselines(products, tmp_path):
    config, file = small(products), tmp_path / "table.csv"
    rows = [
        {"method": method, "setting": "unified", "seed": 0, "category": "mean", "metric": "image_auroc", "value": 0.5}
        for method in ("padim", "mint_ad")
    ]
    provenance.write(file, rows, config=config)
    old = provenance.portable(config).to_dict()
    del old["baselines"]  # of a version that did not know this key
    file.write_text(file.read_text().replace(provenance.config_line(config), f"# config: {json.dumps(old)}"))
    assert [table["method"].tolist() for table in compare.measured_baselines(file, config)] == [["padim"]]
    new_method = config.override(**{"baselines.options.draem.steps": 5})
    assert len(compare.measured_baselines(file, new_method)) == 1
    for other in ({"train.steps": 99}, {"baselines.options.padim.channels": 5}):
        with pytest.raises(DataError, match="table.csv.*another configuration and would be overwritten"):
            compare.measured_baselines(file, config.override(**other))
    assert compare.measured_baselines(tmp_path / "none.csv", config) == []

"""A sweep's results as a table, from folders as `mintad train` and the sweep leave them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mintad.errors import MintadError
from mintad.report.runs import read_runs
from mintad.report.select_runs import measured_with, select_runs
from mintad.runs import files
from mintad.runs.files import RESULTS
from mintad.scoring.metrics import POOLED, RESULT_COLUMNS, measure
from mintad.sweep import collect, status


def scored(seed: int) -> pd.DataFrame:
    """Test rows of two categories, one of which has "swap" defects."""
    rng = np.random.default_rng(seed)
    rows = [("gear", "good", 8), ("gear", "swap", 4), ("gear", "scratch", 4), ("mesh", "good", 6), ("mesh", "hole", 6)]
    parts = [
        {"category": name, "defect": defect, "label": int(defect != "good")}
        for name, defect, n in rows
        for _ in range(n)
    ]
    scores = pd.DataFrame(parts).assign(dataset="mini")
    return scores.assign(pred_score=rng.normal(scores["label"], 1.0), pred_class="", prompt_class="")


def pixels():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    noise = np.random.default_rng(0).random((8, 8)).astype("float32")
    return [("mini/mesh", noise + mask, mask), ("mini/mesh", noise, np.zeros_like(mask))]


def results(seed: int, variant: str = "mint_ad", pixels=()) -> pd.DataFrame:
    return measure(scored(seed), pixels).assign(method=variant, setting="unified", seed=seed)[list(RESULT_COLUMNS)]


def record(out, name, parameters, labels, table, state="finished"):
    folder = out / name
    folder.mkdir(parents=True)
    (out / status.WORK).mkdir(exist_ok=True)
    status.write_plan(out, {name: labels})
    status.write_json(folder / files.PARAMETERS, parameters)
    status.begin(folder, "digest")
    status.end(folder, state, seconds=12.5)
    if table is not None:
        table.to_csv(folder / RESULTS, index=False)


@pytest.fixture
def out(tmp_path):
    off = {"variant": "mint_ad", "seed": 0, "overrides": {"model.adapter": "random"}}
    labels = {"seed": "0", "overrides": "no adapter", "growth": "one"}
    record(tmp_path, "a", off, labels, results(0, pixels=pixels()))
    plain = {"variant": "uniad", "seed": 1, "overrides": ""}
    record(tmp_path, "b", plain, {"seed": "1"}, results(1, "uniad"))
    record(tmp_path, "c", plain, {"seed": "1"}, results(2), state="failed")
    record(tmp_path, "d", plain, {"seed": "1"}, None)
    return tmp_path


def test_a_sweep_holds_the_results_of_its_finished_runs(out):
    table = collect(out)
    assert set(table["run"]) == {"a", "b"}  # what failed, and what trained nothing, has no results
    for run, expected in ("a", results(0, pixels=pixels())), ("b", results(1, "uniad")):
        own = table[table["run"] == run]
        assert own[list(RESULT_COLUMNS)].to_dict("records") == expected.to_dict("records")
        assert (own["seconds"] == 12.5).all()
    assert not ((table["run"] == "b") & (table["metric"] == "pixel_ap")).any()


def test_parameters_keep_their_types_and_labels_stand_for_mappings(out):
    first = collect(out).groupby("run").first()
    assert first.loc["a", "seed"] == 0 and first["seed"].dtype.kind == "i"
    assert first.loc["a", "overrides"] == "no adapter" and first.loc["a", "growth"] == "one"
    assert json.loads(first.loc["a", "overrides.value"]) == {"model.adapter": "random"}
    assert first.loc["b", "overrides"] == "" and first.loc["b", "variant"] == "uniad"


def test_no_sweep_and_no_result(tmp_path, out):
    with pytest.raises(MintadError, match="is not the folder of a sweep"):
        collect(tmp_path / "none")
    (out / "empty" / status.WORK).mkdir(parents=True)
    assert collect(out / "empty").empty and set(RESULT_COLUMNS) < set(collect(out / "empty"))
    (out / "a" / RESULTS).write_text("{")
    with pytest.raises(MintadError, match="damaged"):
        collect(out)


@pytest.fixture
def keep(monkeypatch):
    """benchmarks/keep_sweep.py as a function of its arguments."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    script = importlib.import_module("keep_sweep")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keep_sweep.py", *map(str, arguments)])
        script.main()

    return run


def test_a_kept_sweep_is_read_like_its_runs(tmp_path, keep, capsys):
    """benchmarks/keep_sweep.py, and `mintad report` on what it writes: Table 5 from a label, its mapping and a seed."""
    off, out, kept = {"model.adapter": "random", "model.class_query": False}, tmp_path / "sweep", tmp_path / "kept.csv"
    plain = {"preset": "fast", "data": "mini", "variant": "mint_ad", "categories": "", "device": "auto"}
    record(out, "a", {**plain, "overrides": off, "seed": 0}, {"overrides": "no adapter"}, results(0))
    record(out, "b", {**plain, "overrides": "", "seed": 1}, {"seed": "1"}, results(1))
    record(out, "c", {**plain, "overrides": "", "seed": 2}, {"seed": "2"}, results(2), state="failed")
    keep(kept, out)
    found, there = read_runs([kept]), collect(out)
    there = there[there["category"] != POOLED]
    assert len(found.configs) == 2 and len(found.rows) == len(there)
    for run, config in found.configs.items():
        rows = found.rows[found.rows["run"] == run].set_index(["category", "metric"])["value"]
        original = there[there["seed"] == config.train.seed].set_index(["category", "metric"])["value"]
        assert rows.to_dict() == pytest.approx(original.to_dict(), abs=1e-5)
        assert config.model.class_query is (config.train.seed == 1)
        assert config.model.adapter == ("learned" if config.model.class_query else "random")
        assert config.train.steps == 1600 and config.data.name == "mini"
    settings = select_runs(found, 5).rows.groupby("seed")["paper_setting"].first()
    assert settings.to_dict() == {0: "class_loss+prior_loss", 1: "adapter+class_loss+prior_loss+class_query"}
    harder = {"data.options": {"difficulty": 2}}
    record(out, "d", {**plain, "overrides": harder, "seed": 3}, {}, results(3))
    keep(kept, out, "--where", "seed=3")
    assert "on mini (difficulty 2) with" in measured_with(select_runs(read_runs([kept]), 4))
    for condition, complaint in ("sed=1", "no parameter 'sed'"), ("seed=2", "no finished run"):
        with pytest.raises(SystemExit):
            keep(kept, out, "--where", condition)
        assert complaint in capsys.readouterr().err

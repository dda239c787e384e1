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
from mintad.report.paper import MEAN
from mintad.report.paper import load as paper_table
from mintad.report.runs import read_runs
from mintad.report.select_runs import choose, measured_with
from mintad.scoring import summarise
from mintad.sweep import collect, status, table


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
    return scores.assign(pred_score=rng.normal(scores["label"], 1.0))


def pixels():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    noise = np.random.default_rng(0).random((8, 8)).astype("float32")
    return [("mini/mesh", noise + mask, mask), ("mini/mesh", noise, np.zeros_like(mask))]


def record(out, name, parameters, labels, metrics, state="finished"):
    folder = out / name
    folder.mkdir(parents=True)
    (out / status.WORK).mkdir(exist_ok=True)
    status.write_plan(out, {name: labels})
    status.write_json(folder / status.PARAMETERS, parameters)
    status.begin(folder, "digest")
    status.end(folder, state, seconds=12.5)
    if metrics is not None:
        (folder / table.METRICS).write_text(json.dumps(metrics))


@pytest.fixture
def out(tmp_path):
    off = {"variant": "mint_ad", "seed": 0, "overrides": {"model.adapter": False}}
    labels = {"seed": "0", "overrides": "no adapter", "growth": "one"}
    record(tmp_path, "a", off, labels, summarise(scored(0), pixels()))
    plain = {"variant": "uniad", "seed": 1, "overrides": ""}
    record(tmp_path, "b", plain, {"seed": "1"}, summarise(scored(1)))
    record(tmp_path, "c", plain, {"seed": "1"}, summarise(scored(2)), state="failed")
    record(tmp_path, "d", plain, {"seed": "1"}, None)
    return tmp_path


def test_a_row_a_run_category_and_metric(out):
    found = collect(out)
    assert set(found["run"]) == {"a", "b"}  # what failed, and what trained nothing, has no results
    for run, seed in ("a", 0), ("b", 1):
        metrics, part = summarise(scored(seed), pixels()), found[found["run"] == run].set_index(["category", "metric"])
        auroc = metrics["image"]["auroc"]
        for key in ("mini/gear", "mini/mesh"):
            assert part.loc[(key, table.IMAGE), "value"] == auroc["per_category"][key]
        assert part.loc[(MEAN, table.IMAGE), "value"] == auroc["mean"]
        swap = metrics["defects"]["mini/gear"]["swap"]["auroc"]
        assert part.loc[("mini/gear", table.SWAP), "value"] == part.loc[(MEAN, table.SWAP), "value"] == swap
        assert (part["seconds"] == 12.5).all() and part.index.is_unique
    precision = summarise(scored(0), pixels())["pixel"]["average_precision"]
    ours = found[(found["run"] == "a") & (found["metric"] == table.PIXEL)].set_index("category")["value"]
    assert ours.to_dict() == {**precision["per_category"], MEAN: precision["mean"]}
    assert not ((found["run"] == "b") & (found["metric"] == table.PIXEL)).any()


def test_parameters_keep_their_types_and_labels_stand_for_mappings(out):
    first = collect(out).groupby("run").first()
    assert first.loc["a", "seed"] == 0 and first["seed"].dtype.kind == "i"
    assert first.loc["a", "overrides"] == "no adapter" and first.loc["a", "growth"] == "one"
    assert json.loads(first.loc["a", "overrides.value"]) == {"model.adapter": False}
    assert first.loc["b", "overrides"] == "" and first.loc["b", "variant"] == "uniad"


def test_the_terms_are_those_of_the_papers_tables(out):
    assert {table.IMAGE, table.PIXEL} <= set(paper_table(4)["metric"]) and table.MEAN == MEAN


def test_no_sweep_and_no_result(tmp_path, out):
    with pytest.raises(MintadError, match="is no sweep's folder"):
        collect(tmp_path / "none")
    (out / "empty" / status.WORK).mkdir(parents=True)
    assert collect(out / "empty").empty and list(collect(out / "empty")) == list(table.OWN)
    (out / "a" / table.METRICS).write_text("{")
    with pytest.raises(MintadError, match="cannot read"):
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
    off, out, kept = {"model.adapter": False, "model.class_query": False}, tmp_path / "sweep", tmp_path / "kept.csv"
    plain = {"preset": "fast", "data": "mini", "variant": "mint_ad", "categories": "", "device": "auto"}
    record(out, "a", {**plain, "overrides": off, "seed": 0}, {"overrides": "no adapter"}, summarise(scored(0)))
    record(out, "b", {**plain, "overrides": "", "seed": 1}, {"seed": "1"}, summarise(scored(1)))
    record(out, "c", {**plain, "overrides": "", "seed": 2}, {"seed": "2"}, summarise(scored(2)), state="failed")
    keep(kept, out)
    found, there = read_runs([kept]), collect(out)
    assert len(found.configs) == 2 and len(found.rows) == len(there)
    for run, config in found.configs.items():
        rows = found.rows[found.rows["run"] == run].set_index(["category", "metric"])["value"]
        original = there[there["seed"] == config.train.seed].set_index(["category", "metric"])["value"]
        assert rows.to_dict() == pytest.approx(original.to_dict(), abs=1e-5)
        assert config.model.adapter is config.model.class_query is (config.train.seed == 1)
        assert config.train.steps == 1600 and config.data.name == "mini"
    settings = choose(found, 5).rows.groupby("seed")["paper_setting"].first()
    assert settings.to_dict() == {0: "class_loss+prior_loss", 1: "adapter+class_loss+prior_loss+class_query"}
    harder = {"data.options": {"difficulty": 2}}
    record(out, "d", {**plain, "overrides": harder, "seed": 3}, {}, summarise(scored(0)))
    keep(kept, out, "--where", "seed=3")
    assert "on mini (difficulty 2) with" in measured_with(choose(read_runs([kept]), 4))
    for condition, complaint in ("sed=1", "no parameter 'sed'"), ("seed=2", "no finished run"):
        with pytest.raises(SystemExit):
            keep(kept, out, "--where", condition)
        assert complaint in capsys.readouterr().err

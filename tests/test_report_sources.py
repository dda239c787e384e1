"""Which runs and CSV files `mintad report` reads, which it skips, and how it says so."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from report_builders import mvtec, only_row, write_run
from typer.testing import CliRunner

from mintad.cli import app
from mintad.errors import DataError
from mintad.report.commented_csv import read_commented_csv
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.table_values import table_values
from mintad.runs.files import RESULTS
from mintad.scoring.metrics import RESULT_COLUMNS


def test_runs_are_found_at_any_depth_and_unfinished_ones_are_named(tmp_path):
    done = write_run(tmp_path / "a" / "b" / "run", mvtec(0.9), setting="separate", baselines={"padim": mvtec(0.8)})
    write_run(done / "categories" / "mvtec__bottle", {"bottle": 0.1}, train__seed=7)  # a part of its run, none itself
    half = write_run(tmp_path / "a" / "half", {}, finished=False)
    bad = write_run(tmp_path / "bad", mvtec(0.9), train__seed=1)
    (bad / RESULTS).write_text("{")
    copy = write_run(tmp_path / "z", mvtec(0.9))
    failed = write_run(tmp_path / "failed", mvtec(0.9), train__seed=2)
    (failed / "status.json").write_text(json.dumps({"state": "failed", "error": "KeyError: x\nmore"}))
    (copy / "config.json").write_text((done / "config.json").read_text())
    all_runs = read_runs([tmp_path])
    assert set(all_runs.configs) == {str(done), str(copy)}  # one is separate, so they are two results
    assert all_runs.rows.loc[all_runs.rows["run"] == str(done), "setting"].unique() == ["separate"]
    assert {str(half), str(bad)} <= set(all_runs.skipped)
    assert all_runs.skipped[str(failed)] == "failed: KeyError: x"
    again = write_run(tmp_path / "zz", mvtec(0.9))
    assert str(copy) in read_runs([tmp_path]).skipped[str(again)]


def test_a_run_with_empty_results_is_skipped(tmp_path):
    whole, empty = write_run(tmp_path / "a", mvtec(0.9)), write_run(tmp_path / "b", mvtec(0.9), train__seed=1)
    (empty / RESULTS).write_text(",".join(RESULT_COLUMNS) + "\n")
    all_runs = read_runs([tmp_path])
    assert list(all_runs.configs) == [str(whole)] and "empty" in all_runs.skipped[str(empty)]
    printed = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out"), "--table", "1"]).output
    assert "1 run, 1 skipped" in printed


def test_planned_runs_without_a_folder_are_named(tmp_path):
    write_run(tmp_path / "one", mvtec(0.9))
    (tmp_path / ".sweep").mkdir()
    (tmp_path / ".sweep" / "plan.json").write_text(json.dumps({"one": {}, "two": {"seed": "1"}}))
    assert list(read_runs([tmp_path]).skipped) == [str(tmp_path / "two")]


def test_nothing_found_is_an_error_that_says_what_was_there(tmp_path):
    with pytest.raises(DataError, match="none"):
        read_runs([tmp_path / "none"])
    write_run(tmp_path / "half", {}, finished=False)
    with pytest.raises(DataError, match="half"):
        read_runs([tmp_path])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="other.csv"):
        read_runs([tmp_path / "other.csv"])


def test_the_tables_of_the_benchmarks_are_read(tmp_path):
    file = tmp_path / "compare.csv"
    rows = ["# command: x", ",".join(RESULT_COLUMNS), "mint_ad,unified,0,all,seconds_training,3.5"]
    for method, setting, seed, value in (
        ("mint_ad", "unified", 0, 0.8),
        ("mint_ad", "unified", 1, 0.9),
        ("padim", "separate", 0, 0.7),
        ("padim", "separate_chosen", 0, 0.6),  # has no place in the paper's tables
    ):
        rows += [f"{method},{setting},{seed},{name},image_auroc,{value}" for name in ("mini/gear", "mean")]
    file.write_text("\n".join(rows) + "\n")
    all_runs = read_runs([file])
    assert set(all_runs.rows["data"]) == {"mini"} and len(all_runs.configs) == 4
    table = table_values(select_runs(all_runs, 1))
    row = only_row(table, method="MINT-AD", setting="unified", category="mean")
    assert row.measured == pytest.approx(0.85) and row.seeds == 2 and row.paper_data == "MVTec AD"
    assert only_row(table, method="PaDiM", setting="separate", category="gear").measured == 0.7
    assert select_runs(where(all_runs, ["data.name=mini"]), 1).data == "mini"
    with pytest.raises(DataError, match="train.steps=5"):
        where(all_runs, ["train.steps=5"])


def test_a_hash_in_a_name_is_no_comment(tmp_path):
    file, name = tmp_path / "compare.csv", "folder/part #1"
    rows = [("mint_ad", "unified", 0, key, "image_auroc", 0.75) for key in (name, "mean")]
    table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS)).to_csv(index=False)
    file.write_text("# command: x # y\n# versions: z\n" + table)
    comments, read = read_commented_csv(file)
    assert comments == ["# command: x # y", "# versions: z"] and read.to_csv(index=False) == table
    values = read_runs([file]).rows
    assert dict(zip(values["category"], values["value"], strict=True)) == {name: 0.75, "mean": 0.75}


@pytest.mark.parametrize("damage", ["another variant", "no UTF-8"])
def test_a_run_that_cannot_be_read_is_skipped(tmp_path, damage):
    write_run(tmp_path / "a", mvtec(0.9))
    broken = write_run(tmp_path / "b", mvtec(0.9), train__seed=1)
    if damage == "no UTF-8":
        broken.rename(tmp_path / b"\xe9".decode(errors="surrogateescape"))
    else:
        config = json.loads((broken / "config.json").read_text())
        config["model"]["variant"] = "zzz"
        (broken / "config.json").write_text(json.dumps(config))
    runs = read_runs([tmp_path])
    assert list(runs.configs) == [str(tmp_path / "a")] and len(runs.skipped) == 1
    assert "cannot be read" in next(iter(runs.skipped.values()))
    next(iter(runs.skipped)).encode()

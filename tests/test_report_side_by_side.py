"""The means side by side with the paper's, and why a method has no number."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

from report_builders import only_row, table_of, write_run

from mintad.report import paper
from mintad.report.build import report
from mintad.report.methods import reason
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.side_by_side import side_by_side
from mintad.report.table_values import table_values


def test_why_a_method_has_no_number(three_seeds):
    status = table_of(three_seeds, 1).groupby("method")["status"].first()
    assert status["OmniAL"] == "not run (mintad train --baselines omnial)" and "--baselines draem" in status["DRAEM"]
    status = table_of(three_seeds, 1).groupby(["method", "setting"])["status"].first()
    assert "draem_separate" in status["DRAEM", "separate"] and "setting: separate" in status["UniAD", "separate"]
    assert table_of(three_seeds, 2).groupby("method")["status"].first()["CutPaste"].startswith("not run on VisA (")
    assert (
        "--data cifar10 --baselines fcdd_oe" in table_of(three_seeds, 7).groupby("method")["status"].first()["FCDD+OE"]
    )
    status = table_of(three_seeds, 4).groupby("method")["status"].first()
    assert "model.variant=query_pool" in status["Query Pool"]
    status = table_of(three_seeds, 8)
    lacking = only_row(status, method="MINT-AD", setting="resnet18")
    assert "model.variant=mint_ad" in lacking.status and "weights" in lacking.status
    everybody = {name for n in paper.TABLES for name in paper.load(n)["method"]}
    assert all(reason(name) != "not run" for name in everybody)


def test_the_command_for_one_model_per_category_runs_as_printed(tmp_path, monkeypatch):
    write_run(tmp_path / "run", {"gear": 0.9}, data="mini", name="fast")
    status = table_of(tmp_path, 1).groupby(["method", "setting"])["status"].first()["DRAEM", "separate"]
    program, script, *words = shlex.split(status.removeprefix("not run (").removesuffix(")"))
    assert program == "python" and (Path(__file__).parents[1] / script).exists()
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    compare = importlib.import_module("compare")
    monkeypatch.setattr("sys.argv", [script, *words])
    asked = compare.parse_arguments()
    assert (asked.data, asked.variants, asked.baselines, asked.seeds) == ("mini", "", "draem_separate", "0")
    assert asked.csv.suffix == ".csv" and compare.method_and_setting(asked.baselines) == ("draem", "separate")
    assert "--data mvtec " in reason("DRAEM", 1, "separate", "elpv+folder"), "a merged set has no name of its own"


def test_a_mean_that_lacks_a_part_says_so_in_the_words_of_its_table(tmp_path):
    for split in ("01234", "56789"):
        changes = {"data": "cifar10", "pixel": None, "data__options": {"split": split}}
        write_run(tmp_path / split, {f"{{{split}}}": 0.9}, **changes)
    four = {"data": "cifar10", "pixel": None, "model__variant": "uniad"}
    for split in ("01234", "56789", "02468", "13579"):
        write_run(tmp_path / f"uniad-{split}", {f"{{{split}}}": 0.9}, data__options={"split": split}, **four)
    runs = select_runs(read_runs([tmp_path]), 7)
    shown = side_by_side(runs, table_values(runs))
    reasons = {row[0]: row[-1] for row in shown.rows}
    assert reasons["MINT-AD"] == "not run on all splits" and reasons["UniAD"] == ""
    assert shown.caption.startswith("Means over splits")


def test_where_no_number_lacks_there_is_no_column_for_the_reasons(tmp_path):
    others = ("students", "fcdd", "fcdd_oe", "panda", "mkd")
    for split in ("01234", "56789", "02468", "13579"):
        same, values = {"data": "cifar10", "pixel": None, "data__options": {"split": split}}, {f"{{{split}}}": 0.9}
        write_run(tmp_path / f"uniad-{split}", values, model__variant="uniad", **same)
        write_run(tmp_path / f"others-{split}", values, baselines=dict.fromkeys(others, values), **same)
    runs = select_runs(read_runs([tmp_path]), 7)
    shown = side_by_side(runs, table_values(runs))
    assert shown.head[-1] == "seeds" and {len(row) for row in shown.rows} == {len(shown.head)}


def test_the_means_stand_method_by_method_and_a_row_without_a_number_says_why(tmp_path):
    write_run(tmp_path / "run", {"gear": 0.9}, data="mini", name="fast", baselines={"omnial": {"gear": 0.75}})
    runs = select_runs(read_runs([tmp_path]), 1)
    shown = side_by_side(runs, table_values(runs))
    assert shown.head[2:4] == ["ours: mini", "paper: MVTec AD"] and "different images" in shown.caption
    rows = {tuple(row[:2]): row[2:] for row in shown.rows}
    assert rows["OmniAL", "unified"] == ["0.750", "0.972", "1", ""]
    assert rows["OmniAL", "separate"][:3] == ["–", "0.970", ""] and "omnial_separate" in rows["OmniAL", "separate"][3]
    page = report([tmp_path], tmp_path / "out", tables=[1, 2]).page.read_text()
    assert 'class="reasons"' in page
    assert page.count("why there is no number of ours") == 1, "not for a table of which nothing was run"


def test_the_means_of_two_metrics_on_the_papers_data(tmp_path):
    names = dict.fromkeys(paper.load(2).query("category != 'mean'")["category"], 0.5)
    write_run(tmp_path / "run", names, data="visa", baselines={"cutpaste": names})
    runs = select_runs(read_runs([tmp_path]), 2)
    shown = side_by_side(runs, table_values(runs))
    assert shown.head[2:6] == [f"{m}, {o}: VisA" for m in ("image AUROC", "pixel AP") for o in ("ours", "paper")]
    rows = {tuple(row[:2]): row[2:] for row in shown.rows}
    assert rows["MINT-AD", "unified"] == ["0.500", "0.957", "0.500", "0.394", "1", ""]
    assert rows["CutPaste", "unified"] == ["0.500", "–", "–", "–", "1", ""] and "different" not in shown.caption
    assert side_by_side(select_runs(read_runs([tmp_path]), 4), table_values(runs)) is None

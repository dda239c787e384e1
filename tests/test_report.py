"""`mintad report`: what is read, what goes into which table, and what is refused."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from report_builders import MVTEC, mvtec, write_run
from typer.testing import CliRunner

from mintad.baselines import BASELINES
from mintad.cli import app
from mintad.config import preset
from mintad.errors import ConfigError, DataError
from mintad.report import paper
from mintad.report.build import report
from mintad.report.commented_csv import read_commented_csv
from mintad.report.figures import growth_table
from mintad.report.layout import render_table
from mintad.report.methods import reason, table_row
from mintad.report.pairs import pairs
from mintad.report.runs import read_runs
from mintad.report.select_runs import measured_with, select_runs, where
from mintad.report.side_by_side import side_by_side
from mintad.report.table_values import table_values
from mintad.runs.directory import RESULTS
from mintad.scoring.metrics import METRICS, RESULT_COLUMNS, metric


def only_row(table: pd.DataFrame, **expected: object) -> pd.Series:
    for column, value in expected.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def table_of(path, number: int) -> pd.DataFrame:
    return table_values(select_runs(read_runs([path]), number))


@pytest.fixture
def three_seeds(tmp_path):
    """MINT-AD and UniAD on all of MVTec AD, three seeds, with a baseline."""
    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        baselines = {"padim": mvtec(0.8)}
        write_run(tmp_path / f"mint-{seed}", mvtec(0.95 + shift), train__seed=seed, baselines=baselines)
        write_run(tmp_path / f"uniad-{seed}", mvtec(0.9 + shift, 0.001), train__seed=seed, model__variant="uniad")
    return tmp_path


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


def test_means_spreads_and_differences_by_hand(three_seeds):
    table = table_of(three_seeds, 1)
    row = only_row(table, method="MINT-AD", setting="unified", category="bottle")
    assert (row.measured, row["std"], row.seeds) == (pytest.approx(0.95), pytest.approx(0.01), 3)
    assert row.paper == paper.value(1, "MINT-AD", "bottle", "image_auroc", "unified")
    assert row.difference == pytest.approx(0.95 - row.paper)
    mean = only_row(table, method="UniAD", setting="unified", category="mean")
    assert mean.measured == pytest.approx(0.9 + 7 * 0.001) and mean.paper == 0.965
    baseline = only_row(table, method="PaDiM", setting="unified", category="mean")
    assert baseline.measured == pytest.approx(0.8) and baseline["std"] == pytest.approx(0, abs=1e-12)


def test_every_number_of_the_paper_keeps_its_place(three_seeds):
    runs = read_runs([three_seeds])
    for number in paper.TABLES:
        table = table_values(select_runs(runs, number))
        printed = paper.load(number)
        keys = ["method", "setting", "category", "metric"]
        ours = table.dropna(subset=["paper"]).set_index(keys)["paper"].sort_index()
        assert ours.equals(printed.set_index(keys)["value"].rename("paper").sort_index())
        assert list(dict.fromkeys(table["method"])) == list(dict.fromkeys(printed["method"]))
        assert table["status"].ne("").all() and (table["status"] == "measured").eq(table["measured"].notna()).all()


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


@pytest.mark.parametrize(("setting", "told"), [("lesson", "reduced size"), ("paper", "the published size")])
def test_a_report_says_in_which_setting_baselines_on_images_were(tmp_path, setting, told):
    changes = {"baselines__setting": setting, "data": "mini", "name": "fast"}
    write_run(tmp_path / "run", {"gear": 0.9}, baselines={"omnial": {"gear": 0.75}}, **changes)
    runs = select_runs(read_runs([tmp_path]), 1)
    assert told in " ".join(render_table(runs, table_values(runs)).notes)


def notes_of(path) -> str:
    runs = select_runs(read_runs([path]), 1)
    return " ".join(render_table(runs, table_values(runs)).notes)


def test_a_report_says_what_was_set_of_baselines_and_their_own_settings(tmp_path):
    options = {"omnial": {"setting": "lesson"}, "draem": {"steps": 50}, "patchcore": {"share": 0.5}}
    changes = {"baselines__options": options, "baselines__length": 0.25, "data": "mini"}  # setting: paper
    beside = dict.fromkeys(("omnial", "draem", "patchcore", "padim"), {"gear": 0.75})
    write_run(tmp_path / "run", {"gear": 0.9}, baselines=beside, **changes)
    notes = notes_of(tmp_path)
    assert "DRAEM: steps 50, 0.25 times the steps" in notes and "OmniAL: 0.25 times the steps" in notes
    assert "PatchCore: share 0.5." in notes and "PaDiM: " not in notes
    assert "OmniAL in the setting 'lesson' (at a reduced size, but" in notes
    assert "DRAEM in the setting 'paper' (about the published size and length, but" in notes


def test_a_report_tells_a_baseline_of_each_category_from_that_of_all_where_they_were_made_differently(tmp_path):
    common = {"data": "mini", "name": "fast", "baselines": {"draem": {"gear": 0.75}}}
    write_run(tmp_path / "all", {"gear": 0.9}, **common)
    write_run(tmp_path / "each", {"gear": 0.9}, setting="separate", baselines__length=0.5, **common)
    assert "Set in the configuration of baselines: DRAEM (separate): 0.5 times the steps." in notes_of(tmp_path)


def test_another_data_set_is_never_subtracted(tmp_path):
    values = {"gear": 0.9, "weave": 0.8}
    write_run(tmp_path / "run", values, data="mini", name="fast", swap={"gear": 0.7})
    for number in (1, 4, 10):
        table = table_of(tmp_path, number)
        assert table["difference"].isna().all()
        assert set(table.loc[table["paper"].notna(), "paper_data"]) == {"MVTec AD"}
        assert set(table.loc[table["paper"].notna(), "category"]) <= {"mean"}
        chosen = select_runs(read_runs([tmp_path]), number)
        assert any("another data set" in note for note in render_table(chosen, table).notes)
    four = table_of(tmp_path, 4)
    assert only_row(four, method="Feature Prompt", metric="image_auroc_swap").measured == 0.7
    assert not table_of(tmp_path, 2)["measured"].notna().any()
    wide = render_table(select_runs(read_runs([tmp_path]), 1), table_of(tmp_path, 1))
    assert wide.head[1] == "MINT-AD\nunified"  # what was measured comes first
    assert [line[:2] for line in wide.foot] == [["mean", "0.850"], ["the paper's mean, MVTec AD", "0.986"]]
    assert "difference" not in render_table(select_runs(read_runs([tmp_path]), 4), four).head


def test_data_without_masks_have_no_pixel_values_and_the_report_says_so(tmp_path):
    values = {"mono": 0.9, "poly": 0.8}
    for seed in (0, 1):
        write_run(tmp_path / f"{seed}", values, data="elpv", name="fast", pixel=None, train__seed=seed)
    result = report([tmp_path], tmp_path / "report")
    measured = {table.number for table in result.tables if table.measured}
    assert 4 in measured and 10 not in measured
    chosen = select_runs(read_runs([tmp_path]), 10)
    assert any("ELPV have no pixel AP" in note for note in render_table(chosen, table_values(chosen)).notes)


def test_some_of_the_papers_categories(tmp_path):
    write_run(tmp_path / "run", {"bottle": 0.9, "wood": 0.8})
    mean = only_row(table_of(tmp_path, 1), method="MINT-AD", setting="unified", category="mean")
    expected = [paper.value(1, "MINT-AD", name, "image_auroc", "unified") for name in ("bottle", "wood")]
    assert mean.paper == pytest.approx(sum(expected) / 2) and mean.difference == pytest.approx(0.85 - mean.paper)
    four = only_row(table_of(tmp_path, 4), method="Feature Prompt", metric="image_auroc")
    assert four.paper == 0.986 and pd.isna(four.difference)  # its rows are not printed: all 15 or nothing


def test_submodules_backbones_queries_merged_and_splits(tmp_path):
    write_run(tmp_path / "a", mvtec(0.9), model__prior_loss=False)
    write_run(tmp_path / "b", mvtec(0.8), features__backbone="resnet18")
    write_run(tmp_path / "c", mvtec(0.7), model__variant="mlp_query")
    merged = {f"mvtec/{n}": 0.9 for n in MVTEC} | {f"visa/{n}": 0.6 for n in range(12)}
    write_run(tmp_path / "d", merged | {f"btad/{n}": 0.3 for n in range(3)}, data="merged")
    for n, split in enumerate(("01234", "56789", "02468", "13579")):
        options = {"split": split}
        write_run(tmp_path / split, {f"{{{split}}}": 0.9 + n / 100}, data="cifar10", pixel=None, data__options=options)
    five = table_of(tmp_path, 5)
    assert only_row(five, setting="adapter+class_loss+class_query", metric="image_auroc").measured == pytest.approx(0.9)
    eight = table_of(tmp_path, 8)
    assert only_row(eight, method="MINT-AD", setting="resnet18").measured == pytest.approx(0.8)
    nine = table_of(tmp_path, 9)
    assert only_row(nine, method="MLP-Query", metric="image_auroc").measured == pytest.approx(0.7)
    assert only_row(nine, method="MLP-Query", metric="parameters_M").measured == pytest.approx(12.9, abs=0.1)
    three = table_of(tmp_path, 3)
    assert only_row(three, method="MINT-AD", category="visa", metric="image_auroc").measured == pytest.approx(0.6)
    mean = only_row(three, method="MINT-AD", category="mean", metric="image_auroc")
    assert mean.measured == pytest.approx((15 * 0.9 + 12 * 0.6 + 3 * 0.3) / 30)
    seven = table_of(tmp_path, 7)
    assert only_row(seven, method="MINT-AD", category="mean").measured == pytest.approx(0.915)


def test_a_part_of_cifar_10_is_never_subtracted(tmp_path):
    for split in ("01234", "56789", "02468", "13579"):
        options = {"split": split, "per_class": 200}
        values = {f"{{{split}}}": 0.9}
        baselines = {"fcdd_oe": {f"{{{split}}}": 0.7}}
        data = {"data": "cifar10", "pixel": None, "data__options": options}
        write_run(tmp_path / split, values, baselines=baselines, **data)
    runs = select_runs(read_runs([tmp_path]), 7)
    table = table_values(runs)
    outliers = only_row(table, method="FCDD+OE", category="mean")
    assert outliers.measured == pytest.approx(0.7) and outliers.paper == paper.value(
        7, "FCDD+OE", "mean", "image_auroc"
    )
    assert table["difference"].isna().all() and table["measured"].count() == 10
    assert "a part of them" in " ".join(render_table(runs, table).notes)
    data |= {"data__options": {"split": "01234", "per_class": 200}, "model__variant": "uniad"}
    write_run(tmp_path / "uniad", {"{01234}": 0.5}, **data)
    runs = select_runs(read_runs([tmp_path]), 7)
    shown = side_by_side(runs, table_values(runs))
    whys = {row[0]: row[-1] for row in shown.rows}
    assert "different images" in shown.caption and whys["UniAD"] == "not run on all splits"
    assert whys["FCDD+OE"] == "" and whys["PANDA"].startswith("not run on CIFAR-10")


def test_mixtures_are_refused_and_can_be_told_apart(tmp_path):
    write_run(tmp_path / "mini", {"gear": 0.9}, data="mini", name="fast")
    write_run(tmp_path / "elpv", {"mono": 0.9}, data="elpv", name="fast")
    runs = read_runs([tmp_path])
    with pytest.raises(DataError, match=r"elpv, mini.*--where data.name="):
        select_runs(runs, 4)
    assert select_runs(where(runs, ["data.name=elpv"]), 4).data == "elpv"
    with pytest.raises(ConfigError, match="data.nam"):
        where(runs, ["data.nam=elpv"])
    write_run(tmp_path / "short", {"gear": 0.8}, data="mini", name="fast", train__steps=10, train__seed=1)
    runs = where(read_runs([tmp_path]), ["data.name=mini"])
    with pytest.raises(DataError, match=r"train.steps: 10, 1600.*--where train.steps=10"):
        select_runs(runs, 4)
    assert len(select_runs(where(runs, ["train.steps=10"]), 4).configs) == 1
    again = {"train__seed": 1, "train__steps": 10, "train__device": "cpu"}
    write_run(tmp_path / "again", {"gear": 0.7}, data="mini", name="fast", **again)
    with pytest.raises(DataError, match="seed 1"):
        select_runs(where(read_runs([tmp_path]), ["train.steps=10"]), 4)


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ({"baselines__setting": "lesson"}, {"baselines__setting": "paper"}, "baselines.setting"),
        ({"baselines__options__draem__steps": 5}, {}, "baselines.options"),
        ({"baselines__length": 0.5}, {"baselines__length": 0.25}, "baselines.length"),
    ],
)
def test_a_baseline_is_averaged_over_runs_that_made_it_alike_and_the_others_always(tmp_path, first, second, key):
    for seed, changes in enumerate((first, second)):
        folder, untouched = tmp_path / f"{seed}", {"padim": {"gear": 0.7 + seed / 10}}
        write_run(folder, {"gear": 0.9}, data="mini", name="fast", baselines=untouched, train__seed=seed, **changes)
    table = table_of(tmp_path, 1)
    for method, measured in ("MINT-AD", 0.9), ("PaDiM", 0.75):
        row = only_row(table, method=method, setting="unified", category="gear")
        assert (row.measured, row.seeds) == (pytest.approx(measured), 2)
    for seed, changes in enumerate((first, second), start=2):
        beside = {"padim": {"gear": 0.7}, "draem": {"gear": 0.6}}
        write_run(
            tmp_path / f"{seed}", {"gear": 0.9}, data="mini", name="fast", baselines=beside, train__seed=seed, **changes
        )
    runs = read_runs([tmp_path])
    with pytest.raises(DataError, match=rf"DRAEM, unified: .*differently.*{key}") as caught:
        select_runs(runs, 1)
    (choice,) = shlex.split(str(caught.value).partition("--where ")[2])
    chosen = table_values(select_runs(where(runs, [choice]), 1))
    assert only_row(chosen, method="DRAEM", setting="unified", category="gear").seeds == 1


def test_a_baseline_whose_options_keep_its_setting_is_averaged_over_runs_of_both_settings(tmp_path):
    own = {"baselines__options": {"draem": {"setting": "lesson"}}}
    for seed, setting in enumerate(("lesson", "paper")):
        changes = {"baselines__setting": setting, "train__seed": seed, "data": "mini", "name": "fast", **own}
        write_run(tmp_path / setting, {"gear": 0.9}, baselines={"draem": {"gear": 0.6}}, **changes)
    assert only_row(table_of(tmp_path, 1), method="DRAEM", setting="unified", category="gear").seeds == 2


def test_methods_trained_differently_are_told(tmp_path):
    write_run(tmp_path / "a", mvtec(0.9))
    write_run(tmp_path / "b", mvtec(0.9), model__variant="uniad", train__batch_size=8)
    (note,) = select_runs(read_runs([tmp_path]), 1).notes
    assert "train.batch_size: 32, 8" in note


def test_two_ways_to_be_without_an_adapter_are_told_apart(tmp_path):
    off = {f"model__{name}": False for name in ("class_loss", "prior_loss", "class_query")}
    write_run(tmp_path / "a", mvtec(0.9), model__adapter="projection", **off)
    write_run(tmp_path / "b", mvtec(0.8), model__adapter="learned", **off)
    table_runs = select_runs(read_runs([tmp_path]), 5)
    assert set(table_runs.rows["paper_setting"]) == {"none", "adapter"}
    assert any("model.adapter: learned, projection" in note for note in table_runs.notes)
    write_run(tmp_path / "c", mvtec(0.7), model__adapter="random", train__seed=1, **off)
    with pytest.raises(DataError, match=r"none: .*model.adapter: projection, random.*--where model.adapter=projection"):
        select_runs(read_runs([tmp_path]), 5)


def test_a_report_says_how_the_losses_are_read(tmp_path):
    write_run(tmp_path / "a", mvtec(0.9))
    line = measured_with(select_runs(read_runs([tmp_path]), 4))
    assert "(Eq. 5) is summed over channels and averaged over tokens" in line
    assert "(Eq. 4) averaged over all elements" in line
    write_run(tmp_path / "b", mvtec(0.9), train__mse_reduction="element", train__seed=1)
    with pytest.raises(DataError, match="train.mse_reduction: element, token"):
        select_runs(read_runs([tmp_path]), 4)


def test_a_report_names_the_backbone_where_there_is_one(tmp_path):
    """Table 8 compares backbones, but its runs may have the same."""
    write_run(tmp_path / "a", mvtec(0.9))
    assert "with tf_efficientnet_b4, " in measured_with(select_runs(read_runs([tmp_path]), 8))
    write_run(tmp_path / "b", mvtec(0.9), features__backbone="resnet34")
    assert "with 2 backbones, " in measured_with(select_runs(read_runs([tmp_path]), 8))


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


@pytest.mark.parametrize(("name", "published"), [("paper", False), ("uniad", True)])
def test_a_report_says_which_uniad_it_shows(tmp_path, name, published):
    write_run(tmp_path / "a", mvtec(0.9), name=name, model__variant="uniad")
    write_run(tmp_path / "b", mvtec(0.9))
    runs = read_runs([tmp_path])
    notes = " ".join(render_table(select_runs(runs, 1), table_of(tmp_path, 1)).notes)
    assert ("UniAD is as published" in notes) == published
    assert ("UniAD's network in our recipe" in notes) == (not published)


def test_fewer_categories_are_for_the_growth_alone(tmp_path):
    for seed in (0, 1):
        for k in (1, 2, 4):
            values = dict(list(mvtec(0.9 - k / 100).items())[:k])
            categories = tuple(values)
            write_run(tmp_path / f"{k}-{seed}", values, data__categories=categories, train__seed=seed)
    runs = read_runs([tmp_path])
    chosen = select_runs(runs, 1)
    assert len(chosen.configs) == 2 and "4 runs" in chosen.notes[0]
    table = growth_table(runs)
    common = table[(table["over"] == "the category in common") & (table["seed"] == 1)]
    assert dict(zip(common["classes"], common["value"].round(3), strict=True)) == {1: 0.89, 2: 0.88, 4: 0.86}


def test_pairs_are_of_categories_with_the_seeds_together(three_seeds):
    paired = only_row(
        pairs(select_runs(read_runs([three_seeds]), 1)), second="UniAD, unified"
    )  # Table 1 prints no pixel AP
    assert (paired.first, paired.categories, paired.won, paired.lost) == ("MINT-AD, unified", 15, 15, 0)
    assert paired.same_seeds and paired.difference == pytest.approx(0.05 - 0.007)
    assert paired.p_value == pytest.approx(2**-14) and paired.low < paired.difference < paired.high
    assert paired.high - paired.low < 0.01  # the seeds' common shift cancels


def test_the_report_of_the_command_line(three_seeds, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    write_run(three_seeds / "half", {}, finished=False)
    result = CliRunner().invoke(app, ["report", str(three_seeds), "--out", str(out), "--table", "1", "--table", "4"])
    assert result.exit_code == 0, result.output
    assert "6 runs" in result.output and "1, 4" in result.output
    page = (out / "index.html").read_text()
    assert "http" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL) and "half" in page
    assert "Table 4" in page and "Table 5" not in page and "Wilcoxon" in page
    assert sorted(p.name for p in out.iterdir()) == [
        "every_metric.csv", "index.html", "paired_tests.csv", "table_01.csv", "table_01.tex", "table_04.csv",
        "table_04.tex",
    ]  # fmt: skip
    assert len(pd.read_csv(out / "table_01.csv")) == len(paper.load(1))


def test_metrics_baselines_and_variants_from_outside_the_package_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("image_gap", "score <gap>", level="image")(lambda scores: 0.0)
    monkeypatch.setattr(BASELINES, "_entries", {**BASELINES, "median": type("Median", (), {"title": "Median <map>"})})
    folder = write_run(tmp_path / "runs" / "a", mvtec(0.9), baselines={"median": mvtec(0.7)})
    results = pd.read_csv(folder / RESULTS)
    results.loc[len(results)] = ["mint_ad", "unified", 0, "mean", "image_gap", 0.625]
    results.to_csv(folder / RESULTS, index=False)
    result = report([tmp_path / "runs"], tmp_path / "out", tables=[1])
    page = result.page.read_text()
    assert "score &lt;gap&gt;" in page and "Median &lt;map&gt;" in page and "<gap>" not in page
    row = only_row(pd.read_csv(tmp_path / "out" / "every_metric.csv"), metric="image_gap")
    assert (row.method, row.measured, row.seeds) == ("MINT-AD", 0.625, 1)
    assert only_row(
        pd.read_csv(tmp_path / "out" / "table_01.csv"), method="Median <map>", category="mean"
    ).measured == pytest.approx(0.7)
    monkeypatch.setattr("mintad.report.methods.BUILT", {"mine": object})
    assert table_row(4, "mine", "unified", None) == ("mine", "not in the paper")
    assert table_row(4, "mine", "separate", None) is None and table_row(1, "mine", "unified", None) is None


def test_latex_is_balanced_and_escaped(three_seeds, tmp_path_factory):
    result = report([three_seeds], tmp_path_factory.mktemp("out"))
    for file in result.page.parent.glob("*.tex"):
        text = file.read_text()
        begins, ends = re.findall(r"\\begin\{(\w+)\}", text), re.findall(r"\\end\{(\w+)\}", text)
        assert sorted(begins) == sorted(ends) and text.count("{") == text.count("}")
        assert text.isascii() and not re.search(r"(?<!\\)[_%#]", text)
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
        body = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert body and all(line.count(" & ") == columns - 1 for line in body)


def test_an_unknown_table_is_refused(three_seeds, tmp_path):
    with pytest.raises(ConfigError, match="11"):
        report([three_seeds], tmp_path / "out", tables=[11])


def test_names_of_runs_are_no_markup(tmp_path):
    write_run(tmp_path / "runs" / "<b>x", mvtec(0.9))
    write_run(tmp_path / "runs" / "<i>y", {}, finished=False)
    page = report([tmp_path / "runs"], tmp_path / "out", tables=[1]).page.read_text()
    assert "&lt;b&gt;x" in page and "&lt;i&gt;y" in page and "<b>x" not in page and "<i>y" not in page


def test_complexity_beside_the_paper(tmp_path):
    file = tmp_path / "complexity.csv"
    rows = ["method,batch,metric,value,paper", "MINT-AD,64,seconds,9.5,0.194", "UniAD,1,macs_G,2.6,0.92"]
    file.write_text("\n".join(rows) + "\n")
    all_runs = read_runs([file])
    table = table_values(select_runs(all_runs, 6), all_runs.complexity)
    row = only_row(table, method="MINT-AD", setting="batch 64", metric="seconds")
    assert (row.measured, row.paper) == (9.5, 0.194) and pd.isna(row.difference)
    assert only_row(table, method="UniAD", setting="batch 1", metric="flops_G").measured == 2.6
    shown = render_table(select_runs(all_runs, 6), table)
    assert shown.rows[-1][0] == "MINT-AD" and shown.rows[-1][-1] == "9.5\npaper 0.194"
    file.write_text("# command: x\n# machine: y, 2 cores\n" + "\n".join(rows) + "\n")
    result = report([file], tmp_path / "out", tables=[6])
    assert "machine: y, 2 cores." in result.tables[0].notes and "command" not in " ".join(result.tables[0].notes)


def test_counts_without_seconds_join_those_with(tmp_path):
    head = "method,batch,metric,value,paper\n"
    (tmp_path / "complexity.csv").write_text(f"# machine: y\n# N = 15\n{head}UniAD,1,seconds,2.5,0.032\n")
    (tmp_path / "counts.csv").write_text(f"# machine: z\n# counted alone\n{head}DRAEM,1,macs_G,71.8,152.1\n")
    result = report([tmp_path / "complexity.csv", tmp_path / "counts.csv"], tmp_path / "out", tables=[6])
    values = pd.read_csv(tmp_path / "out" / "table_06.csv")
    assert only_row(values, method="DRAEM", setting="batch 1", metric="flops_G").measured == 71.8
    assert only_row(values, method="UniAD", setting="batch 1", metric="seconds").measured == 2.5
    draem = only_row(values, method="DRAEM", setting="batch 8", metric="seconds")
    assert pd.isna(draem.measured) and draem.status.startswith("not timed")
    assert result.tables[0].notes[-3:] == ["machine: y.", "N = 15.", "counted alone."]


def test_times_of_two_machines_are_refused(tmp_path):
    head, files = "method,batch,metric,value,paper\n", [tmp_path / "here.csv", tmp_path / "there.csv"]
    for file, seconds in zip(files, (2.5, 1.5), strict=True):
        file.write_text(f"# machine: {file.stem}\n{head}UniAD,1,seconds,{seconds},0.032\n")
    with pytest.raises(DataError, match="UniAD, batch 1, .*seconds.*here.csv.*there.csv"):
        read_runs(files)
    with pytest.raises(DataError, match="here.csv"):
        read_runs([files[0], files[0]])
    files[1].write_text(f"# machine: there\n{head}UniAD,8,seconds,1.5,0.032\n")
    assert read_runs(files).complexity["value"].tolist() == [2.5, 1.5]


def test_the_published_complexity_and_counts_are_read_together():
    folder = Path(__file__).parent.parent / "data" / "results"
    table = read_runs([folder / "complexity_cpu.csv", folder / "network_counts.csv"]).complexity
    assert {"UniAD", "DRAEM"} <= set(table["method"]) and table["file"].nunique() == 2


def compare_csv(file, values: dict[str, float], *, data: str = "mini", config=None, method: str = "mint_ad"):
    head = [f"# config: {json.dumps(config.to_dict())}"] if config else []
    rows = [f"{method},unified,0,{data}/{name},image_auroc,{value}" for name, value in values.items()]
    mean = sum(values.values()) / len(values)
    lines = [*head, ",".join(RESULT_COLUMNS), *rows, f"{method},unified,0,mean,image_auroc,{mean}"]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_tables_that_tell_their_configuration_join_those_of_the_same_images_alone(tmp_path):
    base = preset("small").override(**{"data.name": "mini"})
    harder = base.override(**{"data.options": {"difficulty": 2.0}})
    runs = write_run(tmp_path / "run", {"gear": 0.9}, data="mini", name="small")
    baselines = compare_csv(tmp_path / "baselines.csv", {"gear": 0.7}, config=base, method="padim")
    all_runs = read_runs([runs, baselines])
    chosen = select_runs(all_runs, 1)
    assert (
        not chosen.notes
        and only_row(table_values(chosen), method="PaDiM", setting="unified", category="gear").measured == 0.7
    )
    assert select_runs(where(all_runs, ["features.grid=7"]), 1).rows["method"].nunique() == 2
    judged = compare_csv(tmp_path / "harder.csv", {"gear": 0.6}, config=harder, method="padim")
    with pytest.raises(DataError, match=r'"difficulty": 2.0.*--where'):
        select_runs(read_runs([runs, judged]), 1)
    untold = compare_csv(tmp_path / "untold.csv", {"gear": 0.6}, method="padim")
    (note,) = select_runs(read_runs([runs, untold]), 1).notes
    assert "1 of 2 runs" in note
    with pytest.raises(DataError, match="PaDiM, unified"):
        select_runs(read_runs([baselines, untold]), 1)
    again = compare_csv(tmp_path / "again.csv", {"gear": 0.7}, config=base, method="padim")
    assert len(select_runs(read_runs([baselines, again]), 1).rows) == 4  # the same result twice does no harm
    compare_csv(again, {"gear": 0.6}, config=base, method="padim")
    with pytest.raises(DataError, match="PaDiM, unified.*seed 0.*baselines.csv.*again.csv"):
        select_runs(read_runs([baselines, again]), 1)
    untold.write_text("# config: {\n" + untold.read_text())
    with pytest.raises(DataError, match="untold.csv.*# config:"):
        read_runs([untold])


def test_table_3_is_about_its_own_data_sets_and_whole_ones(tmp_path):
    other = {"elpv/mono": 0.9, "folder/screw": 0.8}
    write_run(tmp_path / "other", other, data="merged", name="fast")
    assert not table_of(tmp_path, 3)["measured"].notna().any()
    assert select_runs(read_runs([tmp_path]), 1).data == "elpv+folder"
    part = {f"btad/{n}": 0.9 for n in range(3)} | {f"mvtec/{n}": 0.6 for n in MVTEC[:2]}
    write_run(tmp_path / "part", part, data="merged")
    table = table_of(tmp_path, 3)
    rows = table[(table["method"] == "MINT-AD") & (table["metric"] == "image_auroc")].set_index("category")
    assert rows.loc["btad", "difference"] == pytest.approx(0.9 - rows.loc["btad", "paper"])
    assert rows.loc[["mvtec", "mean"], "measured"].notna().all()
    assert rows.loc[["mvtec", "mean"], "difference"].isna().all()
    assert rows.loc["mean", "paper"] == paper.value(3, "MINT-AD", "mean", "image_auroc", "merged")


def test_table_3_is_paired_by_category(tmp_path):
    values = {f"mvtec/{n}": 0.9 for n in MVTEC} | {f"visa/{n}": 0.6 for n in range(12)}
    values |= {f"btad/{n}": 0.3 for n in range(3)}
    write_run(tmp_path / "a", values, data="merged")
    lower = {key: value - 0.1 - n / 1000 for n, (key, value) in enumerate(values.items())}
    write_run(tmp_path / "b", lower, data="merged", model__variant="uniad")
    paired = only_row(pairs(select_runs(read_runs([tmp_path]), 3)), metric="image_auroc")
    assert (paired.categories, paired.won) == (30, 30)

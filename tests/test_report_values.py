"""The tables' values: means and spreads by hand, each beside the paper's, and no difference of unlike things."""

from __future__ import annotations

import pandas as pd
import pytest
from report_builders import MVTEC, mvtec, only_row, table_of, write_run

from mintad.report import paper
from mintad.report.build import report
from mintad.report.layout import render_table
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.side_by_side import side_by_side
from mintad.report.table_values import table_values


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

"""The paper's numbers as data: complete, unambiguous, and checked against the means printed with them."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from mintad.config import ModelConfig
from mintad.data.btad import CATEGORIES as BTAD
from mintad.data.cifar10 import SPLITS
from mintad.data.mvtec import CATEGORIES as MVTEC
from mintad.data.visa import CATEGORIES as VISA
from mintad.errors import ConfigError, DataError
from mintad.model import variants
from mintad.report import paper

MEAN, ALL = "mean", "all"
REPOSITORY = Path(__file__).parent.parent / "data" / "paper"

METHODS = {
    1: ["PaDiM", "CutPaste", "DRAEM", "SimpleNet", "UniAD", "OmniAL", "MINT-AD"],
    2: ["PaDiM", "CutPaste", "PatchCore", "SimpleNet", "UniAD", "MINT-AD"],
    3: ["UniAD", "MINT-AD"],
    4: ["Vanilla UniAD", "Query Pool", "Class Token", "Text Prompt"]
    + ["Image Prompt", "Label Prompt", "Feature Prompt", "INR -> Large MLP"],
    5: ["MINT-AD"],
    6: ["PaDiM", "PatchCore", "DRAEM", "SimpleNet", "UniAD", "MINT-AD"],
    7: ["US", "FCDD", "FCDD+OE", "PANDA", "MKD", "UniAD", "MINT-AD"],
    8: ["UniAD", "MINT-AD"],
    9: ["MLP-Query", "INR-Query"],
    10: ["CFA", "UTRAD", "CFLOW", "SimpleNet", "UniAD", "MINT-AD"],
}
CATEGORIES = {
    1: {*MVTEC, MEAN},
    2: {*VISA, MEAN},
    3: {"btad", "mvtec", "visa", MEAN},
    4: {MEAN},
    5: {MEAN},
    6: {ALL},
    7: {*("{" + split + "}" for split in SPLITS), MEAN},
    8: {MEAN},
    9: {MEAN, ALL},
    10: {*MVTEC, MEAN},
}
SETTINGS = {
    1: {"unified", "separate"},
    2: {"unified", "separate"},
    3: {"merged"},
    4: {"no label", "label in training", "label in training and testing"},
    5: {
        "none",
        "adapter",
        "adapter+class_loss",
        "adapter+class_loss+class_query",
        "adapter+class_loss+prior_loss",
        "adapter+class_loss+prior_loss+class_query",
    },
    6: {"batch 1", "batch 8", "batch 16", "batch 32", "batch 64"},
    7: {"unified"},
    8: {f"resnet{depth}" for depth in (18, 34, 50, 101)} | {f"efficientnet_b{size}" for size in (0, 2, 4, 6)},
    9: {"unified"},
    10: {"unified"},
}
METRICS = {
    1: {"image_auroc"},
    2: {"image_auroc", "pixel_ap"},
    3: {"image_auroc", "pixel_ap"},
    4: {"image_auroc", "pixel_ap"},
    5: {"image_auroc", "pixel_ap"},
    6: {"flops_G", "parameters_M", "seconds"},
    7: {"image_auroc"},
    8: {"image_auroc"},
    9: {"image_auroc", "pixel_ap", "parameters_M"},
    10: {"pixel_ap"},
}
ROWS = {
    1: 7 * 2 * 16,
    2: 7 * 2 * 13 - 13,  # no P-AUPR of CutPaste
    3: 2 * 2 * 4,
    4: 8 * 2,
    5: 6 * 2,
    6: 6 * (2 + 5),
    7: 7 * 5,
    8: 2 * 8,
    9: 2 * 3,
    10: 6 * 16,
}

DO_NOT_FOLLOW = {
    (1, "PaDiM", "unified", "image_auroc"): 0.0180,
    (1, "PaDiM", "separate", "image_auroc"): -0.0112,
    (1, "SimpleNet", "separate", "image_auroc"): -0.0015,
    (2, "PaDiM", "separate", "pixel_ap"): -0.0040,
    (2, "SimpleNet", "unified", "pixel_ap"): -0.0081,
    (10, "UTRAD", "unified", "pixel_ap"): -0.0207,
}
"""Printed means that no rounding of their rows gives: printed minus mean of rows. So does the README."""


def not_following() -> dict[tuple, float]:
    means = paper.means().query("not follows")
    keys = means[["table", "method", "setting", "metric"]].itertuples(index=False, name=None)
    return dict(zip(keys, means["difference"].round(4), strict=True))


@pytest.mark.parametrize("table", range(1, 11))
def test_a_table_has_every_method_category_setting_and_metric_once(table):
    rows = paper.load(table)
    assert tuple(rows.columns) == ("table", "method", "category", "setting", "metric", "value")
    assert set(rows["table"]) == {table} and rows["value"].dtype == float and rows["value"].notna().all()
    assert not rows.duplicated(["method", "category", "setting", "metric"]).any()
    assert list(rows["method"].unique()) == METHODS[table], "methods in the order of print"
    for column, names in (("category", CATEGORIES), ("setting", SETTINGS), ("metric", METRICS)):
        assert set(rows[column]) == names[table]
    assert len(rows) == ROWS[table]


def test_the_categories_are_those_of_the_data_sets():
    assert (len(MVTEC), len(VISA), len(BTAD)) == (15, 12, 3)
    for table, categories in ((1, MVTEC), (2, VISA), (10, MVTEC)):
        rows = paper.load(table).query("category != 'mean'")
        for _, group in rows.groupby(["method", "setting", "metric"]):
            assert sorted(group["category"]) == sorted(categories)


@pytest.mark.parametrize("table", [1, 2, 3, 4, 5, 7, 8, 10])
def test_scores_are_fractions_with_three_digits(table):
    text = pd.read_csv(REPOSITORY / f"table_{table:02d}.csv", dtype=str, keep_default_na=False)["value"]
    assert text.str.fullmatch(r"0\.\d{3}|1\.000").all()


@pytest.mark.parametrize(
    ("table", "method", "category", "metric", "setting", "expected"),
    [
        (1, "PaDiM", "wood", "image_auroc", "unified", 0.721),
        (1, "SimpleNet", "bottle", "image_auroc", "separate", 1.0),
        (1, "OmniAL", "screw", "image_auroc", "separate", 0.810),
        (1, "MINT-AD", "capsule", "image_auroc", "separate", 0.810),
        (1, "MINT-AD", "mean", "image_auroc", "unified", 0.986),
        (2, "SimpleNet", "mean", "image_auroc", "separate", 0.971),
        (2, "SimpleNet", "mean", "image_auroc", "unified", 0.873),
        (2, "PatchCore", "pcb1", "pixel_ap", None, 0.917),
        (2, "MINT-AD", "macaroni2", "pixel_ap", None, 0.158),
        (3, "UniAD", "btad", "pixel_ap", None, 0.469),
        (3, "MINT-AD", "mean", "image_auroc", "merged", 0.949),
        (4, "Vanilla UniAD", "mean", "pixel_ap", None, 0.445),
        (4, "Query Pool", "mean", "image_auroc", None, 0.976),
        (4, "Class Token", "mean", "image_auroc", "label in training and testing", 0.979),
        (4, "Text Prompt", "mean", "pixel_ap", None, 0.463),
        (4, "Image Prompt", "mean", "pixel_ap", "no label", 0.465),
        (4, "Label Prompt", "mean", "pixel_ap", None, 0.472),
        (4, "Feature Prompt", "mean", "pixel_ap", "label in training", 0.498),
        (4, "INR -> Large MLP", "mean", "image_auroc", None, 0.980),
        (5, "MINT-AD", "mean", "image_auroc", "none", 0.971),
        (5, "MINT-AD", "mean", "pixel_ap", "adapter+class_loss+prior_loss", 0.502),
        (5, "MINT-AD", "mean", "pixel_ap", "adapter+class_loss+class_query", 0.477),
        (6, "UniAD", "all", "flops_G", None, 0.92),
        (6, "MINT-AD", "all", "parameters_M", None, 9.44),
        (6, "DRAEM", "all", "flops_G", "batch 1", 152.10),
        (6, "PatchCore", "all", "seconds", "batch 64", 72.204),
        (6, "UniAD", "all", "seconds", "batch 64", 0.2305),
        (7, "FCDD+OE", "{02468}", "image_auroc", None, 0.853),
        (7, "MINT-AD", "{01234}", "image_auroc", None, 0.867),
        (8, "MINT-AD", "mean", "image_auroc", "resnet34", 0.927),
        (8, "UniAD", "mean", "image_auroc", "efficientnet_b6", 0.961),
        (9, "MLP-Query", "all", "parameters_M", None, 383.5),
        (9, "INR-Query", "all", "parameters_M", None, 0.602),
        (9, "MLP-Query", "mean", "pixel_ap", None, 0.498),
        (10, "CFA", "metal_nut", "pixel_ap", None, 0.877),
        (10, "SimpleNet", "grid", "pixel_ap", None, 0.003),
        (10, "MINT-AD", "mean", "pixel_ap", None, 0.498),
    ],
)
def test_numbers_are_as_printed(table, method, category, metric, setting, expected):
    assert paper.value(table, method, category, metric, setting) == expected


def test_printed_means_follow_from_their_rows_but_for_those_listed():
    means = paper.means()
    assert means.groupby("table").size().to_dict() == {1: 14, 2: 13, 3: 4, 7: 7, 10: 6}
    assert not_following() == pytest.approx(DO_NOT_FOLLOW, abs=1e-9)
    assert means["tolerance"].to_numpy() == pytest.approx(0.001)
    assert (means["difference"] == means["printed"] - means["of_rows"]).all()


def test_a_mean_with_one_wrong_digit_is_noticed(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY, tmp_path / "paper")
    file = tmp_path / "paper" / "table_10.csv"
    right = "MINT-AD,bottle,unified,P-AUPR,0.665"
    file.write_text(file.read_text().replace(right, right.replace("0.665", "0.565")))
    monkeypatch.setenv(paper.FOLDER, str(tmp_path / "paper"))
    assert (10, "MINT-AD", "unified", "pixel_ap") in not_following()


def test_the_readme_lists_the_means_that_do_not_follow():
    text = (REPOSITORY / "README.md").read_text()
    pattern = r"^\| (\d+) \| ([^|]+) \| (\w+) \| ([\w-]+) \| [\d.]+ \| [\d.]+ \| ([−+][\d.]+) \|"
    listed = {
        (int(table), method, setting, paper.METRICS[metric]): float(difference.replace("−", "-"))
        for table, method, setting, metric, difference in re.findall(pattern, text, re.M)
    }
    assert listed == pytest.approx(DO_NOT_FOLLOW, abs=1e-9)


def test_tables_agree_where_they_print_the_same_model():
    """MVTec AD, unified, EfficientNet-b4: in Tables 1 or 10, 4, 5, 8 and 9."""
    full = "adapter+class_loss+prior_loss+class_query"
    for metric, table, expected in (("image_auroc", 1, 0.986), ("pixel_ap", 10, 0.498)):
        assert paper.value(table, "MINT-AD", MEAN, metric, "unified") == expected
        assert paper.value(4, "Feature Prompt", MEAN, metric) == expected
        assert paper.value(5, "MINT-AD", MEAN, metric, full) == expected
        assert paper.value(9, "INR-Query", MEAN, metric) == expected
        assert paper.value(4, "INR -> Large MLP", MEAN, metric) == paper.value(9, "MLP-Query", MEAN, metric)
        assert paper.value(4, "Vanilla UniAD", MEAN, metric) == paper.value(table, "UniAD", MEAN, metric, "unified")
    for method in ("MINT-AD", "UniAD"):
        b4 = paper.value(8, method, MEAN, "image_auroc", "efficientnet_b4")
        assert b4 == paper.value(1, method, MEAN, "image_auroc", "unified")


def test_what_the_paper_leaves_blank_is_none():
    assert paper.value(2, "CutPaste", "cashew", "pixel_ap") is None
    assert paper.value(1, "PatchCore", "bottle", "image_auroc") is None, "PatchCore is in Table 2 only"
    assert paper.value(2, "UniAD", "cashew", "image_auroc", "separate") is None


def test_a_misspelt_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown method 'Patchcore'. Did you mean 'PatchCore'"):
        paper.value(1, "Patchcore", "bottle", "image_auroc")
    with pytest.raises(ConfigError, match="unknown category 'metal nut'. Did you mean 'metal_nut'"):
        paper.value(1, "UniAD", "metal nut", "image_auroc")
    with pytest.raises(ConfigError, match="'unified', 'separate'"):
        paper.value(1, "UniAD", "bottle", "image_auroc")
    with pytest.raises(ConfigError, match="no table 11"):
        paper.load(11)


def test_methods_and_switches_name_what_the_package_builds():
    names = {name for table in METHODS.values() for name in table}
    assert set(paper.VARIANTS) <= names and set(paper.VARIANTS.values()) == set(variants.NAMES)
    assert set(paper.SWITCHES) <= {field.name for field in fields(ModelConfig)}
    assert paper.switches("none") == dict.fromkeys(paper.SWITCHES, False)
    on = [sum(paper.switches(setting).values()) for setting in paper.load(5)["setting"].unique()]
    assert on == [0, 1, 2, 3, 3, 4], "in the order of print"
    with pytest.raises(ConfigError, match="unknown submodule 'query'"):
        paper.switches("adapter+query")


def test_the_order_of_training_in_table_2_reads_simplenet_twice():
    """The header names SimpleNet twice: the better, 0.971, is the separate one."""
    means = paper.load(2).query("category == 'mean' and metric == 'image_auroc'")
    assert list(zip(means["method"], means["setting"], strict=True)) == [
        *((method, "separate") for method in ("PaDiM", "CutPaste", "PatchCore", "SimpleNet")),
        *((method, "unified") for method in ("SimpleNet", "UniAD", "MINT-AD")),
    ]


def test_a_loaded_table_is_the_callers_own():
    rows = paper.load(4)
    rows["value"] = 0.0
    assert paper.value(4, "Feature Prompt", MEAN, "image_auroc") == 0.986


def test_absent_tables_are_an_error_with_a_cure(tmp_path, monkeypatch):
    monkeypatch.setenv(paper.FOLDER, str(tmp_path))
    with pytest.raises(DataError, match=f"not in {tmp_path}.*set MINTAD_PAPER to a folder that holds table_01.csv"):
        paper.load(1)


def test_tables_installed_by_a_wheel_are_found(tmp_path, monkeypatch):
    """As after `pip install .`: no data/ beside the package, the tables below the environment's share/."""
    share = tmp_path / "share" / "mintad" / "paper"
    shutil.copytree(REPOSITORY, share)

    class Recorded(type(Path())):
        def locate(self):
            return tmp_path / "lib" / self

    recorded = [Recorded("mintad/report/paper.py"), Recorded("../share/mintad/paper/table_01.csv")]
    monkeypatch.setattr(paper, "BESIDE_PACKAGE", tmp_path / "lib")
    monkeypatch.setattr(paper.metadata, "files", lambda name: recorded)
    assert paper.folder() == share
    monkeypatch.setattr(paper.metadata, "files", lambda name: recorded[:1])
    with pytest.raises(DataError, match="data/paper"):
        paper.folder()
    monkeypatch.setattr(paper, "BESIDE_PACKAGE", tmp_path)
    assert paper.folder() == share, "after pip install --target"


def test_a_file_with_other_columns_is_refused(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY, tmp_path / "paper")
    (tmp_path / "paper" / "table_04.csv").write_text("method,value\nUniAD,0.9\n")
    monkeypatch.setenv(paper.FOLDER, str(tmp_path / "paper"))
    with pytest.raises(DataError, match="table_04.csv: columns method, value; expected table, method"):
        paper.load(4)

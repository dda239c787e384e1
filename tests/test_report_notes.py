"""What the notes of a table say of how its runs were made."""

from __future__ import annotations

import pytest
from report_builders import mvtec, table_of, write_run

from mintad.errors import DataError
from mintad.report.layout import render_table
from mintad.report.runs import read_runs
from mintad.report.select_runs import measured_with, select_runs
from mintad.report.table_values import table_values


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


def test_methods_trained_differently_are_told(tmp_path):
    write_run(tmp_path / "a", mvtec(0.9))
    write_run(tmp_path / "b", mvtec(0.9), model__variant="uniad", train__batch_size=8)
    (note,) = select_runs(read_runs([tmp_path]), 1).notes
    assert "train.batch_size: 32, 8" in note


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


@pytest.mark.parametrize(("name", "published"), [("paper", False), ("uniad", True)])
def test_a_report_says_which_uniad_it_shows(tmp_path, name, published):
    write_run(tmp_path / "a", mvtec(0.9), name=name, model__variant="uniad")
    write_run(tmp_path / "b", mvtec(0.9))
    runs = read_runs([tmp_path])
    notes = " ".join(render_table(select_runs(runs, 1), table_of(tmp_path, 1)).notes)
    assert ("UniAD is as published" in notes) == published
    assert ("UniAD's network in our recipe" in notes) == (not published)

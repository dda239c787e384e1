"""Which runs of a table are averaged, which are refused together, and how those refused are told apart."""

from __future__ import annotations

import json
import shlex

import pytest
from report_builders import mvtec, only_row, table_of, write_run

from mintad.config import preset
from mintad.errors import ConfigError, DataError
from mintad.report.figures import growth_table
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs, where
from mintad.report.table_values import table_values
from mintad.scoring.metrics import RESULT_COLUMNS


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

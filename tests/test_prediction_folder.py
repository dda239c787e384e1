"""The folder of predictions: interruptions, earlier predictions, files of others, names of any kind."""

import csv
import io
import json
import os
import shutil

import pandas as pd
import pytest
from synthetic import small

from mintad.errors import DataError, MintadError
from mintad.runs import predict_files as files_module
from mintad.runs.predict import COLUMNS, JudgingRules
from mintad.runs.predict_files import predict_files
from mintad.runs.prediction_folder import PredictionFolder, read_table
from mintad.runs.train import train_run

pytestmark = pytest.mark.usefixtures("cache")


def files_in(folder):
    return sorted(file.name for file in folder.iterdir() if file.name != ".lock")


def lines_of(out):
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


@pytest.fixture
def stopping(monkeypatch):
    """Make the heatmap of the n-th image from now on the moment of an interruption; returns how to set n."""
    write, state = files_module.write_overlay, {"left": None}

    def write_or_stop(*arguments):
        if state["left"] == 0:
            raise KeyboardInterrupt
        state["left"] = None if state["left"] is None else state["left"] - 1
        write(*arguments)

    monkeypatch.setattr(files_module, "write_overlay", write_or_stop)
    return lambda after: state.update(left=after)


@pytest.mark.parametrize("cut_off", [False, True])
def test_an_interrupted_prediction_goes_on_where_it_was(finished, products, tmp_path, stopping, cut_off):
    images, whole, out = products / "mesh/train/good", tmp_path / "whole", tmp_path / "out"
    expected, _ = predict_files(finished.path, [images], whole, progress=False)
    stopping(4)
    with pytest.raises(KeyboardInterrupt):
        predict_files(finished.path, [images], out, progress=False)
    done = pd.read_csv(out / "predictions.csv")
    assert list(done["image"]) == list(expected["image"][:4]) and len(lines_of(out)) == 4
    if cut_off:  # as a power failure may leave it
        for name in ("predictions.jsonl", "predictions.csv"):
            (out / name).write_bytes((out / name).read_bytes()[:-9])
        (out / ".writing-of-a-killed-process").write_text("x")
    stopping(7 if cut_off else 6)  # so many are left, not one more
    table, problems = predict_files(finished.path, [images], out, progress=False)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), expected.drop(columns="seconds"))
    assert files_in(out) == files_in(whole) and not problems
    written = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(written, table, check_exact=True)
    stopping(0)  # all are done
    predict_files(finished.path, [images], out, progress=False)


def test_old_predictions_are_never_mixed_with_new_ones(finished, products, tmp_path):
    out, mesh = tmp_path / "out", shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    first, _ = predict_files(finished.path, [mesh, products / "capsule/test/good"], out, progress=False)
    assert len(first) == 6 and len(list(out.glob("*.png"))) == 6
    (mesh / "000.png").write_bytes((products / "capsule/test/good/000.png").read_bytes())
    second, _ = predict_files(finished.path, [mesh], out, progress=False)
    assert len(second) == 3 and sorted(second["heatmap"]) == sorted(file.name for file in out.glob("*.png"))
    changed = second["pred_score"].to_numpy() != first["pred_score"][:3].to_numpy()
    assert list(changed) == [True, False, False]
    third, _ = predict_files(finished.path, [mesh], out, JudgingRules(threshold=-1.0), progress=False)
    assert third["anomalous"].all() and {row["anomalous"] for row in lines_of(out)} == {True}
    assert len({row["run"] for row in lines_of(out)}) == 1
    fourth, _ = predict_files(finished.path, [mesh], out, JudgingRules(threshold=-1.0), overlays=False, progress=False)
    assert len(fourth) == 3 and not list(out.glob("*.png")) and fourth["heatmap"].isna().all()


def test_a_line_of_someone_else_removes_nothing_outside(finished, products, tmp_path):
    victim, out = tmp_path / "victim.png", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    rows = [{"image": "a", "heatmap": "../victim.png"}, {"image": "b", "heatmap": str(victim)}, {"image": 3}, [1]]
    (out / "predictions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    predict_files(finished.path, [products / "mesh/test/good"], out, progress=False)
    assert victim.read_text() == "precious" and len(lines_of(out)) == 3


SPOILED = {
    "a decision": lambda row: row | {"anomalous": not row["anomalous"]},
    "no digest": lambda row: {name: value for name, value in row.items() if name != "digest"},
    "no photograph": lambda row: {name: value for name, value in row.items() if name != "photograph"},
    "a number for a heatmap": lambda row: row | {"heatmap": 5},
    "a list for a heatmap": lambda row: row | {"heatmap": ["x"]},
    "a heatmap that is no name": lambda row: row | {"heatmap": "a\0b"},
    "another photograph": lambda row: row | {"photograph": {"x": 1}},
    "of an older version": lambda row: {name: value for name, value in row.items() if name != "line"},
}


def test_lines_that_were_changed_are_scored_anew(finished, products, tmp_path, stopping):
    out, images = tmp_path / "out", products / "mesh/train/good"
    expected, _ = predict_files(finished.path, [images], out, progress=False)
    before, names = lines_of(out), files_in(out)
    assert len(before) > len(SPOILED)
    spoiled = [spoil(row) for spoil, row in zip(SPOILED.values(), before, strict=False)]
    (out / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spoiled + before[len(spoiled) :]))
    stopping(len(spoiled))  # so many are scored, not one more
    table, problems = predict_files(finished.path, [images], out, progress=False)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), expected.drop(columns="seconds"))
    assert files_in(out) == names and not problems
    stopping(0)
    predict_files(finished.path, [images], out, progress=False)


@pytest.mark.parametrize("name", ["predictions.csv", "warnings.txt"])
def test_files_of_the_user_are_not_replaced(finished, products, tmp_path, name):
    (tmp_path / name).write_text("of the user")
    with pytest.raises(MintadError, match=f"{name}.*choose another --out"):
        predict_files(finished.path, [products / "mesh/test/good"], tmp_path, progress=False)
    assert (tmp_path / name).read_text() == "of the user" and os.listdir(tmp_path) == [name]


def test_a_model_without_classes_has_no_class_of_its_own_to_doubt(products, tmp_path):
    run = train_run(small(products, **{"model.variant": "uniad", "train.steps": 2}), tmp_path / "run", progress=False)
    predict_files(run.path, [products / "mesh/test/good"], tmp_path / "out", JudgingRules(quantile=0.5), progress=False)
    warnings = tmp_path / "out/warnings.txt"
    assert not warnings.exists() or "too few for thresholds of their own" not in warnings.read_text()
    assert {row["judged_class"] for row in lines_of(tmp_path / "out")} == {""}


def test_prediction_replaces_links_and_follows_none(finished, products, tmp_path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    table, _ = predict_files(finished.path, [products / "mesh/test/good"], out, progress=False)
    names = ["predictions.csv", *table["heatmap"]]
    for linked in (names, [*names, "predictions.jsonl"]):
        for name in linked:
            (out / name).unlink()
            (out / name).symlink_to(victim)
        predict_files(finished.path, [products / "mesh/test/good"], out, progress=False)
        assert victim.read_text() == "precious" and not [file for file in out.iterdir() if file.is_symlink()]


def test_two_processes_do_not_write_into_one_folder(finished, products, tmp_path):
    with PredictionFolder(tmp_path / "out", "run", COLUMNS):
        with pytest.raises(MintadError, match="another process"):
            predict_files(finished.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)


@pytest.mark.parametrize("name", ["=1+2", "+1", "-cmd|x", "@SUM(A1)", "'=1", "''", "plain"])
def test_no_cell_is_a_formula_and_our_reader_gives_the_name_back(finished, products, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(products / "mesh/test/good/000.png", f"{name}.png")
    table, _ = predict_files(finished.path, [f"{name}.png"], "out", progress=False)
    (raw,) = csv.DictReader(io.StringIO((tmp_path / "out/predictions.csv").read_text()))
    assert not [cell for cell in (raw["image"], raw["heatmap"]) if cell.startswith(tuple("=+-@"))]
    again = read_table("out/predictions.csv")
    pd.testing.assert_frame_equal(again, table, check_exact=True, check_dtype=False)
    assert again["image"][0] == f"{name}.png" and (tmp_path / "out" / again["heatmap"][0]).exists()
    with pytest.raises(DataError, match="not a table of predictions"):
        read_table(finished.path / "results.csv")


@pytest.mark.parametrize("name", ["a,b;c", "q\"u'o", "two\nlines", "[red]", "ä" * 60])
def test_any_name_survives_tables_and_lines(finished, products, tmp_path, name):
    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy(products / "mesh/test/good/000.png", folder / f"{name}.png")
    for _ in range(2):  # scored, and found again
        table, problems = predict_files(finished.path, [folder], tmp_path / "out", progress=False)
        assert not problems and list(table["image"]) == [str(folder / f"{name}.png")]
    written = pd.read_csv(tmp_path / "out/predictions.csv", encoding_errors="surrogateescape")
    assert list(written["image"]) == list(table["image"]) and (tmp_path / "out" / table["heatmap"][0]).exists()


def test_a_name_that_is_not_utf_8_is_reported_as_in_training_and_scored_where_it_is_given(finished, products, tmp_path):
    file = tmp_path / "new" / os.fsdecode(b"\xff\xfe.png")
    file.parent.mkdir()
    shutil.copy(products / "mesh/test/good/000.png", file)
    table, problems = predict_files(finished.path, [file.parent], tmp_path / "out", progress=False)
    assert not len(table) and len(problems) == 1 and "UTF-8" in problems[0]
    table, problems = predict_files(finished.path, [file], tmp_path / "out", progress=False)
    assert not problems and list(table["image"]) == [str(file)]
    written = pd.read_csv(tmp_path / "out/predictions.csv", encoding_errors="surrogateescape")
    assert list(written["image"]) == [str(file)]

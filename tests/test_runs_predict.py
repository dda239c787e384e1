"""Scores of new files by a finished run."""

import csv
import io
import json
import os
import shutil
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import small

from mintad.data import images as images_module
from mintad.errors import ConfigError, DataError, MintadError
from mintad.runs import heatmaps
from mintad.runs import predict_files as files_module
from mintad.runs.evaluate import evaluate_run
from mintad.runs.heatmaps import regions
from mintad.runs.new_images import find_images
from mintad.runs.predict import COLUMNS, Predictor
from mintad.runs.predict_files import predict_files
from mintad.runs.prediction_folder import PredictionFolder, read_table
from mintad.runs.train import train_run
from mintad.scoring.maps import interpolation_matrix

pytestmark = pytest.mark.usefixtures("cache")


def test_prediction_gives_the_scores_of_the_evaluation(finished, tmp_path):
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    files = list(scores["image"][:5])
    table, problems = predict_files(finished.path, files, tmp_path / "out", progress=False)
    assert not problems
    # The features come through the cache there, which rounds them to 11 bits (relative errors up to 5e-4), and
    # directly here. A score is a sum of squares of differences that are about as large as the features themselves:
    # twice that, and as much again for the reconstruction.
    np.testing.assert_allclose(table["pred_score"], scores["pred_score"][:5], rtol=2e-3)
    assert list(table["anomalous"]) == list(table["pred_score"] > table["threshold"])
    for column in ("anomalous", "pred_class", "unknown_product"):
        assert list(table[column]) == list(scores[column][:5])
    for column in ("p_value", "product_p_value"):  # rounding may exchange two of 7 ranks
        np.testing.assert_allclose(table[column].astype(float), scores[column][:5], atol=1.01 / 7)
    assert all((tmp_path / "out" / name).exists() for name in table["heatmap"])
    assert (tmp_path / "out/predictions.csv").exists()


def test_prediction_gives_the_very_scores_of_a_float32_cache(copied, tmp_path):
    copied.write("config", copied.config().override(**{"features.dtype": "float32"}).to_dict())
    scores = evaluate_run(copied.path, device="cpu", progress=False).scores()
    table, _ = predict_files(copied.path, scores["image"][:5], tmp_path / "out", device="cpu", progress=False)
    np.testing.assert_allclose(table["pred_score"], scores["pred_score"][:5], rtol=2e-5)


def test_prediction_does_not_score_its_own_heatmaps(finished, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    for _ in range(2):
        table, _ = predict_files(finished.path, [folder], folder / "out", progress=False)
        assert len(table) == 3
    with pytest.raises(DataError, match="lies in the folder of the results.*choose another --out"):
        predict_files(finished.path, [folder], folder, progress=False)


def test_threshold_quantile_and_expected_product_are_given_at_predict_time(finished, products, tmp_path):
    def predict(**options):
        folder = products / "mesh/test/good"
        return predict_files(finished.path, [folder], tmp_path / "out", progress=False, **options)[0]

    plain = predict()
    middle = float(plain["pred_score"].median())
    assert predict(threshold=middle)["anomalous"].sum() == 1 and set(predict(threshold=middle)["threshold"]) == {middle}
    assert predict(quantile=0.3)["threshold"].max() < plain["threshold"].max()
    assert "wrong_product" not in plain
    expected = predict(expect="capsule")
    assert (
        expected["wrong_product"] == (expected["pred_class"] != "folder/capsule") | expected["unknown_product"]
    ).all()
    for wrong in ({"expect": "screw"}, {"quantile": 2.0}, {"quantile": 0.5, "threshold": 1.0}):
        with pytest.raises(ConfigError):
            predict(**wrong)


def test_what_makes_predictions_doubtful_is_recorded(finished, products, tmp_path):
    folder, out = tmp_path / "new", tmp_path / "out"
    folder.mkdir()
    Image.open(products / "mesh/test/good/000.png").resize((200, 30)).convert("RGB").save(folder / "wide.jpg")
    predict_files(finished.path, [folder], out, progress=False)
    few, unknown, size, form = (out / "warnings.txt").read_text().splitlines()
    assert "unknown products" in unknown and "99 are needed" in unknown
    assert "6 held-out images" in few and "wide.jpg: 200 x 30 pixels" in size and "JPEG, not PNG" in form
    predict_files(finished.path, [products / "mesh/test/good"], out, progress=False)
    assert (out / "warnings.txt").read_text().splitlines() == [few]


def test_a_category_that_is_not_needed_is_noted(finished, caplog):
    Predictor(finished.path, device="cpu", category="zzz")
    assert "zzz" in caplog.text


def test_a_run_without_hold_out_decides_by_a_given_threshold_alone(copied, products, tmp_path):
    copied.write("threshold", None)
    copied.write("digests", copied.read("digests") | {"decided": False})
    folder = [products / "mesh/test/good"]
    table, _ = predict_files(copied.path, folder, tmp_path / "out", progress=False)
    assert set(table["anomalous"]) == set(table["p_value"]) == set(table["threshold"]) == {""}
    table, _ = predict_files(copied.path, folder, tmp_path / "out", threshold=-1.0, progress=False)
    assert table["anomalous"].all() and set(table["p_value"]) == {""}
    with pytest.raises(ConfigError, match="no images were held out"):
        predict_files(copied.path, folder, tmp_path / "out", quantile=0.5, progress=False)


def test_prediction_skips_and_names_unreadable_files(finished, products, tmp_path):
    folder = tmp_path / "new"
    shutil.copytree(products / "mesh/test/good", folder)
    (folder / "broken.png").write_bytes((folder / "000.png").read_bytes()[:200])
    table, problems = predict_files(finished.path, [folder], tmp_path / "out", progress=False)
    assert len(table) == 3 and len(problems) == 1 and "broken.png" in problems[0]
    with pytest.raises(DataError, match="does not exist"):
        find_images([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        find_images([tmp_path / "empty"])
    with pytest.raises(MintadError, match="config.json is missing"):
        predict_files(tmp_path, [folder], tmp_path / "out")


def test_prediction_refuses_pipes_and_devices_and_goes_on(finished, products, tmp_path, make_pipe):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    make_pipe(folder / "pipe.png")
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    table, problems = predict_files(finished.path, [folder], tmp_path / "out", progress=False)
    assert len(table) == 3 and len(problems) == 3 and "circle.png: " in problems[0]
    assert "device" in problems[1] and "pipe.png: " in problems[2] and "named pipe" in problems[2]
    with pytest.raises(OSError, match="circle.png"):  # which ends a command with a line
        predict_files(finished.path, [products / "mesh/test/good"], folder / "circle.png", progress=False)


def test_prediction_holds_one_picture_at_a_time(finished, products, tmp_path, monkeypatch):
    pictures, alive = [], []

    def spy(path):
        alive.append(sum(picture() is not None for picture in pictures))
        picture = open_image(path)
        pictures.append(weakref.ref(picture))
        return picture

    open_image = images_module.open_image
    monkeypatch.setattr(images_module, "open_image", spy)
    predict_files(finished.path, [products / "mesh/train/good"], tmp_path / "out", progress=False)
    assert len(alive) == 20 and max(alive) == 0  # once for the score, once for the heatmap in its own size


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
    third, _ = predict_files(finished.path, [mesh], out, threshold=-1.0, progress=False)
    assert third["anomalous"].all() and {row["anomalous"] for row in lines_of(out)} == {True}
    assert len({row["run"] for row in lines_of(out)}) == 1
    fourth, _ = predict_files(finished.path, [mesh], out, threshold=-1.0, overlays=False, progress=False)
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
    predict_files(run.path, [products / "mesh/test/good"], tmp_path / "out", quantile=0.5, progress=False)
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
    with pytest.raises(DataError, match="no table of predictions"):
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


def test_what_a_folder_holds_beside_images_is_counted(finished, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    (folder / "._000.png").write_bytes(b"what macOS leaves on a stick")
    (folder / "photo.heic").write_bytes(b"")
    (folder / "notes").write_text("")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "loop").symlink_to(folder)
    (folder / "deeper" / "linked").symlink_to(products / "capsule/test/good")
    found = find_images([folder, folder])
    assert len(found.files) == 6 and not found.problems
    assert found.passed_over == {"hidden": 1, ".heic": 1, "without an ending": 1}
    assert "1 .heic" in found.note() and "1 hidden" in found.note()
    assert find_images([folder / "photo.heic"]).files == [folder / "photo.heic"]  # named by the user
    (tmp_path / "only").mkdir()
    (tmp_path / "only/a.heic").write_bytes(b"")
    with pytest.raises(DataError, match="no images.*1 .heic"):
        find_images([tmp_path / "only"])


def test_heatmaps_of_earlier_predictions_are_no_photographs(finished, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    photos = find_images([folder]).files
    predict_files(finished.path, [folder], folder / "monday", progress=False)
    found = find_images([folder], exclude=folder / "tuesday")
    assert found.files == photos and found.results == [folder / "monday"] and "monday" in found.note()
    assert find_images([folder / "monday"]).files, "who names the folder means it"


def test_heatmap_map_and_regions_have_the_photographs_own_size(finished, products, tmp_path):
    """A dark square is pasted into a photograph that is not square; map and boxes must lie on it."""
    photo = Image.open(products / "mesh/test/good/000.png").convert("RGB").resize((300, 100))
    photo.paste((0, 0, 0), (210, 50, 240, 80))
    photo.save(tmp_path / "photo.png")
    out = tmp_path / "out"
    table, _ = predict_files(finished.path, [tmp_path / "photo.png"], out, maps=True, progress=False)
    (row,) = lines_of(out)
    assert Image.open(out / row["heatmap"]).size == (300, 100) == (row["width"], row["height"])
    full = np.load(out / row["map"])
    assert full.shape == (100, 300) and full.dtype == np.float32
    top, left = np.unravel_index(full.argmax(), full.shape)
    assert 170 <= left < 280 and 30 <= top < 100  # the grid has 4 x 4 tokens, 75 x 25 pixels each
    assert row["anomalous"] and row["seconds"] > 0
    first = row["regions"][0]
    assert first["x"] <= left < first["x"] + first["width"] and first["y"] <= top < first["y"] + first["height"]
    assert first["score"] == pytest.approx(full.max(), rel=1e-2) and 0 < first["share"] <= 1


def test_regions_are_boxes_of_what_lies_above_the_level():
    anomaly_map = np.zeros((8, 8), dtype=np.float32)
    anomaly_map[1:3, 2:5], anomaly_map[3, 5], anomaly_map[6, 0] = 2, 2.5, 3  # the second touches the first at a corner
    highest, other = regions(anomaly_map, 1.0, (80, 16))
    assert highest == {"x": 0, "y": 12, "width": 10, "height": 2, "score": 3.0, "share": 1 / 64}
    assert other == {"x": 20, "y": 2, "width": 40, "height": 6, "score": 2.5, "share": 7 / 64}
    (lone,) = regions(anomaly_map, 5.0, (8, 8))  # nothing above: the maximum
    assert (lone["x"], lone["y"], lone["score"]) == (0, 6, 3.0)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30), st.integers(1, 64))
def test_strips_are_the_bilinear_interpolation(cells, width, height, strip):
    anomaly_map = np.random.default_rng(0).random((cells, cells), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heatmaps, "STRIP", strip)
        parts = list(heatmaps.strips(anomaly_map, (width, height)))
    assert [top for top, _ in parts] == list(np.cumsum([0] + [len(part) for _, part in parts[:-1]]))
    rows, columns = (interpolation_matrix(length, cells) for length in (height, width))
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), rows @ anomaly_map @ columns.T, atol=1e-5)


def test_one_image_after_another_by_a_model_that_is_loaded_once(finished, products, tmp_path):
    predictor, files = Predictor(finished.path, device="cpu"), sorted((products / "mesh/test/good").iterdir())
    table, _ = predict_files(finished.path, files, tmp_path / "out", device="cpu", progress=False)
    for file, score in zip(files, table["pred_score"], strict=True):
        found = predictor.judge(file)
        assert found.pred_score == pytest.approx(score, rel=1e-4) and found.size == (64, 64)
        assert found.anomalous == (score > finished.threshold().value)
    with pytest.raises(DataError, match="no such file"):
        predictor.judge(tmp_path / "nowhere.png")

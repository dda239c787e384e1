"""Scores of new files by a finished run."""

import shutil
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mintad.data import images as images_module
from mintad.errors import ConfigError, DataError, MintadError
from mintad.runs.evaluate import evaluate_run
from mintad.runs.new_images import find_images
from mintad.runs.predict import JudgingRules, Predictor
from mintad.runs.predict_files import predict_files

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
        return predict_files(finished.path, [folder], tmp_path / "out", JudgingRules(**options), progress=False)[0]

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
    Predictor(finished.path, JudgingRules("zzz"), device="cpu")
    assert "zzz" in caplog.text


def test_a_run_without_hold_out_decides_by_a_given_threshold_alone(copied, products, tmp_path):
    copied.write("threshold", None)
    copied.write("digests", copied.read("digests") | {"decided": False})
    folder = [products / "mesh/test/good"]
    table, _ = predict_files(copied.path, folder, tmp_path / "out", progress=False)
    assert set(table["anomalous"]) == set(table["p_value"]) == set(table["threshold"]) == {""}
    table, _ = predict_files(copied.path, folder, tmp_path / "out", JudgingRules(threshold=-1.0), progress=False)
    assert table["anomalous"].all() and set(table["p_value"]) == {""}
    with pytest.raises(ConfigError, match="no images were held out"):
        predict_files(copied.path, folder, tmp_path / "out", JudgingRules(quantile=0.5), progress=False)


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


def test_an_image_that_is_named_in_several_ways_is_taken_once(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert find_images(["a.png", tmp_path / "a.png", tmp_path, "./a.png"]).files == [Path("a.png")]
    (tmp_path / "other/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("other/deep")
    Image.new("RGB", (4, 4)).save(tmp_path / "other/a.png")
    assert len(find_images(["a.png", "link/../a.png"]).files) == 2, "the second is other/a.png"


def test_heatmaps_of_earlier_predictions_are_no_photographs(finished, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "new")
    photos = find_images([folder]).files
    predict_files(finished.path, [folder], folder / "monday", progress=False)
    found = find_images([folder], exclude=folder / "tuesday")
    assert found.files == photos and found.results == [folder / "monday"] and "monday" in found.note()
    assert find_images([folder / "monday"]).files, "who names the folder means it"


def test_one_image_after_another_by_a_model_that_is_loaded_once(finished, products, tmp_path):
    predictor, files = Predictor(finished.path, device="cpu"), sorted((products / "mesh/test/good").iterdir())
    table, _ = predict_files(finished.path, files, tmp_path / "out", device="cpu", progress=False)
    for file, score in zip(files, table["pred_score"], strict=True):
        found = predictor.judge(file)
        assert found.pred_score == pytest.approx(score, rel=1e-4) and found.size == (64, 64)
        assert found.anomalous == (score > finished.threshold().value)
    with pytest.raises(DataError, match="no such file"):
        predictor.judge(tmp_path / "nowhere.png")


def test_the_model_runs_once_for_an_image(finished, products):
    """Map and class come from the same run of the network."""
    predictor, files, seen = Predictor(finished.path, device="cpu"), sorted((products / "mesh/test/good").iterdir()), []
    predictor.model.register_forward_hook(lambda model, inputs, output: seen.append(len(inputs[0])))
    found = list(predictor.judge_all(files))
    assert sum(seen) == len(found) == len(files) and all(image.pred_class for image in found)

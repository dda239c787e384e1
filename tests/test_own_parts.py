"""The first day with one's own parts: only good pictures, and a set of which one product has defects."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from data_builders import mask, pictures, save
from PIL import Image
from synthetic import small

from mintad.cli import print_results
from mintad.data import load
from mintad.errors import ConfigError, DataError
from mintad.report.runs import read_runs
from mintad.runs.directory import Run
from mintad.runs.predict import predict_files
from mintad.runs.separate import train_separate
from mintad.runs.train import evaluate_run, train_run
from mintad.scoring.metrics import RESULT_COLUMNS, value_of


@pytest.fixture(scope="module")
def good_parts(tmp_path_factory):
    """Two products with nothing but good pictures, in the two ways people put them."""
    root = tmp_path_factory.mktemp("good") / "parts"
    pictures(root / "bolt/train/good", 12)
    pictures(root / "nut/good", 9)
    return root


@pytest.fixture(scope="module")
def good_run(good_parts, cache, tmp_path_factory):
    return train_run(small(good_parts), tmp_path_factory.mktemp("runs") / "good", progress=False)


@pytest.fixture(scope="module")
def mixed_parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed") / "parts"
    pictures(root / "bolt/train/good", 12)
    pictures(root / "bolt/test/good", 3)
    for path in pictures(root / "bolt/test/dent", 3)[:2]:  # the third has no mask
        save(root / "bolt/ground_truth/dent" / f"{path.stem}_mask.png", mask())
    pictures(root / "nut/good", 9)
    return root


@pytest.fixture(scope="module")
def mixed_run(mixed_parts, cache, tmp_path_factory):
    config = small(mixed_parts)
    return train_run(config, tmp_path_factory.mktemp("runs") / "mixed", baseline_names=["padim"], progress=False)


def test_good_pictures_alone_train_and_have_a_threshold(good_run):
    images, threshold = pd.read_csv(good_run.path / "images.csv"), good_run.threshold()
    assert set(images["role"]) == {"train", "holdout"} and len(images) == 21
    held_out = (images["role"] == "holdout").sum()
    assert threshold.n == held_out and np.isfinite(threshold.value)
    assert good_run.finished


def test_no_number_is_invented_for_good_pictures_alone(good_run):
    assert good_run.results().empty and list(good_run.results().columns) == list(RESULT_COLUMNS)
    assert value_of(good_run.results(), "image_auroc") is None
    page = good_run.page.read_text(encoding="utf-8")
    assert "There are no test images" in page and "made by us" in page
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", text)


def test_made_defects_are_on_held_out_images_and_their_scores_are_right(good_run):
    made, images = good_run.made_defects(), pd.read_csv(good_run.path / "images.csv")
    names = {f"{path.split('/')[-4 if 'train' in path else -3]}/{path.split('/')[-1]}" for path in made["image"]}
    held_out = images[images["role"] == "holdout"]["image"]
    assert names == {f"{path.split('/')[0]}/{path.split('/')[-1]}" for path in held_out}
    scores = good_run.scores().set_index("image")["pred_score"]
    assert made["pred_score"].to_numpy() == pytest.approx(scores[made["image"]].to_numpy(), rel=1e-3)
    assert (made["made_score"] != made["pred_score"]).all()


def test_a_run_of_good_pictures_is_evaluated_again_and_predicts(good_run, good_parts, tmp_path):
    before = good_run.made_defects()
    evaluate_run(good_run.path, progress=False)
    pd.testing.assert_frame_equal(good_run.made_defects(), before)
    table, problems = predict_files(good_run.path, [good_parts / "nut/good"], tmp_path / "out", progress=False)
    assert len(table) == 9 and not problems and table["pred_score"].notna().all()


def test_terminal_and_reports_say_what_is_missing(good_run, mixed_run, capsys):
    print_results(good_run.path)
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "2 categories have no anomalous test images" in text and "false alarms expected" in text and "nan" not in text
    )
    read = read_runs([good_run.path, mixed_run.path])
    assert set(read.skipped) == {str(good_run.path)} and "folder/bolt" in set(read.rows["category"])


def test_a_mixed_set_is_measured_where_there_are_defects(mixed_run, mixed_parts, capsys):
    results = mixed_run.results()
    auroc = results[results["metric"] == "image_auroc"]
    assert set(auroc["category"]) == {"folder/bolt", "mean", "pooled"} and set(auroc["method"]) >= {"padim"}
    assert results["value"].notna().all()
    assert set(mixed_run.made_defects()["category"]) == {"folder/nut"}
    assert set(mixed_run.scores()["category"]) == {"bolt"}
    assert "folder/nut" in mixed_run.page.read_text(encoding="utf-8")
    print_results(mixed_run.path)
    assert "1 category has no anomalous test images" in " ".join(capsys.readouterr().out.split())


def test_a_missing_mask_costs_the_pixel_metrics_of_its_image_alone(mixed_run, mixed_parts, tmp_path):
    """The image is scored, and without it the pixel metrics are the same."""
    import shutil

    copy = Run(shutil.copytree(mixed_run.path, tmp_path / "run"))
    root = shutil.copytree(mixed_parts, tmp_path / "parts")
    (root / "bolt/test/dent/002.png").unlink()
    config = copy.read("config")
    config["data"]["root"] = str(root)
    copy.write("config", config)
    evaluate_run(copy.path, progress=False)
    for metric in ("pixel_ap", "pixel_auroc"):
        assert value_of(copy.results(), metric) == value_of(mixed_run.results(), metric)
    assert len(copy.scores()) == len(mixed_run.scores()) - 1


def test_separate_models_of_a_mixed_set(mixed_parts, cache, tmp_path):
    run = train_separate(small(mixed_parts, **{"train.steps": 4}), tmp_path / "separate", progress=False)
    auroc = run.results().query("metric == 'image_auroc' and setting == 'separate'")
    assert set(auroc["category"]) == {"folder/bolt", "mean", "pooled"} and auroc["value"].notna().all()
    assert set(run.scores()["split"]) == {"test"}


def test_what_cannot_be_said_is_refused_before_training(good_parts, tmp_path):
    with pytest.raises(DataError, match="baselines"):
        train_run(small(good_parts), tmp_path / "run", baseline_names=["padim"], progress=False)
    with pytest.raises(DataError, match=r"data\.holdout"):
        train_run(small(good_parts, **{"data.holdout": 0}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_good_pictures_need_no_test_folder(good_parts):
    table = load("folder", good_parts)
    assert set(table["split"]) == {"train"} and table.groupby("category").size().to_dict() == {"bolt": 12, "nut": 9}


def test_what_is_unusual_and_what_was_decided_stands_in_the_log(cache, tmp_path):
    root = tmp_path / "parts"
    pictures(root / "nut/good", 10)
    (root / "nut/good/Thumbs.db").write_text("x")
    for path in pictures(root / "nut/bad", 2):
        save(root / "nut/masks" / path.name, mask())
    inverted = np.full((36, 40), 255, np.uint8)
    inverted[5:10, 5:10] = 0
    save(root / "nut/masks/001.png", Image.fromarray(inverted))
    run = train_run(small(root, **{"train.steps": 2}), tmp_path / "run", progress=False)
    log = (run.path / "log.txt").read_text(encoding="utf-8")
    assert "2 of 10 normal images are tested" in log and "seed 0" in log
    assert "Thumbs.db" in log and "98.3% of the picture is marked" in log and "inverted" in log


@pytest.mark.parametrize("inside", [".", "runs/run", "nut"])
def test_a_run_directory_inside_the_data_is_refused_at_once(good_parts, inside):
    before = sorted(good_parts.rglob("*"))
    for train in (train_run, train_separate):
        with pytest.raises(ConfigError) as caught:
            train(small(good_parts), good_parts / inside, progress=False)
        assert caught.value.fix and str(good_parts) in str(caught.value)
    link = good_parts.parent / "link"
    link.symlink_to(good_parts) if not link.exists() else None
    with pytest.raises(ConfigError):
        train_run(small(good_parts), link / inside, progress=False)
    assert sorted(good_parts.rglob("*")) == before

"""The whole way from images to a results page, small: run directory, resume, no leaks, prediction on new files."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mintad.config import preset
from mintad.data.mini import MiniParameters, make_mini
from mintad.errors import ConfigError, DataError, MintadError, TrainingError
from mintad.pipeline import evaluate_run, load_records, split_holdout, train_run
from mintad.predict import find_images, predict_files
from mintad.run import Run
from mintad.scoring import fit_threshold, image_scores, upsample

RESULTS = ("config", "versions", "classes", "metrics")


@pytest.fixture(scope="session")
def products(tmp_path_factory):
    wanted = MiniParameters(categories=("mesh", "capsule"), n_train=10, n_test_good=3, n_test_defect=1, size=64)
    return make_mini(tmp_path_factory.mktemp("products") / "set", wanted)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("MINTAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def small(root, **changes):
    return preset("fast").override(
        **{
            "data.name": "folder",
            "data.root": str(root),
            "data.holdout": 0.3,
            "features.image_size": 64,
            "features.grid": 4,
            "model.width": 16,
            "model.heads": 2,
            "model.ffn": 32,
            "model.encoder_layers": 1,
            "model.decoder_layers": 1,
            "model.inr_width": 16,
            "train.steps": 12,
            "train.batch_size": 4,
            "train.device": "cpu",
            "train.log_every": 4,
            **changes,
        }
    )


@pytest.fixture(scope="session")
def finished(products, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return train_run(small(products), out, peer_names=("padim",), progress=False)


def test_run_directory_holds_everything(finished):
    for name in RESULTS:
        assert finished.read(name)
    for name in ("log.txt", "history.csv", "scores.csv", "maps.npy", "peers.csv", "report.html"):
        assert (finished.path / name).stat().st_size > 0
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    assert len(scores) == 16 and scores["label"].sum() == 10
    assert np.load(finished.path / "maps.npy").shape == (16, 4, 4)
    metrics = finished.read("metrics")
    assert set(metrics["image"]["auroc"]["per_category"]) == {"folder/mesh", "folder/capsule"}
    assert 0 <= metrics["pixel"]["average_precision"]["mean"] <= 1
    assert metrics["threshold"]["n"] == 6
    assert list(pd.read_csv(finished.path / "peers.csv")["method"]) == ["mint_ad", "padim"]
    assert finished.config() == small(finished.config().data.root)
    assert finished.read("classes") == ["folder/capsule", "folder/mesh"]


def test_a_finished_run_is_left_alone_and_another_configuration_refused(finished, products):
    stamp = finished.report.stat().st_mtime_ns
    assert train_run(small(products), finished.path, progress=False).path == finished.path
    assert finished.report.stat().st_mtime_ns == stamp
    with pytest.raises(TrainingError, match=r"another configuration \(train.seed: 0 there, 5 now\)"):
        train_run(small(products, **{"train.seed": 5}), finished.path, progress=False)


def test_foreign_folder_is_not_overwritten(products, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match="is no run directory"):
            train_run(small(products), tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_overwrite_removes_a_run_and_only_a_run(products, tmp_path):
    out = tmp_path / "run"
    train_run(small(products, **{"train.steps": 2}), out, progress=False)
    (out / "notes.md").write_text("mine")
    run = train_run(small(products, **{"train.steps": 1}), out, overwrite=True, progress=False)
    assert run.config().train.steps == 1 and (out / "notes.md").read_text() == "mine"
    foreign = tmp_path / "weights"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(TrainingError, match="is no run directory"):
        train_run(small(products), foreign, overwrite=True, progress=False)
    assert (foreign / "config.json").exists()


def test_half_precision_training_leaves_a_full_precision_model(products, tmp_path):
    run = train_run(small(products, **{"train.precision": "bf16"}), tmp_path / "run", progress=False)
    metrics = run.read("metrics")
    assert evaluate_run(run.path, progress=False).read("metrics") == metrics


def test_evaluating_again_gives_the_same_numbers(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    (copy / "metrics.json").unlink()
    assert not Run(copy).finished
    assert evaluate_run(copy, progress=False).read("metrics") == finished.read("metrics")


def weights(run):
    return load_file(run.checkpoint().weights)


def test_test_images_cannot_leak_into_training_or_threshold(finished, products, tmp_path):
    """Other test images, other test labels: the weights and the threshold are the same to the last bit."""
    other = tmp_path / "other"
    shutil.copytree(products, other)
    for category in ("mesh", "capsule"):
        (bad,) = (other / category / "test/swap").iterdir()
        shutil.copy(bad, other / category / "test/good/000.png")
        shutil.rmtree(other / category / "test/stain")
        shutil.rmtree(other / category / "ground_truth/stain")
    run = train_run(small(other), tmp_path / "run", progress=False)
    ours, theirs = weights(finished), weights(run)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert run.read("metrics")["threshold"]["value"] == finished.read("metrics")["threshold"]["value"]
    assert run.read("metrics")["image"] != finished.read("metrics")["image"]


def test_held_out_images_are_normal_untrained_and_of_every_class(products):
    records = load_records(small(products))
    train_rows, held = split_holdout(records, 0.3, seed=0)
    assert not set(train_rows) & set(held)
    assert (records["split"].iloc[held] == "train").all() and len(held) == 6
    assert set(records["category"].iloc[held]) == {"mesh", "capsule"}
    assert sorted([*train_rows, *held]) == list(np.flatnonzero(records["split"] == "train"))
    assert not np.array_equal(held, split_holdout(records, 0.3, seed=1)[1])
    assert len(split_holdout(records, 0.0, seed=0)[1]) == 0
    with pytest.raises(DataError, match="too few for data.holdout"):
        split_holdout(records.groupby("category").head(1).reset_index(drop=True), 0.6, seed=0)


def test_uniad_and_no_holdout_run_through(products, tmp_path):
    config = small(products, **{"model.variant": "uniad", "data.holdout": 0.0, "train.steps": 2})
    metrics = train_run(config, tmp_path / "run", progress=False).read("metrics")
    assert metrics["threshold"] is None and metrics["class_accuracy"] is None


def test_unknown_peer_is_refused_before_anything_is_done(products, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'patchcore'"):
        train_run(small(products), tmp_path / "run", peer_names=("patchcor",))
    assert not (tmp_path / "run").exists()


def test_prediction_gives_the_scores_of_the_evaluation(finished, tmp_path):
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    files = list(scores["image"][:5])
    table, problems = predict_files(finished.path, files, tmp_path / "out", progress=False)
    assert not problems
    # features come through the fp16 cache there and directly here
    np.testing.assert_allclose(table["pred_score"], scores["pred_score"][:5], rtol=2e-2)
    threshold = finished.read("metrics")["threshold"]["value"]
    assert list(table["anomalous"]) == list(table["pred_score"] > threshold)
    assert all((tmp_path / "out" / name).exists() for name in table["heatmap"])
    assert (tmp_path / "out/predictions.csv").exists()


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


def test_threshold_is_a_quantile_of_normal_scores():
    fitted = fit_threshold(np.arange(100.0), 0.95)
    assert fitted["value"] == 95 and fitted["n"] == 100
    assert (np.arange(100.0) > fitted["value"]).mean() <= 0.05


def test_image_scores():
    config = preset("fast").scoring
    maps = np.zeros((2, 4, 4), dtype=np.float32)
    maps[1, 2, 1] = 8.0
    assert image_scores(maps, 32, config)[0] == 0
    assert image_scores(maps, 32, config)[1] == upsample(maps, 32)[1].max() <= 8.0
    assert image_scores(maps, 32, dataclasses.replace(config, image_score="mean"))[1] == 0.5
    pooled = image_scores(maps, 32, dataclasses.replace(config, image_score="pooled_max", pool=4))[1]
    pixels = upsample(maps, 32)[1]
    windows = [pixels[r : r + 4, c : c + 4].mean() for r in range(29) for c in range(29)]
    assert pooled == pytest.approx(max(windows), rel=1e-5)


def test_json_files_are_valid(finished):
    for name in RESULTS:
        json.loads((finished.path / f"{name}.json").read_text())

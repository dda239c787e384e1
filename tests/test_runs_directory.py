"""The run directory: what is in it, and that it can be moved and repeated."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import small

import mintad.runs.prepare as prepare_module
import mintad.runs.train as train_module
from mintad.runs.evaluate import evaluate_run
from mintad.runs.prepare import load_records, resolve_paths
from mintad.runs.train import train_run
from mintad.scoring.metrics import by_category, value_of
from mintad.training.device import make_accelerator

pytestmark = pytest.mark.usefixtures("cache")
JSON_FILES = ("config", "versions", "classes", "threshold", "seconds")


def test_run_directory_holds_everything(finished):
    for name in JSON_FILES:
        assert finished.read(name)
    for name in ("log.txt", "history.csv", "images.csv", "scores.csv", "maps.npy", "results.csv", "results.html"):
        assert (finished.path / name).stat().st_size > 0
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    assert len(scores) == 16 and scores["label"].sum() == 10
    assert np.load(finished.path / "maps.npy").shape == (16, 4, 4)
    results = finished.results()
    assert set(by_category(results, "image_auroc")) == {"folder/mesh", "folder/capsule"}
    assert 0 <= value_of(results, "pixel_ap") <= 1
    methods = ["mint_ad+gaussian", "mint_ad", "mint_ad+both", "padim"]
    assert list(results["method"].unique()) == methods and set(results["setting"]) == {"unified"}
    assert finished.baselines() == ["padim"]
    assert finished.threshold().n == 6
    assert finished.config() == small(finished.config().data.root)
    assert finished.read("classes") == ["folder/capsule", "folder/mesh"]


def test_a_run_works_from_another_working_directory(products, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(products.parent))
    config = small("~/" + products.name, **{"train.steps": 1})
    relative = os.path.relpath(products, tmp_path)
    monkeypatch.chdir(tmp_path)
    run = train_run(config, "run", progress=False)
    assert run.config().data.root == str(products)
    assert resolve_paths(small(relative)).data.root == str(products)
    merged = small("x", **{"data.root": None, "data.options": {"roots": {"mvtec": relative, "elpv": None}}})
    merged = resolve_paths(merged.override(**{"features.weights": "~/w.pth"}))
    assert merged.data.options["roots"] == {"mvtec": str(products), "elpv": None} and merged.data.root is None
    assert merged.features.weights == str(products.parent / "w.pth")
    assert resolve_paths(small("x")).features.weights == "auto"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate_run(tmp_path / "run", progress=False).finished


def test_a_re_run_reports_the_recorded_seconds(finished, products):
    seconds = finished.seconds()
    assert all(value > 0 for value in seconds.values())
    assert train_run(small(products), finished.path, progress=False).seconds() == seconds
    history = pd.read_csv(finished.path / "history.csv")
    assert seconds["training"] == pytest.approx(history["seconds"].iloc[-1], abs=1e-3)


def test_only_the_first_process_writes_the_log(products, tmp_path, monkeypatch):
    config = resolve_paths(small(products, **{"train.steps": 2}))
    main = make_accelerator(config.train)

    class Second:
        """The accelerator of the second of two processes, as far as `train_run` asks."""

        is_main_process, process_index, num_processes = False, 1, 1

        def __getattr__(self, name):
            return getattr(main, name)

    run = train_run(config.override(**{"train.steps": 1}), tmp_path / "run", progress=False)
    (run.path / "log.txt").unlink()
    run.discard_results()
    monkeypatch.setattr(train_module, "make_accelerator", lambda config: Second())
    before = sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())
    train_run(config.override(**{"train.steps": 1}), run.path, progress=False)
    assert before == sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())


def test_a_test_set_without_normal_images_has_a_threshold_and_no_auroc(copied, monkeypatch):
    records = load_records(copied.config())
    anomalous = records[(records["split"] == "train") | (records["label"] == 1)].reset_index(drop=True)
    monkeypatch.setattr(prepare_module, "load_records", lambda config: anomalous)
    evaluate_run(copied.path, progress=False)
    assert copied.threshold() is not None and "image_auroc" not in set(copied.results()["metric"])


def test_a_category_may_have_any_name(products, tmp_path):
    root = tmp_path / "a;b, [c]"
    shutil.copytree(products / "mesh", root / "me;sh")
    run = train_run(small(root, **{"train.steps": 1}), tmp_path / "run", progress=False)
    masks = run.scores().query("label == 1")["masks"]
    assert len(masks) and all(Path(file).is_file() for files in masks for file in files)
    assert train_run(run.config(), run.path, baseline_names=("padim",), progress=False).baselines() == ["padim"]


def test_decisions_are_read_as_they_were_written(finished):
    decisions, scores = finished.decisions(), finished.scores()
    assert decisions.to_json() == finished.read("threshold")
    assert decisions.classes == ("folder/capsule", "folder/mesh") and len(decisions.distances.scores_n) == 6
    again = decisions.calibration.p_values(scores["pred_score"], scores["pred_class"], decisions.quantile)
    np.testing.assert_allclose(scores["p_value"], again)
    assert not decisions.pooled().reached and (scores["p_value"] >= 1 / 7).all()
    limits = scores["pred_class"].map(decisions.threshold)
    assert (scores["anomalous"] == (scores["pred_score"] > limits)).all()


def test_json_files_are_valid(finished):
    def refuse(constant):
        raise AssertionError(constant)

    for name in JSON_FILES:
        json.loads((finished.path / f"{name}.json").read_text(), parse_constant=refuse)

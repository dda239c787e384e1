"""The whole way from images to a results page, small: run directory, resume, no leaks, prediction on new files."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from synthetic import SMALL

from mintad import pipeline, preparation
from mintad.config import preset
from mintad.data.mini import MiniParameters, make_mini
from mintad.errors import ConfigError, DataError, MintadError, TrainingError
from mintad.peers import PaDiM
from mintad.pipeline import evaluate_run, train_run
from mintad.predict import Predictor, find_images, predict_files
from mintad.preparation import load_records, resolve_paths, split_holdout
from mintad.run import Run, open_run
from mintad.training.loop import make_accelerator

RESULTS = ("config", "versions", "classes", "metrics", "seconds")


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
            **SMALL,
            "train.steps": 12,
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
    for name in ("log.txt", "history.csv", "images.csv", "scores.csv", "maps.npy", "peers.csv", "report.html"):
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


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    return Run(shutil.copytree(finished.path, tmp_path / "copy"))


def test_images_that_trained_and_that_were_held_out_are_recorded(finished, products):
    images = pd.read_csv(finished.path / "images.csv")
    assert list(images.columns) == ["image", "category", "role", "hash"]
    assert images["role"].value_counts().to_dict() == {"train": 14, "holdout": 6}
    assert set(images["category"]) == {"folder/mesh", "folder/capsule"} and images["hash"].is_unique
    assert all((products / name).is_file() and "/train/good/" in name for name in images["image"])


@pytest.mark.parametrize("change", ["gone", "new", "with another content", "moved"])
def test_evaluating_with_other_training_images_is_refused(copied, products, tmp_path, change):
    other = shutil.copytree(products, tmp_path / "other")
    first = other / "mesh/train/good/000.png"
    holdout = 0.3
    if change == "gone":
        first.unlink()
    elif change == "new":
        shutil.copy(other / "mesh/test/good/000.png", other / "mesh/train/good/extra.png")
    elif change == "with another content":
        shutil.copy(other / "mesh/test/good/000.png", first)
    else:
        holdout = 0.4
    changed = copied.config().override(**{"data.root": other, "data.holdout": holdout})
    copied.write("config", changed.to_dict())
    before = copied.read("metrics")
    with pytest.raises(DataError, match=rf"not those .* was trained on: \d+ {change}.*\(first: (?:mesh|capsule)/train"):
        evaluate_run(copied.path, progress=False)
    assert copied.read("metrics") == before


def test_evaluating_and_predicting_use_the_saved_classes(copied, products, tmp_path):
    copied.write("classes", ["one", "two"])
    evaluate_run(copied.path, progress=False)
    assert set(copied.scores()["pred_class"]) <= {"one", "two"}
    table, _ = predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    assert set(table["pred_class"]) <= {"one", "two"}


def test_evaluation_and_prediction_compute_in_float32_on_any_device(copied, finished, products, tmp_path):
    """A run that was trained in half precision on a GPU is used on a machine without one."""
    tree = finished.config().to_dict()
    copied.write("config", tree | {"train": tree["train"] | {"device": "cuda", "precision": "fp16"}})
    assert evaluate_run(copied.path, device="cpu", progress=False).read("metrics") == finished.read("metrics")
    predictor = Predictor.from_run(copied.path, device="cpu")
    assert predictor.device.type == "cpu" and predictor.model.output.weight.dtype == torch.float32
    for wrong in ("gpu", "cuda:7"):
        with pytest.raises(ConfigError, match=f"unknown device '{wrong}'.*Allowed: auto, cpu, cuda"):
            evaluate_run(copied.path, device=wrong)
        with pytest.raises(ConfigError, match=f"unknown device '{wrong}'"):
            predict_files(copied.path, [products], tmp_path / "out", device=wrong)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA device here; take auto or cpu"):
            predict_files(copied.path, [products], tmp_path / "out", device="cuda")


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


def test_peers_are_added_to_a_finished_run(copied, finished, products, monkeypatch):
    metrics, checkpoint = copied.read("metrics"), copied.checkpoint().weights.stat().st_mtime_ns
    fitted = []
    fit = PaDiM.fit
    monkeypatch.setattr(PaDiM, "fit", lambda self, *args: fitted.append("padim") or fit(self, *args))
    train_run(finished.config(), copied.path, peer_names=("padim", "patchcore"), progress=False)
    table = copied.peers()
    assert list(table.index) == ["mint_ad", "padim", "patchcore"] and not fitted
    pd.testing.assert_frame_equal(table.iloc[:2], finished.peers())
    assert np.isfinite(table.to_numpy()).all()
    assert "patchcore" in copied.report.read_text(encoding="utf-8")
    assert copied.read("metrics") == metrics and copied.checkpoint().weights.stat().st_mtime_ns == checkpoint
    assert copied.seconds().keys() == {"features", "training", "evaluation", "padim", "patchcore"}
    evaluate_run(copied.path, progress=False)  # the comparison is kept
    assert list(copied.peers().index) == ["mint_ad", "padim", "patchcore"] and fitted == ["padim"]


def test_a_re_run_reports_the_recorded_seconds(finished, products):
    seconds = finished.seconds()
    assert all(value > 0 for value in seconds.values())
    assert train_run(small(products), finished.path, progress=False).seconds() == seconds
    history = pd.read_csv(finished.path / "history.csv")
    assert seconds["training"] == pytest.approx(history["seconds"].iloc[-1], abs=1e-3)


def test_a_run_directory_belongs_to_one_process_at_a_time(finished, copied, tmp_path):
    with open_run(copied.path, finished.config()):
        with pytest.raises(TrainingError, match="another process is working in .*copy; wait"):
            train_run(finished.config(), copied.path, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            train_run(finished.config(), copied.path, overwrite=True, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            evaluate_run(copied.path, progress=False)
    assert copied.finished
    die = "import os, sys, fcntl; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", die, copied.path / ".lock"]).returncode == -9
    with open_run(copied.path, finished.config()) as run:  # what a dead process held is free
        assert run.finished


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
    (run.path / "metrics.json").unlink()
    monkeypatch.setattr(pipeline, "make_accelerator", lambda config: Second())
    before = sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())
    train_run(config.override(**{"train.steps": 1}), run.path, progress=False)
    assert before == sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())


def test_what_is_not_a_number_is_null_in_json(tmp_path):
    run = Run(tmp_path)
    run.write("metrics", {"a": float("nan"), "b": [1.5, float("-inf")], "c": {"d": np.float64("nan")}})
    assert run.read("metrics") == {"a": None, "b": [1.5, None], "c": {"d": None}}
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_a_test_set_without_normal_images_gives_valid_json(copied, products, monkeypatch):
    records = load_records(copied.config())
    anomalous = records[(records["split"] == "train") | (records["label"] == 1)].reset_index(drop=True)
    monkeypatch.setattr(preparation, "load_records", lambda config: anomalous)
    evaluate_run(copied.path, progress=False)

    def refuse(constant):
        raise AssertionError(constant)

    metrics = json.loads((copied.path / "metrics.json").read_text(), parse_constant=refuse)
    assert metrics["threshold"]["false_positive_rate"] is None and metrics["threshold"]["true_positive_rate"] >= 0


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


def test_a_variant_that_must_be_told_is_told_in_training_evaluation_and_prediction(products, tmp_path):
    config = small(products, **{"model.variant": "label_prompt", "train.steps": 2})
    run = train_run(config, tmp_path / "run", progress=False)
    metrics = run.read("metrics")
    assert metrics["class_accuracy"] is None and metrics["threshold"]["n"] == 6
    scores = run.scores()
    image = scores[scores["category"] == "mesh"]["image"].iloc[0]
    one, _ = predict_files(run.path, [image], tmp_path / "out", category="mesh", progress=False)
    assert one["pred_score"][0] == pytest.approx(scores.set_index("image")["pred_score"][image], rel=2e-3)
    other, _ = predict_files(run.path, [image], tmp_path / "out", category="capsule", progress=False)
    assert other["pred_score"][0] != one["pred_score"][0]
    for category, message in ((None, "none was given"), ("mash", "Allowed: folder/capsule, folder/mesh")):
        with pytest.raises(ConfigError, match=message):
            predict_files(run.path, [image], tmp_path / "out", category=category, progress=False)
    with pytest.raises(DataError, match="cat is no class that was trained"):
        foreign = run.scores().assign(prompt_class="cat")
        prepared = preparation.prepare(config, progress=False)
        dataclasses.replace(prepared, records=foreign).labels(np.array([0]))


def test_unknown_peer_is_refused_before_anything_is_done(products, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'patchcore'"):
        train_run(small(products), tmp_path / "run", peer_names=("patchcor",))
    assert not (tmp_path / "run").exists()


def test_prediction_gives_the_scores_of_the_evaluation(finished, tmp_path):
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    files = list(scores["image"][:5])
    table, problems = predict_files(finished.path, files, tmp_path / "out", progress=False)
    assert not problems
    # The features come through the cache there, which rounds them to 11 bits (relative errors up to 5e-4), and
    # directly here. A score is a sum of squares of differences that are about as large as the features themselves:
    # twice that, and as much again for the reconstruction.
    np.testing.assert_allclose(table["pred_score"], scores["pred_score"][:5], rtol=2e-3)
    threshold = finished.read("metrics")["threshold"]["value"]
    assert list(table["anomalous"]) == list(table["pred_score"] > threshold)
    assert all((tmp_path / "out" / name).exists() for name in table["heatmap"])
    assert (tmp_path / "out/predictions.csv").exists()


def test_prediction_gives_the_very_scores_of_a_float32_cache(copied, tmp_path):
    copied.write("config", copied.config().override(**{"features.dtype": "float32"}).to_dict())
    (copied.path / "peers.csv").unlink()
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


def test_json_files_are_valid(finished):
    def refuse(constant):
        raise AssertionError(constant)

    for name in RESULTS:
        json.loads((finished.path / f"{name}.json").read_text(), parse_constant=refuse)

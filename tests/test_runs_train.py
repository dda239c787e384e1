"""The whole way from images to results, small: training, evaluation, baselines, and no leaks."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from synthetic import small

from mintad.baselines.nearest import NearestNeighbour
from mintad.baselines.padim import PaDiM
from mintad.baselines.patchcore import PatchCore
from mintad.data.records import category_keys
from mintad.errors import ConfigError, DataError, TrainingError
from mintad.runs.baselines import evaluate_baseline
from mintad.runs.changes import image_differences
from mintad.runs.directory import Run
from mintad.runs.evaluate import evaluate_run
from mintad.runs.predict import JudgingRules, Predictor
from mintad.runs.predict_files import predict_files
from mintad.runs.prepare import load_records, prepare_data, split_holdout
from mintad.runs.train import train_run
from mintad.scoring.evaluate import results_of
from mintad.scoring.metrics import value_of

pytestmark = pytest.mark.usefixtures("cache")


def test_half_precision_training_leaves_a_full_precision_model(products, tmp_path):
    run = train_run(small(products, **{"train.precision": "bf16"}), tmp_path / "run", progress=False)
    results = run.results()
    pd.testing.assert_frame_equal(evaluate_run(run.path, progress=False).results(), results)


def test_evaluating_again_gives_the_same_numbers(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    Run(copy).discard_results()
    assert not Run(copy).finished
    again = evaluate_run(copy, baseline_names=("padim",), progress=False)
    pd.testing.assert_frame_equal(again.results(), finished.results())


@pytest.mark.parametrize("size", [(64, 32), (32, 32), (128, 128)])
def test_a_mask_of_another_size_than_its_image_enters_no_metric(copied, products, tmp_path, size):
    other = shutil.copytree(products, tmp_path / "other")
    mask = next((other / "mesh/ground_truth").rglob("*.png"))
    with Image.open(mask) as stored:
        stored.resize(size).save(mask)
    config = small(other)
    with pytest.raises(DataError, match=f"{size[0]} x {size[1]} pixels, its image .* 64 x 64") as caught:
        train_run(config, tmp_path / "run", progress=False)
    assert caught.value.path == str(mask) and not (tmp_path / "run/checkpoints").exists()  # before the training
    scores, maps_nHW = copied.scores(), np.load(copied.path / "maps.npy")
    scores["masks"] = [tuple(path.replace(str(products), str(other)) for path in masks) for masks in scores["masks"]]
    with pytest.raises(DataError, match="the mask has"):
        results_of(scores, maps_nHW, config, method="mint_ad")


def test_images_that_trained_and_that_were_held_out_are_recorded(finished, products):
    images = pd.read_csv(finished.path / "images.csv")
    assert list(images.columns) == ["image", "category", "role", "hash"]
    assert images["role"].value_counts().to_dict() == {"train": 14, "holdout": 6}
    assert set(images["category"]) == {"folder/mesh", "folder/capsule"} and images["hash"].is_unique
    assert all((products / name).is_file() and "/train/good/" in name for name in images["image"])


def test_evaluating_with_other_training_images_is_refused(copied, products, tmp_path):
    other = shutil.copytree(products, tmp_path / "other")
    (other / "mesh/train/good/000.png").unlink()
    copied.write("config", copied.config().override(**{"data.root": other}).to_dict())
    before = copied.results()
    with pytest.raises(DataError, match=r"not those .* was trained on: 1 gone.*\(first: mesh/train"):
        evaluate_run(copied.path, progress=False)
    pd.testing.assert_frame_equal(copied.results(), before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: images[1:], ["1 gone (first: a.png of nut)"]),
        (lambda images: pd.concat([images, images.assign(image="new.png")]), ["3 new (first: new.png of nut)"]),
        (lambda images: images.assign(hash=["2", "1", "3"]), ["2 with another content (first: a.png of nut)"]),
        (
            lambda images: images.assign(role=["train", "train", "holdout"]),
            ["2 moved between training and hold-out (first: a.png of nut)"],
        ),
        (
            lambda images: images[:2].assign(role="train", hash=["1", "9"]),
            ["1 gone (first: c.png of nut)", "1 with another content (first: b.png of nut)"],
        ),
        (lambda images: images[::-1].assign(hash=["3", "", "1"]), []),
    ],
    ids=["gone", "new", "with another content", "moved", "two kinds", "in another order, a hash unknown"],
)
def test_each_kind_of_other_training_images_is_said(change, said):
    images = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "category": "nut", "hash": ["1", "2", "3"]})
    images["role"] = ["holdout", "train", "train"]
    assert image_differences(images, change(images)) == said


@pytest.mark.parametrize("change", ["swapped", "foreign", "repeated"])
def test_class_names_that_are_not_the_checkpoints_are_refused(copied, products, tmp_path, change):
    names = copied.read("classes")
    other = {"swapped": names[::-1], "foreign": ["a", "b"], "repeated": [names[0]] * 2}[change]
    copied.write("classes", other)
    for use in (
        lambda: evaluate_run(copied.path, progress=False),
        lambda: predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False),
    ):
        with pytest.raises(TrainingError, match="belongs to another run .classes: .*restore config.json and classes"):
            use()


def test_a_model_that_is_used_with_other_settings_than_it_was_trained_with_is_refused(copied, products, tmp_path):
    copied.write("config", copied.config().override(**{"features.local_mean": 3}).to_dict())
    with pytest.raises(TrainingError, match="features.local_mean: 1 there, 3 now"):
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)


def test_overwriting_unlinks_a_linked_folder_of_checkpoints(copied, finished, tmp_path):
    other_disk = tmp_path / "big"
    (copied.path / "checkpoints").rename(other_disk)
    (copied.path / "checkpoints").symlink_to(other_disk)
    before = sorted(other_disk.rglob("*"))
    config = finished.config().override(**{"train.seed": 1})
    run = train_run(config, copied.path, overwrite=True, progress=False)
    clean = train_run(config, tmp_path / "clean", progress=False)
    ours, theirs = weights(run), weights(clean)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert sorted(other_disk.rglob("*")) == before and not (copied.path / "checkpoints").is_symlink()


def test_evaluation_and_prediction_compute_in_float32_on_any_device(copied, finished, products, tmp_path):
    """A run that was trained in half precision on a GPU is used on a machine without one."""
    tree = finished.config().to_dict()
    copied.write("config", tree | {"train": tree["train"] | {"device": "cuda", "precision": "fp16"}})
    again = evaluate_run(copied.path, device="cpu", progress=False)
    pd.testing.assert_frame_equal(again.results(), finished.results())
    predictor = Predictor(copied.path, device="cpu")
    assert predictor.device.type == "cpu" and predictor.model.output.weight.dtype == torch.float32
    for wrong in ("gpu", "cuda:7"):
        with pytest.raises(ConfigError, match=f"unknown device '{wrong}'.*Allowed: auto, cpu, cuda"):
            evaluate_run(copied.path, device=wrong)
        with pytest.raises(ConfigError, match=f"unknown device '{wrong}'"):
            predict_files(copied.path, [products], tmp_path / "out", device=wrong)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA device here; take auto or cpu"):
            predict_files(copied.path, [products], tmp_path / "out", device="cuda")


def test_baselines_are_added_to_a_finished_run(copied, finished, monkeypatch):
    checkpoint = copied.checkpoint().weights.stat().st_mtime_ns
    fitted = []
    fit = PaDiM.fit
    monkeypatch.setattr(PaDiM, "fit", lambda self, *args: fitted.append("padim") or fit(self, *args))
    train_run(finished.config(), copied.path, baseline_names=("padim", "patchcore"), progress=False)
    results, before = copied.results(), finished.results()
    assert list(results["method"].unique()) == [*before["method"].unique(), "patchcore"] and not fitted
    pd.testing.assert_frame_equal(results.iloc[: len(before)], before)
    assert "PatchCore" in copied.page.read_text(encoding="utf-8")
    assert copied.checkpoint().weights.stat().st_mtime_ns == checkpoint
    assert copied.seconds().keys() == {"features", "training", "sharp prior", "evaluation", "padim", "patchcore"}
    evaluate_run(copied.path, progress=False)  # the comparison is kept
    assert copied.baselines() == ["padim", "patchcore"] and fitted == ["padim"]


def test_a_baseline_that_fails_costs_none_of_the_others(copied, monkeypatch):
    def fail(self, *_):
        raise TrainingError("no convergence")

    fit = NearestNeighbour.fit
    monkeypatch.setattr(NearestNeighbour, "fit", fail)
    names, out = ("padim", "nearest", "padim"), copied.path.with_name("new")
    config = copied.config().override(**{"train.steps": 2})
    with pytest.raises(TrainingError, match="no convergence"):
        train_run(config, out, baseline_names=names, progress=False)
    assert Run(out).finished and Run(out).baselines() == ["padim"]
    monkeypatch.setattr(NearestNeighbour, "fit", fit)
    monkeypatch.setattr(PaDiM, "fit", fail)
    assert train_run(config, out, baseline_names=names, progress=False).baselines() == ["padim", "nearest"]


def test_a_baseline_gets_its_published_features_and_scores_and_the_runs_images(finished, monkeypatch):
    seen = {}

    def spy(fitted, features, records, config, **names):
        seen.update(fitted=fitted, features=features, config=config, names=names)

    monkeypatch.setattr("mintad.runs.baselines.evaluate", spy)
    config = finished.config().override(**{"train.seed": 3})
    data = prepare_data(config, progress=False)
    fit = PatchCore.fit
    monkeypatch.setattr(PatchCore, "fit", lambda self, table, rows: seen.update(rows=rows) or fit(self, table, rows))
    evaluate_baseline("patchcore", data, config, options={"share": 0.02})
    assert (seen["features"].tokens, seen["features"].channels) == (64, 40 + 112)  # 64 pixels: 8 x 8 cells
    assert seen["fitted"].grid == (8, 8) and seen["fitted"].seed == 3 and seen["fitted"].share == 0.02
    assert np.array_equal(seen["rows"], data.train_rows) and seen["names"]["setting"] == "unified"
    assert seen["config"].scoring.blur == 4 and seen["config"].features.local_mean == 3
    evaluate_baseline("padim", data, config, separate=True)
    assert seen["features"] is data.features and seen["config"].features == config.features
    keys = category_keys(data.records).to_numpy()[data.test_rows]
    assert seen["names"]["setting"] == "separate" and list(seen["names"]["labels"]) == list(keys)
    evaluate_baseline("padim", data, config, separate=True, labels=keys[::-1])
    assert seen["names"]["setting"] == "separate_chosen" and list(seen["names"]["labels"]) == list(keys[::-1])


@pytest.mark.parametrize(
    ("backbone", "name", "reason"),
    [
        ("vit_tiny_patch16_224", "patchcore", r"stages of reduction \[16\]"),
        ("swin_tiny_patch4_window7_224", "panda", "channels last"),
        ("swin_tiny_patch4_window7_224", "mkd", "stages of reduction"),
    ],
)
def test_a_baseline_that_cannot_use_the_backbone_is_refused_before_anything_is_done(
    products, tmp_path, backbone, name, reason
):
    config = small(products, **{"features.backbone": backbone, "features.weights": "random"})
    with pytest.raises(ConfigError, match=f"'{name}' cannot be compared.*{reason}.*leave"):
        train_run(config, tmp_path / "run", baseline_names=(name,))
    assert not (tmp_path / "run").exists()


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
    assert run.decisions().to_json() == finished.decisions().to_json()
    assert value_of(run.results(), "image_auroc") != value_of(finished.results(), "image_auroc")


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
    run = train_run(config, tmp_path / "run", progress=False)
    assert run.threshold() is None and "class_accuracy" not in set(run.results()["metric"])


def test_a_variant_that_must_be_told_is_told_in_training_evaluation_and_prediction(products, tmp_path):
    config = small(products, **{"model.variant": "label_prompt", "train.steps": 2})
    run = train_run(config, tmp_path / "run", progress=False)
    assert "class_accuracy" not in set(run.results()["metric"]) and run.threshold().n == 6
    scores = run.scores()
    image = scores[scores["category"] == "mesh"]["image"].iloc[0]
    one, _ = predict_files(run.path, [image], tmp_path / "out", JudgingRules(category="mesh"), progress=False)
    assert one["pred_score"][0] == pytest.approx(scores.set_index("image")["pred_score"][image], rel=2e-3)
    other, _ = predict_files(run.path, [image], tmp_path / "out", JudgingRules(category="capsule"), progress=False)
    assert other["pred_score"][0] != one["pred_score"][0]
    assert one["threshold"][0] == run.decisions().threshold("folder/mesh")  # judged by the class that it was told
    for category, message in ((None, "none was given"), ("mash", "Allowed: folder/capsule, folder/mesh")):
        with pytest.raises(ConfigError, match=message):
            predict_files(run.path, [image], tmp_path / "out", JudgingRules(category=category), progress=False)
    with pytest.raises(DataError, match="^cat is "):
        foreign = run.scores().assign(prompt_class="cat")
        prepared = prepare_data(config, progress=False)
        dataclasses.replace(prepared, records=foreign).labels(np.array([0]))


def test_unknown_peer_is_refused_before_anything_is_done(products, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'patchcore'"):
        train_run(small(products), tmp_path / "run", baseline_names=("patchcor",))
    assert not (tmp_path / "run").exists()

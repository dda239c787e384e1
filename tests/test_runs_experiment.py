"""Parameters as notebooks and sweeps give them, and the separate setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import SMALL

import mintad
from mintad.config import preset
from mintad.data.mini import MiniParameters, make_mini
from mintad.data.records import category_keys
from mintad.errors import ConfigError, TrainingError
from mintad.features.table import FeatureTable
from mintad.runs import experiment, shared
from mintad.runs.experiment import configure, output_folder, read_overrides, resolve_folder, train_setting
from mintad.runs.files import CATEGORIES, EXECUTED, RESULTS
from mintad.runs.separate import nearest_mean
from mintad.scoring import auroc
from mintad.scoring.metrics import POOLED, by_category, value_of

TINY = SMALL | {"train.steps": 8, "train.log_every": 4}


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("MINTAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    wanted = MiniParameters(categories=("mesh", "capsule"), n_train=8, n_test_good=3, n_test_defect=1, size=64)
    yield make_mini(tmp_path_factory.mktemp("products") / "set", wanted)
    patch.undo()


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv(shared.RUNS, str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def separate(products, tmp_path_factory):
    config = configure(preset="fast", data="folder", root=str(products), overrides=TINY)
    return train_setting(config, "separate", tmp_path_factory.mktemp("separate") / "run", baselines="padim")


def test_the_defaults_are_the_lesson():
    assert configure() == preset("lesson")


def test_names_and_texts_become_a_configuration():
    config = configure(
        preset="fast",
        data="mvtec",
        root="/data/mvtec",
        categories="bottle, metal_nut",
        variant="uniad",
        overrides="{train.steps: 7, train.lr: 1e-4, scoring.distance: root}",
        seed=3,
        device="cpu",
    )
    assert config.data.categories == ("bottle", "metal_nut") and Path(config.data.root) == Path("/data/mvtec")
    assert (config.model.variant, config.train.seed, config.train.device) == ("uniad", 3, "cpu")
    assert (config.train.steps, config.train.lr, config.scoring.distance) == (7, 1e-4, "root")


@pytest.mark.parametrize("same", ['{"train.steps": 7, "train.lr": 0.1}', "train.steps: 7\ntrain.lr: 0.1", TINY])
def test_overrides_are_json_yaml_or_a_mapping(same):
    assert read_overrides(same)["train.steps"] in (7, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[1, 2]", "must be a mapping"),
        ("{a: ", "cannot be read"),
        ("{train.step: 3}", "Did you mean 'train.steps'"),
        ("{train.seed: 3}", "the parameter seed does"),
    ],
)
def test_bad_overrides_are_refused_with_the_reason(given, message):
    with pytest.raises(ConfigError, match=message):
        configure(overrides=given)


def test_relative_paths_do_not_depend_on_the_working_directory(runs, tmp_path, monkeypatch):
    repository = Path(mintad.__file__).resolve().parent.parent
    monkeypatch.chdir(tmp_path)
    assert resolve_folder("tests") == repository / "tests" and resolve_folder("nowhere") == tmp_path / "nowhere"
    (tmp_path / "tests").mkdir()
    assert resolve_folder("tests") == tmp_path / "tests"
    assert output_folder(preset("lesson"), out_dir="a/b") == runs / "a/b"
    assert output_folder(preset("lesson"), out_dir="runs/a") == runs / "a"
    assert output_folder(preset("lesson"), out_dir="runs") == runs / "runs"
    assert output_folder(preset("lesson"), out_dir=".") == runs
    assert output_folder(preset("lesson"), out_dir=tmp_path / "c") == tmp_path / "c"


def test_a_run_is_named_by_configuration_and_setting(runs):
    config = configure()
    folders = {output_folder(config, setting) for setting in experiment.SETTINGS}
    assert len(folders) == 2 and shared.shared_model_dir(config) in folders
    assert output_folder(config) != output_folder(configure(seed=1))
    with pytest.raises(ConfigError, match="Did you mean 'separate'"):
        output_folder(config, "seperate")


def test_a_unified_run_beside_the_notebook_that_papermill_writes(products, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / EXECUTED).write_text("{}")
    config = configure(preset="fast", data="folder", root=str(products), overrides=TINY)
    run = train_setting(config, "unified", out)
    written = (out / RESULTS).stat().st_mtime_ns
    train_setting(config, "unified", out)
    assert run.finished and (out / RESULTS).stat().st_mtime_ns == written, "trained twice"
    with pytest.raises(TrainingError, match="holds a unified training"):
        train_setting(config, "separate", out)


def test_separate_trains_one_model_per_category(separate, products):
    folders = sorted(path.name for path in (separate.path / CATEGORIES).iterdir())
    assert folders == ["folder__capsule", "folder__mesh"] and separate.finished
    scores, results = separate.scores(), separate.results()
    assert set(results["setting"]) == {"separate", "separate_chosen"} and separate.threshold() is None
    assert len(scores) == len(np.load(separate.path / "maps.npy")) and set(scores["category"]) == {"capsule", "mesh"}
    for name in ("capsule", "mesh"):
        alone = experiment.Run(separate.path / CATEGORIES / f"folder__{name}")
        assert alone.read("classes") == [f"folder/{name}"]
        own = alone.scores()
        joined = own.merge(scores, on="image", suffixes=("", "_given"))
        np.testing.assert_allclose(joined["pred_score"], joined["pred_score_given"], rtol=1e-6)
        assert alone.threshold().n > 0
        given = by_category(results[results["setting"] == "separate"], "image_auroc")[f"folder/{name}"]
        assert given == pytest.approx(auroc(own["pred_score"], own["label"]))
    padim = results[results["method"] == "padim"]
    assert separate.baselines() == ["padim"] and set(padim["setting"]) == {"separate"}
    means = np.mean(list(by_category(padim, "image_auroc").values()))
    assert value_of(padim, "image_auroc") == pytest.approx(means)


def test_separate_with_a_classifier_scores_the_sorted_ones_alike(separate):
    scores = separate.scores()
    right = (scores["pred_class"] == category_keys(scores)).to_numpy()
    alike = np.isclose(scores["pred_score"], scores["pred_score_chosen"])
    assert right.any() and alike[right].all()
    results = separate.results()
    results = results[results["setting"] == "separate_chosen"]
    assert value_of(results, "class_accuracy", POOLED) == pytest.approx(right.mean())
    for key, part in scores.groupby(category_keys(scores)):
        chosen = auroc(part["pred_score_chosen"], part["label"])
        assert by_category(results, "image_auroc")[key] == pytest.approx(chosen)


def test_an_image_sorted_wrongly_is_judged_by_the_other_model(separate, monkeypatch):
    import mintad.runs.separate as module

    config = separate.config()
    prepared = module.prepare_data(config, progress=False)
    folders = {key: separate.path / CATEGORIES / key.replace("/", "__") for key in separate.read("classes")}
    runs = {key: experiment.Run(folder) for key, folder in folders.items()}
    scores, maps = separate.scores(), np.load(separate.path / "maps.npy")
    row_of = {image: row for row, image in enumerate(prepared.records["image"])}
    rows = np.array([row_of[image] for image in scores["image"]])
    scores["pred_class"] = "folder/mesh"
    chosen = module._maps_of_chosen(scores, maps, rows, runs, prepared, config)
    mesh = (scores["category"] == "mesh").to_numpy()
    np.testing.assert_array_equal(chosen[mesh], maps[mesh])
    model = module.trained_model(runs["folder/mesh"], prepared.backbone, torch.device("cpu"))
    detector = module.trained_detector(runs["folder/mesh"], model)
    wanted = detector.anomaly_map(prepared.features.gather(rows[~mesh])).numpy()
    np.testing.assert_allclose(chosen[~mesh], wanted, rtol=1e-4)


def test_a_separate_run_is_resumed_and_not_mixed_up(separate):
    config, before = separate.config(), (separate.path / RESULTS).stat().st_mtime_ns
    again = train_setting(config, "separate", separate.path, baselines=("padim",))
    assert (again.path / RESULTS).stat().st_mtime_ns == before
    separate.discard_results()
    histories = {path: path.stat().st_mtime_ns for path in separate.path.glob(f"{CATEGORIES}/*/history.csv")}
    train_setting(config, "separate", separate.path)
    assert separate.finished and histories == {path: path.stat().st_mtime_ns for path in histories}
    with pytest.raises(TrainingError, match="holds one model per category"):
        train_setting(config, "unified", separate.path)


def test_nearest_mean_weighs_channels_alike():
    names = ["a", "a", "b", "b"]
    values = torch.tensor([[0.0, -1.0], [1000.0, -1.1], [0.0, 1.0], [1000.0, 1.1], [900.0, -1.0], [100.0, 1.0]])
    features = FeatureTable.from_tensor(values[:, None].repeat(1, 3, 1))
    assert nearest_mean(features, np.arange(4), names, np.array([4, 5])) == ["a", "b"]

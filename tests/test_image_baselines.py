"""What all baselines on images have in common: decoding, settings, runs, determinism."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from baseline_builders import (
    QUICK_SETTING,
    RANDOM_WEIGHTS,
    MemoryImages,
    fitted_on_images,
    quick_on_images,
    quick_setting,
    stripes,
)
from PIL import Image
from synthetic import small

from mintad.baselines import BASELINES
from mintad.baselines.images import ImageTable, normalised
from mintad.config import Config, preset
from mintad.errors import ConfigError, DataError, TrainingError
from mintad.features.backbone import build_backbone
from mintad.runs.baselines import evaluate_baseline, fit_baseline, require_baselines
from mintad.runs.directory import Run
from mintad.runs.evaluate import evaluate_run
from mintad.runs.opening import open_run
from mintad.runs.prepare import prepare_data
from mintad.runs.shared import shared_model_dir
from mintad.runs.train import train_run

NAMES = [name for name in BASELINES if name not in BASELINES.on_features()]
CATEGORIES = {"folder/capsule", "folder/mesh"}


@pytest.fixture(scope="module")
def data(products, cache):
    return prepare_data(small(products), progress=False)


def test_images_of_any_size_and_kind_are_decoded_when_asked_for_and_none_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for n, (width, height, mode) in enumerate([(32, 32, "RGB"), (90, 41, "L"), (8, 120, "RGB")]):
        shape = (height, width, 3)[: len(mode) if mode == "RGB" else 2]
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{n}.png")
        paths.append(str(tmp_path / f"{n}.png"))
    table = ImageTable(paths, 32)
    images = table.gather([2, 0, 0])
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.float32 and len(table) == 3
    assert torch.equal(images[1], images[2]) and 0 <= images.min() and images.max() <= 1
    exact = np.asarray(Image.open(paths[0])).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(images[1], exact, rtol=1e-6)
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1.png"):
        table.gather([1])


def test_they_are_normalised_as_the_backbone_does():
    backbone = build_backbone("resnet18", image_size=32, weights="random", reductions=(8,), grid=4)
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    images = torch.from_numpy(picture).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(normalised(images, backbone), backbone.normalise(picture))


def evaluated(name, data, products, separate):
    evaluation = evaluate_baseline(name, data, small(products), separate=separate, options=quick_setting(name))
    results = evaluation.results
    values = results[results["metric"] == "image_auroc"].set_index("category")["value"]
    assert set(results["setting"]) == {"separate" if separate else "unified"}
    assert set(values.index) > CATEGORIES and values.between(0, 1).all()
    assert (results["metric"] == "pixel_ap").any() and len(evaluation.scores) == len(data.test_rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_evaluates_it(name, data, products):
    evaluated(name, data, products, separate=False)


def test_a_run_evaluates_one_per_category(data, products):
    """Of one method; how a run does it does not depend on which."""
    evaluated("fcdd", data, products, separate=True)


def test_a_run_in_a_folder_is_compared_with_one(copied, monkeypatch):
    cls = BASELINES["cutpaste"]
    monkeypatch.setattr(cls, "settings", {"lesson": dataclasses.replace(cls.settings["lesson"], **QUICK_SETTING)})
    run = evaluate_run(copied.path, baseline_names=["cutpaste"], device="cpu", progress=False)
    assert run.baselines() == ["padim", "cutpaste"] and run.seconds()["cutpaste"] > 0


def test_a_runs_configuration_chooses_their_setting_and_options(data, products, monkeypatch):
    made, options = [], {"baselines.options": {"draem": {**QUICK_SETTING, "steps": 2}, "mkd": {"setting": "lesson"}}}
    monkeypatch.setattr(BASELINES["draem"], "fit", lambda self, *_: made.append(self) or self)
    monkeypatch.setattr(BASELINES["mkd"], "fit", lambda self, *_: made.append(self) or self)
    config = small(products, **{"baselines.setting": "paper", "train.seed": 4}, **options)
    for name in ("draem", "mkd"):
        fit_baseline(name, data, config)
    fit_baseline("mkd", data, small(products))
    fit_baseline("mkd", data, config.override(**{"baselines.options": {}}))
    draem, *others = made
    assert (draem.setting.steps, draem.setting.width, draem.seed) == (2, QUICK_SETTING["width"], 4)
    lesson, paper = BASELINES["mkd"].settings["lesson"], BASELINES["mkd"].settings["paper"]
    assert [method.setting for method in others] == [lesson, lesson, paper] and lesson != paper


@pytest.mark.parametrize(("length", "steps"), [(1.0, 300), (0.125, 38), (1e-6, 1), (2, 600)])
def test_a_runs_configuration_shortens_every_training_alike(length, steps, data, products, monkeypatch):
    monkeypatch.setattr(BASELINES["fcdd"], "fit", lambda self, *_: self)
    monkeypatch.setattr(BASELINES["cfa"], "fit", lambda self, *_: self)
    config = small(products, **{"baselines.length": length})
    assert [fit_baseline(name, data, config)[0].planned_steps for name in ("fcdd", "cfa")] == [steps, steps]
    assert fit_baseline("padim", data, config)[0].title == "PaDiM"  # which has no steps


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"dream": {}}, ("'dream'", "Did you mean 'draem'")),
        ({"draem": {"step": 3}}, ("DRAEM has no option 'step'", "Did you mean 'steps'")),
        ({"draem": {"seed": 3}}, ("DRAEM has no option 'seed'",)),
        ({"draem": {"setting": "papers"}}, ("DRAEM has no setting 'papers'", "Did you mean 'paper'")),
        ({"simplenet": {"step": 3}}, ("SimpleNet has no option 'step'", "Did you mean 'steps'")),
        ({"panda": {"width": 99}}, ("PANDA has no option 'width'",)),
        ({"simplenet": {"setting": "paper"}}, ("SimpleNet has no option 'setting'",)),
        ({"draem": {"steps": "abc"}}, ("baselines.options.draem.steps must be int, not 'abc'",)),
        ({"draem": {"steps": -5}}, ("baselines.options.draem.steps must be a number from 1 on",)),
        ({"draem": {"rate": "fast"}}, ("baselines.options.draem.rate must be float",)),
        ({"draem": {"steps": True}}, ("baselines.options.draem.steps must be int, not True",)),
        ({"padim": {"channels": "many"}}, ("baselines.options.padim.channels must be int",)),
        ({"padim": {"shrinkage": float("inf")}}, ("baselines.options.padim.shrinkage must be a number",)),
    ],
)
def test_options_that_a_baseline_does_not_have_are_refused_before_anything_is_trained(options, names):
    config = Config().override(**{"baselines.options": options})
    with pytest.raises(ConfigError) as caught:
        require_baselines(["draem", "simplenet"], config)
    assert all(name in str(caught.value) for name in names) and "backbone" not in str(caught.value)


def test_options_may_be_zero_where_that_means_something():
    options = {"hvq_trans": {"dropout": 0}, "patchcore": {"projection": 0}, "simplenet": {"noise": 0}}
    require_baselines([], Config().override(**{"baselines.options": options}))


def test_a_finished_run_may_get_baselines_of_other_options_but_not_in_the_place_of_measured_ones(copied):
    config = copied.config().override(**{"baselines.options": {"fcdd_oe": QUICK_SETTING}})
    run = train_run(config, copied.path, baseline_names=["fcdd_oe"], progress=False)
    assert "fcdd_oe" in run.baselines() and run.config().baselines.options == {"fcdd_oe": QUICK_SETTING}
    train_run(config.override(**{"baselines.options.draem.steps": 3}), run.path, progress=False)
    assert run.config().baselines.options["draem"] == {"steps": 3}, "of a baseline that is not measured yet"
    for changes in ({"baselines.options.fcdd_oe.steps": 5}, {"baselines.length": 2.0}):
        with pytest.raises(TrainingError, match="another configuration.*baselines"):
            train_run(config.override(**changes), run.path, progress=False)


@pytest.mark.parametrize("name", ["fast", "paper", "uniad"])
def test_a_run_without_the_section_of_baselines_goes_on_with_every_preset(name, tmp_path):
    config = preset(name)
    (tmp_path / "run").mkdir()
    old = {section: values for section, values in config.to_dict().items() if section != "baselines"}
    (tmp_path / "run/config.json").write_text(json.dumps(old))
    (tmp_path / "run/checkpoints/step-4").mkdir(parents=True)
    run = Run(tmp_path / "run")
    assert run.begun
    with open_run(run.path, config):
        assert run.config().baselines == config.baselines


def test_baselines_do_not_name_a_shared_model():
    config = preset("fast")
    assert shared_model_dir(config) == shared_model_dir(config.override(**{"baselines.length": 0.5}))


class RecordedImages(MemoryImages):
    """Images in memory that note how many are asked for at a time."""

    def __init__(self, images_n3SS):
        super().__init__(images_n3SS)
        self.sizes = []

    def gather(self, indices):
        self.sizes.append(len(indices))
        return super().gather(indices)


@pytest.fixture(scope="module", params=NAMES)
def trained(request):
    """Name, training images, images in steps, and the fitted method, of each; made once, because training takes long.

    Its table has two other images besides.
    """
    images = stripes(7)
    table = RecordedImages(torch.cat([images, torch.ones(2, 3, 32, 32)]))
    method = quick_on_images(request.param).fit(table, np.arange(7))
    return request.param, images, table.sizes, method


def test_it_is_deterministic_uses_the_given_rows_only_and_leaves_the_global_generator_alone(trained):
    name, images, _, method = trained
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    again, other = (fitted_on_images(quick_on_images(name, seed=seed), images).anomaly_map(images) for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    maps = method.anomaly_map(images)
    assert torch.equal(maps, again) and not torch.equal(maps, other)
    assert torch.isfinite(maps).all() and maps.dtype == torch.float32 and not maps.requires_grad


def test_it_takes_images_in_any_batch(trained):
    _, images, _, method = trained
    images = torch.cat([images[1:], torch.ones(1, 3, 32, 32)])
    whole = method.anomaly_map(images)
    one_by_one = torch.cat([method.anomaly_map(image[None]) for image in images])
    torch.testing.assert_close(whole, one_by_one, rtol=1e-3, atol=1e-3 * whole.abs().max().item())


def test_memory_is_bounded_by_the_images_of_a_step(trained):
    assert 0 < max(trained[2]) <= QUICK_SETTING["images"] < len(trained[1])


@pytest.mark.parametrize("name", NAMES)
def test_errors_name_the_method_and_what_is_wrong(name):
    title = re.escape(BASELINES[name].title)
    images = stripes(4)
    with pytest.raises(DataError, match=f"{title} needs at least one"):
        quick_on_images(name).fit(MemoryImages(images), np.arange(0))
    with pytest.raises(ConfigError, match=f"{title} has no setting 'papers'. Did you mean 'paper'"):
        BASELINES[name](RANDOM_WEIGHTS, setting="papers")
    with pytest.raises(ConfigError, match=f"{title} has no option 'step'. Did you mean 'steps'"):
        BASELINES[name](RANDOM_WEIGHTS, step=1)
    images[1] = torch.nan
    with pytest.raises(TrainingError, match=f"{title}: the loss is nan"):
        fitted_on_images(quick_on_images(name, steps=9), images)


@pytest.mark.parametrize("name", ["panda", "cutpaste"])
def test_maps_with_their_channels_last_are_refused_and_not_misread(name):
    """Swin's are (B, H, W, F); PANDA took rows for channels, without a word."""
    features = dataclasses.replace(RANDOM_WEIGHTS, backbone="swin_tiny_patch4_window7_224")
    method = BASELINES[name](features, image_size=224, steps=1, images=2)
    with pytest.raises(ConfigError, match="swin_tiny.*channels last"):
        method.fit(MemoryImages(stripes(2)), np.arange(2))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_lesson_and_the_papers_size(name):
    lesson, paper = (BASELINES[name](RANDOM_WEIGHTS, setting=setting).setting for setting in ("lesson", "paper"))
    assert lesson.image_size < paper.image_size and lesson.steps < paper.steps and lesson.width <= paper.width


@pytest.mark.parametrize(("name", "rate"), [("draem", 5e-3), ("omnial", 1e-2)])
def test_a_stain_is_found_where_it_is(name, rate):
    train, test = stripes(12), stripes(6, seed=1)
    test[:3, :, 6:14, 18:26] = torch.tensor([0.1, 0.9, 0.9]).view(3, 1, 1)
    baseline = fitted_on_images(quick_on_images(name, steps=40, images=3, rate=rate), train)
    maps = baseline.anomaly_map(test)
    scores = baseline.image_score(test, maps)
    assert scores[:3].min() > scores[3:].max()
    assert maps[:3, 6:14, 18:26].mean() > 1.4 * maps[:3].mean()

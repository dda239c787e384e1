"""Exported runs: the same maps, scores and decisions as the run, without PyTorch, or no file at all."""

import copy
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from synthetic import GRID, small
from test_cli import invoke

from mintad.config import ScoringConfig, SharpPriorConfig
from mintad.errors import MintadError
from mintad.export.compare import Agreement, compare
from mintad.export.graph import OUTPUTS, DetectorGraph
from mintad.export.onnx_file import written_beside
from mintad.features.backbone import build_backbone, read_pixels
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.runs.predict import Predictor
from mintad.scoring.maps import grid_maps, image_scores, upsample
from mintad.scoring.sharp_prior import SharpPrior, SharpPriorDetector

PAGE = Path(__file__).parents[1] / "notebooks/ENGINEER.md"
SIZE = 64
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def packages():
    """Skip what writes or runs ONNX files where the extra is not installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)


@pytest.fixture(scope="module")
def exported(packages, finished, tmp_path_factory):
    """The finished run as an ONNX file, and what the command printed; one export takes seconds."""
    file = tmp_path_factory.mktemp("exported") / "new folder" / "model.onnx"
    result = invoke("export", finished.path, file, "--quiet")
    assert result.exit_code == 0, result.output
    return file, result.stdout


def session_of(file):
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def metadata_of(file):
    return json.loads(session_of(file).get_modelmeta().custom_metadata_map["mintad"])


@pytest.mark.parametrize("batch", [1, 5])
def test_the_exported_model_gives_the_runs_maps_scores_and_classes(exported, finished, products, batch):
    files = sorted(products.rglob("test/*/*.png"))[::3][:batch]
    predictor = Predictor(finished.path, device="cpu")
    pixels = np.stack([read_pixels(file, SIZE) for file in files])
    scores, maps, names = predictor([Image.fromarray(image) for image in pixels])
    image = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    anomaly_map, score, p_value, anomalous, label, probability = session_of(exported[0]).run(None, {"image": image})
    np.testing.assert_allclose(anomaly_map, upsample(maps, SIZE), rtol=1e-4, atol=1e-4 * maps.max())
    np.testing.assert_allclose(score, scores, rtol=1e-4)
    assert [predictor.classes[index] for index in label] == names
    decided = predictor.decisions.of(scores, names, np.zeros(batch))
    np.testing.assert_allclose(p_value, decided["p_value"], rtol=1e-6)
    assert list(anomalous) == list(decided["anomalous"])
    assert batch == 1 or len(set(names)) == 2  # images of both classes in one batch
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    assert list(probability.argmax(axis=1)) == list(label)


def test_the_metadata_say_what_a_user_of_the_file_must_know(exported, finished):
    about, tests = metadata_of(exported[0]), len(finished.scores())
    assert about["inputs"]["image"]["shape"] == ["batch", 3, SIZE, SIZE]
    assert list(about["outputs"]) == [output.name for output in session_of(exported[0]).get_outputs()]
    assert about["classes"] == finished.read("classes")
    assert about["decisions"] == finished.decisions().to_json()
    assert about["weights"] == finished.checkpoint().weights_digest
    assert about["compared"]["images"] == tests and about["compared"]["map_difference"] <= 1e-4
    assert f"{tests}" in exported[1] and str(exported[0].name) in exported[1]


def test_what_normal_images_are_compared_by_is_not_computed_anew(exported):
    """In the graph it would be summed in another order, and then other images would be the nearest."""
    import onnx

    model = onnx.load(exported[0])
    numbers = {tensor.name for tensor in model.graph.initializer}
    assert not [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in numbers]


def test_the_printed_lines_need_no_pytorch(exported, finished, products, tmp_path):
    code = next(
        code
        for code in re.findall("```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        if "onnxruntime" in code
    )
    photo = products / "mesh/test/good/000.png"
    Image.open(photo).resize((90, 150)).save(tmp_path / "photo.png")
    (tmp_path / "parts.onnx").symlink_to(exported[0])
    code = code.replace("224", str(SIZE))  # the side of the real presets
    code += "import sys\nassert not {'torch', 'mintad'} & set(sys.modules)\nprint(score[0], label[0])"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    given = run.stdout.split()
    scores, _, names = Predictor(finished.path, device="cpu")([Image.open(tmp_path / "photo.png")])
    assert float(given[0]) == pytest.approx(scores[0], rel=1e-4)
    assert finished.read("classes")[int(given[1])] == names[0]


def spoiled(source):
    """Return what takes the place of the export: the exported file with one of its weights changed a little."""
    import onnx

    model = onnx.load(source)
    weights = max((t for t in model.graph.initializer if t.data_type == 1), key=lambda t: len(t.raw_data))
    values = np.frombuffer(weights.raw_data, dtype=np.float32) * 1.001
    weights.raw_data = values.tobytes()
    return lambda graph, path: onnx.save(model, path)


def test_a_model_that_differs_is_refused_and_nothing_is_left(exported, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("mintad.export.run.write_onnx", spoiled(exported[0]))
    old = tmp_path / "model.onnx"
    old.write_bytes(b"an older one")
    result = invoke("export", finished.path, old, "--quiet")
    assert isinstance(result.exception, MintadError)
    assert "not written" in str(result.exception) and "model.onnx" in str(result.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"] and old.read_bytes() == b"an older one"


@pytest.mark.parametrize("worse", ["map_difference", "score_difference", "decisions_changed", "classes_changed"])
def test_each_kind_of_difference_is_refused(worse, tmp_path):
    good = Agreement(images=3, map_difference=9e-5, score_difference=9e-5)
    good.require(tmp_path)
    for value in [1] if "changed" in worse else [2e-4, float("inf"), float("nan")]:
        with pytest.raises(MintadError, match="not written"):
            dataclasses.replace(good, **{worse: value}).require(tmp_path)


@pytest.mark.parametrize("worse", [{"p_values_impossible": 1}, {"p_value_difference": float("inf")}])
def test_p_values_that_are_none_are_refused(worse, tmp_path):
    Agreement(images=3, p_value_difference=0.25).require(tmp_path)  # steps of 1 / (n + 1)
    with pytest.raises(MintadError, match="p-value"):
        Agreement(images=3, **worse).require(tmp_path)


class Session:
    """What stands for an onnxruntime session: the run itself, so that one can see and spoil what it is asked."""

    def __init__(self, predictor, p_value=None, only=None):
        self.predictor, self.p_value, self.only, self.batches = predictor, p_value, only, []

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in OUTPUTS]

    def run(self, names, inputs):
        pixels = inputs["image"].transpose(0, 2, 3, 1).astype(np.uint8)
        self.batches.append(len(pixels))
        if self.only not in (None, len(pixels)):
            raise ValueError("Got: 1 Expected: 2")
        scores, maps, classes = self.predictor([Image.fromarray(image) for image in pixels])
        rules = self.predictor.decisions
        p_values = rules.calibration.p_values(scores, classes, rules.quantile)
        p_values = p_values if self.p_value is None else np.full(len(pixels), self.p_value)
        labels = [self.predictor.classes.index(name) for name in classes]
        return [upsample(maps, SIZE), scores, p_values, rules.flags(scores, classes), labels, scores]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_one_image_alone_and_several_are_tried_however_few_there_are(finished, products, count):
    session = Session(Predictor(finished.path, device="cpu"))
    agreement = compare(session, session.predictor, sorted(products.rglob("test/*/*.png"))[:count], progress=False)
    assert 1 in session.batches and max(session.batches) > 1 and agreement.images == count
    agreement.require(finished.path)


def test_a_model_that_cannot_be_run_is_refused(finished, products):
    session = Session(Predictor(finished.path, device="cpu"), only=2)
    with pytest.raises(MintadError, match="batch of 1.*Expected: 2"):
        compare(session, session.predictor, sorted(products.rglob("test/*/*.png"))[:3], progress=False)


@pytest.mark.parametrize("p_value", [float("nan"), float("inf"), -0.1, 1.1])
def test_p_values_are_looked_at(finished, products, p_value):
    session = Session(Predictor(finished.path, device="cpu"), p_value=p_value)
    agreement = compare(session, session.predictor, sorted(products.rglob("test/*/*.png"))[:3], progress=False)
    with pytest.raises(MintadError, match="p-value"):
        agreement.require(finished.path)


def test_numbers_beyond_one_file_lie_beside_it(exported, finished, tmp_path, monkeypatch):
    import onnx

    def in_two_files(graph, path):
        onnx.save(onnx.load(exported[0]), path, save_as_external_data=True, location=f"{path.name}.data")

    monkeypatch.setattr("mintad.export.run.write_onnx", in_two_files)
    assert invoke("export", finished.path, tmp_path / "large.onnx", "--images", 2, "--quiet").exit_code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["large.onnx", "large.onnx.data"]
    assert metadata_of(tmp_path / "large.onnx")["compared"]["images"] == 2


def test_a_crash_between_two_files_leaves_no_mixture(tmp_path):
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_text("old")
    with pytest.raises(OSError), written_beside(tmp_path / "model.onnx") as file:
        file.write_text("new")
        (file.parent / "model.onnx.data").mkdir()  # cannot be copied as a file
    assert not (tmp_path / "model.onnx").exists()


def test_a_missing_package_is_named_with_the_fix(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", type(os)("onnx"))
    result = invoke("export", finished.path, tmp_path / "model.onnx")
    assert isinstance(result.exception, MintadError) and not list(tmp_path.iterdir())
    assert re.search(r"onnxscript.*pip install 'mintad\[export\]'", str(result.exception))


def test_folders_and_links_are_refused(packages, finished, tmp_path):
    (tmp_path / "link.onnx").symlink_to(tmp_path / "elsewhere")
    for target, reason in ((tmp_path, "is a folder"), ("", "is a folder"), (tmp_path / "link.onnx", "is a link")):
        assert reason in str(invoke("export", finished.path, target).exception)
    assert not (tmp_path / "elsewhere").exists()


def test_only_models_are_replaced(packages, finished, tmp_path):
    kept = tmp_path / "results.csv", tmp_path / "model.onnx.data" / "precious"
    kept[1].parent.mkdir()
    for file in kept:
        file.write_text("of the user")
    for target, reason in ((kept[0], "end in .onnx"), (tmp_path / "model.onnx", "model.onnx.data: is a folder")):
        result = invoke("export", finished.path, target, "--quiet", "--images", 1)
        assert isinstance(result.exception, MintadError) and reason in str(result.exception)
    assert [file.read_text() for file in kept] == ["of the user"] * 2 and not (tmp_path / "model.onnx").exists()


def test_a_folder_beside_the_model_is_never_removed(tmp_path):
    folder = tmp_path / "model.onnx.data"
    folder.mkdir()
    with pytest.raises(OSError), written_beside(tmp_path / "model.onnx") as file:
        file.write_text("new")
    assert folder.is_dir()


class Parts:
    """A model with random weights, its backbone and a sharp prior, as a run would have them."""

    def __init__(self, scoring: ScoringConfig, classes: int = 3, **changes) -> None:
        torch.manual_seed(0)
        config = small("unused", **changes)
        half = {"reductions": (2, 4), "weights": "random"}  # of the network, because every layer costs time to export
        self.backbone = build_backbone("efficientnet_lite0", image_size=SIZE, grid=GRID[0], **half)
        sizes = {"channels": self.backbone.channels, "grid": self.backbone.grid, "classes": classes}
        self.model = build_model(config.model, **sizes).eval()
        self.images = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
        self.feat = self.backbone(self.backbone.normalise(self.images))
        self.model.standardise.fit([self.feat])
        if self.model.recentre.active:
            self.model.recentre.fit(self.model.standardise(self.feat[:9]).half())
        self.scoring, self.detector = scoring, self.model
        if scoring.score != "reconstruction":
            table, rows, labels = FeatureTable.from_tensor(self.feat), np.arange(15), np.arange(15) % classes
            prior = SharpPrior.fit(table, rows, labels, self.backbone.grid, scoring.sharp_prior)
            self.detector = SharpPriorDetector(self.model, prior, score=scoring.score)
        self.new = np.arange(15, 20)
        self.labels = self.new % classes if self.model.needs_labels else None

    def expected(self):
        """The maps at full size and the scores of the new images, as `mintad predict` computes them."""
        table, scoring = FeatureTable.from_tensor(self.feat), self.scoring
        maps = grid_maps(self.detector, table, self.new, scoring, labels=self.labels)
        full = upsample(maps, SIZE, blur=scoring.blur, align_corners=scoring.align_corners)
        return full, image_scores(maps, SIZE, scoring)

    def graph(self):
        parts = copy.deepcopy((self.backbone, self.model, self.detector))
        return DetectorGraph(*parts, self.scoring, None)

    @property
    def inputs(self):
        image = torch.from_numpy(self.images[self.new]).permute(0, 3, 1, 2).float()
        return (image,) if self.labels is None else (image, torch.from_numpy(self.labels))


WEIGHTED = SharpPriorConfig(weighted=True, scales=(1, 2, 3), neighbours=2)
SETTINGS = {
    "Eq. 7, root, maximum": (ScoringConfig(distance="root"), {}),
    "gaussian, blurred": (ScoringConfig(score="gaussian", blur=3.0), {}),
    "both, aligned, pooled maximum": (ScoringConfig(score="both", align_corners=True, image_score="pooled_max"), {}),
    "weighted, mean": (ScoringConfig(score="gaussian", image_score="mean", sharp_prior=WEIGHTED), {}),
    "channels, top mean": (
        ScoringConfig(
            score="gaussian", image_score="top_mean", top_share=0.2, sharp_prior=SharpPriorConfig(channels=9)
        ),
        {"model.recentre.neighbours": 0, "model.pool": 2},
    ),
    "class means": (ScoringConfig(score="gaussian", sharp_prior=SharpPriorConfig(neighbours=0)), {}),
    "UniAD": (ScoringConfig(score="reconstruction"), {"model.variant": "uniad"}),
    "UniAD, gaussian": (ScoringConfig(score="gaussian"), {"model.variant": "uniad", "classes": 1}),
    "one class": (ScoringConfig(score="gaussian"), {"classes": 1}),
    "class given": (ScoringConfig(score="both"), {"model.variant": "label_prompt"}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_graph_computes_what_the_run_does_with_every_setting(name):
    parts = Parts(SETTINGS[name][0], **SETTINGS[name][1])
    with torch.no_grad():
        anomaly_map, score, *_ = parts.graph()(*parts.inputs)
    expected_map, expected_score = parts.expected()
    np.testing.assert_allclose(anomaly_map.numpy(), expected_map, rtol=1e-4, atol=1e-5 * expected_map.max())
    np.testing.assert_allclose(score.numpy(), expected_score, rtol=1e-4)


@pytest.mark.parametrize("name", ["class given", "one class", "UniAD, gaussian"])
def test_other_settings_can_be_written_for_batches_of_any_size(packages, name, tmp_path):
    """Few, because each takes seconds: with a second input, without a class among the outputs, with one Gaussian."""
    from mintad.export.onnx_file import write_onnx

    parts, file = Parts(SETTINGS[name][0], **SETTINGS[name][1]), tmp_path / "model.onnx"
    graph = parts.graph()
    write_onnx(graph, file)
    session, (expected_map, expected_score) = session_of(file), parts.expected()
    for batch in (slice(0, 1), slice(0, 5)):
        values = [value.numpy()[batch] for value in parts.inputs]
        anomaly_map, score, *_ = session.run(None, dict(zip(graph.inputs, values, strict=True)))
        np.testing.assert_allclose(anomaly_map, expected_map[batch], rtol=1e-4, atol=1e-5 * expected_map.max())
        np.testing.assert_allclose(score, expected_score[batch], rtol=1e-4)


def test_a_run_without_test_images_is_refused(packages, copied, tmp_path):
    (copied.path / "digests.json").unlink()
    scores = pd.read_csv(copied.path / "scores.csv")
    scores[:0].to_csv(copied.path / "scores.csv", index=False)
    result = invoke("export", copied.path, tmp_path / "model.onnx")
    assert "no test images" in str(result.exception) and not (tmp_path / "model.onnx").exists()
    shutil.rmtree(copied.path)

"""A region of interest: what lies outside counts nowhere, and everything that decides rests on the same region."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from synthetic import small

from mintad.config import ScoringConfig
from mintad.errors import ConfigError, DataError, MintadError
from mintad.export.graph import DetectorGraph
from mintad.features.backbone import read_pixels
from mintad.features.table import FeatureTable
from mintad.report.runs import read_runs
from mintad.runs.evaluate import evaluate_run
from mintad.runs.predict import Predictor
from mintad.runs.predict_files import predict_files
from mintad.runs.region import new_region
from mintad.runs.separate import train_separate
from mintad.runs.summary import print_results
from mintad.runs.train import train_run
from mintad.scoring.maps import full_maps, image_scores, maps_and_scores
from mintad.scoring.metrics import measure_pixels
from mintad.scoring.region_of_interest import at_size, border, read_region
from mintad.scoring.regions import MapRanking

pytestmark = pytest.mark.usefixtures("cache")


def picture(path, array):
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path)
    return path


def half(path, size=(90, 40)):
    """The left half is looked at."""
    values = np.zeros(size[::-1], dtype=np.uint8)
    values[:, : size[0] // 2] = 255
    return picture(path, values)


@pytest.mark.parametrize("score", ["max", "pooled_max", "mean", "top_mean"])
def test_what_lies_outside_changes_no_score(score):
    config, rng = ScoringConfig(image_score=score, blur=2.0), np.random.default_rng(0)
    maps, region = rng.random((3, 8, 8), dtype=np.float32), np.zeros((64, 64), dtype=bool)
    region[10:40, 8:24] = True
    spoiled = maps.copy()
    spoiled[:, :, 6:] += 100  # far enough for blur and interpolation
    inside = image_scores(maps, 64, config, region)
    np.testing.assert_allclose(image_scores(spoiled, 64, config, region), inside, rtol=1e-5)
    assert (image_scores(spoiled, 64, config) > 2 * image_scores(maps, 64, config)).all()
    spoiled = maps.copy()
    spoiled[:, 2:4, 1:3] += 100
    assert (image_scores(spoiled, 64, config, region) > inside).all()
    assert not full_maps(maps, 64, config, region)[:, ~region].any()


def test_the_blur_brings_nothing_in_from_outside():
    config, rng = ScoringConfig(image_score="max", blur=8.0), np.random.default_rng(0)
    maps, region = rng.random((2, 8, 8), dtype=np.float32), np.zeros((64, 64), dtype=bool)
    region[10:40, 8:24] = True
    spoiled = maps.copy()
    spoiled[:, :, 4:] += 100  # beyond the reach of the interpolation, within that of the blur
    np.testing.assert_allclose(full_maps(spoiled, 64, config, region), full_maps(maps, 64, config, region), rtol=1e-5)
    even = full_maps(np.ones((1, 8, 8), dtype=np.float32), 64, config, region)
    np.testing.assert_allclose(even[0], region, rtol=1e-5)
    everywhere = full_maps(maps, 64, config, np.ones((64, 64), dtype=bool))
    np.testing.assert_allclose(everywhere, full_maps(maps, 64, config), rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.zeros((8, 8)), "empty"),
        (np.full((8, 8), 255), "nothing of it is black"),
        (np.arange(64).reshape(8, 8), "64 grey values"),
        (np.where(np.eye(8), 9, 200), "nothing of it is black"),
    ],
)
def test_what_is_no_region_is_refused(tmp_path, values, problem):
    with pytest.raises(DataError, match=problem):
        read_region(picture(tmp_path / "region.png", values))


@pytest.mark.parametrize("colour", [0, 255])
def test_a_region_in_the_transparency_alone_is_refused_with_the_reason(tmp_path, colour):
    values = np.full((8, 8, 4), colour)
    values[..., 3] = np.eye(8) * 255
    with pytest.raises(DataError, match="one colour, and transparency"):
        read_region(picture(tmp_path / "region.png", values))
    values[..., 3] = 255
    with pytest.raises(DataError, match="black"):
        read_region(picture(tmp_path / "region.png", values))
    values[:4, :, :3] = 255 - colour  # two colours decide, whatever is transparent
    values[..., 3] = np.eye(8) * 255
    assert read_region(picture(tmp_path / "region.png", values)).mean() == 0.5


def test_files_that_are_no_images_are_refused_and_small_regions_do_not_vanish_in_silence(tmp_path):
    (tmp_path / "region.png").write_text("x")
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_region(tmp_path / "region.png")
    thin = np.zeros((100, 100))
    thin[0, 0] = 1
    with pytest.raises(DataError, match="too small"):
        at_size(read_region(picture(tmp_path / "thin.png", thin)), 10, tmp_path / "thin.png")


def test_the_border_lies_inside_and_not_along_the_picture():
    region = np.zeros((9, 9), dtype=bool)
    region[:5, :5] = True
    expected = np.zeros((9, 9), dtype=bool)
    expected[4, :5] = expected[:5, 4] = True
    assert (border(region) == expected).all()


def test_a_run_keeps_its_region_and_decides_by_it_everywhere(copied, products, tmp_path):
    before = copied.scores()
    file = half(tmp_path / "half.png")
    evaluate_run(copied.path, region=file, device="cpu", progress=False)
    file.unlink()
    predictor = Predictor(copied.path, device="cpu")
    scores = copied.scores()
    assert (scores["pred_score"] <= before["pred_score"] + 1e-6).all() and not scores["pred_score"].equals(
        before["pred_score"]
    )
    held = copied.training_images().query("role == 'holdout'")["image"]
    found = [predictor.judge(products / image) for image in held]
    calibrated = sorted(predictor.decisions.calibration.scores_n)
    np.testing.assert_allclose(sorted(one.pred_score for one in found), calibrated, rtol=5e-3)  # a cache in float16

    pixels = np.stack([read_pixels(products / image, 64) for image in held])
    graph = DetectorGraph(
        *(predictor.backbone, predictor.model, predictor.detector, predictor.config.scoring),
        *(predictor.decisions, predictor.region),
    )
    with torch.no_grad():
        maps, exported, *_ = graph(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(exported.numpy(), [one.pred_score for one in found], rtol=1e-3)
    np.testing.assert_allclose(maps.numpy(), [one.map_SS for one in found], rtol=1e-3, atol=1e-4)

    photo = Image.open(products / "mesh/test/good/000.png").convert("RGB").resize((200, 100))
    photo.save(tmp_path / "sound.png")
    ImageDraw.Draw(photo).rectangle((150, 20, 180, 60), fill=(255, 0, 0))
    photo.save(tmp_path / "outside.png")
    table, _ = predict_files(copied.path, [tmp_path / "outside.png"], tmp_path / "out", maps=True, progress=False)
    row = json.loads((tmp_path / "out/predictions.jsonl").read_text())
    full = np.load(tmp_path / "out" / row["map"])
    assert full.shape == (100, 200) and not full[:, 104:].any() and full[:, :96].min() > 0
    assert all(box["x"] + box["width"] <= 104 for box in row["regions"])
    overlay = np.asarray(Image.open(tmp_path / "out" / row["heatmap"]))
    blue = (overlay == (0, 200, 255)).all(axis=2)
    assert blue[:, 96:101].any(axis=1).all() and not blue[:, :90].any() and not blue[:, 101:].any()

    evaluate_run(copied.path, device="cpu", progress=False)  # the region stays
    assert copied.scores()["pred_score"].equals(scores["pred_score"])
    evaluate_run(copied.path, whole_image=True, device="cpu", progress=False)
    assert copied.scores()["pred_score"].equals(before["pred_score"]) and not (copied.path / "region.png").exists()
    again, _ = predict_files(copied.path, [tmp_path / "outside.png"], tmp_path / "out", progress=False)
    assert again["pred_score"][0] > table["pred_score"][0]


def test_an_exported_model_blurs_within_the_region_as_the_run_does(copied, products, tmp_path):
    evaluate_run(copied.path, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    predictor = Predictor(copied.path, device="cpu")
    predictor.config = predictor.config.override(**{"scoring.blur": 5.0, "scoring.image_score": "max"})
    files = sorted((products / "mesh/test/good").iterdir())
    found = [predictor.judge(file) for file in files]
    graph = DetectorGraph(
        *(predictor.backbone, predictor.model, predictor.detector, predictor.config.scoring),
        *(predictor.decisions, predictor.region),
    )
    pixels = np.stack([read_pixels(file, 64) for file in files])
    with torch.no_grad():
        maps, scores, *_ = graph(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(maps.numpy(), [one.map_SS for one in found], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores.numpy(), [one.pred_score for one in found], rtol=1e-3)


def test_a_region_that_the_results_do_not_rest_on_is_refused(copied, tmp_path):
    half(copied.path / "region.png", (64, 64))
    with pytest.raises(MintadError, match="region.png.*--region FILE"):
        Predictor(copied.path, device="cpu")
    evaluate_run(copied.path, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    (copied.path / "region.png").unlink()
    for refused in (Predictor, evaluate_run):
        with pytest.raises(MintadError, match="region.png.*--region FILE"):
            refused(copied.path, device="cpu")
    with pytest.raises(ConfigError, match="leave out one"):
        evaluate_run(copied.path, region="x", whole_image=True)


def test_training_goes_on_after_an_interrupted_evaluation_with_its_region(copied, tmp_path):
    whole_digests = (copied.path / "digests.json").read_bytes()
    evaluate_run(copied.path, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    scores = copied.scores()
    (copied.path / "results.csv").unlink()  # the last of the new files did not get its name
    train_run(copied.config(), copied.path, progress=False)
    assert copied.scores()["pred_score"].equals(scores["pred_score"])
    assert Predictor(copied.path, device="cpu").region is not None
    (copied.path / "results.csv").unlink()
    (copied.path / "digests.json").write_bytes(whole_digests)  # nor did any other, but the region was there
    with pytest.raises(MintadError, match="region.png.*--region FILE"):
        train_run(copied.config(), copied.path, progress=False)


def test_an_evaluation_that_fails_leaves_results_and_region_as_they_were(copied, tmp_path, monkeypatch):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mintad.runs.save.results_page", interrupted)  # near the end
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(copied.path, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    assert Predictor(copied.path, device="cpu").region is None
    monkeypatch.undo()
    evaluate_run(copied.path, region=tmp_path / "half.png", device="cpu", progress=False)
    monkeypatch.setattr("mintad.runs.save.results_page", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(copied.path, whole_image=True, device="cpu", progress=False)
    assert Predictor(copied.path, device="cpu").region is not None


class Signed:
    """A detector whose maps are everywhere negative, highest in two cells: one in the region, one beside it."""

    returns_squared_error = False

    def anomaly_map(self, feat_BLF, labels=None):
        map_BHW = -feat_BLF[:, 0, 0, None, None].expand(-1, 8, 8).clone()
        map_BHW[1, 2, 2], map_BHW[2, 2, 6] = -0.5, -0.1
        return map_BHW


@pytest.mark.parametrize("score", ["max", "pooled_max", "mean", "top_mean"])
def test_negative_maps_are_ranked_within_the_region(score):
    """As those of CutPaste and PANDA are: outside, zero must not be the highest value."""
    features = FeatureTable.from_tensor(torch.tensor([1.0, 1.0, 1.0]).view(3, 1, 1))
    region = np.zeros((64, 64), dtype=bool)
    region[:32, :32] = True
    settings = ScoringConfig(image_score=score, pool=4)
    maps, scores = maps_and_scores(Signed(), features, np.arange(3), 64, settings, region=region)
    assert scores[1] > scores[0] == pytest.approx(scores[2])
    full = full_maps(maps, 64, settings, region)
    assert full[:, region].min() >= full[:, ~region].max()


def test_what_a_region_may_be_mistaken_in_is_said(copied, tmp_path, caplog):
    """The photographs are square; PatchCore weighs whole images, PaDiM does not."""
    evaluate_run(copied.path, region=half(tmp_path / "wide.png", (90, 40)), device="cpu", progress=False)
    assert [record.args[1:3] for record in caplog.records if "another shape" in record.msg] == [(90, 40)]
    caplog.clear()
    run = evaluate_run(
        copied.path,
        region=half(tmp_path / "square.png", (40, 40)),
        baseline_names=["patchcore"],
        device="cpu",
        progress=False,
    )
    assert run.baselines() == ["padim", "patchcore"] and not [r for r in caplog.records if "another shape" in r.msg]
    assert [record.args for record in caplog.records if "whole images" in record.msg] == [("PatchCore",)]


def test_results_of_a_region_say_so_and_stay_out_of_reports(copied, tmp_path):
    evaluate_run(copied.path, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    console = Console(file=io.StringIO(), width=200)
    print_results(copied, console)
    assert "region of interest" in console.file.getvalue() and "region of interest" in copied.page.read_text()
    with pytest.raises(DataError, match="no finished run.*region of interest.*--whole-image"):
        read_runs([copied.path])
    evaluate_run(copied.path, whole_image=True, device="cpu", progress=False)
    assert len(read_runs([copied.path]).rows)


def test_separate_models_are_not_united_where_one_has_a_region(products, tmp_path):
    config = small(products, **{"train.steps": 1})
    run = train_separate(config, tmp_path / "run", progress=False)
    one = next((run.path / "categories").iterdir())
    evaluate_run(one, region=half(tmp_path / "half.png"), device="cpu", progress=False)
    (run.path / "results.csv").unlink()
    with pytest.raises(MintadError, match="region of interest.*--whole-image"):
        train_separate(config, tmp_path / "run", progress=False)


def test_pixel_metrics_are_of_the_region_alone():
    """Zeros outside would be right for nothing: here the map is wrong wherever it is looked at."""
    region = np.zeros((8, 8), dtype=bool)
    region[:4, :4] = True
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, :6] = True  # a defect that goes beyond the region
    shown = np.where(region, np.where(mask, 1.0, 2.0), 0.0)
    own, cropped = MapRanking().update(shown, mask, region), MapRanking().update(shown[:4, :4], mask[:4, :4])
    assert own.auroc() == cropped.auroc() == 0
    assert own.aupro() == cropped.aupro() and own.average_precision() == cropped.average_precision()
    table = measure_pixels([("d/c", shown, mask)], region).set_index(["category", "metric"])["value"]
    assert table["d/c", "pixel_auroc"] == 0


def test_a_mistaken_region_changes_nothing(copied, tmp_path):
    files = {
        file: file.read_bytes() for file in copied.path.glob("*.*") if file.name not in ("log.txt", "seconds.json")
    }
    with pytest.raises(DataError, match="empty"):
        evaluate_run(copied.path, region=picture(tmp_path / "r.png", np.zeros((8, 8))), device="cpu", progress=False)
    assert all(file.read_bytes() == content for file, content in files.items())
    assert dataclasses.asdict(copied.config())
    Predictor(copied.path, device="cpu")


def test_a_region_that_is_smaller_than_a_token_is_said(finished, tmp_path, caplog):
    dot = np.zeros((64, 64), np.uint8)
    for side, said in ((4, 1), (40, 0)):
        dot[:side, :side] = 255
        Image.fromarray(dot).save(tmp_path / "region.png")
        caplog.clear()
        new_region(finished, tmp_path / "region.png")
        assert sum("smaller than one token" in record.msg for record in caplog.records) == said

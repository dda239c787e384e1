"""FCDD with outlier exposure: where its outliers come from, and what they teach."""

import shutil

import numpy as np
import pytest
import torch
from baseline_builders import QUICK_SETTING, RANDOM_WEIGHTS, fitted_on_images, quick_on_images, stripes
from PIL import Image

from mintad.baselines.fcdd import deviation_loss
from mintad.baselines.fcdd_oe import FCDDOE, random_crop
from mintad.baselines.images import ImageTable
from mintad.config import preset
from mintad.errors import DataError


def photographs(folder, count=3):
    """Photographs whose colour, (n + 1) * 60 of red, says which one it is."""
    for n in range(count):
        pixels = np.zeros((20 + n, 30, 3), dtype=np.uint8)
        pixels[..., 0] = (n + 1) * 60
        (folder / f"deep{n}").mkdir(parents=True)
        Image.fromarray(pixels).save(folder / f"deep{n}" / "photo.png")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (1, 5)])
def test_a_crop_is_a_square_of_the_photograph_at_any_scale(shape):
    photograph = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    torch.manual_seed(0)
    crops = torch.stack([random_crop(photograph, 24) for _ in range(40)])
    assert crops.shape == (40, 3, 24, 24) and 0 <= crops.min() and crops.max() <= 1
    grey = (crops == crops[:, :1]).flatten(1).all(1).float().mean()
    assert 0.2 < grey < 0.8 and not torch.equal(crops[0], crops[1])


def test_by_default_the_outliers_are_two_real_photographs():
    method = FCDDOE(RANDOM_WEIGHTS, **QUICK_SETTING)
    torch.manual_seed(0)
    crops = torch.stack([method.anomalous(torch.zeros(3, 32, 32)) for _ in range(8)])
    assert len(method.photographs) == 2 and crops.flatten(1).std(1).median() > 0.05


def test_a_folder_of_outliers_is_read_at_any_depth_and_when_needed(tmp_path):
    folder = photographs(tmp_path / "outliers")
    method = FCDDOE(RANDOM_WEIGHTS, outliers=folder, **QUICK_SETTING)
    assert [path.name for path in method.photographs] == ["photo.png"] * 3
    torch.manual_seed(0)
    crops = torch.stack([method.anomalous(torch.zeros(3, 8, 8)) for _ in range(60)])
    coloured = crops[(crops[:, 1] == 0).flatten(1).all(1), 0].mean((1, 2)) * 255
    assert all(((coloured - level).abs() < 25).any() for level in (60, 120, 180))
    fitted_on_images(method, stripes(3))
    (folder / "deep0" / "photo.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="photo.png"):
        for _ in range(20):
            method.anomalous(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_photographs_is_refused_and_named(tmp_path, made):
    folder = tmp_path / "empty"
    if made:
        folder.mkdir()
    with pytest.raises(DataError, match=f"{folder}.*FCDD\\+OE.*name a folder"):
        FCDDOE(RANDOM_WEIGHTS, outliers=folder)


@pytest.mark.parametrize("copied", [False, True])
def test_images_of_the_data_are_no_outliers(tmp_path, copied):
    own = photographs(tmp_path / "own")
    outliers = shutil.copytree(own, tmp_path / "outliers") if copied else own
    baseline = FCDDOE(RANDOM_WEIGHTS, outliers=outliers, **QUICK_SETTING)
    table = ImageTable([str(path) for path in sorted(own.rglob("*.png"))], 32)
    with pytest.raises(DataError, match="photo.png.*an image of the data is among the outliers"):
        baseline.fit(table, np.arange(2))


def test_the_loss_is_fcdds_with_outliers_in_the_place_of_confetti():
    baseline = fitted_on_images(quick_on_images("fcdd_oe"), stripes(5))
    images = stripes(4, seed=2)
    torch.manual_seed(5)
    loss = baseline.loss(images)
    torch.manual_seed(5)
    outliers = torch.stack([baseline.anomalous(image) for image in images])
    expected = deviation_loss(*(baseline.anomaly_map(part).mean((1, 2)) for part in (images, outliers)))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)
    loss.backward()
    for weight in baseline.head.parameters():
        assert torch.isfinite(weight.grad).all()
    assert baseline.head[0].weight.grad.abs().max() > 0


def test_another_thing_is_told_from_the_normal_images():
    """Photographs teach it to know things that are neither photographed nor normal: a chessboard."""
    train, test = stripes(30), stripes(10, seed=1)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    test[:5] = ((rows // 8 + columns // 8) % 2).float()
    pretrained = FCDDOE(preset("fast").features, **(QUICK_SETTING | {"steps": 60, "images": 6, "rate": 0.01}))
    baseline = fitted_on_images(pretrained, train)
    scores = baseline.image_score(test, baseline.anomaly_map(test))
    assert scores[:5].min() > scores[5:].max()


def test_its_weights_can_be_saved_and_loaded(tmp_path):
    images = stripes(4)
    baseline, other = (fitted_on_images(quick_on_images("fcdd_oe", seed=seed), images) for seed in (0, 1))
    state = {"backbone": baseline.backbone.network.state_dict(), "head": baseline.head.state_dict()}
    torch.save(state, tmp_path / "fcdd_oe.pt")
    state = torch.load(tmp_path / "fcdd_oe.pt", weights_only=True)
    assert not torch.equal(other.anomaly_map(images), baseline.anomaly_map(images))
    other.backbone.network.load_state_dict(state["backbone"])
    other.head.load_state_dict(state["head"])
    assert torch.equal(other.anomaly_map(images), baseline.anomaly_map(images))

"""Names and places of masks: which image a mask belongs to, and which picture is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import mask, mvtec_category, picture, pictures, save

from mintad.data import DATASETS, load
from mintad.data.records import REMARKS

MASK_NAMES = (
    "{}_mask.png",
    "{}-mask.png",
    "{}_gt.png",
    "{}_label.png",
    "mask_{}.png",
    "{}.jpg.png",
    "{}.png",
    "{}.mask.bmp",
)


@pytest.mark.parametrize("name", MASK_NAMES)
@pytest.mark.parametrize("place", ["ground_truth/bad", "masks", "bad/masks", "Mask"])
def test_usual_names_and_places_of_masks(tmp_path: Path, name: str, place: str):
    pictures(tmp_path / "nut/good", 5, ".jpg")
    for image in pictures(tmp_path / "nut/bad", 3, ".jpg"):
        save(tmp_path / "nut" / place / name.format(image.stem), mask())
    table = load("folder", tmp_path)
    for row in table[table["label"] == 1].itertuples():
        assert row.masks == (str(tmp_path / "nut" / place / name.format(Path(row.image).stem)),)
    assert (table.loc[table["label"] == 0, "masks"].map(len) == 0).all()


@pytest.mark.parametrize("name", MASK_NAMES)
def test_usual_names_in_the_mvtec_layout(tmp_path: Path, name: str):
    mvtec_category(tmp_path / "nut", suffix=".jpg", mask_name=name.replace("{}", "{stem}"))
    table = load("folder", tmp_path)
    assert (table.loc[table["label"] == 1, "masks"].map(len) == 1).all()


@pytest.mark.parametrize("name", ["{}_mask.png", "{}.jpg.png", "{}/1.png"])
@pytest.mark.parametrize("accents", ["\u00e9", "e\u0301"])
def test_accents_of_one_sign_or_two_are_the_same(tmp_path: Path, name: str, accents: str):
    mvtec_category(tmp_path / "nut", defects={"dent": 0})
    save(tmp_path / f"nut/test/dent/caf{accents}.jpg", picture(1))
    other = {"\u00e9": "e\u0301", "e\u0301": "\u00e9"}[accents]
    save(tmp_path / "nut/ground_truth/dent" / name.format(f"caf{other}"), mask())
    table = load("folder", tmp_path)
    assert table.loc[table["label"] == 1, "masks"].map(len).tolist() == [1]


@pytest.mark.parametrize("image_first", [True, False])
def test_folders_of_a_defect_may_write_its_accents_differently(tmp_path: Path, image_first: bool):
    composed, apart = "f\u00ealure", "fe\u0302lure"
    images, masks = (composed, apart) if image_first else (apart, composed)
    save(tmp_path / "nut/train/good/0.png", picture(0))
    save(tmp_path / f"nut/test/{images}/1.png", picture(1))
    save(tmp_path / f"nut/ground_truth/{masks}/1.png", mask())
    records = load("folder", tmp_path)
    (row,) = records[records["label"] == 1].itertuples()
    assert row.masks == (str(tmp_path / f"nut/ground_truth/{masks}/1.png"),)


def test_masks_beside_the_images_are_no_images(tmp_path: Path):
    pictures(tmp_path / "nut/good", 5)
    for image in pictures(tmp_path / "nut/bad", 3)[:2]:
        save(image.with_name(f"{image.stem}_mask.png"), mask())
    table = load("folder", tmp_path)
    assert table[table["label"] == 1]["masks"].map(len).tolist() == [1, 1, 0]


@pytest.mark.parametrize("name", ["000_labelled", "000_seg2", "000_mask_side", "000_groundtruth-new", "000.gt-b"])
def test_a_photograph_of_a_like_name_is_no_mask(tmp_path: Path, name: str):
    pictures(tmp_path / "nut/good", 5)
    save(tmp_path / "nut/bad/000.png", picture(0))
    save(tmp_path / f"nut/bad/{name}.png", picture(1))
    table = load("folder", tmp_path)
    assert table["label"].sum() == 2 and not table["masks"].map(len).any()


@pytest.mark.parametrize("name", ["000_label", "000-seg", "000_MASK_2", "000_seg_2", "000_mask2", "gt_000", "000.mask"])
def test_a_word_for_mask_at_the_end_or_before_a_number(tmp_path: Path, name: str):
    pictures(tmp_path / "nut/good", 5)
    save(tmp_path / "nut/bad/000.png", picture(0))
    file = save(tmp_path / f"nut/bad/{name}.png", mask())
    table = load("folder", tmp_path).query("label == 1")
    assert table["masks"].tolist() == [(str(file),)]


@pytest.mark.parametrize("place", ["masks", "masks/dent", "masks/dent/000"])
@pytest.mark.parametrize("other", ["labels", "ground_truth", "gt"])
def test_of_two_folders_of_masks_the_one_with_images_is_read(tmp_path: Path, place: str, other: str):
    mvtec_category(tmp_path / "nut", mask_name=None)
    file = save(tmp_path / "nut" / place / "000.png", mask())
    (tmp_path / "nut" / other).mkdir()
    (tmp_path / "nut" / other / "000.txt").write_text("0 0.5 0.5 0.1 0.1")  # as YOLO has them
    if place == "masks":  # whose it is must be clear
        (tmp_path / "nut/test/scratch/000.png").unlink()
    table = load("folder", tmp_path)
    assert [masks for masks in table["masks"] if masks] == [(str(file),)]
    assert any(f"nut/{other}" in line for line in table.attrs[REMARKS])


def test_masks_in_a_second_folder_are_a_warning(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    save(tmp_path / "nut/masks/dent/000.png", mask())
    before = load("folder", tmp_path)["masks"].map(len).sum()
    warnings = [problem for problem in DATASETS["folder"].scan(tmp_path)[1] if problem.severity == "warning"]
    assert before == 3 and [problem.path for problem in warnings] == [str(tmp_path / "nut/masks")]

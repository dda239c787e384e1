"""MVTec AD, any folder in its layout, BTAD: what is read, and how everything else is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from data_builders import btad, mask, mvtec, mvtec_category, picture, pictures, save
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mintad.data import DATASETS, load
from mintad.data.images import read_image, read_mask
from mintad.data.listing import Listing
from mintad.data.mask_names import match_masks
from mintad.errors import DataError


def counts(table) -> dict:
    return table.groupby(["category", "split", "defect"]).size().to_dict()


def test_mvtec(tmp_path: Path):
    table = load("mvtec", mvtec(tmp_path))
    counts_of_each = {("train", "good"): 3, ("test", "good"): 2, ("test", "dent"): 2, ("test", "scratch"): 1}
    assert counts(table) == {(name, *key): n for name in ("bottle", "screw") for key, n in counts_of_each.items()}
    assert set(table["dataset"]) == {"mvtec"}
    anomalous = table[table["label"] == 1]
    assert (anomalous["split"] == "test").all()
    for row in anomalous.itertuples():
        assert row.masks == (
            str(tmp_path / row.category / "ground_truth" / row.defect / f"{Path(row.image).stem}_mask.png"),
        )
        assert read_mask(row.masks, read_image(row.image).size).sum() == 6
    assert (table.loc[table["label"] == 0, "masks"].map(len) == 0).all()


def test_labels_do_not_come_from_masks(tmp_path: Path):
    mvtec(tmp_path)
    save(tmp_path / "screw/ground_truth/dent/000_mask.png", mask(value=0))
    row = load("mvtec", tmp_path).query("category == 'screw' and defect == 'dent'").iloc[0]
    assert not read_mask(row["masks"]).any()
    assert row["label"] == 1


def test_root_may_be_one_category(tmp_path: Path):
    mvtec(tmp_path)
    table = load("folder", tmp_path / "screw")
    assert set(table["category"]) == {"screw"}
    assert set(table["dataset"]) == {"folder"}
    assert set(load("folder", str(tmp_path / "screw"), dataset="plant")["prompt_class"]) == {"plant/screw"}


def test_relative_root_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mvtec(tmp_path)
    monkeypatch.chdir(tmp_path / "screw" / "test")
    table = load("folder", "..")
    assert set(table["category"]) == {"screw"}
    assert table["image"].str.startswith(str(tmp_path / "screw")).all()


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".bmp", ".TIFF"])
@pytest.mark.parametrize(
    "mask_name", ["{stem}_mask.png", "{stem}.png", "{stem}_MASK.BMP", "{stem}_mask_1.tif", "{stem}/000.png"]
)
def test_any_ending_and_every_way_to_name_masks(tmp_path: Path, suffix: str, mask_name: str):
    mvtec_category(tmp_path / "nut", suffix=suffix, mask_name=mask_name)
    table = load("mvtec", tmp_path)
    assert len(table) == 8
    assert (table.loc[table["label"] == 1, "masks"].map(len) == 1).all()


def test_several_masks(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    truth = tmp_path / "nut/ground_truth/dent"
    save(truth / "000_mask_2.png", mask())
    save(truth / "001" / "000.png", mask())
    save(truth / "001" / "001.png", mask())
    masks = load("folder", tmp_path).query("defect == 'dent'")["masks"].tolist()
    assert [[str(Path(path).relative_to(truth)) for path in paths] for paths in masks] == [
        ["000_mask.png", "000_mask_2.png"],
        ["001/000.png", "001/001.png", "001_mask.png"],
    ]


def test_a_folder_without_ground_truth_has_image_labels_only(tmp_path: Path):
    mvtec_category(tmp_path / "nut", mask_name=None)
    table = load("folder", tmp_path)
    assert table["label"].sum() == 3
    assert (table["masks"].map(len) == 0).all()
    with pytest.raises(DataError) as caught:
        load("mvtec", tmp_path)
    assert caught.value.path == str(tmp_path / "nut/ground_truth") and "folder" in caught.value.fix


def test_hidden_and_private_names_and_stray_files_are_passed_over(tmp_path: Path):
    expected = len(load("folder", mvtec(tmp_path)))
    for name in (".cache", "_old", ".download"):
        (tmp_path / name).mkdir()
    for name in ("readme.txt", "screw/license.txt", "screw/train/good/Thumbs.db", "screw/train/good/._000.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "screw/validation/good").mkdir(parents=True)  # MVTec LOCO has one
    assert len(load("folder", tmp_path)) == expected


def remove(path: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()

    return change


def add(path: str) -> Callable[[Path], object]:
    return lambda root: save(root / path, picture(path))


def empty(path: str) -> Callable[[Path], None]:
    return lambda root: [item.unlink() for item in (root / path).iterdir()]


BROKEN = {
    "no train": (remove("screw/train"), "screw/train"),
    "no test": (remove("screw/test"), "screw/test"),
    "neither": (lambda root: (remove("screw/train")(root), remove("screw/test")(root)), "screw"),
    "no train/good": (remove("screw/train/good"), "screw/train/good"),
    "empty train/good": (empty("screw/train/good"), "screw/train/good"),
    "no test/good": (remove("screw/test/good"), "screw/test/good"),
    "train/bad": (add("screw/train/bad/0.png"), "screw/train/bad"),
    "loose image": (add("screw/test/0.png"), "screw/test"),
    "nested": (add("screw/train/good/more/0.png"), "screw/train/good/more"),
    "mask without image": (add("screw/ground_truth/dent/777_mask.png"), "screw/ground_truth/dent/777_mask.png"),
    "mask folder without image": (add("screw/ground_truth/dent/777/0.png"), "screw/ground_truth/dent/777"),
    "masks without defect": (add("screw/ground_truth/hole/000_mask.png"), "screw/ground_truth/hole/000_mask.png"),
    "loose mask": (add("screw/ground_truth/000_mask.png"), "screw/ground_truth/000_mask.png"),
    "mask of a normal image": (add("screw/ground_truth/good/000_mask.png"), "screw/ground_truth/good"),
    "image without mask": (remove("screw/ground_truth/dent/001_mask.png"), "screw/test/dent/001.png"),
    "defect without masks": (remove("screw/ground_truth/dent"), "screw/test/dent"),
    "same stem": (add("screw/test/dent/000.jpg"), "screw/test/dent"),
    "foreign folder": (lambda root: (root / "notes").mkdir(), "notes"),
}
"""A change of a valid data set, and the path that is then at fault."""

ALLOWED = ("no test/good", "mask of a normal image", "image without mask", "defect without masks")
"""Changes that one's own images may have, though they are reported."""
OWN_BROKEN = [case for case in BROKEN if case not in (*ALLOWED, "no test")]


@pytest.mark.parametrize("case", ALLOWED)
def test_own_images_may_lack_what_published_sets_have(tmp_path: Path, case: str):
    before = len(load("folder", mvtec(tmp_path)))
    change, path = BROKEN[case]
    change(tmp_path)
    rows, problems = DATASETS["folder"].scan(tmp_path)
    assert case == "mask of a normal image" or str(tmp_path / path) in {problem.path for problem in problems}
    table = load("folder", tmp_path)
    assert len(table) == before - 2 * (case == "no test/good")
    assert (table.loc[table["label"] == 0, "masks"].map(len) == 0).all()
    lost = {"image without mask": 1, "defect without masks": 2}.get(case, 0)
    assert (table.loc[table["label"] == 1, "masks"].map(len) == 0).sum() == lost


@pytest.mark.parametrize(("name", "case"), [("mvtec", case) for case in BROKEN] + [("folder", c) for c in OWN_BROKEN])
def test_every_departure_from_the_layout_is_named(tmp_path: Path, case: str, name: str):
    change, path = BROKEN[case]
    path = "screw/test" if (name, case) == ("folder", "loose mask") else path  # whose it is, is not clear
    change(mvtec(tmp_path))
    _, problems = DATASETS[name].scan(tmp_path)
    assert str(tmp_path / path) in {problem.path for problem in problems if problem.severity == "error"}
    assert all(problem.fix for problem in problems)
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    assert caught.value.path in (str(tmp_path), str(tmp_path / path)) and str(tmp_path / path) in str(caught.value)


@pytest.mark.parametrize("folder", ["train", "test/good", "ground_truth"])
def test_a_name_that_differs_in_case_only_is_pointed_out(tmp_path: Path, folder: str):
    right = mvtec(tmp_path) / "screw" / folder
    right.rename(right.with_name(right.name.capitalize()))
    _, problems = DATASETS["mvtec"].scan(tmp_path)
    assert any(f"'{right.name.capitalize()}'" in problem.problem for problem in problems if problem.path == str(right))


def test_no_anomalous_images(tmp_path: Path):
    mvtec_category(tmp_path / "nut", defects={}, mask_name="{stem}_mask.png")
    (tmp_path / "nut/ground_truth").mkdir()
    with pytest.raises(DataError) as caught:
        load("mvtec", tmp_path)
    assert caught.value.path == str(tmp_path / "nut/test") and caught.value.fix


def test_many_problems_are_reported_together(tmp_path: Path):
    mvtec(tmp_path, ("bottle", "screw", "tile"))
    for change in ("no train", "mask without image"):
        BROKEN[change][0](tmp_path)
    remove("tile/test/good")(tmp_path)
    with pytest.raises(DataError) as caught:
        load("mvtec", tmp_path)
    text = str(caught.value)
    assert caught.value.path == str(tmp_path) and "3 problems" in caught.value.problem
    assert all(part in text for part in ("screw/train", "777_mask.png", "tile/test/good"))


def test_a_long_list_is_cut_but_counted(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    for k in range(30):
        save(tmp_path / f"nut/ground_truth/dent/x{k}.png", mask())
    with pytest.raises(DataError, match="30 problems") as caught:
        load("folder", tmp_path)
    assert "and 10 more; 'mintad data check'" in str(caught.value)


def test_missing_or_empty_root(tmp_path: Path):
    for name, root in (("folder", tmp_path / "nowhere"), ("mvtec", tmp_path)):
        with pytest.raises(DataError) as caught:
            load(name, root)
        assert caught.value.path == str(root) and caught.value.fix


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dent"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("mintad.data.listing.os.scandir", refuse)
    with pytest.raises(DataError) as caught:
        load("folder", mvtec(tmp_path))
    assert f"{tmp_path}/bottle/test/dent: " in caught.value.problem and "Permission denied" in caught.value.problem


def test_btad(tmp_path: Path):
    table = load("btad", btad(tmp_path))
    counts_of_each = {("train", "good"): 3, ("test", "good"): 2, ("test", "ko"): 2}
    assert counts(table) == {(name, *key): n for name in ("01", "02", "03") for key, n in counts_of_each.items()}
    endings = {
        row.category: (Path(row.image).suffix, Path(row.masks[0]).suffix) for row in table.itertuples() if row.label
    }
    assert endings == {"01": (".bmp", ".png"), "02": (".png", ".png"), "03": (".bmp", ".bmp")}
    assert all(read_mask(masks).sum() == 6 for masks in table["masks"] if masks)


def test_btad_in_its_archive_folder_and_broken(tmp_path: Path):
    btad(tmp_path / "BTech_Dataset_transformed")
    assert len(load("btad", tmp_path)) == 21
    pictures(tmp_path / "BTech_Dataset_transformed/01/test/good", 1)  # MVTec's word is a defect here
    with pytest.raises(DataError) as caught:
        load("btad", tmp_path)
    assert caught.value.path.endswith("01/test/good/000.png") and "mask" in caught.value.problem
    shutil.rmtree(tmp_path / "BTech_Dataset_transformed/01")
    shutil.rmtree(tmp_path / "BTech_Dataset_transformed/02/train/ok")
    with pytest.raises(DataError) as caught:
        load("btad", tmp_path)
    assert caught.value.path.endswith("02/train/ok")


names = st.from_regex(r"[a-z0-9]{1,4}(_mask)?[a-z0-9_]{0,3}", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=8, unique_by=str.lower), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_mask_finds_its_image(stems: list[str], data):
    """Whatever the stems look like, also where one continues another: mask STEM_mask.png belongs to STEM."""
    ways = [data.draw(st.sampled_from(["{}.png", "{}_mask.png"])) for _ in stems]
    mask_names = [way.format(stem) for way, stem in zip(ways, stems, strict=True)]
    own = {stem for stem, way in zip(stems, ways, strict=True) if way == "{}.png"}
    assume(not {Path(name).stem for name in mask_names} & (set(stems) - own))  # a_mask: of a, or an image itself?
    assume(len(set(mask_names)) == len(mask_names))
    problems: list = []
    images = Listing("/i", images=[f"{stem}.jpg" for stem in stems])
    masks = match_masks(images, Listing("/m", images=mask_names), problems)
    assert not problems
    assert masks == {f"/i/{stem}.jpg": (f"/m/{name}",) for stem, name in zip(stems, mask_names, strict=True)}


@given(st.permutations(range(6)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=5)
def test_order_on_disk_does_not_matter(tmp_path_factory, order: list[int]):
    root = tmp_path_factory.mktemp("order")
    for k in order:
        save(root / "nut/train/good" / f"{k}.png", picture(k))
        save(root / "nut/test/good" / f"{k}.png", picture(k + 10))
        save(root / "nut/test/dent" / f"{k}.png", picture(k + 20))
    table = load("folder", root)
    assert [Path(path).stem for path in table["image"]] == [*"012345"] * 3

"""The ways in which people put their own pictures: good and bad folders, products, litter, splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import counts, mask, mvtec_category, picture, pictures, save

from mintad.data import DATASETS, load
from mintad.data.check import check
from mintad.data.litter import LITTER
from mintad.data.records import REMARKS
from mintad.data.registry import recognise
from mintad.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("good", "bad"), [("good", "bad"), ("OK", "NG"), ("Ok", "nok"), ("normal", "Defect"), ("ok", "KO")]
)
def test_folders_that_say_good_and_bad(tmp_path: Path, good: str, bad: str):
    pictures(tmp_path / "screw" / good, 10)
    pictures(tmp_path / "screw" / bad, 3)
    pictures(tmp_path / "nut" / good, 5)
    expected = {("screw", "train", "good"): 8, ("screw", "test", "good"): 2, ("screw", "test", bad): 3}
    assert counts(load("folder", tmp_path)) == expected | {("nut", "train", "good"): 5}
    assert counts(load("folder", tmp_path / "screw")) == expected  # at the top: one product, named after its folder


def test_kinds_of_defects_below_bad_and_days_below_good(tmp_path: Path):
    pictures(tmp_path / "nut/good/monday", 5)
    pictures(tmp_path / "nut/good/tuesday", 5)
    pictures(tmp_path / "nut/bad/dent", 2)
    pictures(tmp_path / "nut/bad", 1)
    assert counts(load("folder", tmp_path)) == {
        ("nut", "train", "good"): 8,
        ("nut", "test", "good"): 2,
        ("nut", "test", "bad"): 1,
        ("nut", "test", "dent"): 2,
    }


def test_products_below_ok_and_ng(tmp_path: Path):
    for product in ("screw", "nut"):
        pictures(tmp_path / "OK" / product, 5)
    pictures(tmp_path / "NG/screw", 2)
    table = load("folder", tmp_path)
    assert table.groupby("category").size().to_dict() == {"nut": 5, "screw": 7}
    assert set(table.loc[table["label"] == 1, "defect"]) == {"NG"}


REST = ("OK/000.png", "NG/000.png", "extra/000.png", "000.png", "masks/000.png", "masks/bolt/000.png", "NG/gt/000.png")


@pytest.mark.parametrize("rest", REST)
def test_what_belongs_to_no_product_below_ok_and_ng_is_reported(tmp_path: Path, rest: str):
    pictures(tmp_path / "OK/nut", 5)
    pictures(tmp_path / "NG/nut", 2)
    save(tmp_path / "masks/nut/001.png", mask())
    assert load("folder", tmp_path)["masks"].map(len).sum() == 1
    save(tmp_path / rest, mask())
    with pytest.raises(DataError) as caught:
        load("folder", tmp_path)
    assert caught.value.path == str((tmp_path / rest).parent) and caught.value.fix


def test_folders_below_ok_alone_are_products_and_it_is_said(tmp_path: Path):
    root = tmp_path / "plant"
    pictures(root / "OK/nut", 3)
    pictures(root / "OK/bolt", 2)
    table = load("folder", root)
    assert counts(table) == {("bolt", "train", "good"): 2, ("nut", "train", "good"): 3}
    assert any("bolt, nut" in line and "--normal OK/bolt,OK/nut" in line for line in table.attrs[REMARKS])
    assert counts(load("folder", root, normal="OK/bolt,OK/nut")) == {("plant", "train", "good"): 5}
    pictures(root / "NG", 2)  # whose they are, nobody says
    assert load("folder", root)["category"].unique().tolist() == ["plant"]
    assert any("bolt, nut" in line for line in load("folder", root).attrs[REMARKS])


def test_every_product_may_lie_in_its_own_way_and_be_called_good(tmp_path: Path):
    mvtec_category(tmp_path / "good")
    mvtec_category(tmp_path / "bolt", mask_name=None)
    pictures(tmp_path / "nut/OK", 4)
    table = load("folder", tmp_path)
    assert table.groupby("category").size().to_dict() == {"bolt": 8, "good": 8, "nut": 4}


def test_words_for_normal_in_the_mvtec_layout(tmp_path: Path):
    pictures(tmp_path / "nut/train/OK", 4)
    pictures(tmp_path / "nut/test/ok", 2)
    pictures(tmp_path / "nut/test/NG", 2)
    assert counts(load("folder", tmp_path)) == {
        ("nut", "train", "good"): 4,
        ("nut", "test", "good"): 2,
        ("nut", "test", "NG"): 2,
    }


def test_names_that_the_user_tells(tmp_path: Path):
    pictures(tmp_path / "nut/prima", 5)
    pictures(tmp_path / "nut/Schrott", 2)
    pictures(tmp_path / "nut/ok", 3)
    with pytest.raises(DataError) as caught:
        load("folder", tmp_path)
    assert "--abnormal Schrott" in str(caught.value) and "prima" in str(caught.value)
    told = load("folder", tmp_path, normal="PRIMA", abnormal=["schrott", "ok"])  # also against the usual words
    assert told["label"].value_counts().to_dict() == {0: 5, 1: 5}


def test_a_name_that_is_told_and_that_no_folder_has_is_said(tmp_path: Path):
    pictures(tmp_path / "nut/good", 4)
    pictures(tmp_path / "nut/bad", 2)
    pictures(tmp_path / "nut/scrap", 2)
    table = load("folder", tmp_path, normal="Good", abnormal="scrap,scarp")
    (remark,) = [line for line in table.attrs[REMARKS] if "no image lies" in line]
    assert "'scarp'" in remark and table["label"].sum() == 4


def test_folders_told_by_their_paths_are_one_product(tmp_path: Path):
    root = tmp_path / "plant"
    pictures(root / "line1/ok", 5)
    pictures(root / "line2/ok", 5)
    pictures(root / "line2/ng", 2)
    table = load("folder", root, normal="line1/ok, line2/ok/", abnormal="line2/ng")
    assert counts(table) == {("plant", "train", "good"): 8, ("plant", "test", "good"): 2, ("plant", "test", "ng"): 2}
    with pytest.raises(DataError, match="line3") as caught:
        load("folder", root, normal="line3/ok")
    assert "no such folder" in str(caught.value)


def test_products_of_several_roots_are_united_by_name(tmp_path: Path):
    pictures(tmp_path / "a/nut/good", 4)
    pictures(tmp_path / "b/nut/good", 3)
    pictures(tmp_path / "b/nut/bad", 2)
    table = load("folder", tmp_path / "a", roots=[str(tmp_path / "b")])
    assert table.groupby(["category", "label"]).size().to_dict() == {("nut", 0): 7, ("nut", 1): 2}


@pytest.mark.parametrize("bad", ["nut/bad", "nut/NG/dent", "nut/test/dent"])
@pytest.mark.parametrize("whole", [True, False])
def test_normal_images_of_one_root_and_anomalous_ones_of_another_are_one_product(tmp_path: Path, bad: str, whole: bool):
    pictures(tmp_path / "a/nut/good", 10)
    pictures(tmp_path / "b" / bad, 2)
    roots = [tmp_path / name / ("" if whole else "nut") for name in "ab"]
    table = load("folder", roots[0], roots=[str(roots[1])])
    assert counts(table) == {
        ("nut", "train", "good"): 8,
        ("nut", "test", "good"): 2,
        ("nut", "test", bad.split("/")[-1]): 2,
    }
    with pytest.raises(DataError):
        load("folder", roots[1])


def test_normal_images_of_every_root_take_part_in_the_split(tmp_path: Path):
    pictures(tmp_path / "a/nut/good", 15)
    pictures(tmp_path / "c/nut/good", 5)
    pictures(tmp_path / "c/nut/bad", 2)
    table = load("folder", tmp_path / "a", roots=[str(tmp_path / "c")])
    assert counts(table)["nut", "test", "good"] == 4
    roots = {Path(path).parts[-4] for path in table.query("split == 'test' and label == 0")["image"]}
    assert roots == {"a", "c"}


@pytest.mark.parametrize(
    "options",
    [
        {"normal": 3},
        {"normal": "a", "abnormal": "A"},
        {"test_share": 0},
        {"test_share": "x"},
        {"roots": [1]},
        {"seed": "abc"},
        {"seed": 1.5},
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, options: dict):
    pictures(tmp_path / "nut/good", 4)
    with pytest.raises(ConfigError):
        load("folder", tmp_path, **options)


def test_a_made_split_is_seeded_recorded_and_stable(tmp_path: Path):
    pictures(tmp_path / "nut/good", 20)
    pictures(tmp_path / "nut/bad", 2)

    def tested(**options) -> set[str]:
        table = load("folder", tmp_path, **options)
        return set(table.loc[(table["split"] == "test") & (table["label"] == 0), "image"])

    first = tested()
    assert len(first) == 4 and tested() == first and tested(seed=1) != first and len(tested(test_share=0.5)) == 10
    notes = [problem for problem in DATASETS["folder"].scan(tmp_path)[1] if problem.severity == "note"]
    assert any("4 of 20" in note.problem and "seed 0" in note.fix for note in notes)
    save(tmp_path / "nut/good/new.png", mask())
    assert len(tested() ^ first) <= 2
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    names = {Path(path).name for path in first}
    table = load("folder", moved)
    chosen = {Path(p).name for p in table.loc[(table["split"] == "test") & (table["label"] == 0), "image"]}
    assert len(chosen ^ names) <= 2


LITTER_NAMES = ("._000.png", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir/000.png", "$RECYCLE.BIN/x.png")
LITTER_NAMES += ("__MACOSX/._000.png", ".thumbnails/000.png", "System Volume Information/x")


@pytest.mark.parametrize("layout", ["mvtec", "labelled", "top"])
def test_litter_is_ignored_everywhere_and_counted(tmp_path: Path, layout: str):
    root = tmp_path / "parts"
    folders = {"mvtec": "nut/train/good", "labelled": "nut/good", "top": "good"}
    pictures(root / folders[layout], 4)
    before = load("folder", root)
    places = {
        root,
        *(path.parent for path in root.rglob("*.png")),
        *(path for path in root.rglob("*") if path.is_dir()),
    }
    for place in places:
        for name in LITTER_NAMES:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("x")
    assert load("folder", root).equals(before)
    problems = DATASETS["folder"].scan(root)[1]
    assert sum(problem.problem == LITTER for problem in problems) == len(places) * len(LITTER_NAMES)
    assert {problem.severity for problem in problems} == {"note"}


@pytest.mark.parametrize("name", ["screw", "candle", "01"])
@pytest.mark.parametrize("good", ["good", "ok", "train/good", "train/ok"])
def test_ones_own_product_is_not_taken_for_a_published_one_of_its_name(tmp_path: Path, name: str, good: str):
    pictures(tmp_path / name / good, 4)
    pictures(tmp_path / name / ("test/ng" if "train" in good else "ng"), 2)
    assert recognise(tmp_path) == recognise(tmp_path / name) == "folder"
    assert check(tmp_path).ok and load("folder", tmp_path)["label"].sum() == 2


def test_pictures_beside_train_and_test_are_not_lost_in_silence(tmp_path: Path):
    pictures(tmp_path / "nut/train/good", 4)
    (tmp_path / "nut/docs").mkdir()
    assert len(load("folder", tmp_path)) == 4
    pictures(tmp_path / "nut/bad", 2)
    with pytest.raises(DataError) as caught:
        load("folder", tmp_path)
    assert caught.value.path == str(tmp_path / "nut/bad")


def test_folders_of_pictures_and_nothing_else_are_products_and_it_is_said(tmp_path: Path):
    root = tmp_path / "parts"
    pictures(root / "nut", 4)
    pictures(root / "bolt", 3)
    table = load("folder", root)
    assert counts(table) == {("nut", "train", "good"): 4, ("bolt", "train", "good"): 3}
    assert any("bolt, nut are taken for 2 products" in line for line in table.attrs[REMARKS])


@pytest.mark.parametrize("other", ["bad/0.png", "masks/0.png", "more.png", "nut/deeper/0.png", "test/0.png", "none/"])
def test_folders_of_pictures_are_no_products_where_the_root_holds_anything_else(tmp_path: Path, other: str):
    pictures(tmp_path / "nut", 4)
    pictures(tmp_path / "bolt", 3)
    if other.endswith("/"):
        (tmp_path / other).mkdir()
    else:
        save(tmp_path / other, picture(1))
    with pytest.raises(DataError):
        load("folder", tmp_path)


@pytest.mark.parametrize(
    "names", ["ok_parts ng_parts", "nut-good nut-bad", "goods bads", "0 1", "fine scratches", "a VAL"]
)
def test_folders_whose_names_speak_of_labels_are_no_products(tmp_path: Path, names: str):
    """Their anomalous images would be learnt as normal ones."""
    for name in names.split():
        pictures(tmp_path / name, 3)
    with pytest.raises(DataError, match="--normal"):
        load("folder", tmp_path)


def test_a_folder_of_pictures_and_nothing_else(tmp_path: Path):
    pictures(tmp_path / "nut", 4)
    with pytest.raises(DataError, match="--normal ."):
        load("folder", tmp_path / "nut")
    assert counts(load("folder", tmp_path / "nut", normal=".")) == {("nut", "train", "good"): 4}


@pytest.mark.parametrize("place", [".", "nut", "bolt"])
def test_images_beside_the_folders_are_not_left_out_in_silence(tmp_path: Path, place: str):
    mvtec_category(tmp_path / "nut")
    mvtec_category(tmp_path / "bolt")
    file = save(tmp_path / place / "more.png", picture(1))
    table = load("folder", tmp_path)
    assert str(file) not in set(table["image"])
    assert any("more.png" in line for line in table.attrs[REMARKS])


def test_a_folder_of_tested_images_that_may_be_called_normal_is_not_taken_for_a_defect_in_silence(tmp_path: Path):
    mvtec_category(tmp_path / "nut", defects={"no_defect": 2, "negative_side": 2})
    (remark,) = [line for line in load("folder", tmp_path).attrs[REMARKS] if "may be called normal" in line]
    assert "no_defect" in remark and "negative_side" not in remark
    told = load("folder", tmp_path, normal="no_defect")
    assert counts(told)["nut", "test", "good"] == 4 and not any("may be" in line for line in told.attrs[REMARKS])
    told = load("folder", tmp_path, abnormal="no_defect")
    assert counts(told)["nut", "test", "no_defect"] == 2 and not any("may be" in line for line in told.attrs[REMARKS])


@pytest.mark.parametrize(
    ("names", "doubted"), [(("good", "0"), 0), (("good", "00", "01"), 0), (("0", "1", "2"), 0), (("0", "1"), 1)]
)
def test_numbered_kinds_of_defects_are_not_doubted(tmp_path: Path, names: tuple[str, ...], doubted: int):
    """Without normal images 0 and 1 may be labels."""
    pictures(tmp_path / "nut/train/good", 2)
    for name in names:
        pictures(tmp_path / "nut/test" / name, 2)
    remarks = load("folder", tmp_path).attrs[REMARKS]
    assert sum("may be called normal" in line for line in remarks) == doubted

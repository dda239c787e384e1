"""The ways in which people put their own pictures: good and bad folders, lists, litter, names of masks, splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_builders import mask, mvtec_category, picture, pictures, save

from mintad.data import DATASETS, load
from mintad.data.check import check
from mintad.data.litter import LITTER
from mintad.data.records import REMARKS
from mintad.data.registry import recognise
from mintad.errors import ConfigError, DataError


def counts(table) -> dict:
    return table.groupby(["category", "split", "defect"]).size().to_dict()


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
    "options", [{"normal": 3}, {"normal": "a", "abnormal": "A"}, {"test_share": 0}, {"test_share": "x"}, {"roots": [1]}]
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


def write_list(path: Path, lines: list[dict]) -> Path:
    if path.suffix == ".csv":
        columns = list(dict.fromkeys(key for line in lines for key in line))
        text = "\n".join([",".join(columns), *(",".join(str(line.get(key, "")) for key in columns) for line in lines)])
        path.write_text("\ufeff" + text + "\r\n", encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(lines))
    else:
        path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
@pytest.mark.parametrize("as_root", [True, False])
def test_lists(tmp_path: Path, suffix: str, as_root: bool):
    root = tmp_path / "plant"
    pictures(root / "img", 8)
    save(root / "m/6.png", mask())
    lines = [{"image": f"img/{k:03d}.png", "category": "nut", "split": "train", "label": "OK"} for k in range(4)]
    lines += [{"image": f"img/{k:03d}.png", "category": "nut", "split": "Test", "label": 0} for k in (4, 5)]
    lines += [{"image": "img/006.png", "category": "nut", "split": "test", "label": 1, "mask": "m/6.png"}]
    lines += [{"image": str(root / "img/007.png"), "category": "nut", "split": "test", "label": "scratch"}]
    file = write_list(root / f"parts{suffix}", lines)
    table = load("folder", file if as_root else root)
    expected = {("nut", "train", "good"): 4, ("nut", "test", "good"): 2}
    assert counts(table) == expected | {("nut", "test", "anomalous"): 1, ("nut", "test", "scratch"): 1}
    assert [masks for masks in table["masks"] if masks] == [(str(root / "m/6.png"),)]


def test_a_list_of_images_alone_is_all_normal(tmp_path: Path):
    pictures(tmp_path / "img", 3)
    file = write_list(tmp_path / "a.csv", [{"image": f"img/{k:03d}.png"} for k in range(3)])
    assert counts(load("folder", file)) == {(tmp_path.name, "train", "good"): 3}


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([{"image": "img/999.png"}], "line 2: no such file"),
        ([{"image": "img/000.png"}, {"image": "img/../img/000.png"}], "listed in line 2"),
        ([{"image": "img/000.png", "split": "valid"}], "cannot read the split 'valid'"),
        ([{"image": "img/000.png", "split": "train", "label": "bad"}], "labelled bad"),
        ([{"image": "img/000.png", "mask": "m.png"}], "no such file"),
        ([{"path": "img/000.png"}], "no column 'image'"),
        ([{"image": "", "label": "bad"}], "no image is named"),
    ],
)
def test_faults_of_a_list_are_named_with_their_line(tmp_path: Path, lines: list[dict], text: str):
    pictures(tmp_path / "img", 3)
    with pytest.raises(DataError) as caught:
        load("folder", write_list(tmp_path / "a.csv", lines))
    assert text in str(caught.value) and "a.csv" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"", b"image\nx,y,z\n", b'{"image": 1}\n[', b"[1, 2]", b"[" * 99999]
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_damaged_lists_are_one_error(tmp_path: Path, content: bytes, suffix: str):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=file.name):
        load("folder", file)


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


def test_a_folder_of_pictures_and_nothing_else(tmp_path: Path):
    pictures(tmp_path / "nut", 4)
    with pytest.raises(DataError, match="--normal ."):
        load("folder", tmp_path / "nut")
    assert counts(load("folder", tmp_path / "nut", normal=".")) == {("nut", "train", "good"): 4}


def test_a_list_written_on_windows_and_its_folder_give_the_same_split(tmp_path: Path):
    pictures(tmp_path / "img", 9)
    lines = [{"image": f"img\\{k:03d}.png", "label": "NG" if k > 6 else "OK"} for k in range(9)]
    file = write_list(tmp_path / "l.csv", lines)
    table = load("folder", file)
    assert table["split"].value_counts().to_dict() == {"train": 6, "test": 3}
    assert table.equals(load("folder", tmp_path))


def test_several_lists_in_a_root_are_an_error(tmp_path: Path):
    pictures(tmp_path / "img", 4)
    train = write_list(tmp_path / "train.csv", [{"image": "img/000.png"}, {"image": "img/001.png"}])
    write_list(tmp_path / "test.jsonl", [{"image": "img/002.png", "split": "test", "label": "bad"}])
    with pytest.raises(DataError) as caught:
        load("folder", tmp_path)
    assert all(name in str(caught.value) for name in ("train.csv", "test.jsonl", "split"))
    assert len(load("folder", train)) == 2


@pytest.mark.parametrize("folders", ["train/good", "nut/train/good", "OK", "nut/good", "OK/nut"])
def test_a_list_beside_folders_that_could_be_read_is_an_error(tmp_path: Path, folders: str):
    pictures(tmp_path / folders, 3)
    pictures(tmp_path / "other", 2)
    file = write_list(tmp_path / "parts.csv", [{"image": "other/000.png"}])
    with pytest.raises(DataError) as caught:
        load("folder", tmp_path)
    assert "parts.csv" in str(caught.value) and folders.split("/")[0] in str(caught.value) and caught.value.fix
    assert len(load("folder", file)) == 1


@pytest.mark.parametrize("table", ["predictions.csv", "predictions.jsonl", "unreadable.jsonl"])
def test_predictions_in_the_root_are_no_list(tmp_path: Path, table: str):
    mvtec_category(tmp_path / "nut")
    before = load("folder", tmp_path)
    result = {"run": "1a", "error": "truncated"} if "unreadable" in table else {"pred_score": 0.5, "pred_label": 1}
    file = write_list(tmp_path / table, [{"image": str(path), **result} for path in before["image"][-3:]])
    assert load("folder", tmp_path).equals(before)
    with pytest.raises(DataError, match=table):
        load("folder", file.rename(tmp_path.with_name(table)))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
@pytest.mark.parametrize("folder", ["img", "good"])
def test_a_list_in_another_encoding_is_not_passed_over(tmp_path: Path, encoding: str, suffix: str, folder: str):
    pictures(tmp_path / folder, 3)
    lines = [{"image": f"{folder}/000.png", "label": "schön"}, {"image": f"{folder}/001.png", "label": "gut"}]
    text = {
        ".csv": f"image,label\n{folder}/000.png,schön\n",
        ".jsonl": "\n".join(json.dumps(line, ensure_ascii=False) for line in lines),
        ".json": json.dumps(lines, ensure_ascii=False, indent=1),
    }
    (tmp_path / f"parts{suffix}").write_bytes(text[suffix].encode(encoding))
    with pytest.raises(DataError, match=f"parts{suffix}"):
        load("folder", tmp_path)


@pytest.mark.parametrize(
    "content", ["image;label\n", "image,label\nimg/000.png,good,more\n", '[{"image": "img/000.png"},']
)
def test_a_damaged_list_in_the_root_is_not_passed_over(tmp_path: Path, content: str):
    pictures(tmp_path / "good", 3)
    file = tmp_path / ("parts.json" if content.startswith("[") else "parts.csv")
    file.write_text(content)
    with pytest.raises(DataError, match=file.name):
        load("folder", tmp_path)


@pytest.mark.parametrize("content", ["name,number\na,1\n", "", "\x00\xff", "images,label\n"])
def test_other_tables_in_the_root_change_nothing(tmp_path: Path, content: str):
    pictures(tmp_path / "nut/good", 3)
    for suffix in (".csv", ".json", ".jsonl"):
        (tmp_path / f"table{suffix}").write_text(content)
    assert len(load("folder", tmp_path)) == 3


@pytest.mark.parametrize("place", [".", "nut", "bolt"])
def test_images_beside_the_folders_are_not_left_out_in_silence(tmp_path: Path, place: str):
    mvtec_category(tmp_path / "nut")
    mvtec_category(tmp_path / "bolt")
    file = save(tmp_path / place / "more.png", picture(1))
    table = load("folder", tmp_path)
    assert str(file) not in set(table["image"])
    assert any("more.png" in line for line in table.attrs[REMARKS])

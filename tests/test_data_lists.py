"""Images that a CSV or JSON file lists, and tables that are no such list."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from data_builders import counts, mask, mvtec_category, pictures, save
from synthetic import small

from mintad.data import load
from mintad.data.check import check
from mintad.data.records import REMARKS
from mintad.data.words import Words
from mintad.errors import DataError
from mintad.runs.prepare import load_records, require_trained
from mintad.runs.train import train_run


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


NUMBERED = ("okay", "Correct", "conform", "ok_1", "OK2", "good 03", "good_new", "none_1", "00")


@pytest.mark.parametrize("label", ["none", "No defect", "n/a", "-1", "0.00", "O.K.", "goood", "clean", *NUMBERED])
def test_a_label_that_may_well_say_normal_is_not_taken_for_a_defect_in_silence(tmp_path: Path, label: str):
    pictures(tmp_path / "img", 6)
    lines = [{"image": f"img/{k:03d}.png", "label": label if k < 2 else "OK"} for k in range(5)]
    file = write_list(tmp_path / "a.csv", [*lines, {"image": "img/005.png", "label": "scratch"}])
    (remark,) = [line for line in load("folder", file).attrs[REMARKS] if "name of a defect" in line]
    assert f"'{label}'" in remark and "2 image(s)" in remark
    table = load("folder", file, normal=[label] if "/" not in label else [])
    assert (table["label"].sum() == 1) == ("/" not in label), "--normal says what is meant"


DEFECTS = (
    *("broken_large", "broken_small", "contamination", "bent_wire", "cable_swap", "combined", "cut_inner_insulation"),
    *("cut_outer_insulation", "missing_cable", "missing_wire", "poke_insulation", "crack", "faulty_imprint", "poke"),
    *("scratch", "squeeze", "color", "cut", "hole", "metal_contamination", "thread", "bent", "broken", "glue", "print"),
    *("fold", "glue_strip", "liquid", "flip", "rough", "oil", "gray_stroke", "pill_type", "manipulated_front"),
    *(
        "scratch_head",
        "scratch_neck",
        "thread_side",
        "thread_top",
        "defective",
        "bent_lead",
        "cut_lead",
        "damaged_case",
    ),
    *("misplaced", "broken_teeth", "fabric_border", "fabric_interior", "split_teeth", "squeezed_teeth"),
    *(
        "bad",
        "ko",
        "Anomaly",
        "chip around edge and corner",
        "colour spot similar to the object",
        "extra wax in candle",
    ),
    *("other", "dirt", "melt", "missing", "bubble", "burnt", "leak", "small holes", "wrong place", "weird candle wick"),
    *("foreign particals of candle", "stuck together", "same colour spot", "damaged corner of packaging", "bend"),
    *("bend_and_parts_mismatch", "parts_mismatch", "scratches", "defective_painting", "flattening", "anomalous"),
    *("major_rust", "total_rust", "hole_2", "bad_1", "abnormal1", "ng2", "n1", "NO2", "2", "17", "no_cap"),
)
"""Names of MVTec AD, BTAD, VisA and MPDD, and some with numbers."""


@pytest.mark.parametrize("name", DEFECTS)
def test_the_name_of_a_defect_is_not_doubted(name: str):
    assert not Words().perhaps_normal(name)


def test_a_missing_label_of_json_is_none(tmp_path: Path):
    """Python and pandas write NaN, which is no name of a defect."""
    pictures(tmp_path / "img", 4)
    lines = [{"image": f"img/{k:03d}.png", "label": float("nan")} for k in range(3)]
    file = write_list(tmp_path / "a.jsonl", [*lines, {"image": "img/003.png", "label": "dent", "mask": float("nan")}])
    assert load("folder", file)["label"].sum() == 1


@pytest.mark.parametrize(
    "lines",
    [
        [("a", "bad", ""), ("b", "scratch", "")],
        [("a", "good", "test"), ("b", "bad", "test")],
        [("a", "good", ""), ("b", "good", ""), ("c", "bad", "", "other")],
    ],
)
def test_a_category_without_training_images_is_warned_of_and_not_trained(tmp_path: Path, lines: list[tuple]):
    pictures(tmp_path / "img", 3)
    names = ("image", "label", "split", "category")
    images = [dict(zip(names, (f"img/{k:03d}.png", *line[1:]), strict=False)) for k, line in enumerate(lines)]
    file = write_list(tmp_path / "a.csv", images)
    name, config = "other" if len(lines) == 3 else tmp_path.name, small(file)
    (problem,) = [problem for problem in check(file, "folder").of("warning") if "to train on" in problem.problem]
    assert name in problem.problem
    with pytest.raises(DataError, match=f"to train on of folder/{name}") as caught:
        train_run(config, tmp_path / "run", progress=False)
    assert "data.categories" in caught.value.fix and not (tmp_path / "run").exists()
    if len(lines) == 3:
        chosen = config.override(**{"data.categories": (tmp_path.name,)})
        require_trained(load_records(chosen), chosen)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "image,label,label\nimg/000.png,good,bad\n"),
        ("a.csv", "image,Label,label \nimg/000.png,good,bad\n"),
        ("a.jsonl", '{"image": "img/000.png", "label": "good", "label": "bad"}\n'),
        ("a.json", '[{"image": "img/000.png", "label": "good", "LABEL": "bad"}]'),
    ],
)
def test_of_two_columns_of_one_name_none_is_chosen_in_silence(tmp_path: Path, name: str, content: str):
    pictures(tmp_path / "img", 1)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="2 columns are called 'label'") as caught:
        load("folder", tmp_path / name)
    assert "rename or remove" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "image,label,note,note\nimg/000.png,good,a,b\n"),
        ("a.jsonl", '{"image": "img/000.png", "label": "good", "note": 1, "Note": 2}\n'),
        ("a.json", '[{"image": "img/000.png", "label": "good", "about": {"label": 1, "label": 2}}]'),
    ],
)
def test_columns_that_are_not_read_may_have_one_name(tmp_path: Path, name: str, content: str):
    pictures(tmp_path / "img", 1)
    (tmp_path / name).write_text(content)
    assert load("folder", tmp_path / name)["label"].tolist() == [0]


@pytest.mark.parametrize("as_root", [True, False])
def test_a_list_that_pandas_wrote_with_its_index_is_read(tmp_path: Path, as_root: bool):
    pictures(tmp_path / "img", 2)
    lines = pd.DataFrame({"image": ["img/000.png", "img/001.png"], "label": ["good", "dent"]})
    lines.to_csv(tmp_path / "a.csv")
    table = load("folder", tmp_path / "a.csv" if as_root else tmp_path)
    assert sorted(table["defect"]) == ["dent", "good"] and not any("''" in line for line in table.attrs[REMARKS])
    (tmp_path / "a.csv").write_text(",image,label\n0,img/000.png,good,more\n")
    with pytest.raises(DataError, match="more cells"):
        load("folder", tmp_path / "a.csv")


def test_of_a_table_without_images_ten_columns_are_named_so_that_they_can_be_shown(tmp_path: Path):
    (tmp_path / "a.csv").write_text(
        ",".join(["\x1b[31m", *(f"column{k:02d}" for k in range(30))]) + "\n" + "1," * 30 + "1\n"
    )
    with pytest.raises(DataError, match="21 more") as caught:
        load("folder", tmp_path / "a.csv")
    text = str(caught.value)
    assert text.count("column0") == 9 and "column10" not in text and "\x1b" not in text


@pytest.mark.parametrize("content", ["image,label\n", ""])
def test_a_list_without_lines_lists_no_images(tmp_path: Path, content: str):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match="lists no images"):
        load("folder", tmp_path / "a.csv")

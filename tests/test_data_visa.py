"""VisA: the published form with its table, the rearranged folders, and broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from data_builders import mvtec_category, visa, visa_table
from PIL import Image

from mintad.data import load
from mintad.data.images import read_mask
from mintad.errors import DataError


def counts(table) -> dict:
    return table.groupby(["category", "split", "defect"]).size().to_dict()


EXPECTED = {
    (name, *key): n
    for name in ("candle", "pcb1")
    for key, n in {("train", "good"): 3, ("test", "good"): 2, ("test", "bad"): 2}.items()
}


def test_published_form(tmp_path: Path):
    table = load("visa", visa(tmp_path))
    assert counts(table) == EXPECTED
    assert table["image"].str.endswith(".JPG").all()
    bad = table.query("category == 'candle' and label == 1").iloc[1]
    assert np.asarray(Image.open(bad["masks"][0])).max() == 2  # small integers, all of them anomalous
    assert read_mask(bad["masks"]).sum() == 6


def test_rearranged_folders(tmp_path: Path):
    for name in ("candle", "pcb1"):
        mvtec_category(tmp_path / "1cls" / name, defects={"bad": 2}, suffix=".JPG", mask_name="{stem}.png")
    assert counts(load("visa", tmp_path)) == EXPECTED
    assert counts(load("visa", tmp_path / "1cls")) == EXPECTED
    shutil.rmtree(tmp_path / "1cls/pcb1/ground_truth")
    with pytest.raises(DataError) as caught:
        load("visa", tmp_path)
    assert caught.value.path == str(tmp_path / "1cls/pcb1/ground_truth")


def lines(root: Path) -> list[list[str]]:
    text = (root / "split_csv/1cls.csv").read_text().splitlines()[1:]
    return [line.split(",") for line in text]


def test_the_table_decides_and_may_have_windows_line_ends(tmp_path: Path):
    path = visa(tmp_path) / "split_csv/1cls.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert counts(load("visa", tmp_path)) == EXPECTED


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        (1, "val", "'candle,val,anomaly'"),
        (1, "train", "training image"),
        (2, "odd", "'candle,test,odd'"),
        (2, "normal", "mask without"),
        (3, "candle/Data/Images/Anomaly/777.JPG", "candle/Data/Images/Anomaly/777.JPG"),
        (3, "../elsewhere/000.JPG", "../elsewhere/000.JPG"),
        (4, "", "without a mask"),
        (4, "candle/Data/Masks/Anomaly/777.png", "candle/Data/Masks/Anomaly/777.png"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, column: int, value: str, named: str):
    table = lines(visa(tmp_path))
    number = next(k for k, line in enumerate(table) if line[2] == "anomaly")
    table[number][column] = value
    visa_table(tmp_path, table)
    with pytest.raises(DataError) as caught:
        load("visa", tmp_path)
    assert named in caught.value.problem
    assert caught.value.path.endswith(f"1cls.csv, line {number + 2}")


def test_a_path_out_of_the_data_set_is_refused_even_if_it_exists(tmp_path: Path):
    root = visa(tmp_path / "visa")
    table = lines(root)
    shutil.copy(root / table[0][3], tmp_path / "out.JPG")
    table[0][3] = "../out.JPG"
    visa_table(root, table)
    with pytest.raises(DataError, match="no such file: ../out.JPG"):
        load("visa", root)


def test_all_broken_lines_at_once(tmp_path: Path):
    table = lines(visa(tmp_path))
    table[0][3], table[8] = "gone.JPG", ["candle", "train"]
    visa_table(tmp_path, table)
    with pytest.raises(DataError) as caught:
        load("visa", tmp_path)
    assert "no such file: gone.JPG" in str(caught.value)
    assert "1cls.csv, line 10" in str(caught.value)


def test_empty_categories_and_other_tables(tmp_path: Path):
    table = lines(visa(tmp_path))
    without_training = [line for line in table if not (line[0] == "pcb1" and line[1] == "train")]
    for changed, named in ((without_training, "'pcb1'"), ([], "no images")):
        visa_table(tmp_path, changed)
        with pytest.raises(DataError, match=named) as caught:
            load("visa", tmp_path)
        assert caught.value.path == str(tmp_path / "split_csv/1cls.csv") and caught.value.fix
    visa_table(tmp_path, table, heading="object,set,label,image,mask")
    with pytest.raises(DataError, match="'object', 'set'"):
        load("visa", tmp_path)
    shutil.rmtree(tmp_path / "split_csv")
    with pytest.raises(DataError) as caught:
        load("visa", tmp_path)
    assert caught.value.path == str(tmp_path / "split_csv/1cls.csv")

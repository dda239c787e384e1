"""The record table: order, validation, merging, selection."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintad.data import records
from mintad.errors import DataError


def rows(dataset: str = "set", categories: tuple[str, ...] = ("a", "b")) -> list[dict]:
    made = []
    for category in categories:
        for split, defect, number in (("train", "good", 3), ("test", "good", 2), ("test", "dent", 2)):
            for k in range(number):
                image = f"/{dataset}/{category}/{split}/{defect}/{k}.png"
                made.append(
                    {
                        "dataset": dataset,
                        "category": category,
                        "split": split,
                        "label": int(defect != "good"),
                        "defect": defect,
                        "image": image,
                        "masks": (image + ".mask",) if defect == "dent" and category == "a" else (),
                    }
                )
    return made


def test_columns_and_defaults():
    table = records.make_records(rows())
    assert tuple(table.columns) == (
        "dataset", "category", "split", "label", "defect", "image", "masks", "prompt_class"
    )  # fmt: skip
    assert set(table["prompt_class"]) == {"set/a", "set/b"}
    assert table["label"].tolist() == [0] * 5 + [1] * 2 + [0] * 5 + [1] * 2
    assert table["split"].tolist()[:7] == ["train"] * 3 + ["test"] * 4
    assert isinstance(table["masks"].iloc[0], tuple)


@given(st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(shuffler: random.Random):
    shuffled = rows()
    shuffler.shuffle(shuffled)
    pd.testing.assert_frame_equal(records.make_records(shuffled), records.make_records(rows()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "val"}, "split is neither"),
        ({"label": 2}, "label is neither"),
        ({"label": True, "defect": "dent"}, "label is neither"),
        ({"label": 1, "defect": "dent"}, "training image is labelled anomalous"),
        ({"defect": "dent"}, "label and defect disagree"),
        ({"image": "relative.png"}, "not absolute"),
        ({"image": "/set/a/train/good/1.png"}, "listed twice"),
        ({"masks": ["/m.png"]}, "not a tuple"),
        ({"masks": ("m.png",)}, "not a tuple of absolute"),
        ({"masks": ("/m.png",)}, "normal image has a mask"),
        ({"prompt_class": ""}, "no prompt_class"),
        ({"category": ""}, "text column"),
        ({"dataset": 3}, "text column"),
    ],
)
def test_each_fault_is_refused_and_its_image_named(change: dict, message: str):
    faulty = rows()
    faulty[0] |= change
    with pytest.raises(DataError, match=message) as caught:
        records.make_records(faulty)
    assert faulty[0]["image"] in str(caught.value)


def test_all_faults_are_listed_together():
    faulty = rows()
    faulty[0]["split"] = "val"
    faulty[4]["label"] = 7
    with pytest.raises(DataError) as caught:
        records.make_records(faulty)
    assert "split is neither" in str(caught.value)
    assert "label is neither" in str(caught.value)


def test_unknown_and_missing_keys():
    with pytest.raises(DataError, match="unknown column 'lable'.*'label'"):
        records.make_records([{**rows()[0], "lable": 0}])
    incomplete = rows()[:1]
    del incomplete[0]["split"]
    with pytest.raises(DataError, match="lacks split: /set/a"):
        records.make_records(incomplete)
    with pytest.raises(DataError, match="no images"):
        records.make_records([])


def test_index_must_count():
    table = records.make_records(rows())
    with pytest.raises(DataError, match="index"):
        records.validate(table.iloc[1:])
    with pytest.raises(DataError, match="columns"):
        records.validate(table.drop(columns="masks"))


def test_merge_concatenates_and_select_undoes_it():
    first, second = records.make_records(rows("x")), records.make_records(rows("y"))
    merged = records.merge(second, first)
    assert len(merged) == len(first) + len(second)
    assert merged["dataset"].iloc[0] == "y"
    pd.testing.assert_frame_equal(records.select(merged, ["x/a", "x/b"]), first)
    assert records.categories(merged) == ["x/a", "x/b", "y/a", "y/b"]


def test_merge_refuses_a_category_twice():
    table = records.make_records(rows("x"))
    with pytest.raises(DataError, match="'x/a' is in tables 1 and 2"):
        records.merge(table, table)
    with pytest.raises(DataError, match="nothing to merge"):
        records.merge()


def test_select_by_bare_name_takes_every_data_set():
    merged = records.merge(records.make_records(rows("x")), records.make_records(rows("y")))
    assert records.categories(records.select(merged, ["b"])) == ["x/b", "y/b"]


def test_select_suggests_the_nearest_name():
    table = records.make_records(rows("set", ("screw", "bottle")))
    with pytest.raises(DataError, match="unknown category 'skrew'. Did you mean 'screw'"):
        records.select(table, ["skrew"])
    with pytest.raises(DataError, match="Did you mean 'set/screw'"):
        records.select(table, ["sett/screw"])
    with pytest.raises(DataError, match="at least one"):
        records.select(table, [])


def test_test_rows_are_those_of_the_test_split_in_order():
    table = records.make_records(rows())
    numbers = records.tested_rows(table)
    assert numbers.tolist() == [3, 4, 5, 6, 10, 11, 12, 13]
    assert (table["split"].iloc[numbers] == "test").all() and (table["split"].drop(numbers) == "train").all()

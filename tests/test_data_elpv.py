"""ELPV: grades, the split, the installed package, broken files."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
from data_builders import elpv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintad.data import DATASETS, load
from mintad.errors import ConfigError, DataError

GRADES = ("0.0", "0.0", "0.0", "0.3333333333333333", "0.6666666666666666", "1.0")
CELLS = [(f"cell{k:04d}.png", GRADES[k % len(GRADES)], "mono" if k < 60 else "poly") for k in range(1, 121)]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return elpv(tmp_path_factory.mktemp("elpv"), CELLS)


def split_of(table) -> dict[str, str]:
    return dict(zip(table["image"].map(lambda path: Path(path).name), table["split"], strict=True))


def test_grades_in_between_are_left_out(root: Path):
    table = load("elpv", root)
    assert len(table) == 80
    assert set(table["category"]) == {"mono", "poly"}
    for _, part in table.groupby("category"):
        normal = part[part["label"] == 0]
        assert (normal["split"] == "train").sum() == round(0.7 * len(normal))
        assert (part.loc[part["label"] == 1, "split"] == "test").all()
        assert set(part["defect"]) == {"good", "defective"}
    assert (table["masks"].map(len) == 0).all()


@pytest.mark.parametrize(
    ("grades", "anomalous", "defects"),
    [
        ("normal", 20, {"good", "defective"}),
        ("anomalous", 60, {"good", "defective", "grade_0.33", "grade_0.67"}),
        ("nearest", 40, {"good", "defective", "grade_0.67"}),
    ],
)
def test_grades_can_be_taken_in(root: Path, grades: str, anomalous: int, defects: set[str]):
    table = load("elpv", root, grades=grades)
    assert len(table) == 120
    assert table["label"].sum() == anomalous
    assert set(table["defect"]) == defects
    assert table.loc[table["split"] == "train", "label"].sum() == 0


def test_anomalous_grades_leave_the_split_of_the_normals_alone(root: Path):
    plain, more = split_of(load("elpv", root)), split_of(load("elpv", root, grades="anomalous"))
    assert {name: more[name] for name in plain} == plain


def test_the_development_set_shares_no_cell_with_the_test_set(root: Path):
    plain, development = split_of(load("elpv", root)), load("elpv", root, grades="development")
    assert all(plain.get(name, "left out") != "test" for name in split_of(development))
    assert set(development["defect"]) == {"good", "grade_0.33", "grade_0.67"}
    assert development["label"].sum() == 40
    trained = sum(split == "train" for split in plain.values())
    assert (development["label"] == 0).sum() == trained
    assert 0.65 < (development["split"] == "train").sum() / trained < 0.75


@given(st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
def test_the_split_does_not_depend_on_the_order_of_the_labels(root: Path, shuffler: random.Random):
    before = split_of(load("elpv", root))
    lines = (root / "labels.csv").read_text().splitlines(keepends=True)
    shuffler.shuffle(lines)
    (root / "labels.csv").write_text("".join(lines))
    assert split_of(load("elpv", root)) == before


def test_the_seed_draws_the_split(root: Path):
    assert split_of(load("elpv", root, seed=0)) == split_of(load("elpv", root))
    assert split_of(load("elpv", root, seed=1)) != split_of(load("elpv", root))


@given(st.floats(0.05, 0.95), st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
def test_share_and_disjointness(root: Path, share: float, seed: int):
    table = load("elpv", root, train_share=share, seed=seed)
    assert table["image"].is_unique
    normal = table[(table["label"] == 0) & (table["category"] == "mono")]
    assert abs((normal["split"] == "train").sum() - share * len(normal)) <= 0.5 + 1e-9


def test_options_are_checked(root: Path):
    with pytest.raises(ConfigError, match="unknown grades 'exlude'. Did you mean 'exclude'"):
        load("elpv", root, grades="exlude")
    for share in (0, 1, 7):
        with pytest.raises(ConfigError, match="train_share"):
            load("elpv", root, train_share=share)


def test_broken_files_are_listed_together(tmp_path: Path):
    elpv(tmp_path, CELLS[:6])
    (tmp_path / "images/cell0002.png").unlink()
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("images/cell0003.png 0.0 mono\nimages/cell0004.png 0.5 mono\nimages/cell0005.png 1.0 nano\n\nx\n")
    with pytest.raises(DataError) as caught:
        load("elpv", tmp_path)
    assert caught.value.path == str(tmp_path)
    _, problems = DATASETS["elpv"].scan(tmp_path)
    labels = tmp_path / "labels.csv"
    assert [problem.path for problem in problems if problem.severity == "error"] == [
        str(tmp_path / "images/cell0002.png"), *(f"{labels}, line {number}" for number in (7, 8, 9, 11))
    ]  # fmt: skip


def test_missing_or_empty_labels(tmp_path: Path):
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            load("elpv", tmp_path)
        assert caught.value.path == str(tmp_path / "labels.csv") and caught.value.fix
        (tmp_path / "labels.csv").write_text("")


def test_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        load("elpv")
    assert "python -m pip install elpv-dataset" in caught.value.fix


@pytest.mark.skipif(importlib.util.find_spec("elpv_dataset") is None, reason="elpv-dataset is not installed")
def test_the_real_package():
    table = load("elpv")
    sizes = table.groupby(["category", "split", "label"]).size().to_dict()
    assert sizes == {
        ("mono", "train", 0): 412,
        ("mono", "test", 0): 176,
        ("mono", "test", 1): 313,
        ("poly", "train", 0): 644,
        ("poly", "test", 0): 276,
        ("poly", "test", 1): 402,
    }
    assert len(load("elpv", grades="nearest")) == 2624

"""The procedural set: determinism, independence, exact masks, layout, difficulty, and bad parameters."""

import dataclasses
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

from mintad.data import load
from mintad.data.check import check
from mintad.data.mini import DEFECTS, PRODUCTS, MiniParameters, make_mini, render, render_with_twin, swap_partner
from mintad.data.mini.factory import load_mini
from mintad.data.mini.products import TEXTURES
from mintad.errors import DataError
from mintad.lock import exclusive_lock

SMALL = MiniParameters(categories=("mesh", "capsule"), n_train=2, n_test_good=1, n_test_defect=1, size=64)


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    return make_mini(tmp_path_factory.mktemp("mini") / "set", SMALL)


def test_at_least_ten_products_half_of_them_textures_with_four_defects_and_swap():
    assert len(PRODUCTS) >= 10 and 2 * len(TEXTURES) == len(PRODUCTS)
    assert len(DEFECTS) >= 4 and "swap" in DEFECTS
    for category in PRODUCTS:
        partner = swap_partner(category)
        assert partner != category and swap_partner(partner) == category
        assert (partner in TEXTURES) == (category in TEXTURES)


@pytest.mark.parametrize("category", sorted(PRODUCTS))
def test_every_product_and_defect_renders_with_an_exact_mask(category):
    for defect in DEFECTS:
        picture, mask = render(category, "test", defect, 0, size=96)
        assert picture.shape == (96, 96, 3) and picture.dtype == np.uint8 and mask.shape == (96, 96)
        assert 0.001 < mask.mean() < 0.35, defect
        assert np.array_equal(picture, render(category, "test", defect, 0, size=96)[0])


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_mask_is_where_the_picture_differs_from_its_defect_free_twin(defect):
    picture, mask, twin = render_with_twin("gear", "test", defect, 1, size=128)
    changed = np.abs(picture.astype(int) - twin.astype(int)).max(axis=2)
    assert (changed[mask] > 8).mean() > 0.6  # closed and filled: holes inside a defect belong to it
    assert (changed[~mask] > 25).mean() < 0.005  # opened: specks of a pixel do not


def test_seed_split_and_index_decide_and_nothing_else():
    first = render("board", "train", "good", 0, size=48)[0]
    assert not np.array_equal(first, render("board", "train", "good", 1, size=48)[0])
    assert not np.array_equal(first, render("board", "test", "good", 0, size=48)[0])
    assert not np.array_equal(first, render("board", "train", "good", 0, size=48, seed=1)[0])


def test_images_do_not_depend_on_the_size_of_the_set(small_set, tmp_path):
    larger = make_mini(tmp_path / "larger", dataclasses.replace(SMALL, n_train=3, categories=("capsule",)))
    for name in ("000.png", "001.png"):
        ours, theirs = (root / "capsule/train/good" / name for root in (small_set, larger))
        assert ours.read_bytes() == theirs.read_bytes()


def test_layout_loads_and_checks_clean(small_set):
    records = load("folder", small_set)
    counts = records.groupby(["category", "split", "label"]).size()
    assert counts["mesh", "train", 0] == 2 and counts["mesh", "test", 0] == 1 and counts["mesh", "test", 1] == 5
    anomalous = records[records["label"] == 1]
    assert (anomalous["masks"].map(len) == 1).all() and set(anomalous["defect"]) == set(DEFECTS)
    mask = np.asarray(Image.open(anomalous["masks"].iloc[0][0]))
    assert mask.shape == (64, 64) and set(np.unique(mask)) == {0, 255}
    report = check(small_set)
    assert report.ok, report.problems


def test_made_once_and_other_parameters_refused(small_set, tmp_path):
    stamp = (small_set / "mini.json").stat().st_mtime_ns
    assert make_mini(small_set, SMALL) == small_set
    assert (small_set / "mini.json").stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match="other parameters"):
        make_mini(small_set, dataclasses.replace(SMALL, seed=1))
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        make_mini(tmp_path, SMALL)


def test_a_crash_leaves_no_set(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mintad.data.mini.factory.ProcessPoolExecutor", fail)
        with pytest.raises(KeyboardInterrupt):
            make_mini(tmp_path / "set", SMALL)
    assert not (tmp_path / "set").exists()
    assert (make_mini(tmp_path / "set", SMALL) / "mini.json").exists()


def test_drawing_ends_with_a_killed_parent_and_what_it_drew_is_removed(tmp_path):
    """Takes seconds, because a process must start."""
    code = f"""
import sys
from pathlib import Path
from mintad.data.mini import MiniParameters, make_mini
make_mini(Path({str(tmp_path / "set")!r}), MiniParameters(categories=("mesh",), n_train=5000, size=64))
"""
    parent = psutil.Popen([sys.executable, "-c", code])
    for _ in range(600):
        workers = parent.children()
        if workers and list(tmp_path.rglob("*.png")):
            break
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert workers and not psutil.wait_procs(workers, timeout=10)[1]
    assert len(list(tmp_path.glob(".set.????????????"))) == 1 and not (tmp_path / "set").exists()
    own = [tmp_path / ".set.git", tmp_path / ".set.0123456789ab"]  # named alike, but not of ours
    for folder in own:
        (folder / "mesh").mkdir(parents=True)
        (folder / "notes.txt").touch()
    make_mini(tmp_path / "set", SMALL)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock", *(folder.name for folder in own)}


def test_who_waits_for_another_drawing_says_so(tmp_path, caplog):
    parameters = dataclasses.replace(SMALL, categories=("mesh",))
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(tmp_path / ".set.lock"):
            drawn = pool.submit(make_mini, tmp_path / "set", parameters)
            deadline = time.monotonic() + 10
            while not caplog.records and time.monotonic() < deadline:
                time.sleep(0.05)
            assert str(tmp_path / "set") in caplog.text and not drawn.done()
        assert drawn.result(60) == tmp_path / "set"


def test_load_draws_on_first_use_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path))
    options = {"categories": ["mesh"], "n_train": 1, "n_test_good": 1, "n_test_defect": 1, "size": 64}
    records = load("mini", **options)
    assert len(records) == 7 and set(records["dataset"]) == {"mini"}
    (folder,) = tmp_path.glob("mini-*")
    assert json.loads((folder / "mini.json").read_text())["size"] == 64
    assert len(load_mini(**options, seed=5)) == 7 and len(list(tmp_path.glob("mini-*"))) == 2


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_difficulty_makes_defects_fainter(defect):
    def change(difficulty):
        pairs = [render_with_twin("cookie", "test", defect, n, size=96, difficulty=difficulty) for n in range(6)]
        return np.mean([np.abs(picture.astype(float) - twin).mean() for picture, _, twin in pairs])

    assert change(2.0) < change(1.0) < change(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": ("gaer",)}, "Did you mean 'gear'"),
        ({"categories": ()}, "distinct"),
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"difficulty": 0.0}, r"\(0, 3\]"),
        ({"size": 32}, "64 to 4096"),
        ({"size": 10**6}, "64 to 4096"),
        ({"n_train": 10**9}, "pixels"),
        ({"n_test_good": 2.5}, "whole number"),
        ({"seed": -1}, "negative"),
        ({"seed": 1e99}, "whole number"),
        ({"difficulty": "hard"}, "must be a number"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(DataError, match=message):
        dataclasses.replace(SMALL, **change)

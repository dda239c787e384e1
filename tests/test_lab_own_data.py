"""From a folder of images to a detector: the example, its faults, synthetic defects, and the threshold's guarantee."""

from __future__ import annotations

import numpy as np
import pytest

from mintad.course.lab import own_data
from mintad.data.check import check
from mintad.data.folder import load_folder
from mintad.runs import shared
from mintad.scoring.threshold import fit_threshold


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return own_data.example_folder(tmp_path_factory.mktemp("own") / "images", n_train=3, n_good=2, n_defect=1)


def test_the_example_is_a_data_set_with_images_of_its_own(example):
    report = check(example / "parts", "folder", progress=False)
    assert report.ok and report.of("warning") == [] and report.counts["masks"].sum() == 0
    records = load_folder(example / "parts")
    assert set(records["category"]) == set(own_data.PRODUCTS) and (records["split"] == "train").sum() == 6
    assert len(list((example / "new").iterdir())) == 10
    contents = {path.read_bytes() for path in (example / "parts").rglob("*.png")}
    assert not contents & {path.read_bytes() for path in (example / "new").iterdir()}, "new images must be new"
    assert own_data.example_folder(example) == example


def test_both_faults_are_found_and_can_be_removed(example):
    faults = own_data.add_faults(example / "parts")
    report = check(example / "parts", "folder", progress=False)
    assert [problem.path for problem in report.of("error")] == [str(faults[0])]
    assert [problem.path for problem in report.of("warning")] == [str(faults[1])]
    for path in faults:
        path.unlink()
    assert check(example / "parts", "folder", progress=False).problems == []


def test_folders_of_the_user_are_taken_from_there(example, tmp_path, monkeypatch):
    monkeypatch.setenv(shared.RUNS, str(tmp_path))
    root, new = own_data.folders(str(example / "parts"))
    assert root == example / "parts" and new == [root / name / "test" for name in sorted(own_data.PRODUCTS)]
    assert own_data.folders(str(example / "parts"), str(example / "new"))[1] == [example / "new"]
    assert not (tmp_path / "own_images").exists()


def test_pasting_changes_the_marked_square_alone():
    rng = np.random.default_rng(0)
    image, source = (np.full((40, 30, 3), value, np.uint8) for value in (10, 200))
    pasted, mask = own_data.paste(image, source, 8, rng)
    assert mask.sum() == 64 and (pasted[mask] == 200).all() and (pasted[~mask] == 10).all() and (image == 10).all()
    unchanged, empty = own_data.paste(image, source, 0, rng)
    assert (unchanged == image).all() and not empty.any()


def test_the_band_of_false_alarms_is_what_thresholds_do():
    rng = np.random.default_rng(0)
    for n in (10, 40):
        rates = []
        for _ in range(4000):
            threshold = fit_threshold(rng.random(n), 0.95)
            rates.append(1 - threshold.value)  # uniform scores: the share above the threshold
        low, mean, high = own_data.false_alarms(n, 0.95)
        assert np.mean(rates) == pytest.approx(mean, rel=0.06)
        assert np.quantile(rates, 0.95) == pytest.approx(high, rel=0.06)
        assert np.quantile(rates, 0.05) == pytest.approx(low, rel=0.15, abs=1e-3)
    assert own_data.false_alarms(9, 1e-12)[1] == pytest.approx(0.9), "the lowest score is the least threshold"
    title = own_data.false_alarm_figure(0.95, 20).layout.title.text
    assert title.startswith("20 held-out images: 4.8% false alarms on average")


def test_the_title_compares_the_fewest_images_with_the_most():
    title = own_data.size_figure({5: 0.75, 2: 0.5, 30: 0.9}).layout.title.text
    assert title == "PaDiM: 0.500 from 2 images per category, 0.900 from 30"

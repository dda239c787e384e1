"""The environment check: what is found, what is missing with its fix, and nothing is made by looking."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import nbformat
import pytest

from mintad.config import preset
from mintad.course import environment
from mintad.course.environment import Check
from mintad.data import DATASETS
from mintad.errors import DataError
from mintad.runs.files import RESULTS
from mintad.runs.shared import shared_model_dir

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Caches and runs of nobody else."""
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(environment, "cached_file", lambda name: None)


def named(items: list[Check], name: str) -> Check:
    return next(item for item in items if item.name == name)


def test_looking_makes_nothing_and_every_missing_thing_has_a_fix(tmp_path):
    items = environment.check(tmp_path / "data")
    assert {item.part for item in items} == {"device", "package", "weights", "data", "folder", "model"}
    assert all(item.found or item.fix for item in items)
    assert list(tmp_path.iterdir()) == []


def test_tables_show_a_fix_only_where_something_is_missing():
    items = [
        Check(part="data", name="a", found=True, detail="here", fix="get a"),
        Check(part="data", name="b", found=False, detail="gone", fix="get b"),
        Check(part="data", name="c", found=False, detail="gone", fix="get c", needed=True),
    ]
    shown = environment.table(items)
    assert shown[""].tolist() == ["✓", "–", "✗"] and shown["fix"].tolist() == ["", "get b", "get c"]
    assert environment.verdict(items) == "✗ data c: gone. Fix: get c"
    assert environment.verdict(items[:2]).startswith("✓") and environment.verdict(items[:2]).endswith("optional: b")


@pytest.mark.parametrize(
    ("requirement", "state", "words"),
    [
        ("numpy>=1", None, ""),
        ("numpy>=99", "✗", "pip install 'numpy>=99'"),
        ("no-such-package>=2", "✗", "not installed"),
        ('no-such-package>=2 ; extra == "offline"', "–", r"pip install -e '.\[offline\]'"),
        ('no-such-package>=2 ; extra == "dev"', None, ""),
        ('no-such-package>=2 ; python_version < "3"', None, ""),
    ],
)
def test_packages_are_held_against_what_the_distribution_requires(monkeypatch, requirement, state, words):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch>=1", requirement])
    first, *rest = environment.packages()
    assert first.found and "torch" in first.detail
    assert [item.state for item in rest] == ([state] if state else [])
    assert all(re.search(words, f"{item.detail} {item.fix}") for item in rest)


def test_a_package_that_is_not_installed_says_how(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    (item,) = environment.packages()
    assert item.state == "✗" and "pip install -e '.'" in item.fix


PUBLIC = [name for name in DATASETS if DATASETS[name].source]


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("nested", [False, True])
def test_public_sets_are_found_below_the_data_root(tmp_path, name, nested):
    source, title = DATASETS[name].source, DATASETS[name].title
    place = tmp_path / name / (source.folder if nested else "")
    (place / source.expects[0]).mkdir(parents=True)
    item = named(environment.data_sets(tmp_path), title)
    assert item.found and item.detail.startswith(f"1 of {len(source.expects)} ")
    others = [named(environment.data_sets(tmp_path), DATASETS[other].title) for other in PUBLIC if other != name]
    assert all(not other.found and "mintad data get" in other.fix for other in others)


def test_weights_are_looked_for_in_package_and_hub_cache(monkeypatch):
    monkeypatch.setattr(environment, "package_file", lambda architecture: None)
    missing = named(environment.weights(), "EfficientNet-Lite0")
    assert missing.state == "✗" and "[offline]" in missing.fix
    monkeypatch.setattr(environment, "cached_file", lambda name: Path("x") if name == "tf_efficientnet_lite0" else None)
    assert named(environment.weights(), "EfficientNet-Lite0").found
    assert not named(environment.weights(), "tf_efficientnet_b4").found


def test_a_folder_that_cannot_be_made_is_missing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "file" / "runs"))
    features, runs = environment.folders()
    assert features.found and not runs.found and "MINTAD_RUNS" in runs.fix


def test_a_shared_model_counts_once_its_run_is_finished():
    assert not any(item.found for item in environment.shared_models())
    run = shared_model_dir(preset("lesson"))
    run.mkdir(parents=True)
    (run / RESULTS).write_text("method\n")
    assert [item.found for item in environment.shared_models()] == [True, False]


def test_a_data_set_that_is_not_there_is_skipped_with_its_fix(monkeypatch, tmp_path, capsys):
    assert environment.load_if_there("mvtec", tmp_path) is None
    assert "skipped" in capsys.readouterr().out
    with pytest.raises(DataError, match="mvtec"):
        environment.load_if_there("mvtek", tmp_path)

    def missing(name, root=None):
        raise DataError("install elpv-dataset")

    monkeypatch.setattr(environment, "load", missing)
    assert environment.load_if_there("elpv") is None and "install elpv-dataset" in capsys.readouterr().out
    assert not named(environment.data_sets(tmp_path), "ELPV").found


def test_a_data_set_that_is_there_is_loaded(tmp_path):
    for name in ("train/good/0.png", "test/good/0.png", "test/bad/0.png", "ground_truth/bad/0_mask.png"):
        image = tmp_path / "mvtec/screw" / name
        image.parent.mkdir(parents=True)
        image.write_bytes(b"never opened")
    records = environment.load_if_there("mvtec", tmp_path)
    assert records["category"].tolist() == ["screw"] * 3


@pytest.fixture
def words():
    """The text of notebook 00."""
    cells = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_map_of_the_series_holds_every_notebook_with_its_own_minutes(words):
    listed = dict(re.findall(r"^\| \[\d\d · [^\]]+\]\((\d\d_\w+\.ipynb)\) \|.*?\| (\d+) \|", words, re.MULTILINE))
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))[1:]:
        opening = nbformat.read(path, as_version=4).cells[0].source
        assert path.name in listed, f"{path.name} is not in the map of notebook 00"
        assert f"reading {listed[path.name]} min" in opening, f"notebook 00 says {listed[path.name]} min of {path.name}"

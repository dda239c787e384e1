"""`load`: names, options, roots; the merged set."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from data_builders import btad, elpv, mvtec, mvtec_category, visa

from mintad.data import DATASETS, load
from mintad.data.check import check
from mintad.data.records import COLUMNS, categories, select
from mintad.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    return {"mvtec": mvtec(root / "mvtec"), "visa": visa(root / "visa"), "btad": btad(root / "btad")}


def test_merged_is_the_three_sets_one_after_the_other(roots: dict[str, Path]):
    merged = load("merged", roots=roots)
    assert tuple(merged.columns) == COLUMNS
    assert categories(merged) == [
        "btad/01", "btad/02", "btad/03", "mvtec/bottle", "mvtec/screw", "visa/candle", "visa/pcb1",
    ]  # fmt: skip
    for name, root in roots.items():
        alone = load(name, root)
        pd.testing.assert_frame_equal(select(merged, categories(alone)), alone)
    assert (merged["prompt_class"] == merged["dataset"] + "/" + merged["category"]).all()


def test_merged_from_one_folder(roots: dict[str, Path]):
    common = roots["mvtec"].parent
    pd.testing.assert_frame_equal(load("merged", common), load("merged", roots=roots))


def test_merged_of_other_sets_with_options(roots: dict[str, Path], tmp_path: Path):
    mvtec_category(tmp_path / "own" / "nut")
    cells = elpv(tmp_path / "elpv", [(f"{k}.png", str(k % 2), kind) for k in range(8) for kind in ("mono",)])
    merged = load(
        "merged",
        roots={"folder": tmp_path / "own", "elpv": cells},
        options={"folder": {"dataset": "plant"}, "elpv": {"train_share": 0.5}},
    )
    assert categories(merged) == ["elpv/mono", "plant/nut"]
    assert merged.query("dataset == 'elpv' and split == 'train'").shape[0] == 2


def test_merged_mistakes(roots: dict[str, Path]):
    with pytest.raises(DataError, match="needs the option 'roots'"):
        load("merged")
    with pytest.raises(ConfigError, match="not both"):
        load("merged", "x", roots=roots)
    with pytest.raises(DataError, match="unknown data set 'mvtek'. Did you mean 'mvtec'"):
        load("merged", roots={"mvtek": "x"})
    with pytest.raises(DataError, match="unknown data set 'merged'"):
        load("merged", roots={"merged": "x"})
    with pytest.raises(ConfigError, match="options for 'elpv'"):
        load("merged", roots=roots, options={"elpv": {}})


def test_unknown_names_and_options(roots: dict[str, Path]):
    with pytest.raises(DataError, match="unknown data set 'vissa'. Did you mean 'visa'"):
        load("vissa")
    with pytest.raises(ConfigError, match="'folder' has no option 'datset'. Did you mean 'dataset'"):
        load("folder", roots["mvtec"], datset="x")
    with pytest.raises(ConfigError, match="'mvtec' has no option 'x'"):
        load("mvtec", roots["mvtec"], x=1)


@pytest.mark.parametrize("name", ["mvtec", "visa", "btad", "cifar10", "folder"])
def test_sets_without_images_of_their_own_need_a_root(name: str):
    with pytest.raises(DataError, match=f"'{name}' needs data.root.*data/README.md"):
        load(name)


def test_the_names_of_the_contract():
    assert set(DATASETS) >= {"mvtec", "visa", "btad", "merged", "cifar10", "folder", "elpv", "mini"}


PLUGIN = """
from functools import partial
from mintad.data import DATASETS, Dataset
from mintad.data.tree import Layout, absolute, build_records, scan_root

LAYOUT = Layout(dataset="plates", normal="fine")

def load_plates(root, *, keep=1.0):
    return build_records(scan_root(absolute(root), LAYOUT), absolute(root))

DATASETS.add("plates", Dataset(name="plates", title="Steel plates", load=load_plates,
    scan=partial(scan_root, layout=LAYOUT), looks_like=lambda root: (root / "plates.txt").exists()))
"""


@pytest.fixture
def plates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Folder of a data set that a module outside the package describes."""
    (tmp_path / "plates_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MINTAD_PLUGINS", "plates_plugin")
    folder = mvtec_category(tmp_path / "plates" / "sheet", good=2)
    for split in ("train", "test"):
        (folder / split / "good").rename(folder / split / "fine")
    (folder.parent / "plates.txt").write_text("")
    yield folder.parent
    DATASETS._entries.pop("plates", None)
    sys.modules.pop("plates_plugin", None)


def test_a_data_set_of_a_module_outside_the_package_is_loaded_checked_and_recognised(plates: Path):
    assert "plates" in DATASETS.names()
    assert categories(load("plates", plates)) == ["plates/sheet"]
    assert check(plates).name == "plates" and check(plates, "plates").ok
    assert categories(load("merged", roots={"plates": plates})) == ["plates/sheet"]
    with pytest.raises(ConfigError, match="Did you mean 'keep'"):
        load("plates", plates, kept=1)
    with pytest.raises(DataError, match="'plates'"):
        load("plates")


def test_each_data_set_is_named_like_its_module():
    assert sorted(DATASETS.names()) == sorted(DATASETS)
    assert all(DATASETS[name].name == name for name in DATASETS)


def test_what_is_published_is_said_once_and_adds_up():
    sizes = {name: (len(DATASETS[name].categories), DATASETS[name].source.images) for name in ("mvtec", "visa", "btad")}
    assert sizes == {"mvtec": (15, (3629, 1725)), "visa": (12, (8659, 2162)), "btad": (3, (1799, 741))}

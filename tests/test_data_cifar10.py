"""CIFAR-10: the splits, image folders, and batches that are never unpickled before they are verified."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from data_builders import CIFAR_CLASSES, cifar_batches, cifar_folders, picture, save
from PIL import Image

from mintad.data import cifar_batches as batches
from mintad.data import load
from mintad.data.cifar10 import image_folder, scan_images
from mintad.errors import ConfigError, DataError


@pytest.mark.parametrize("split", ["01234", "56789", "02468", "13579"])
def test_splits(tmp_path: Path, split: str):
    table = load("cifar10", cifar_folders(tmp_path), split=split)
    normal = {CIFAR_CLASSES[int(digit)] for digit in split}
    folder = table["image"].map(lambda path: Path(path).parent.name)
    train, test = table["split"] == "train", table["split"] == "test"
    assert set(table["category"]) == {f"{{{split}}}"}
    assert set(folder[train]) == normal
    assert train.sum() == 5 * 2
    assert set(folder[test]) == set(CIFAR_CLASSES)
    assert test.sum() == 10
    assert (table["label"] == (~folder.isin(normal)).astype(int)).all()
    assert (table["defect"] == folder.where(table["label"] == 1, "good")).all()
    assert (table["prompt_class"] == folder.where(table["label"] == 0, "")).all()


def test_split_option(tmp_path: Path):
    cifar_folders(tmp_path)
    assert load("cifar10", tmp_path, split="{13579}").equals(load("cifar10", tmp_path, split="13579"))
    assert set(load("cifar10", tmp_path)["category"]) == {"{01234}"}
    with pytest.raises(ConfigError, match="unknown split '01235'. Did you mean '01234'"):
        load("cifar10", tmp_path, split="01235")
    with pytest.raises(ConfigError, match="quotes"):
        load("cifar10", tmp_path, split=668)  # what YAML makes of 01234


def test_some_images_of_each_class(tmp_path: Path):
    cifar_folders(tmp_path, train=4, test=3)
    table, some = load("cifar10", tmp_path), load("cifar10", tmp_path, per_class=2)
    train = some[some["split"] == "train"]
    assert (table["split"] == "train").sum() == 5 * 4 and len(train) == 5 * 2
    assert {Path(image).name for image in train["image"]} == {"0.png", "1.png"}
    assert (table["split"] == "test").sum() == 10 * 3 and (some["split"] == "test").sum() == 10 * 2
    for wrong in (0, -1, 2.5, "2", True):
        with pytest.raises(ConfigError, match="per_class must be a whole number"):
            load("cifar10", tmp_path, per_class=wrong)


def test_broken_image_folders_are_listed_together(tmp_path: Path):
    cifar_folders(tmp_path)
    (tmp_path / "train/cat").rename(tmp_path / "train/cats")
    (tmp_path / "test/dog/0.png").unlink()
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path)
    assert caught.value.path == str(tmp_path) and "Did you mean 'cat'" in str(caught.value)
    problems = scan_images(tmp_path)[1]
    assert [problem.path for problem in problems] == [
        str(tmp_path / name) for name in ("train/cats", "train/cat", "test/dog")
    ]
    with pytest.raises(DataError) as caught:
        load("cifar10", tmp_path / "nowhere")
    assert caught.value.path == str(tmp_path / "nowhere") and caught.value.fix


def test_batches_become_images_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    md5, pixels = cifar_batches(tmp_path / "cifar-10-batches-py")
    monkeypatch.setattr(batches, "MD5", md5)
    folder = image_folder(tmp_path, md5=md5)
    table = load("cifar10", tmp_path / "cifar-10-batches-py", split="56789")
    assert (table["split"] == "train").sum() == 50
    assert (table["split"] == "test").sum() == 20
    for number in (0, 33, 99):  # official order: batch 1 to 5; row k of the generated batches is of class k mod 10
        batch, row = divmod(number, 20)
        written = np.asarray(Image.open(folder / "train" / CIFAR_CLASSES[row % 10] / f"{number:05d}.png"))
        red_green_blue = pixels[f"data_batch_{batch + 1}"][row].reshape(3, 32, 32)
        assert (written == np.moveaxis(red_green_blue, 0, -1)).all()
    assert len(list((folder / "test").rglob("*.png"))) == 20


def test_images_are_written_once_and_may_lie_elsewhere(tmp_path: Path):
    md5, _ = cifar_batches(tmp_path / "in")
    folder = image_folder(tmp_path / "in", tmp_path / "out", md5)
    assert folder == tmp_path / "out"
    stamp = (folder / "train/cat/00003.png").stat().st_mtime_ns
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    assert image_folder(tmp_path / "in", tmp_path / "out", md5) == folder
    assert (folder / "train/cat/00003.png").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_interrupted_write_leaves_nothing_that_looks_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    md5, _ = cifar_batches(tmp_path)
    save_image, calls = Image.Image.save, []

    def full_disk(self, *args, **options):
        calls.append(1)
        if len(calls) > 30:
            raise OSError(28, "No space left on device")
        return save_image(self, *args, **options)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(DataError, match="No space left on device") as caught:
        image_folder(tmp_path, md5=md5)
    assert caught.value.fix
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(md5)
    monkeypatch.undo()
    assert len(list(image_folder(tmp_path, md5=md5).rglob("*.png"))) == 120


def test_a_faster_process_wins(tmp_path: Path):
    md5, _ = cifar_batches(tmp_path / "in")
    save(tmp_path / "out/train/cat/0.png", picture(0))  # appears while the other one is writing
    batches.write_images(batches.read_batches(tmp_path / "in", md5), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["0.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


class Evil:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_unverified_files_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, trace = tmp_path / "in", tmp_path / "trace"
    md5, _ = cifar_batches(folder)
    (folder / "data_batch_3").write_bytes(pickle.dumps(Evil(trace)))
    (folder / "test_batch").unlink()
    monkeypatch.setattr(batches, "_unpickle", lambda *_: pytest.fail("a file was unpickled"))
    with pytest.raises(DataError) as caught:
        image_folder(folder, md5=md5)
    assert f"{folder}/data_batch_3: " in caught.value.problem and md5["data_batch_3"] in caught.value.problem
    assert f"{folder}/test_batch: " in caught.value.problem
    assert not trace.exists()


def test_the_unpickler_knows_arrays_only_even_if_the_hash_fits(tmp_path: Path):
    folder, trace = tmp_path / "in", tmp_path / "trace"
    md5, _ = cifar_batches(folder)
    payload = pickle.dumps({b"data": Evil(trace), b"labels": []})
    pickle.loads(payload)
    assert trace.exists()  # the payload does work
    trace.unlink()
    (folder / "data_batch_3").write_bytes(payload)
    md5["data_batch_3"] = hashlib.md5(payload).hexdigest()
    with pytest.raises(DataError, match="touch") as caught:
        image_folder(folder, md5=md5)
    assert caught.value.path == str(folder / "data_batch_3")
    assert not trace.exists()


def test_the_published_table_is_complete():
    assert set(batches.MD5) == {"batches.meta", "test_batch", *(f"data_batch_{k}" for k in range(1, 6))}
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in batches.MD5.values())

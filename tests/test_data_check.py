"""`check`: recognises the layout, counts, and finds every kind of problem in one go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from data_builders import (
    SIZE,
    btad,
    cifar_batches,
    cifar_folders,
    elpv,
    mask,
    mvtec,
    mvtec_category,
    picture,
    png_header,
    save,
    visa,
)
from PIL import Image
from rich.console import Console

from mintad.data import load
from mintad.data.check import Report, check
from mintad.errors import DataError


def text_of(report: Report, width: int = 200) -> str:
    console = Console(width=width, file=StringIO())
    console.print(report.to_rich())
    return console.file.getvalue()


def test_a_clean_set_counts_and_has_no_errors(tmp_path: Path):
    report = check(mvtec(tmp_path))
    assert report.name == "mvtec"
    assert report.ok
    assert not report.of("warning")
    assert report.counts.loc["screw"].to_dict() == {
        "train good": 3,
        "test good": 2,
        "test anomalous": 3,
        "masks": 3,
        "defects": {"dent": 2, "scratch": 1},
    }
    assert "13 of the 15 categories of MVTec AD are not here" in text_of(report)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda root: mvtec(root), "mvtec"),
        (lambda root: mvtec_category(root / "screw"), "mvtec"),
        (lambda root: mvtec_category(root / "nut"), "folder"),
        (lambda root: mvtec(root, ("screw", "nut")), "folder"),
        (lambda root: visa(root), "visa"),
        (lambda root: mvtec(root, ("candle", "pcb1")), "visa"),
        (lambda root: btad(root), "btad"),
        (lambda root: btad(root / "BTech_Dataset_transformed").parent, "btad"),
        (lambda root: btad(root) / "02", "btad"),
        (lambda root: cifar_folders(root), "cifar10"),
        (lambda root: elpv(root, [("a.png", "0.0", "mono"), ("b.png", "1.0", "mono")]), "elpv"),
    ],
)
def test_layouts_are_recognised_and_read(tmp_path: Path, build: Callable[[Path], Path], name: str):
    report = check(build(tmp_path))
    assert report.name == name
    assert report.ok, report.of("error")
    assert report.counts["test anomalous"].sum() > 0


def damage_images(folder: Path) -> None:
    """One image of every unusual or broken kind in train/good."""
    good = folder / "train" / "good"
    rgb = picture("rgb")
    rgb.convert("CMYK").save(good / "cmyk.jpg")
    rgb.quantize(8).save(good / "palette.png")
    opaque = picture("opaque")
    opaque.putalpha(255)
    opaque.save(good / "opaque.png")
    sheer = picture("sheer")
    sheer.putalpha(picture("alpha").convert("L"))
    sheer.save(good / "sheer.png")
    deep = np.asarray(picture("deep").convert("L")).astype(np.uint16)
    Image.fromarray(deep * 257).save(good / "deep.png")
    Image.fromarray(deep).save(good / "dark.png")
    Image.fromarray(deep > 99).save(good / "bits.png")
    picture("upper").save(good / "UPPER.PNG")
    picture("one").save(good / "pages.tif", save_all=True, append_images=[picture("two")])
    exif = Image.Exif()
    exif[0x0112] = 3
    picture("turned").save(good / "turned.jpg", exif=exif)
    (good / "notes.txt").write_text("x")
    (good / "bomb.png").write_bytes(png_header(20_000, 20_000))
    (good / "text.png").write_text("x")
    cut = save(good / "cut.png", picture("cut", (64, 64)))
    cut.write_bytes(cut.read_bytes()[:2000])
    Image.fromarray(np.ones((4, 4), np.float32)).save(good / "float.tif")


def damage_masks(folder: Path) -> None:
    truth = folder / "ground_truth"
    save(truth / "dent" / "000_mask.png", mask((5, 5)))  # another size
    save(truth / "dent" / "001_mask.png", mask(value=0))  # empty
    save(truth / "scratch" / "000_mask_2.png", mask())  # several
    for number, name in ((2, "002_mask.png"), (3, "003_mask.jpg"), (4, "004_mask.png")):
        save(folder / "test" / "dent" / f"{number:03d}.png", picture(("more", number)))
        save(truth / "dent" / name, mask())
    save(truth / "dent" / "002_mask.png", Image.new("L", SIZE, 255))  # all of the image
    (truth / "dent" / "004_mask.png").write_text("x")  # unreadable
    save(truth / "dent" / "777_mask.png", mask())  # without an image
    save(folder / "test" / "hole" / "000.png", picture("hole"))  # without a mask


def test_everything_at_once(tmp_path: Path):
    mvtec(tmp_path, ("nut", "bolt", "gear"))
    damage_images(tmp_path / "nut")
    damage_masks(tmp_path / "bolt")
    shutil.rmtree(tmp_path / "gear" / "test")  # its three masks then belong to nothing
    (tmp_path / "notes").mkdir()
    report = check(tmp_path)
    assert not report.ok
    problems = {(problem.severity, str(Path(problem.path).relative_to(tmp_path))) for problem in report.problems}
    good, truth = "nut/train/good", "bolt/ground_truth"
    assert problems == {
        ("note", f"{good}/cmyk.jpg"),
        ("note", f"{good}/palette.png"),
        ("note", f"{good}/opaque.png"),
        ("warning", f"{good}/sheer.png"),
        ("note", f"{good}/deep.png"),
        ("note", f"{good}/dark.png"),
        ("warning", f"{good}/dark.png"),
        ("note", f"{good}/bits.png"),
        ("note", f"{good}/UPPER.PNG"),
        ("warning", f"{good}/pages.tif"),
        ("warning", f"{good}/turned.jpg"),
        ("warning", f"{good}/notes.txt"),
        ("error", f"{good}/bomb.png"),
        ("error", f"{good}/text.png"),
        ("error", f"{good}/cut.png"),
        ("error", f"{good}/float.tif"),
        ("error", f"{truth}/dent/000_mask.png"),
        ("warning", f"{truth}/dent/001_mask.png"),
        ("warning", f"{truth}/dent/002_mask.png"),
        ("warning", f"{truth}/dent/003_mask.jpg"),
        ("error", f"{truth}/dent/004_mask.png"),
        ("error", f"{truth}/dent/777_mask.png"),
        ("note", f"{truth}/scratch/000_mask.png"),
        ("warning", "bolt/test/hole/000.png"),
        ("error", "gear/ground_truth/dent/000_mask.png"),
        ("error", "gear/ground_truth/dent/001_mask.png"),
        ("error", "gear/ground_truth/scratch/000_mask.png"),
        ("error", "notes"),
    }
    text = text_of(report)
    assert all(path in text for severity, path in problems if severity != "note")
    assert all(problem.fix for problem in report.of("error"))
    assert report.counts.loc["nut", "train good"] == 3 + 14
    assert report.counts.loc["bolt", "defects"] == {"dent": 5, "hole": 1, "scratch": 1}


def test_leaks_contradictions_and_repetitions(tmp_path: Path):
    mvtec_category(tmp_path / "nut", train=4)
    train, test = tmp_path / "nut/train/good", tmp_path / "nut/test"
    Image.open(train / "000.png").save(test / "good/leak.bmp")  # the same pixels in another format
    shutil.copy(test / "good/001.png", test / "dent/000.png")
    shutil.copy(train / "002.png", train / "003.png")
    report = check(tmp_path)
    assert report.ok
    assert {(problem.severity, Path(problem.path).name, problem.problem) for problem in report.problems} == {
        ("warning", "leak.bmp", "test image that is also a training image"),
        ("warning", "000.png", "picture that is also labelled normal"),
        ("note", "003.png", "picture that occurs twice in train"),
    }
    assert "the other is" in text_of(report)


def test_the_same_bytes_in_another_shape_are_another_picture(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    pixels = np.asarray(picture("high", (40, 60)))
    Image.fromarray(pixels).save(tmp_path / "nut/train/good/high.png")
    Image.fromarray(pixels.reshape(40, 60, 3)).save(tmp_path / "nut/test/good/wide.png")
    assert not check(tmp_path).problems


def test_anomalous_training_images_are_an_error_and_not_counted(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    save(tmp_path / "nut/train/bad/000.png", picture("bad"))
    report = check(tmp_path)
    assert [Path(problem.path).name for problem in report.problems] == ["bad"]
    assert report.counts.loc["nut", ["train good", "test anomalous"]].tolist() == [3, 3]


def test_the_counts_of_a_complete_set_are_compared(tmp_path: Path):
    report = check(btad(tmp_path))
    assert [problem.problem for problem in report.of("warning")] == [
        "9 training and 12 test images; BTAD has 1,799 and 741"
    ]


def test_cifar_batches_are_verified_but_not_written(tmp_path: Path):
    cifar_batches(tmp_path)  # not the published ones
    report = check(tmp_path)
    assert report.name == "cifar10"
    assert len(report.of("error")) == 7
    assert not (tmp_path / "mintad-png").exists()


def test_cifar_folders_are_counted_per_split(tmp_path: Path):
    report = check(cifar_folders(tmp_path))
    assert report.counts.loc["{13579}", ["train good", "test good", "test anomalous"]].tolist() == [10, 5, 5]


def test_elpv_says_what_it_leaves_out(tmp_path: Path):
    cells = [("a.png", "0.0", "mono"), ("b.png", "1.0", "mono"), ("c.png", "0.3333333333333333", "mono")]
    report = check(elpv(tmp_path, cells))
    assert "1 cells with a defect probability of 1/3 or 2/3 are left out" in report.of("note")[0].problem


def test_root_that_does_not_exist_and_unknown_name(tmp_path: Path):
    report = check(tmp_path / "nowhere")
    assert not report.ok
    assert "no such folder" in text_of(report)
    with pytest.raises(DataError, match="unknown data set 'mvtek'. Did you mean 'mvtec'"):
        check(tmp_path, "mvtek")


def test_name_overrides_what_is_recognised(tmp_path: Path):
    mvtec_category(tmp_path / "nut", mask_name=None)
    assert check(tmp_path).ok
    assert "ground_truth" in text_of(check(tmp_path, "mvtec"))


def test_long_notes_are_shortened_and_markup_is_harmless(tmp_path: Path):
    mvtec_category(tmp_path / "[bold]nut", train=9, suffix=".PNG")
    text = text_of(check(tmp_path))
    assert "[bold]nut" in text
    assert "file ending in capital letters (14x)" in text
    assert "and 11 more" in text


def test_narrow_terminals_lose_no_path(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    path = save(tmp_path / "nut/ground_truth/dent/a_very_long_name_of_a_mask_that_belongs_to_nothing.png", mask())
    text = "".join(line.strip() for line in text_of(check(tmp_path), width=40).splitlines())
    assert path.name in text


def test_threads_do_not_change_the_result(tmp_path: Path):
    mvtec(tmp_path, ("nut", "bolt"))
    damage_images(tmp_path / "nut")
    damage_masks(tmp_path / "bolt")
    assert check(tmp_path, workers=1).problems == check(tmp_path, workers=4, progress=False).problems


def test_pipes_and_devices_are_errors_and_do_not_stop_the_check(tmp_path: Path, make_pipe):
    good = mvtec_category(tmp_path / "nut") / "train/good"
    make_pipe(good / "pipe.png")
    (good / "null.png").symlink_to("/dev/null")
    for loop in (good / "loop.png", good / "loop", tmp_path / "loop", tmp_path / "nut/ground_truth/loop"):
        loop.symlink_to(loop)
    errors = {Path(problem.path).name: problem.problem for problem in check(tmp_path).of("error")}
    assert errors.keys() == {"pipe.png", "null.png", "loop.png"}
    assert "symbolic links" in errors["loop.png"]
    assert "named pipe" in errors["pipe.png"] and "device" in errors["null.png"]


def findings(root: Path, severity: str = "warning") -> set[tuple[str, str]]:
    return {(Path(problem.path).name, problem.problem) for problem in check(root).of(severity)}


def test_pictures_that_teach_nothing_or_lose_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = mvtec_category(tmp_path / "nut") / "train/good"
    Image.new("RGB", (50, 50), "grey").save(good / "grey.png")
    picture("tiny", (5, 6)).save(good / "tiny.png")
    picture("narrow", (400, 40)).save(good / "narrow.png")
    assert findings(tmp_path) == {
        ("grey.png", "picture of a single colour"),
        ("tiny.png", "tiny picture"),
        ("narrow.png", "long and narrow picture"),
    }
    monkeypatch.setattr("mintad.data.inspection.HUGE", 50_000)
    save(good / "large.jpg", picture("large", (300, 200)))
    assert ("large.jpg", "large picture") in findings(tmp_path, "note")


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
@pytest.mark.parametrize("brightest", [4000, 65000])
def test_deep_grey_of_either_byte_order(tmp_path: Path, mode: str, brightest: int):
    good = mvtec_category(tmp_path / "nut") / "train/good"
    values = np.linspace(0, brightest, 40 * 36).astype(">u2" if mode.endswith("B") else "<u2")
    Image.frombytes(mode, (40, 36), values.tobytes()).save(good / "deep.tif")
    report = check(tmp_path)
    assert report.ok and len(report.of("warning")) == (brightest < 4096)


def test_a_decoder_that_fails_in_its_own_way_does_not_end_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mvtec_category(tmp_path / "nut")

    def fail(rgb):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("mintad.data.inspection.thumbnail", fail)
    errors = check(tmp_path).of("error")
    assert len(errors) == 8 and all("out of luck" in error.problem for error in errors)


def test_names_in_another_encoding_are_refused_by_name(tmp_path: Path):
    mvtec_category(tmp_path / "nut")
    (tmp_path / "nut/train/good" / os.fsdecode(b"gr\xf6\xdfe.png")).write_text("x")
    report = check(tmp_path)
    assert r"gr\xf6\xdfe.png" in text_of(report).encode().decode() and len(report.of("error")) == 1
    with pytest.raises(DataError, match="not in UTF-8"):
        load("folder", tmp_path)


def test_a_single_training_picture(tmp_path: Path):
    mvtec_category(tmp_path / "nut", train=1)
    assert findings(tmp_path) == {("000.png", "a single training image")}


def photograph(seed: int) -> Image.Image:
    """A smooth product picture with noise, as a fixed camera gives: every one a little different."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:192, 0:192] / 192
    away = (x - 0.5 + rng.normal(0, 0.02)) ** 2 + (y - 0.5 + rng.normal(0, 0.02)) ** 2
    disc = 150 / (1 + np.exp(100 * (away - 0.1)))
    values = 50 + disc + rng.normal(0, 5, (192, 192))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


def test_near_duplicates_across_the_split(tmp_path: Path):
    train, test = tmp_path / "nut/train/good", tmp_path / "nut/test/good"
    for k in range(8):
        save(train / f"{k}.png", photograph(k))
        save(test / f"{k}.png", photograph(100 + k))
    assert not check(tmp_path).problems
    photograph(3).save(test / "again.jpg", quality=90)
    photograph(4).resize((144, 144)).save(test / "smaller.png")
    save(test / "same.png", photograph(5))
    assert findings(tmp_path) == {
        ("again.jpg", "test image that is nearly a training image"),
        ("smaller.png", "test image that is nearly a training image"),
        ("same.png", "test image that is also a training image"),
    }


def test_masks_that_mislead_are_reported_with_numbers(tmp_path: Path):
    root = mvtec_category(tmp_path / "nut", defects={"dent": 5})
    truth, values = root / "ground_truth/dent", np.zeros((36, 40), np.uint8)
    values[10:20, 10:30] = 255  # 200 of 1440 pixels
    save(truth / "000_mask.png", Image.fromarray(255 - values))
    soft = values.copy()
    soft[20:25, 10:30] = 90
    save(truth / "001_mask.png", Image.fromarray(soft))
    save(truth / "002_mask.png", Image.fromarray(np.where(values > 0, 2, 0).astype(np.uint8)))  # a kind of defect
    large = np.zeros_like(values)
    large[4:-4, 4:-4] = 255
    save(truth / "003_mask.png", Image.fromarray(large))
    save(root / "ground_truth/good/000_mask.png", Image.new("L", (40, 36)))  # blank, as it must be
    save(root / "ground_truth/good/001_mask.png", mask())
    fixes = {Path(problem.path).name: problem.fix for problem in check(tmp_path).of("warning")}
    assert fixes.keys() == {"000_mask.png", "001_mask.png", "003_mask.png"}
    assert "86.1%" in fixes["000_mask.png"] and "inverted" in fixes["000_mask.png"]
    assert "62.2%" in fixes["003_mask.png"] and "inverted" not in fixes["003_mask.png"]
    see_through = np.zeros((36, 40, 4), np.uint8)
    see_through[..., 3] = values
    save(truth / "004_mask.png", Image.fromarray(see_through))
    problems = {(problem.problem, problem.fix[:5]) for problem in check(tmp_path).of("warning")}
    assert ("mask of one colour, in which transparency alone varies", "it is") in problems
    assert ("soft mask: values between black and white", "20.8%") in problems
    assert ("mask of a normal image that is not blank", "0.4% ") in problems and len(problems) == 5

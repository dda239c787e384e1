"""A watched folder: complete images are scored once, whatever comes and goes."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_cli import invoke

from mintad.errors import DataError, MintadError
from mintad.runs import watch
from mintad.runs.predict import Predictor
from mintad.runs.predict_files import predict_files
from mintad.runs.watch import RECENT, Remarks, watch_folder
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import Decisions

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def predictor(finished):
    return Predictor(finished.path, device="cpu")


@pytest.fixture
def looks(monkeypatch):
    """Run a function at each pause of the watch instead of sleeping, and end it after the last. Else no time passes."""

    def run(predictor, folder, out, *pauses, **options):
        left, clock = list(pauses), SimpleNamespace(seconds=0.0)

        def pass_by(seconds):
            clock.seconds += seconds

        def pause(seconds):
            if not left:
                raise KeyboardInterrupt
            pass_by(seconds)
            left.pop(0)()

        fake = SimpleNamespace(sleep=pause, monotonic=lambda: clock.seconds, pass_by=pass_by)
        monkeypatch.setattr(watch, "time", fake)
        rows = []
        with pytest.raises(KeyboardInterrupt):
            rows.extend(row for row in watch_folder(predictor, folder, out, **options) if rows.append(row))
        return rows

    return run


def nothing():
    pass


def test_images_are_scored_once_when_they_are_complete(predictor, products, tmp_path, looks):
    folder, out, source = tmp_path / "belt", tmp_path / "out", products / "mesh/test/good/000.png"
    folder.mkdir()
    content, growing = source.read_bytes(), folder / "growing.png"

    def put():
        shutil.copy(source, folder / "a.png")
        growing.write_bytes(content[:300])

    rows = looks(predictor, folder, out, put, lambda: growing.write_bytes(content), nothing, nothing, nothing)
    assert [os.path.basename(row["image"]) for row in rows] == ["a.png", "growing.png"]
    assert not any("error" in row for row in rows) and rows[0]["pred_score"] == pytest.approx(rows[1]["pred_score"])
    growing.unlink()
    again = looks(predictor, folder, out, nothing, lambda: shutil.copy(source, folder / "b.png"), nothing, nothing)
    assert [os.path.basename(row["image"]) for row in again] == ["b.png"]
    table = pd.read_csv(out / "predictions.csv")
    assert [os.path.basename(image) for image in table["image"]] == ["a.png", "growing.png", "b.png"]
    assert len(list(out.glob("*.png"))) == 3


@pytest.mark.parametrize("listing", [0.0, 0.8])
def test_an_image_that_is_being_written_while_another_is_scored_is_waited_for(
    predictor, products, tmp_path, looks, monkeypatch, listing
):
    """The time that the folder's listing takes, on a slow drive, is no waiting either."""
    (tmp_path / "belt").mkdir()
    source, growing, list_states = products / "mesh/test/good/000.png", tmp_path / "belt/growing.png", watch._states
    content = source.read_bytes()

    def slow(folder, out):
        watch.time.pass_by(listing)
        return list_states(folder, out)

    monkeypatch.setattr(watch, "_states", slow)
    half, whole = (lambda size=size: growing.write_bytes(content[:size]) for size in (300, None))
    pauses = (lambda: shutil.copy(source, tmp_path / "belt/a.png"), half, whole, nothing, nothing)
    rows = looks(predictor, tmp_path / "belt", tmp_path / "out", *pauses)
    assert [os.path.basename(row["image"]) for row in rows if "error" not in row] == ["a.png", "growing.png"]
    assert len(rows) == 2


def test_an_unreadable_image_is_told_once_and_again_when_it_has_changed(predictor, products, tmp_path, looks):
    (tmp_path / "belt").mkdir()
    file = tmp_path / "belt/broken.png"
    file.write_bytes(b"no image")
    repaired = (products / "mesh/test/good/000.png").read_bytes()
    pauses = (nothing, nothing, lambda: file.write_bytes(repaired), nothing, nothing)
    rows = looks(predictor, tmp_path / "belt", tmp_path / "out", *pauses)
    assert ["error" in row for row in rows] == [True, False]
    assert ["error" in json.loads(line) for line in open(tmp_path / "out/predictions.jsonl")] == [True, False]


def test_a_folder_that_is_away_for_a_while_is_waited_for(predictor, products, tmp_path, looks):
    belt, away = tmp_path / "belt", tmp_path / "away"
    shutil.copytree(products / "mesh/test/good", belt)
    pauses = (lambda: belt.rename(away), nothing, lambda: away.rename(belt), nothing, nothing)
    assert len(looks(predictor, belt, tmp_path / "out", *pauses)) == 3


def test_what_was_scored_before_a_folder_was_away_is_not_scored_again(predictor, products, tmp_path, looks):
    belt, away = shutil.copytree(products / "mesh/test/good", tmp_path / "belt"), tmp_path / "away"
    pauses = (nothing, lambda: belt.rename(away), nothing, lambda: away.rename(belt), nothing, nothing)
    assert len(looks(predictor, belt, tmp_path / "out", *pauses)) == 3
    deeper = shutil.copytree(products / "capsule/test/good", belt / "deeper")
    pauses = (nothing, lambda: deeper.rename(away), nothing, lambda: away.rename(deeper), nothing, nothing)
    assert len(looks(predictor, belt, tmp_path / "out", *pauses)) == 3
    assert len(pd.read_csv(tmp_path / "out/predictions.csv")) == 6


def test_what_predict_has_scored_is_not_scored_again(finished, predictor, products, tmp_path, looks):
    belt, out = shutil.copytree(products / "mesh/test/good", tmp_path / "belt"), tmp_path / "out"
    predict_files(finished.path, [belt], out, device="cpu", progress=False)
    assert looks(predictor, belt, out, nothing, nothing) == []
    os.utime(belt / "000.png", (1, 1))
    (belt / "001.png").write_bytes((products / "capsule/test/good/001.png").read_bytes())
    rows = looks(predictor, belt, out, nothing, nothing)
    assert [os.path.basename(row["image"]) for row in rows] == ["001.png"]


def test_predict_does_not_remove_what_watch_has_scored(finished, predictor, products, tmp_path, looks):
    out = tmp_path / "out"
    looks(predictor, products / "mesh/test/good", out, nothing, nothing)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(MintadError, match="watch.*choose another --out"):
        predict_files(finished.path, [products / "capsule/test/good"], out, device="cpu", progress=False)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before and len(before) == 7


def test_a_line_that_was_changed_is_scored_anew(predictor, products, tmp_path, looks):
    lines, folder = tmp_path / "out/predictions.jsonl", products / "mesh/test/good"
    looks(predictor, folder, tmp_path / "out", nothing, nothing)
    before = lines.read_text().splitlines()
    for spoiled in ({"state": 5}, {"pred_score": 0.0}, {"heatmap": 5}):
        lines.write_text("\n".join([before[0], json.dumps(json.loads(before[1]) | spoiled), before[2]]) + "\n")
        rows = looks(predictor, folder, tmp_path / "out", nothing, nothing)
        assert [row["image"] for row in rows] == [json.loads(before[1])["image"]]


def test_predictions_of_another_run_are_not_continued(predictor, products, tmp_path, looks):
    folder = products / "mesh/test/good"
    looks(predictor, folder, tmp_path / "out", nothing, nothing)
    with pytest.raises(MintadError, match="another run.*choose another --out"):
        next(watch_folder(predictor, folder, tmp_path / "out", overlays=False))
    with pytest.raises(DataError, match="no such folder"):
        next(watch_folder(predictor, tmp_path / "nowhere", tmp_path / "out"))


def test_the_command_prints_a_line_for_each_image(finished, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "belt [red]")
    options = ("--out", tmp_path / "out", "--idle", 2, "--interval", 0.05, "--device", "cpu", "--no-overlays")
    options += ("--threshold", -1, "--expect", "capsule", "--maps")
    result = invoke("watch", finished.path, folder, *options)
    assert result.exit_code == 0, result.output
    assert sum("belt [red]/" in line and " s" in line for line in result.stdout.splitlines()) == 3
    table = pd.read_csv(tmp_path / "out/predictions.csv")
    assert table["anomalous"].all() and set(table["threshold"]) == {-1} and "wrong_product" in table
    assert len(list((tmp_path / "out").glob("*.npy"))) == 3


def test_doubts_are_said_when_they_begin(predictor, products, tmp_path, looks, caplog):
    folder, out, source = tmp_path / "belt", tmp_path / "out", products / "mesh/test/good/000.png"
    folder.mkdir()

    def put(*names, size=(64, 64)):
        for name in names:
            Image.open(source).resize(size).save(folder / name)

    pauses = (lambda: put("a.png"), lambda: put("b.png", "c.png", size=(30, 64)), nothing, nothing)
    looks(predictor, folder, out, *pauses, overlays=False)
    said = [record.getMessage() for record in caplog.records]
    assert sum("held-out images, 19 are needed" in line for line in said) == 1
    (size,) = [line for line in said if "another size" in line]
    assert "b.png: 30 x 64 pixels" in size, "once, of the first"
    written = (out / "warnings.txt").read_text()
    assert "19 are needed" in written and "another size" in written
    looks(predictor, folder, out, nothing, overlays=False)
    assert not (out / "warnings.txt").exists(), "of this call"


def rules(names, held_out):
    scores = np.tile(np.arange(held_out), len(names))
    classes = np.repeat(names, held_out)
    return Decisions(Calibration(scores, classes), Calibration([1.0] * len(scores), [""] * len(scores)), names, 0.95)


def remark(remarks, names, score=0.0, distance=0.0):
    """Give remarks a prediction of each of these classes, all found at one look at the folder."""
    add(remarks, names, score, distance)
    remarks.look()


def add(remarks, names, score=0.0, distance=0.0):
    table = remarks.predictor.decisions.of([score] * len(names), names, [distance] * len(names))
    photograph = {"width": 9, "height": 9, "format": "PNG", "mode": "L", "orientation": 1, "brightness": 9.0}
    for name, decided in zip(names, table.to_dict("records"), strict=True):
        remarks.add({"image": "i.png", "judged_class": name, "photograph": photograph} | decided)


@pytest.fixture
def remarks(tmp_path):
    return lambda decisions: Remarks(SimpleNamespace(decisions=decisions, photographs={}), tmp_path)


@pytest.mark.parametrize("batch", [1, 150])
def test_few_held_out_images_are_said_once_whichever_products_come(remarks, tmp_path, caplog, batch):
    names = tuple("abcdefgh")
    watched = remarks(rules(names, 10))
    for name in [*names, *names]:
        remark(watched, [name] * batch)
    assert [record.getMessage().count("a (10)") for record in caplog.records] == [1]
    (line,) = (tmp_path / "warnings.txt").read_text().splitlines()
    assert all(f"{name} (10)" in line for name in names), "also those that came later, and long ago"


def test_few_images_for_unknown_products_are_said_once_although_these_are_rare(remarks, tmp_path, caplog):
    watched = remarks(rules(("a",), 40))
    for _ in range(3):
        remark(watched, ["a"], distance=9.0)
        for _ in range(2):
            remark(watched, ["a"] * RECENT)
    assert [record.getMessage().count("unknown products") for record in caplog.records] == [1]
    assert len((tmp_path / "warnings.txt").read_text().splitlines()) == 1


def test_many_flags_begin_once_until_they_have_left_the_latest_images(remarks, caplog):
    watched = remarks(rules(("a",), 100))
    for flagged, normal in (6, 50), (20, 2 * RECENT):  # all among the latest, then gone from them
        remark(watched, ["a"] * flagged, score=999.0)
        remark(watched, ["a"] * normal)
    assert [record.getMessage().count("are flagged") for record in caplog.records] == [1]
    remark(watched, ["a"] * 60, score=999.0)
    assert [record.getMessage().count("are flagged") for record in caplog.records] == [1, 1]


def test_doubts_are_looked_for_once_at_each_look_at_the_folder(predictor, products, tmp_path, looks, monkeypatch):
    sizes, found = [], watch.doubts_by_kind
    monkeypatch.setattr(watch, "doubts_by_kind", lambda table, *rest: sizes.append(len(table)) or found(table, *rest))
    looks(predictor, products / "mesh/test/good", tmp_path / "out", nothing, nothing, overlays=False)
    assert sizes == [3]


def test_no_image_of_a_full_folder_is_left_out_of_the_looks(remarks, caplog):
    watched = remarks(rules(("a",), 100))
    for score in 999.0, 0.0:
        add(watched, ["a"] * 2 * RECENT, score=score)
    watched.look()
    assert any("are flagged" in record.getMessage() for record in caplog.records)


def test_the_warnings_of_predictions_that_stay_are_kept(finished, predictor, products, tmp_path, looks):
    belt, out = shutil.copytree(products / "mesh/test/good", tmp_path / "belt"), tmp_path / "out"
    Image.open(belt / "000.png").resize((30, 64)).save(belt / "narrow.png")
    predict_files(finished.path, [belt], out, device="cpu", progress=False)
    before = (out / "warnings.txt").read_text().splitlines()
    assert any("narrow.png" in line for line in before)
    looks(predictor, belt, out, nothing, nothing)
    assert (out / "warnings.txt").read_text().splitlines() == before
    Image.open(belt / "000.png").resize((64, 30)).save(belt / "flat.png")
    looks(predictor, belt, out, nothing, nothing)
    after = (out / "warnings.txt").read_text().splitlines()
    assert after[: len(before)] == before and any("flat.png" in line for line in after)
    assert len(set(after)) == len(after)
    (out / "warnings.txt").rename(tmp_path / "mine.txt")
    (out / "warnings.txt").symlink_to(tmp_path / "mine.txt")
    looks(predictor, belt, out, nothing, nothing)
    assert not (out / "warnings.txt").is_symlink() and (tmp_path / "mine.txt").exists()


def test_a_folder_of_earlier_predictions_that_is_not_searched_is_named(predictor, products, tmp_path, looks, caplog):
    belt = shutil.copytree(products / "mesh/test/good", tmp_path / "belt")
    looks(predictor, products / "mesh/test/good", belt / "earlier", nothing, nothing)
    with caplog.at_level("INFO"):
        assert len(looks(predictor, belt, tmp_path / "out", nothing, nothing)) == 3
    assert [str(belt / "earlier") in record.getMessage() for record in caplog.records].count(True) == 1


def test_a_refused_watch_leaves_nothing_in_the_folder(predictor, products, tmp_path):
    folder = shutil.copytree(products / "mesh/test/good", tmp_path / "belt")
    before = sorted(os.listdir(folder))
    with pytest.raises(DataError, match="folder of the results"):
        next(watch_folder(predictor, folder, folder))
    assert sorted(os.listdir(folder)) == before

"""The first day with one's own parts: only good pictures, and a set of which one product has defects."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from data_builders import mask, pictures, save
from PIL import Image
from rich.console import Console
from synthetic import small

from mintad.data import load
from mintad.errors import ConfigError, DataError
from mintad.report.runs import read_runs
from mintad.runs.changes import changes_of
from mintad.runs.directory import Run
from mintad.runs.evaluate import evaluate_run
from mintad.runs.files import PARAMETERS, STATUS
from mintad.runs.predict_files import predict_files
from mintad.runs.prepare import load_records
from mintad.runs.separate import train_separate
from mintad.runs.summary import print_results
from mintad.runs.train import train_run
from mintad.scoring.metrics import RESULT_COLUMNS, value_of
from mintad.sweep.status import WORK
from mintad.sweep.table import collect


@pytest.fixture(scope="module")
def good_parts(tmp_path_factory):
    """Two products with nothing but good pictures, in the two ways people put them."""
    root = tmp_path_factory.mktemp("good") / "parts"
    pictures(root / "bolt/train/good", 12)
    pictures(root / "nut/good", 9)
    return root


@pytest.fixture(scope="module")
def good_run(good_parts, cache, tmp_path_factory):
    return train_run(small(good_parts), tmp_path_factory.mktemp("runs") / "good", progress=False)


@pytest.fixture(scope="module")
def mixed_parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed") / "parts"
    pictures(root / "bolt/train/good", 12)
    pictures(root / "bolt/test/good", 3)
    for path in pictures(root / "bolt/test/dent", 3)[:2]:  # the third has no mask
        save(root / "bolt/ground_truth/dent" / f"{path.stem}_mask.png", mask())
    pictures(root / "nut/good", 9)
    return root


@pytest.fixture(scope="module")
def mixed_run(mixed_parts, cache, tmp_path_factory):
    config = small(mixed_parts)
    return train_run(config, tmp_path_factory.mktemp("runs") / "mixed", baseline_names=["padim"], progress=False)


def test_good_pictures_alone_train_and_have_a_threshold(good_run):
    images, threshold = pd.read_csv(good_run.path / "images.csv"), good_run.threshold()
    assert set(images["role"]) == {"train", "holdout"} and len(images) == 21
    held_out = (images["role"] == "holdout").sum()
    assert threshold.n == held_out and np.isfinite(threshold.value)
    assert good_run.finished


def test_no_number_is_invented_for_good_pictures_alone(good_run):
    assert good_run.results().empty and list(good_run.results().columns) == list(RESULT_COLUMNS)
    assert value_of(good_run.results(), "image_auroc") is None
    page = good_run.page.read_text(encoding="utf-8")
    assert "There are no test images" in page and "made by us" in page
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", text)


def test_made_defects_are_on_held_out_images_and_their_scores_are_right(good_run):
    made, images = good_run.made_defects(), pd.read_csv(good_run.path / "images.csv")
    names = {f"{path.split('/')[-4 if 'train' in path else -3]}/{path.split('/')[-1]}" for path in made["image"]}
    held_out = images[images["role"] == "holdout"]["image"]
    assert names == {f"{path.split('/')[0]}/{path.split('/')[-1]}" for path in held_out}
    scores = good_run.scores().set_index("image")["pred_score"]
    assert made["pred_score"].to_numpy() == pytest.approx(scores[made["image"]].to_numpy(), rel=1e-3)
    assert (made["made_score"] != made["pred_score"]).all()


def test_a_run_of_good_pictures_is_evaluated_again_and_predicts(good_run, good_parts, tmp_path):
    before = good_run.made_defects()
    evaluate_run(good_run.path, progress=False)
    pd.testing.assert_frame_equal(good_run.made_defects(), before)
    table, problems = predict_files(good_run.path, [good_parts / "nut/good"], tmp_path / "out", progress=False)
    assert len(table) == 9 and not problems and table["pred_score"].notna().all()


def test_terminal_and_reports_say_what_is_missing(good_run, mixed_run, capsys):
    print_results(good_run, Console())
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "2 categories have no anomalous test images" in text and "false alarms expected" in text and "nan" not in text
    )
    read = read_runs([good_run.path, mixed_run.path])
    assert set(read.skipped) == {str(good_run.path)} and "folder/bolt" in set(read.rows["category"])


def test_a_mixed_set_is_measured_where_there_are_defects(mixed_run, mixed_parts, capsys):
    results = mixed_run.results()
    auroc = results[results["metric"] == "image_auroc"]
    assert set(auroc["category"]) == {"folder/bolt", "mean", "pooled"} and set(auroc["method"]) >= {"padim"}
    assert results["value"].notna().all()
    assert set(mixed_run.made_defects()["category"]) == {"folder/nut"}
    assert set(mixed_run.scores()["category"]) == {"bolt"}
    assert "folder/nut" in mixed_run.page.read_text(encoding="utf-8")
    print_results(mixed_run, Console())
    assert "1 category has no anomalous test images" in " ".join(capsys.readouterr().out.split())


def test_a_missing_mask_costs_the_pixel_metrics_of_its_image_alone(mixed_run, mixed_parts, tmp_path):
    """The image is scored, and without it the pixel metrics are the same."""
    copy = Run(shutil.copytree(mixed_run.path, tmp_path / "run"))
    root = shutil.copytree(mixed_parts, tmp_path / "parts")
    (root / "bolt/test/dent/002.png").unlink()
    config = copy.read("config")
    config["data"]["root"] = str(root)
    copy.write("config", config)
    evaluate_run(copy.path, progress=False)
    for metric in ("pixel_ap", "pixel_auroc"):
        assert value_of(copy.results(), metric) == value_of(mixed_run.results(), metric)
    assert len(copy.scores()) == len(mixed_run.scores()) - 1


def test_separate_models_of_a_mixed_set(mixed_parts, cache, tmp_path):
    run = train_separate(small(mixed_parts, **{"train.steps": 4}), tmp_path / "separate", progress=False)
    auroc = run.results().query("metric == 'image_auroc' and setting == 'separate'")
    assert set(auroc["category"]) == {"folder/bolt", "mean", "pooled"} and auroc["value"].notna().all()
    assert set(run.scores()["split"]) == {"test"}


def test_what_cannot_be_said_is_refused_before_training(good_parts, tmp_path):
    with pytest.raises(DataError, match="baselines"):
        train_run(small(good_parts), tmp_path / "run", baseline_names=["padim"], progress=False)
    with pytest.raises(DataError, match=r"data\.holdout"):
        train_run(small(good_parts, **{"data.holdout": 0}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_product_of_a_single_good_picture_is_named_and_no_advice_leads_back(good_parts, tmp_path):
    root = tmp_path / "parts"
    shutil.copytree(good_parts, root)
    pictures(root / "ring/good", 1)
    for holdout in (0.1, 0):
        with pytest.raises(DataError) as caught:
            train_run(small(root, **{"data.holdout": holdout}), tmp_path / "run", progress=False)
        assert "folder/ring" in caught.value.fix and "folder/nut" not in str(caught.value)
        assert "data.categories" in caught.value.fix and "data.holdout=0" not in caught.value.fix.replace("=0.1", "")
    pictures(root / "ring/bad", 1)  # something to score
    with pytest.raises(DataError, match=r"data\.holdout=0$"):
        train_run(small(root), tmp_path / "run", progress=False)


def test_good_pictures_need_no_test_folder(good_parts):
    table = load("folder", good_parts)
    assert set(table["split"]) == {"train"} and table.groupby("category").size().to_dict() == {"bolt": 12, "nut": 9}


def test_what_is_unusual_and_what_was_decided_stands_in_the_log(cache, tmp_path):
    root = tmp_path / "parts"
    pictures(root / "nut/good", 10)
    (root / "nut/good/Thumbs.db").write_text("x")
    for path in pictures(root / "nut/bad", 2):
        save(root / "nut/masks" / path.name, mask())
    inverted = np.full((36, 40), 255, np.uint8)
    inverted[5:10, 5:10] = 0
    save(root / "nut/masks/001.png", Image.fromarray(inverted))
    run = train_run(small(root, **{"train.steps": 2}), tmp_path / "run", progress=False)
    log = (run.path / "log.txt").read_text(encoding="utf-8")
    assert "2 of 10 normal images are tested" in log and "seed 0" in log
    assert "Thumbs.db" in log and "98.3% of the picture is marked" in log and "inverted" in log


@pytest.mark.parametrize("inside", [".", "runs/run", "nut"])
def test_a_run_directory_inside_the_data_is_refused_at_once(good_parts, inside):
    before = sorted(good_parts.rglob("*"))
    for train in (train_run, train_separate):
        with pytest.raises(ConfigError) as caught:
            train(small(good_parts), good_parts / inside, progress=False)
        assert caught.value.fix and str(good_parts) in str(caught.value)
    link = good_parts.parent / "link"
    link.symlink_to(good_parts) if not link.exists() else None
    with pytest.raises(ConfigError):
        train_run(small(good_parts), link / inside, progress=False)
    assert sorted(good_parts.rglob("*")) == before


@pytest.fixture
def moved(mixed_run, mixed_parts, tmp_path):
    """A copy of the mixed run and of its data, with the configuration that finds them."""
    run = Run(shutil.copytree(mixed_run.path, tmp_path / "run"))
    root = shutil.copytree(mixed_parts, tmp_path / "moved")
    run.write("config", small(root).to_dict())
    return run, root, small(root)


def said(caplog) -> str:
    return " ".join(record.getMessage() for record in caplog.records if record.levelname == "WARNING")


def test_the_same_command_on_changed_data_says_so_and_what_to_do(moved, caplog):
    run, root, config = moved
    before = run.results()
    caplog.clear()
    train_run(config, run.path, progress=False)
    assert "changed" not in said(caplog)
    pictures(root / "bolt/train/extra", 4)
    for path in (root / "bolt/train/extra").iterdir():
        path.rename(root / "bolt/train/good" / f"extra_{path.name}")
    (root / "bolt/train/extra").rmdir()
    save(root / "bolt/test/dent/003.png", Image.fromarray(np.arange(40 * 36 * 3, dtype=np.uint8).reshape(36, 40, 3)))
    train_run(config, run.path, progress=False)
    text = said(caplog)
    assert "training images: 4 new" in text and "test images: 1 new" in text and "--overwrite" in text
    pd.testing.assert_frame_equal(run.results(), before)


def change_dents(root, change):
    dent = root / "bolt/test/dent"
    if change == "replaced":
        shutil.copy(root / "bolt/test/good/000.png", dent / "000.png")
    elif change == "gone":
        (dent / "002.png").unlink()
    elif change == "new":
        save(dent / "003.png", Image.new("RGB", (40, 36), "red"))
    elif change == "relabelled":
        (dent / "002.png").rename(root / "bolt/test/good/003.png")
    elif change == "another mask":
        save(root / "bolt/ground_truth/dent/000_mask.png", Image.new("L", (40, 36), 255))


CHANGES = {
    "nothing": {},
    "replaced": {"test images": "1 gone, 1 new"},
    "gone": {"test images": "1 gone"},
    "new": {"test images": "1 new"},
    "relabelled": {"test images": "1 with another label or mask"},
    "another mask": {"test images": "1 with another label or mask"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_test_images_is_noticed(moved, change):
    run, root, config = moved
    change_dents(root, change)
    assert changes_of(run, load_records(config), config) == CHANGES[change]


def test_a_baseline_is_never_scored_on_other_images_than_the_model(moved, caplog):
    run, root, config = moved
    before = run.results()
    change_dents(root, "replaced")
    with pytest.raises(DataError, match="test images: 1") as caught:
        train_run(config, run.path, baseline_names=["patchcore"], progress=False)
    assert f"mintad evaluate {run.path} --baselines patchcore" in caught.value.fix
    pd.testing.assert_frame_equal(run.results(), before)
    evaluate_run(run.path, baseline_names=["patchcore"], progress=False)
    assert run.baselines() == ["padim", "patchcore"]
    caplog.clear()
    train_run(config, run.path, baseline_names=["patchcore"], progress=False)
    assert "changed" not in said(caplog)


def test_data_that_moved_are_found_again_if_they_are_the_same(moved, mixed_run, mixed_parts, tmp_path):
    run, root, config = moved
    run.write("config", mixed_run.config().override(**{"data.root": str(tmp_path / "nowhere")}).to_dict())
    evaluate_run(run.path, root=root, progress=False)
    pd.testing.assert_frame_equal(run.results(), mixed_run.results())
    assert run.config().data.root == str(root)
    other = shutil.copytree(mixed_parts, tmp_path / "other")
    (other / "bolt/train/good/000.png").unlink()
    with pytest.raises(DataError, match="1 gone"):
        evaluate_run(run.path, root=other, progress=False)
    assert run.config().data.root == str(root)


@pytest.mark.parametrize("variant", ["mint_ad", "uniad"])
def test_normal_test_images_alone_give_false_alarms_and_no_auroc(cache, tmp_path, variant, capsys):
    pictures(tmp_path / "parts/nut/train/good", 10)
    pictures(tmp_path / "parts/nut/test/good", 4)
    config = small(
        tmp_path / "parts", **{"train.steps": 2, "model.variant": variant, "scoring.score": "reconstruction"}
    )
    run = train_run(config, tmp_path / "run", progress=False)
    assert "auroc" not in "".join(run.results()["metric"]) and len(run.scores()) == 4
    assert set(run.made_defects()["category"]) == {"folder/nut"}
    text = re.sub(r"<script.*?</script>", "", run.page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "of 4 normal test images" in text and "There are no test images" not in text
    print_results(run, Console())
    assert "nan" not in capsys.readouterr().out


def test_a_sweep_collects_what_there_is(good_run, mixed_run, tmp_path):
    for name, run in (("good", good_run), ("mixed", mixed_run)):
        folder = shutil.copytree(run.path, tmp_path / name)
        (folder / PARAMETERS).write_text('{"data": "folder"}')
        (folder / STATUS).write_text('{"state": "finished", "seconds": 1.0}')
    (tmp_path / WORK).mkdir()
    table = collect(tmp_path)
    assert set(table["run"]) == {"mixed"} and table["value"].notna().all()


@pytest.fixture
def list_with_an_untrained_product(tmp_path):
    lines = [(path, "a", "good") for path in pictures(tmp_path / "a", 9)] + [
        (path, name, "bad") for name in "ab" for path in pictures(tmp_path / f"{name}-bad", 2)
    ]
    pd.DataFrame(lines, columns=["image", "category", "label"]).to_csv(tmp_path / "parts.csv", index=False)
    return tmp_path / "parts.csv"


def test_a_product_without_pictures_to_train_on_can_be_left_out(list_with_an_untrained_product, cache, tmp_path):
    changes = {"train.steps": 2, "data.categories": ("a",)}
    run = train_run(small(list_with_an_untrained_product, **changes), tmp_path / "run", progress=False)
    evaluate_run(run.path, progress=False)
    assert set(run.scores()["category"]) == {"a"}


@pytest.mark.parametrize("train", [train_run, train_separate])
def test_a_product_without_pictures_to_train_on_is_not_trained(list_with_an_untrained_product, train, tmp_path):
    with pytest.raises(DataError, match="to train on of folder/b") as caught:
        train(small(list_with_an_untrained_product), tmp_path / "run", progress=False)
    assert "data.categories" in caught.value.fix and not (tmp_path / "run").exists()


def test_a_finished_run_with_a_product_that_was_not_trained_is_evaluated(
    list_with_an_untrained_product, cache, tmp_path, monkeypatch
):
    """Versions before trained it."""
    config = small(list_with_an_untrained_product, **{"train.steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr("mintad.runs.train.require_trained", lambda records, config: None)
        run = train_run(config, tmp_path / "run", progress=False)
    evaluate_run(run.path, progress=False)
    assert set(train_run(config, run.path, progress=False).scores()["category"]) == {"a", "b"}
    with pytest.raises(DataError, match="to train on of folder/b"):
        train_run(config, run.path, overwrite=True, progress=False)
    assert run.finished

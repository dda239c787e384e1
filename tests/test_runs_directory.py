"""The run directory: what is in it, whose it is, and that it can be moved and repeated."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import small

import mintad.runs.prepare as prepare_module
import mintad.runs.train as train_module
from mintad.disk import UNFINISHED, published
from mintad.errors import ConfigError, MintadError, TrainingError
from mintad.runs.changes import record_training_images
from mintad.runs.directory import CATEGORIES, OLD_BASELINES, OLD_PAGE, OLD_RESULTS, PRODUCTS
from mintad.runs.evaluate import evaluate_run
from mintad.runs.opening import open_run
from mintad.runs.predict_files import predict_files
from mintad.runs.prepare import load_records, resolve_paths
from mintad.runs.save import save_results
from mintad.runs.train import train_run
from mintad.scoring.known_products import KnownProducts
from mintad.scoring.metrics import by_category, value_of
from mintad.training.checkpoint import sealed
from mintad.training.device import make_accelerator

pytestmark = pytest.mark.usefixtures("cache")
JSON_FILES = ("config", "versions", "classes", "threshold", "seconds")


def test_run_directory_holds_everything(finished):
    for name in JSON_FILES:
        assert finished.read(name)
    for name in ("log.txt", "history.csv", "images.csv", "scores.csv", "maps.npy", "results.csv", "results.html"):
        assert (finished.path / name).stat().st_size > 0
    scores = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
    assert len(scores) == 16 and scores["label"].sum() == 10
    assert np.load(finished.path / "maps.npy").shape == (16, 4, 4)
    results = finished.results()
    assert set(by_category(results, "image_auroc")) == {"folder/mesh", "folder/capsule"}
    assert 0 <= value_of(results, "pixel_ap") <= 1
    methods = ["mint_ad+gaussian", "mint_ad", "mint_ad+both", "padim"]
    assert list(results["method"].unique()) == methods and set(results["setting"]) == {"unified"}
    assert finished.baselines() == ["padim"]
    assert finished.threshold().n == 6
    assert finished.config() == small(finished.config().data.root)
    assert finished.read("classes") == ["folder/capsule", "folder/mesh"]


def test_a_finished_run_is_left_alone_and_another_configuration_refused(finished, products):
    stamp = finished.page.stat().st_mtime_ns
    assert train_run(small(products), finished.path, progress=False).path == finished.path
    assert finished.page.stat().st_mtime_ns == stamp
    with pytest.raises(TrainingError, match=r"another configuration \(train.seed: 0 there, 5 now\)"):
        train_run(small(products, **{"train.seed": 5}), finished.path, progress=False)


def test_foreign_folder_is_not_overwritten(products, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match="is no run directory"):
            train_run(small(products), tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("content", ['{"name": "my site"}', "{}", "no JSON"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_a_config_of_another_program_is_not_touched(products, tmp_path, content, overwrite):
    for name, text in {"config.json": content, "package.json": "mine"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/mine.bin").write_text("precious")
    with pytest.raises(TrainingError, match="is no run directory"):
        train_run(small(products), tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "config.json").read_text() == content and (tmp_path / "checkpoints/mine.bin").exists()


def test_what_a_killed_export_left_does_not_lock_a_run_out(finished, products, tmp_path):
    with open_run(tmp_path / "run", small(products)):
        (tmp_path / f"run/{UNFINISHED}abc").mkdir()
        (tmp_path / f"run/{UNFINISHED}abc/model.onnx").touch()
    with open_run(tmp_path / "run", small(products)):
        assert not list((tmp_path / "run").glob(f"{UNFINISHED}*"))


@pytest.mark.parametrize("content", [b"[1]", b"null", b"{}", b"\xff"])
def test_a_changed_description_of_the_photographs_is_refused(copied, products, tmp_path, content):
    (copied.path / "photographs.json").write_bytes(content)
    with pytest.raises(MintadError, match="photographs.json"):
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)


def test_thresholds_that_are_gone_are_missed(copied):
    copied.write("threshold", None)
    with pytest.raises(MintadError, match="thresholds are gone.*|threshold.json.*gone"):
        copied.decisions()


def test_overwrite_removes_a_run_and_only_a_run(products, tmp_path):
    out = tmp_path / "run"
    train_run(small(products, **{"train.steps": 2}), out, progress=False)
    (out / "notes.md").write_text("mine")
    run = train_run(small(products, **{"train.steps": 1}), out, overwrite=True, progress=False)
    assert run.config().train.steps == 1 and (out / "notes.md").read_text() == "mine"
    foreign = tmp_path / "weights"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(TrainingError, match="is no run directory"):
        train_run(small(products), foreign, overwrite=True, progress=False)
    assert (foreign / "config.json").exists()


def test_a_run_works_from_another_working_directory(products, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(products.parent))
    config = small("~/" + products.name, **{"train.steps": 1})
    relative = os.path.relpath(products, tmp_path)
    monkeypatch.chdir(tmp_path)
    run = train_run(config, "run", progress=False)
    assert run.config().data.root == str(products)
    assert resolve_paths(small(relative)).data.root == str(products)
    merged = small("x", **{"data.root": None, "data.options": {"roots": {"mvtec": relative, "elpv": None}}})
    merged = resolve_paths(merged.override(**{"features.weights": "~/w.pth"}))
    assert merged.data.options["roots"] == {"mvtec": str(products), "elpv": None} and merged.data.root is None
    assert merged.features.weights == str(products.parent / "w.pth")
    assert resolve_paths(small("x")).features.weights == "auto"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate_run(tmp_path / "run", progress=False).finished


def test_a_re_run_reports_the_recorded_seconds(finished, products):
    seconds = finished.seconds()
    assert all(value > 0 for value in seconds.values())
    assert train_run(small(products), finished.path, progress=False).seconds() == seconds
    history = pd.read_csv(finished.path / "history.csv")
    assert seconds["training"] == pytest.approx(history["seconds"].iloc[-1], abs=1e-3)


def test_a_run_directory_belongs_to_one_process_at_a_time(finished, copied, tmp_path):
    with open_run(copied.path, finished.config()):
        with pytest.raises(TrainingError, match="another process is working in .*copy; wait"):
            train_run(finished.config(), copied.path, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            train_run(finished.config(), copied.path, overwrite=True, progress=False)
        with pytest.raises(TrainingError, match="another process"):
            evaluate_run(copied.path, progress=False)
    assert copied.finished
    die = "import os, sys, fcntl; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", die, copied.path / ".lock"]).returncode == -9
    with open_run(copied.path, finished.config()) as run:  # what a dead process held is free
        assert run.finished


def test_only_the_first_process_writes_the_log(products, tmp_path, monkeypatch):
    config = resolve_paths(small(products, **{"train.steps": 2}))
    main = make_accelerator(config.train)

    class Second:
        """The accelerator of the second of two processes, as far as `train_run` asks."""

        is_main_process, process_index, num_processes = False, 1, 1

        def __getattr__(self, name):
            return getattr(main, name)

    run = train_run(config.override(**{"train.steps": 1}), tmp_path / "run", progress=False)
    (run.path / "log.txt").unlink()
    run.discard_results()
    monkeypatch.setattr(train_module, "make_accelerator", lambda config: Second())
    before = sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())
    train_run(config.override(**{"train.steps": 1}), run.path, progress=False)
    assert before == sorted((file.name, file.stat().st_mtime_ns) for file in run.path.iterdir())


def test_a_test_set_without_normal_images_has_a_threshold_and_no_auroc(copied, monkeypatch):
    records = load_records(copied.config())
    anomalous = records[(records["split"] == "train") | (records["label"] == 1)].reset_index(drop=True)
    monkeypatch.setattr(prepare_module, "load_records", lambda config: anomalous)
    evaluate_run(copied.path, progress=False)
    assert copied.threshold() is not None and "image_auroc" not in set(copied.results()["metric"])


def make_old(run):
    """Leave the result files of version 0.1 in a run."""
    run.discard_results()
    (run.path / OLD_RESULTS).write_text("{}")
    (run.path / OLD_PAGE).write_text("<html>")
    (run.path / OLD_BASELINES).write_text("method,I mean\nmint_ad,0.9\npadim,0.8\n")


def test_results_of_an_older_version_are_refused_with_the_way_to_convert_them(copied, finished):
    make_old(copied)
    assert not copied.finished
    with pytest.raises(MintadError, match=f"older version.*mintad evaluate {copied.path}"):
        copied.results()
    converted = evaluate_run(copied.path, progress=False)
    pd.testing.assert_frame_equal(converted.results(), finished.results())
    assert not {OLD_RESULTS, OLD_BASELINES, OLD_PAGE} & {file.name for file in copied.path.iterdir()}


def test_overwriting_leaves_nothing_of_an_older_version(copied):
    make_old(copied)
    with open_run(copied.path, copied.config(), overwrite=True) as run:
        assert {file.name for file in run.path.iterdir()} == {"config.json", ".lock"}


def test_a_crash_while_results_are_written_costs_no_finished_work(copied, finished, monkeypatch):
    @contextlib.contextmanager
    def write_half(path, **options):
        with published(path, **options) as file:
            if path == copied.path / "maps.npy":
                file.write(b"\x93NUMPY")
                raise KeyboardInterrupt
            yield file

    monkeypatch.setattr("mintad.runs.save.published", write_half)
    for work in (
        lambda: train_run(finished.config(), copied.path, baseline_names=("patchcore",), progress=False),
        lambda: evaluate_run(copied.path, progress=False),
    ):
        with pytest.raises(KeyboardInterrupt):
            work()
        pd.testing.assert_frame_equal(copied.results(), finished.results())
        assert np.array_equal(np.load(copied.path / "maps.npy"), np.load(finished.path / "maps.npy"))
    assert not list(copied.path.glob(f"{UNFINISHED}*"))


WRITTEN = (
    *("config.json", "versions.json", "classes.json", "images.csv", "seconds.json", "history.csv", "threshold.json"),
    *("photographs.json", "products.safetensors"),
    *("scores.csv", "maps.npy", "results.html", "results.csv", "sharp_prior.safetensors"),
)


def test_no_command_writes_through_a_link_in_a_run_directory(copied, finished, products, tmp_path):
    """A run directory may come from somebody else; its files are replaced where they lie, whatever they are there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in WRITTEN:
        (outside / name).write_bytes((copied.path / name).read_bytes())
        (copied.path / name).unlink()
        for link in (name, f".{name}.tmp"):  # under such names older versions began to write
            (copied.path / link).symlink_to(outside / name)
    before = {file.name: file.read_bytes() for file in outside.iterdir()}
    evaluate_run(copied.path, progress=False)
    train_run(finished.config(), copied.path, baseline_names=("patchcore",), progress=False)
    predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    train_run(finished.config().override(**{"train.steps": 1}), copied.path, overwrite=True, progress=False)
    assert {file.name: file.read_bytes() for file in outside.iterdir()} == before
    assert not [file for file in copied.path.rglob("*") if file.is_symlink()]


@pytest.mark.parametrize("name", [".lock", "log.txt", "checkpoints"])
def test_a_link_where_something_is_appended_is_refused(copied, finished, tmp_path, name):
    victim = tmp_path / "victim"
    (copied.path / name).rename(victim)
    (copied.path / name).symlink_to(victim)
    copied.discard_results()
    stamp = victim.stat().st_mtime_ns
    with pytest.raises(MintadError, match=f"{name}: is a link"):
        train_run(finished.config(), copied.path, progress=False)
    assert victim.stat().st_mtime_ns == stamp


def test_what_killed_processes_left_is_removed_and_does_not_count(finished, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f"{UNFINISHED}abc").write_text("half")
    (tmp_path / "run/.config.json.tmp").write_text("half")
    with open_run(tmp_path / "run", finished.config()) as run:
        assert {file.name for file in run.path.iterdir()} == {"config.json", ".lock"}
    (tmp_path / "run/.notes.tmp").write_text("mine")
    with open_run(tmp_path / "run", finished.config()) as run:
        assert (run.path / ".notes.tmp").exists()


@pytest.mark.parametrize("content", [None, "", "step,lo"])
def test_a_run_whose_history_is_lost_can_still_be_evaluated(copied, finished, content):
    history = copied.path / "history.csv"
    history.unlink() if content is None else history.write_text(content)
    copied.discard_results()
    pd.testing.assert_frame_equal(
        train_run(finished.config(), copied.path, baseline_names=("padim",), progress=False).results(),
        finished.results(),
    )


def test_a_baseline_that_is_not_registered_any_more_is_not_dropped(copied):
    results = copied.results()
    (copied.path / "digests.json").unlink()
    copied.write_table("results", results.replace({"method": {"padim": "from_a_plug_in"}}))
    with pytest.raises(ConfigError, match="unknown baseline 'from_a_plug_in'"):
        evaluate_run(copied.path, progress=False)
    assert copied.baselines() == ["from_a_plug_in"]


def test_an_unfinished_training_is_not_evaluated(copied):
    state = copied.checkpoint().path / "state.json"
    state.write_text(json.dumps(sealed(json.loads(state.read_text()) | {"steps": 99})))
    with pytest.raises(TrainingError, match=f"of 99 steps are trained; mintad train --out {copied.path}"):
        evaluate_run(copied.path, progress=False)


def test_a_unified_training_does_not_enter_a_separate_one(finished, tmp_path):
    with open_run(tmp_path / "run", finished.config()) as run:
        (run.path / CATEGORIES).mkdir()
    with pytest.raises(TrainingError, match="holds a separate training"):
        train_run(finished.config(), run.path, progress=False)
    for refused in (run.results, run.checkpoint):
        with pytest.raises(MintadError, match="notebook 10, setting 'separate'"):
            refused()


@pytest.mark.parametrize("name, read", [("results.csv", "results"), ("scores.csv", "scores"), ("maps.npy", "maps")])
def test_one_changed_bit_in_a_result_is_refused_by_name(copied, name, read):
    content = bytearray((copied.path / name).read_bytes())
    content[-2] ^= 1
    (copied.path / name).write_bytes(content)
    with pytest.raises(MintadError, match=f"{name}: is damaged.*mintad evaluate"):
        getattr(copied, read)()


def test_damaged_results_of_an_older_version_are_refused_by_name(copied):
    (copied.path / "digests.json").unlink()
    (copied.path / "results.csv").write_text("method,setting\n")
    with pytest.raises(MintadError, match="results.csv is damaged"):
        copied.results()
    evaluate_run(copied.path, progress=False)
    assert copied.baselines() == [], "which baselines there were stood in the damaged file"


def test_a_changed_way_of_scoring_decides_nothing_until_it_is_evaluated(copied, products, tmp_path):
    config = copied.read("config")
    copied.write("config", config | {"scoring": config["scoring"] | {"top_share": 0.5}})
    images = [products / "mesh/test/good"]
    with pytest.raises(MintadError, match="config.json: scoring.*mintad evaluate"):
        predict_files(copied.path, images, tmp_path / "out", progress=False)
    evaluate_run(copied.path, progress=False)
    predict_files(copied.path, images, tmp_path / "out", progress=False)


def test_a_category_may_have_any_name(products, tmp_path):
    root = tmp_path / "a;b, [c]"
    shutil.copytree(products / "mesh", root / "me;sh")
    run = train_run(small(root, **{"train.steps": 1}), tmp_path / "run", progress=False)
    masks = run.scores().query("label == 1")["masks"]
    assert len(masks) and all(Path(file).is_file() for files in masks for file in files)
    assert train_run(run.config(), run.path, baseline_names=("padim",), progress=False).baselines() == ["padim"]


@pytest.mark.parametrize("change", [{"features.backbone": "resnet81"}, {"features.weights": "/etc/passwd"}])
def test_a_refused_configuration_leaves_no_directory(products, tmp_path, change):
    with pytest.raises(MintadError):
        train_run(small(products, **change), tmp_path / "run", progress=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(MintadError):
        train_run(small(products, **change), tmp_path / "run", progress=False)
    assert (tmp_path / "run").exists(), "a folder of the user's stays"


def test_a_directory_in_which_nothing_has_begun_takes_another_configuration(products, tmp_path):
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path, small(products)) as run:
        record_training_images(run, pd.DataFrame({"image": ["a"], "category": ["b"], "role": ["train"], "hash": [""]}))
        raise KeyboardInterrupt
    config = small(products, **{"train.steps": 1, "train.seed": 5})
    assert train_run(config, tmp_path, progress=False).config().train.seed == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "twelve"])
def test_a_threshold_that_is_no_finite_number_decides_nothing(copied, products, tmp_path, value):
    content = copied.read("threshold")
    content["held out"][0][1] = value
    copied.write("threshold", sealed(content))
    with pytest.raises(MintadError, match="threshold.json: cannot be used") as caught:
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    assert caught.value.fix and not (tmp_path / "out").exists()


def test_thresholds_that_were_changed_or_are_older_decide_nothing(copied):
    content, older = copied.read("threshold"), {"value": 3.0, "quantile": 0.95, "n": 9, "rank": 9, "reached": False}
    for changed, said in (
        (content | {"quantile": 0.5}, "digest"),
        (content | {"held out": content["held out"][1:]}, "digest"),
        (older, "older versions"),
        (sealed(content | {"held out": []}), "threshold.json"),
    ):
        copied.write("threshold", changed)
        with pytest.raises(MintadError, match=said) as caught:
            copied.decisions()
        assert caught.value.fix == f"mintad evaluate {copied.path} fits it anew"


def test_features_of_other_products_are_refused(copied, products, tmp_path):
    decisions = copied.decisions()
    KnownProducts(torch.zeros(3, 4)).save(copied.path / PRODUCTS)
    with pytest.raises(MintadError, match="does not belong to threshold.json"):
        copied.known_products(decisions)
    content = bytearray((copied.path / PRODUCTS).read_bytes())
    content[-1] ^= 1
    (copied.path / PRODUCTS).write_bytes(content)
    with pytest.raises(MintadError, match="the digest in it is another"):
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    assert evaluate_run(copied.path, progress=False).decisions().products == decisions.products


def test_decisions_are_read_as_they_were_written(finished):
    decisions, scores = finished.decisions(), finished.scores()
    assert decisions.to_json() == finished.read("threshold")
    assert decisions.classes == ("folder/capsule", "folder/mesh") and len(decisions.distances.scores_n) == 6
    again = decisions.calibration.p_values(scores["pred_score"], scores["pred_class"], decisions.quantile)
    np.testing.assert_allclose(scores["p_value"], again)
    assert not decisions.pooled().reached and (scores["p_value"] >= 1 / 7).all()
    limits = scores["pred_class"].map(decisions.threshold)
    assert (scores["anomalous"] == (scores["pred_score"] > limits)).all()


def test_json_files_are_valid(finished):
    def refuse(constant):
        raise AssertionError(constant)

    for name in JSON_FILES:
        json.loads((finished.path / f"{name}.json").read_text(), parse_constant=refuse)


def test_lost_digests_are_named_and_a_run_without_any_is_an_old_one(copied, caplog):
    file = copied.path / "digests.json"
    file.unlink()
    copied.scores(), copied.results()
    assert [str(file) in record.getMessage() for record in caplog.records] == [True]  # once
    caplog.clear()
    evaluate_run(copied.path, device="cpu", progress=False)
    assert file.exists()
    file.unlink()
    (copied.path / "photographs.json").unlink()  # as in a run of an older version
    caplog.clear()
    copied.scores()
    assert not caplog.records


@pytest.mark.parametrize("content", [b"precious\n", b"", b"\xff\xfe", None])
def test_a_damaged_list_of_training_images_is_named(copied, content):
    file = copied.path / "images.csv"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(MintadError, match=r"images\.csv.*train anew"):
        copied.training_images()


@pytest.mark.parametrize("call", range(0, 8, 2))
def test_results_that_could_not_take_their_names_cost_no_baseline(copied, monkeypatch, call):
    expected = copied.results()
    calls, replace = itertools.count(), os.replace

    def failing(*names):
        if Path(names[0]).parent == copied.path and next(calls) >= call:
            raise OSError(errno.EIO, "Input/output error")
        replace(*names)

    scores, maps = copied.scores(), copied.maps()
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "replace", failing)
        save_results(copied, expected, scores, maps, copied.decisions(), copied.made_defects())
    train_run(copied.config(), copied.path, progress=False)
    assert copied.baselines() == ["padim"] and copied.results().equals(expected)
    assert not (copied.path / "results_before.csv").exists()

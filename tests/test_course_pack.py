"""Shared models as one archive: what is packed is found by notebooks elsewhere, and nothing else is let in."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from download_builders import Server
from safetensors.torch import load, save, save_file
from test_lab_peeking import SMALL
from typer.testing import CliRunner

from mintad.cli import app
from mintad.course import pack as packing
from mintad.course import shared_models
from mintad.course import unpack as unpacking
from mintad.course.lab.peeking import scores_by_step, scores_file
from mintad.course.pack import MANIFEST, pack
from mintad.course.unpack import unpack
from mintad.disk import digest, sealed
from mintad.errors import DataError
from mintad.runs.directory import Run
from mintad.runs.shared import TrainedRun, runs_dir, shared_model_dir, train_shared

MODELS = {"mint_ad": {"model.variant": "mint_ad"}, "uniad": {"model.variant": "uniad"}}
CONFIGS = {name: SMALL.override(**changes) for name, changes in MODELS.items()}


@pytest.fixture(scope="module")
def small_class():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_models, "SHARED_MODELS", MODELS)
        patch.setattr(shared_models, "preset", lambda name: SMALL)
        yield patch


@pytest.fixture(scope="module")
def archive(small_class, tmp_path_factory):
    """The archive of two small models, trained with a cache folder that no other machine has."""
    folder = tmp_path_factory.mktemp("instructor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAD_RUNS", str(folder / "runs"))
        patch.setenv("MINTAD_CACHE", str(folder / "cache"))
        with pytest.raises(DataError, match="mint_ad, uniad.*notebooks train"):
            pack(folder / "models.zip")
        train_shared(CONFIGS["uniad"])
        scores_by_step(CONFIGS["mint_ad"])  # trains it
        steps = scores_file(CONFIGS["mint_ad"])
        away = steps.rename(folder / "steps.npz")
        with pytest.raises(DataError, match="mint_ad step by step"):
            pack(folder / "models.zip")
        assert not (folder / "models.zip").exists()
        away.rename(steps)
        packed = pack(folder / "models.zip")
        assert hashlib.sha256(packed.archive.read_bytes()).hexdigest() == packed.sha256
        assert packed.sha256 == pack(folder / "again.zip").sha256
    return packed.archive


@pytest.fixture
def student(tmp_path, monkeypatch):
    """A machine with neither models nor pictures."""
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    return tmp_path


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def rewritten(path: Path, members: dict[str, bytes], *, listed: bool = True, **changes) -> Path:
    """Write an archive; its manifest has the digests of `members`, unless not `listed`, and the changes."""
    about = json.loads(members[MANIFEST]) | changes
    if listed:
        files = {name: content for name, content in members.items() if name != MANIFEST}
        about["files"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in (members | {MANIFEST: json.dumps(about).encode()}).items():
            packed.writestr(name, content)
    return path


def left() -> list[str]:
    """What lies where runs lie, but for the lock."""
    return [path.name for path in runs_dir().glob("*") if path.name != unpacking.UNPACKING]


def refused(archive: Path | str, problem: str, **options) -> None:
    with pytest.raises(DataError, match=problem):
        unpack(archive, **options)
    assert left() == [], "nothing of it may be left"


def test_notebooks_find_what_was_packed_elsewhere(archive, student, capsys):
    done = unpack(archive)
    assert done.placed == ["mint_ad", "uniad"] and done.kept == [] and done.folder == student / "runs"
    capsys.readouterr()
    for config in CONFIGS.values():
        trained = TrainedRun.load(train_shared(config), config)
        scores = trained.run.scores()
        assert scores["image"].tolist() == trained.prepared.records["image"].iloc[trained.prepared.test_rows].tolist()
        assert [m for m in scores["masks"] if m] == [m for m in trained.prepared.records["masks"] if m]
    assert scores_by_step(CONFIGS["mint_ad"]).steps[-1] == 5
    assert "training" not in capsys.readouterr().out
    compared = train_shared(CONFIGS["uniad"], baselines=("padim",))  # writes a page with test images
    assert compared.baselines() == ["padim"] and compared.page.exists()


def test_an_archive_says_nothing_about_the_machine_and_holds_no_pickle(archive):
    members = contents(archive)
    about = json.loads(members[MANIFEST])
    assert set(about["files"]) == set(members) - {MANIFEST} and set(about["models"]) == set(MODELS)
    assert {Path(name).suffix for name in members} == {".json", ".csv", ".npy", ".safetensors", ".npz"}
    assert not any(name.startswith("/") or ".." in name for name in members)
    home = str(archive.parent).encode()
    assert [name for name, content in members.items() if home in content] == []


def test_finished_models_are_kept_and_interrupted_ones_replaced(archive, student):
    unpack(archive)
    first, second = (shared_model_dir(config) for config in CONFIGS.values())
    (first / "mine.txt").write_text("kept")
    (second / "results.csv").unlink()
    scores_file(CONFIGS["mint_ad"]).unlink()
    done = unpack(archive)
    assert done.placed == ["uniad"] and done.kept == ["mint_ad"]
    assert (first / "mine.txt").exists() and (second / "results.csv").exists()
    assert scores_file(CONFIGS["mint_ad"]).exists(), "of the same weights"
    assert unpack(archive).placed == [] and not list(runs_dir().glob(".writing-*"))


def test_scores_by_step_of_other_weights_are_not_mixed_with_a_kept_model(archive, student):
    unpack(archive)
    scores_file(CONFIGS["mint_ad"]).unlink()
    checkpoint = Run(shared_model_dir(CONFIGS["mint_ad"])).checkpoint()
    other = {name: tensor + 1 for name, tensor in checkpoint.tensors("model.safetensors").items()}
    save_file(other, checkpoint.weights)
    state = sealed(checkpoint.state() | {"files": {"model.safetensors": digest(checkpoint.weights)}})
    (checkpoint.path / "state.json").write_text(json.dumps(state))
    assert unpack(archive).kept == ["mint_ad", "uniad"]
    assert not scores_file(CONFIGS["mint_ad"]).exists()


def of_uniad(members, file):
    """The name of a model's file in an archive."""
    run = shared_model_dir(CONFIGS["uniad"]).name
    return next(name for name in members if name.startswith(run) and name.endswith(file))


def with_weights(members, tensors, **changes):
    """The members of an archive whose model has these weights, and a state that fits them, with changes."""
    weights, state = of_uniad(members, "model.safetensors"), of_uniad(members, "state.json")
    content = save(tensors)
    files = {"files": {"model.safetensors": hashlib.sha256(content).hexdigest()}}
    about = sealed({name: value for name, value in (json.loads(members[state]) | files | changes).items() if value})
    return members | {weights: content, state: json.dumps(about).encode()}


@pytest.mark.parametrize("file", ["classes.json", "images.csv", "digests.json", "maps.npy", "scores.csv"])
def test_a_model_without_a_file_that_runs_need_is_refused(archive, student, tmp_path, file):
    members = contents(archive)
    gone = of_uniad(members, file)
    refused(rewritten(tmp_path / "a.zip", {n: c for n, c in members.items() if n != gone}), f"{file}")


def test_weights_that_the_model_cannot_load_are_refused(archive, student, tmp_path):
    members = contents(archive)
    whole = load(members[of_uniad(members, "model.safetensors")])
    name = next(name for name, tensor in whole.items() if tensor.ndim == 2)
    for n, tensors in enumerate([{}, {k: t for k, t in whole.items() if k != name}, whole | {name: whole[name][1:]}]):
        refused(rewritten(tmp_path / f"{n}.zip", with_weights(members, tensors)), "does not fit the model")
    for n, (identity, problem) in enumerate([(None, "older version"), ({"classes": []}, "does not say which run")]):
        refused(rewritten(tmp_path / f"identity-{n}.zip", with_weights(members, whole, identity=identity)), problem)
    state = of_uniad(members, "state.json")
    folder = state.replace("step-00000005", "step-00000001").rpartition("/")[0]
    moved = {name.replace(state.rpartition("/")[0], folder): content for name, content in members.items()}
    moved[f"{folder}/state.json"] = b'{"step": 1, "steps": 1}'
    refused(rewritten(tmp_path / "short.zip", moved), "older version")
    assert unpack(rewritten(tmp_path / "same.zip", with_weights(members, whole))).kept == []


def test_maps_that_promise_more_than_they_hold_are_refused_without_taking_memory(archive, student, tmp_path):
    members, huge = contents(archive), io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**5)})
    maps, digests = of_uniad(members, "maps.npy"), of_uniad(members, "digests.json")
    content = huge.getvalue() + bytes(100)
    known = json.loads(members[digests]) | {"maps.npy": hashlib.sha256(content).hexdigest()}
    forged = members | {maps: content, digests: json.dumps(known).encode()}
    refused(rewritten(tmp_path / "a.zip", forged), "its header says 400,000,000,000 bytes")


@pytest.mark.parametrize("damage", ["weights", "classes", "maps"])
def test_a_finished_model_that_cannot_be_used_is_replaced(archive, student, damage):
    unpack(archive)
    run = Run(shared_model_dir(CONFIGS["uniad"]))
    if damage == "classes":
        (run.path / "classes.json").unlink()
    else:
        file = run.checkpoint().weights if damage == "weights" else run.path / "maps.npy"
        file.write_bytes(b"")
    done = CliRunner().invoke(app, ["course", "unpack", str(archive)])
    assert done.exit_code == 0 and "uniad: unpacked, in place of one" in done.output, done.output
    assert "mint_ad: was there, kept" in done.output and "Traceback" not in done.output
    again = unpack(archive)
    assert again.kept == ["mint_ad", "uniad"] and again.replaced == {}


def test_a_crash_between_two_models_is_finished_by_the_next_call(archive, student, monkeypatch):
    place = unpacking._place

    def crash(folder, name, config):
        if name == "uniad":
            raise KeyboardInterrupt
        return place(folder, name, config)

    monkeypatch.setattr(unpacking, "_place", crash)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive)
    monkeypatch.undo()
    monkeypatch.setenv("MINTAD_RUNS", str(student / "runs"))
    monkeypatch.setattr(shared_models, "SHARED_MODELS", MODELS)
    monkeypatch.setattr(shared_models, "preset", lambda name: SMALL)
    done = unpack(archive)
    assert (done.placed, done.kept) == (["uniad"], ["mint_ad"])


def test_what_a_killed_process_left_is_removed_by_the_next_call(archive, student):
    (runs_dir() / f"{unpacking.PARTS}killed/models").mkdir(parents=True)
    refused(student / "none.zip", "no such file")


def test_models_of_other_code_are_refused_with_what_to_do(archive, student, monkeypatch):
    monkeypatch.setattr(unpacking, "code_fingerprint", lambda: "of other code")
    refused(archive, "other code.*install the version.*notebooks train")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.csv",
        "/tmp/outside.csv",
        "{model}/../../outside.csv",
        "{model}/model.pkl",
        "{model}/checkpoints/step-00000005/../../../outside.json",
        "{model}/sub/config.json",
        "other-run/config.json",
        "{model}\\..\\outside.csv",
        "C:outside.csv",
    ],
)
def test_a_member_that_is_no_file_of_a_shared_model_is_refused(archive, student, tmp_path, name):
    name = name.format(model=shared_model_dir(CONFIGS["uniad"]).name)
    hostile = rewritten(tmp_path / "hostile.zip", contents(archive) | {name: b"harm"})
    refused(hostile, "is not a file of a shared model|not those of its manifest")
    assert not list(tmp_path.rglob("outside*"))


def test_members_beside_the_manifest_and_missing_ones_are_refused(archive, student, tmp_path):
    members = contents(archive)
    extra = shared_model_dir(CONFIGS["uniad"]).name + "/config.json"
    refused(rewritten(tmp_path / "a.zip", members | {"more.csv": b""}, listed=False), "its manifest")
    refused(rewritten(tmp_path / "b.zip", {n: c for n, c in members.items() if n != extra}, listed=False), "manifest")
    refused(rewritten(tmp_path / "c.zip", {n: c for n, c in members.items() if n != extra}), "config.json")
    refused(rewritten(tmp_path / "d.zip", members | {extra: b"{}"}, listed=False), "is not what was packed")


def test_a_bomb_is_refused_before_and_while_it_unpacks(archive, student, tmp_path, monkeypatch):
    members = contents(archive)
    log = shared_model_dir(CONFIGS["uniad"]).name + "/history.csv"
    files = json.loads(members[MANIFEST])["files"]
    small = rewritten(tmp_path / "bomb.zip", members | {log: bytes(50_000_000)}, listed=False, files=files)
    refused(small, "history.csv is not what was packed")
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    refused(archive, "more than 1,000 bytes")
    monkeypatch.setattr(unpacking, "MAX_FILES", 3)
    refused(archive, "more than 3 members")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "another"},
        {"models": {"mint_ad": "mint_ad-mini-00000000"}},
        {"models": {"unknown": "x"}},
        {"models": 3},
        {"files": []},
        {"preset": None, "models": []},
    ],
)
def test_a_manifest_that_is_none_is_refused(archive, student, tmp_path, changes):
    refused(rewritten(tmp_path / "wrong.zip", contents(archive), listed=False, **changes), "not a sound")


def test_a_model_of_another_configuration_and_a_path_out_of_the_data_are_refused(archive, student, tmp_path):
    members, run = contents(archive), shared_model_dir(CONFIGS["uniad"]).name
    config = json.loads(members[f"{run}/config.json"])
    config["train"]["seed"] = 7
    other = members | {f"{run}/config.json": json.dumps(config).encode()}
    refused(rewritten(tmp_path / "a.zip", other), "another configuration")
    scores = members[f"{run}/scores.csv"].replace(b"gear/test/good/000.png", b"../../private/000.png")
    refused(rewritten(tmp_path / "b.zip", members | {f"{run}/scores.csv": scores}), "not inside the data")
    weights = next(name for name in members if name.startswith(run) and name.endswith("model.safetensors"))
    refused(rewritten(tmp_path / "c.zip", members | {weights: members[weights][:-1] + b"x"}), "damaged")


def test_every_damage_is_an_error_and_leaves_nothing(archive, student, tmp_path):
    whole, noise = archive.read_bytes(), random.Random(0)
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.zip", "not a sound archive")
    places = [noise.randrange(len(whole)) for _ in range(10)] + [len(whole) - n for n in (5, 10, 15, 20, 60, 300)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "damaged.zip").write_bytes(changed)
        try:
            unpack(tmp_path / "damaged.zip")
        except DataError as error:
            assert "cannot be written" not in str(error), place
            assert left() == []
        else:  # a byte that means nothing, such as a member's date
            shutil.rmtree(runs_dir())
    refused(tmp_path / "none.zip", "no such file")


def test_an_archive_comes_from_a_server_with_the_digest_that_was_told(archive, student):
    server = Server()
    try:
        server.content = archive.read_bytes()
        refused(server.url("models.zip"), "another SHA-256", sha256="0" * 64)
        server.status["gone.zip"] = [404]
        refused(server.url("gone.zip"), "cannot be downloaded")
        told = hashlib.sha256(server.content).hexdigest()
        server.cut = [1000]  # the first connection breaks
        assert unpack(server.url("models.zip"), sha256=told.upper()).placed == ["mint_ad", "uniad"]
    finally:
        server.close()


def test_an_endless_download_ends(archive, student, monkeypatch):
    server = Server()
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    try:
        server.content = archive.read_bytes()
        refused(server.url("models.zip"), "larger than 1,000 bytes")
    finally:
        server.close()


def test_the_commands_pack_and_unpack(archive, student):
    done = CliRunner().invoke(app, ["course", "unpack", str(archive)])
    assert done.exit_code == 0 and "uniad: unpacked" in done.output, done.output
    packed = CliRunner().invoke(app, ["course", "pack", str(student / "own.zip")])
    assert packed.exit_code == 0 and "--sha256" in packed.output, packed.output
    assert CliRunner().invoke(app, ["course", "unpack", str(student / "own.zip")]).output.count("kept") == 2


def test_only_drawn_pictures_can_be_packed(small_class):
    with pytest.raises(packing.ConfigError, match="elpv"):
        packing.data_root(SMALL.override(**{"data.name": "elpv", "data.options": {}}))

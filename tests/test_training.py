"""Training: determinism, crash and resume, several processes, errors, and a class token that really tells classes
apart."""

import dataclasses
import errno
import itertools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from synthetic import GRID, MODEL, TRAIN, ArrayFeatures, changed_model, fresh_model, two_categories

from mintad.config import PromptMapperConfig, TrainConfig, preset
from mintad.errors import ConfigError, MintadError, TrainingError
from mintad.runs.options import resolve_config
from mintad.training import latest_checkpoint, load_weights, train
from mintad.training.batches import batch_rows, jittered
from mintad.training.checkpoint import sealed
from mintad.training.device import make_accelerator, pick_device
from mintad.training.schedule import batch_shape, learning_rate, total_steps

WORKER = Path(__file__).with_name("synthetic.py")


def run(folder, config=TRAIN, model_config=MODEL, features=None, labels=None):
    default_features, default_labels = two_categories()
    features, labels = features or default_features, default_labels if labels is None else labels
    model = fresh_model(model_config)
    history = train(model, features, np.arange(len(features)), labels, config, folder, progress=False)
    return model, history


def worker(folder, *options, launcher=()):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(WORKER), str(folder), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def weights(folder):
    checkpoint = latest_checkpoint(Path(folder) / "checkpoints")
    assert checkpoint.step == TRAIN.steps
    return load_file(checkpoint.weights)


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    one, history = run(tmp_path / "a")
    two, _ = run(tmp_path / "b")
    other, _ = run(tmp_path / "c", dataclasses.replace(TRAIN, seed=4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert list(history["step"]) == [2, 4, 6, 8, 10, 12, 14]
    assert {"loss", "mse", "ce", "prior", "accuracy", "lr", "seconds"} <= set(history.columns)
    assert np.isfinite(history.to_numpy()).all()
    assert not one.training


@pytest.fixture
def one_thread():
    """As many threads as a worker has: sums of several come out in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_and_resumed_is_bit_identical(one_thread, tmp_path):
    run(tmp_path / "straight")
    killed = worker(tmp_path, "--kill-at", "2", "11", "--kill-saving", "9", "14")
    assert killed.returncode == 0, killed.stderr
    folders = [folder for folder in tmp_path.iterdir() if folder.name != "straight"]
    assert sorted(folder.name for folder in folders) == ["at-11", "at-2", "saving-14", "saving-9"]
    for folder in folders:
        run(folder)
        expected, got = weights(tmp_path / "straight"), weights(folder)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[name], got[name]) for name in expected)
        losses = ["step", "loss", "mse", "ce", "prior"]
        whole, history = (pd.read_csv(each / "history.csv")[losses] for each in (tmp_path / "straight", folder))
        pd.testing.assert_frame_equal(whole, history)
        assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000014"]  # no leftovers


def test_two_processes_give_the_single_process_result(tmp_path):
    """Two gloo processes share each batch, its noise, and the decision to jitter it. Dropout off: its masks are drawn
    per process. Tolerance 2e-4 on every weight (the learning rate is 1e-3): sums in another order. Left out are the
    biases of attention keys: softmax cancels them, their gradient is rounding noise alone, and AdamW scales noise up
    to full steps."""
    options = ("--dropout", "0", "--jitter-prob", "0.5")
    changes = {"dropout": 0.0, "attention_dropout": 0.0, "jitter.probability": 0.5}
    run(tmp_path / "one", model_config=changed_model(**changes))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    double = worker(tmp_path / "two", *options, launcher=launcher)
    assert double.returncode == 0, double.stderr
    assert double.stdout.count("patience in hours: 12.0") == 2  # the first process may extract features for long
    expected, got = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in [name for name in expected if not name.endswith("key.bias")]:
        torch.testing.assert_close(
            got[name], expected[name], rtol=0, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_share_of_the_batches_is_jittered():
    share = np.mean([jittered(step, 0.3, seed=1) for step in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)
    assert all(jittered(step, 1.0, seed=1) and not jittered(step, 0.0, seed=1) for step in range(200))


def learn_two_classes(folder, gain):
    """Table 12 as printed, both softmaxes and the head on the token, with this gain on the initial weights: accuracy
    on new images, and how far the two classes' tokens lie apart and scatter."""
    config = dataclasses.replace(TRAIN, steps=150, lr=2e-3, schedule="onecycle", checkpoint_every=150, log_every=50)
    model, _ = run(folder, config, changed_model(**{"prompt_mapper.gain": gain}))
    features, labels = two_categories(seed=0)
    rng = np.random.default_rng(9)
    new = features.array + 0.3 * torch.as_tensor(rng.normal(size=features.array.shape), dtype=torch.float32)
    with torch.no_grad():
        output = model(new)
    token = output.class_token
    between = (token[labels == 0].mean(0) - token[labels == 1].mean(0)).norm().item()
    within = max(token[labels == k].std(dim=0).norm().item() for k in (0, 1))
    return (output.class_logits.argmax(-1).numpy() == labels).mean(), between, within, output.query, labels


def test_class_tokens_part_with_the_fast_presets_initialisation(tmp_path):
    """Everything class-aware hangs on this."""
    fast = preset("fast").model.prompt_mapper
    assert (fast.class_encoder_softmax, fast.token_softmax, fast.head_input) == (True, True, "token")
    accuracy, between, within, query, labels = learn_two_classes(tmp_path, fast.gain)
    assert accuracy == 1.0 and between > 0.1 and between > 3 * within
    gap = (query[labels == 0].mean(0) - query[labels == 1].mean(0)).abs().mean()
    assert gap > 0.05 * query.std()


def test_class_tokens_coincide_with_the_default_initialisation(tmp_path):
    """Why the fast preset has a gain: with PyTorch's initial weights the same steps teach the token nothing."""
    assert PromptMapperConfig().gain == 1.0
    accuracy, between, _, _, _ = learn_two_classes(tmp_path, PromptMapperConfig().gain)
    assert accuracy < 0.75 and between < 0.05


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    features, labels = two_categories()

    class Spoiled(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Spoiled.calls += 1
            return super().gather(indices) * (float("nan") if Spoiled.calls > 7 else 1.0)

    config = dataclasses.replace(TRAIN, precision="bf16")
    with pytest.raises(TrainingError, match=r"not finite at step \d+.*step-00000006") as caught:
        run(tmp_path, config, features=Spoiled(features.array.numpy()), labels=labels)
    advice = re.findall(r"--set (\S+)", str(caught.value))  # can be followed: existing keys, allowed values
    changed = resolve_config(settings=advice)
    assert changed.train.lr < TRAIN.lr and changed.train.precision == "no"
    assert changed.model.prior.min_log_variance > MODEL.prior.min_log_variance
    assert "--overwrite" in str(caught.value) and "another --out" in str(caught.value)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in load_file(checkpoint.weights).values())


def test_resuming_with_another_length_or_model_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainingError, match="run of 14 steps, this one has 20"):
        run(tmp_path, dataclasses.replace(TRAIN, steps=20))
    with pytest.raises(TrainingError, match="does not fit the model"):
        run(tmp_path, model_config=dataclasses.replace(MODEL, ffn_dim=64))


def change_state(folder, **changes):
    """Change values of the newest checkpoint's state as the trainer would have written it."""
    file = latest_checkpoint(folder / "checkpoints").path / "state.json"
    file.write_text(json.dumps(sealed(json.loads(file.read_text()) | changes)))


def make_old(folder):
    """Leave the newest checkpoint as older versions wrote it."""
    file = latest_checkpoint(folder / "checkpoints").path / "state.json"
    state = json.loads(file.read_text())
    file.write_text(json.dumps({name: state[name] for name in ("step", "steps", "scaler", "seconds")}))


def test_weights_of_an_older_version_are_loaded(tmp_path):
    model, _ = run(tmp_path)
    make_old(tmp_path)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    tensors = load_file(checkpoint.weights)
    tensors["standardise.deviation_F"] = tensors.pop("standardise.std_F") * 2
    save_file(tensors, checkpoint.weights)
    other = fresh_model()
    load_weights(other, checkpoint)
    assert torch.equal(other.standardise.std_F, model.standardise.std_F * 2)
    assert torch.equal(other.output.weight, model.output.weight)


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def flip(file, place=-1, bit=3):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def rewrite(change):
    def damage(file):
        save_file({name: change(name, tensor) for name, tensor in load_file(file).items()}, file)

    return damage


def rename(file):
    file.parent.rename(file.parent.with_name("step-00000007"))


def scalars(name, tensor):
    return torch.zeros(1)


def late(name, tensor):
    return torch.tensor(1e6) if name.endswith(".step") else tensor


STATE, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", "optimizer.safetensors"
DAMAGE = {
    "weights cut": (WEIGHTS, cut),
    "weights gone": (WEIGHTS, os.unlink),
    "bit in the weights": (WEIGHTS, flip),
    "bit in the weights' header": (WEIGHTS, lambda file: flip(file, 40)),
    "weights in float16": (WEIGHTS, rewrite(lambda name, tensor: tensor.half())),
    "optimizer cut": (OPTIMIZER, cut),
    "optimizer gone": (OPTIMIZER, os.unlink),
    "bit in the optimizer": (OPTIMIZER, flip),
    "optimizer without tensors": (OPTIMIZER, lambda file: save_file({}, file)),
    "optimizer of another shape": (OPTIMIZER, rewrite(scalars)),
    "optimizer of a later step": (OPTIMIZER, rewrite(late)),
    "state cut": (STATE, cut),
    "state gone": (STATE, os.unlink),
    "state of another kind": (STATE, lambda file: file.write_text("[1]")),
    "state that is binary": (STATE, lambda file: file.write_bytes(b"\xff\xfe")),
    "state that is too deep": (STATE, lambda file: file.write_text("[" * 100_000)),
    "digit in the state": (STATE, lambda file: file.write_text(file.read_text().replace('"step": 6', '"step": 5'))),
    "bit in a digest": (STATE, lambda file: flip(file, -8)),
    "digest's name": (STATE, lambda file: file.write_text(file.read_text().replace('"digest"', '"digesu"'))),
    "folder renamed": (STATE, rename),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_the_name_of_its_file(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 7)
    file, damage = DAMAGE[name]
    damage(latest_checkpoint(tmp_path / "checkpoints").path / file)
    with pytest.raises(TrainingError, match="delete .*step-0000000[67]") as caught:
        run(tmp_path)
    assert Path(caught.value.path).name == file


@pytest.mark.parametrize(
    "name", ["optimizer without tensors", "optimizer of another shape", "optimizer of a later step"]
)
def test_an_optimizer_state_of_an_older_version_must_fit_too(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 7)
    make_old(tmp_path)
    file, damage = DAMAGE[name]
    damage(latest_checkpoint(tmp_path / "checkpoints").path / file)
    with pytest.raises(TrainingError, match="does not fit"):
        run(tmp_path)


def test_a_checkpoint_of_an_older_version_resumes_bit_for_bit(tmp_path):
    run(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "old", 7)
    make_old(tmp_path / "old")
    run(tmp_path / "old")
    expected, got = weights(tmp_path / "straight"), weights(tmp_path / "old")
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_an_older_sound_checkpoint_is_taken_instead_of_a_damaged_one(tmp_path, caplog):
    run(tmp_path / "straight")
    folder = tmp_path / "run/checkpoints"
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "run", 4)
    older = shutil.copytree(folder / "step-00000003", tmp_path / "older")
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "run", 4)
    shutil.copytree(older, folder / "step-00000003")
    flip(folder / "step-00000006" / WEIGHTS)
    with caplog.at_level(logging.INFO):
        run(tmp_path / "run")
    assert f"step-00000006/{WEIGHTS}: is damaged" in caplog.text and "resuming from" in caplog.text
    assert "step-00000003" in caplog.text
    expected, got = weights(tmp_path / "straight"), weights(tmp_path / "run")
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert [path.name for path in folder.iterdir()] == ["step-00000014"]


def test_what_a_kill_left_beside_the_newest_checkpoint_goes_on_resuming(tmp_path):
    run(tmp_path)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "step-00000014", folder / "step-00000012")
    (folder / ".step-00000014.123").mkdir()
    run(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["step-00000014"]


def test_what_a_kill_left_before_the_first_checkpoint_goes_before_the_training(tmp_path):
    (tmp_path / "checkpoints/.step-00000003.123").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 0)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    features, labels = two_categories()

    def train_as(**identity):
        rows = np.arange(len(features))
        train(fresh_model(), features, rows, labels, TRAIN, tmp_path, progress=False, identity=identity)

    train_as(seed=3, classes=["a", "b"])
    train_as(seed=3, classes=["a", "b"], added_later=1)
    for other in ({"seed": 4, "classes": ["a", "b"]}, {"seed": 3, "classes": ["b", "a"]}):
        with pytest.raises(TrainingError, match="belongs to another run"):
            train_as(**other)


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MintadError, match="checkpoints: is a link"):
        run(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("healthy", [0, 9, 16])  # calls of fsync before the disk fails; a checkpoint takes seven
def test_errors_that_the_disk_reports_stop_the_training_and_cost_no_checkpoint(tmp_path, monkeypatch, healthy):
    calls, fsync = itertools.count(), os.fsync

    def breaking(descriptor):
        if next(calls) >= healthy:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", breaking)
    with pytest.raises(OSError, match="Input/output"):
        run(tmp_path / "run")
    monkeypatch.setattr(os, "fsync", fsync)
    assert not list(tmp_path.rglob(".*"))  # half a checkpoint would take the space that the next one needs
    kept = latest_checkpoint(tmp_path / "run/checkpoints")
    assert (kept.step if kept else 0) == 3 * (healthy // 7)
    resumed, straight = run(tmp_path / "run")[0], run(tmp_path / "straight")[0]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), straight.parameters(), strict=True))


@pytest.mark.parametrize("content", [None, "", "step,lo", "step,loss\n2,"])
def test_a_lost_history_costs_the_curve_alone(tmp_path, content):
    run(tmp_path)
    change_state(tmp_path, seconds=7.0)
    history = tmp_path / "history.csv"
    history.unlink() if content is None else history.write_text(content)
    _, after = run(tmp_path)
    assert len(after) == 0 and latest_checkpoint(tmp_path / "checkpoints").state()["seconds"] == 7.0


def test_no_images_and_bad_precision_are_refused(tmp_path):
    features, labels = two_categories()
    with pytest.raises(TrainingError, match="no training images"):
        train(fresh_model(), features, np.array([], dtype=int), labels[:0], TRAIN, tmp_path)
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        make_accelerator(dataclasses.replace(TRAIN, precision="fp16"))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = fresh_model()
    with torch.no_grad():
        model.query_position.fill_(float("inf"))  # a sine of it is NaN
    features, labels = two_categories()
    config = dataclasses.replace(TRAIN, log_every=100, checkpoint_every=1)
    with pytest.raises(TrainingError, match="not finite at step 1.*no checkpoint yet"):
        train(model, features, np.arange(len(features)), labels, config, tmp_path, progress=False)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_devices_are_picked_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA device"):
            pick_device("cuda")


def test_seconds_are_summed_over_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 7)
    state = latest_checkpoint(tmp_path / "checkpoints").state()
    assert state["step"] == 6 and state["seconds"] > 0
    change_state(tmp_path, seconds=1000.0)
    _, history = run(tmp_path)
    assert 1000 < history["seconds"].iloc[-1] < 1060


def stop_at(folder, call):
    """Train until the user interrupts in that call for features."""
    features, labels = two_categories()

    class Interrupted(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Interrupted.calls += 1
            if Interrupted.calls > call:
                raise KeyboardInterrupt
            return super().gather(indices)

    run(folder, features=Interrupted(features.array.numpy()), labels=labels)


def test_bf16_on_the_cpu_trains(tmp_path):
    _, history = run(tmp_path, dataclasses.replace(TRAIN, precision="bf16", steps=4))
    assert np.isfinite(history["loss"]).all()


def test_batches_cover_every_epoch_once():
    config = TrainConfig(batch_size=8)
    labels = np.zeros(40, dtype=int)
    seen = np.concatenate([batch_rows(step, labels, config) for step in range(5)])
    assert sorted(seen) == list(range(40))
    assert not np.array_equal(seen, np.concatenate([batch_rows(step, labels, config) for step in range(5, 10)]))
    assert batch_shape(3, config) == (3, 1)
    assert batch_shape(45, config) == (8, 5)


def test_steps_follow_from_epochs():
    assert total_steps(3629, preset("paper").train) == 113_000  # MVTec AD: 113 batches of 32
    assert total_steps(40, TrainConfig(epochs=2.5, batch_size=8)) == 12


def test_schedules():
    paper = preset("paper").train
    assert learning_rate(0, 1000, paper) == learning_rate(799, 1000, paper) == 1e-4
    assert learning_rate(800, 1000, paper) == pytest.approx(1e-5)
    fast = dataclasses.replace(paper, schedule="onecycle", lr=1.0)
    rates = [learning_rate(step, 100, fast) for step in range(100)]
    assert rates[9] == rates[10] == 1.0 and max(rates) == 1.0 and rates[-1] < 0.01 and min(rates) > 0


def test_learns_to_tell_a_broken_pattern(tmp_path):
    config = dataclasses.replace(TRAIN, steps=200, lr=3e-3, schedule="onecycle", checkpoint_every=200, log_every=100)
    model, history = run(tmp_path, config)
    normal, _ = two_categories(seed=0)
    anomalous = normal.array.clone()
    anomalous[:, 5] = anomalous[:, 5].flip(-1) + 2.0
    normal_map, anomalous_map = model.anomaly_map(normal.array), model.anomaly_map(anomalous)
    assert (anomalous_map.flatten(1).argmax(1) == 5).float().mean() > 0.9
    assert anomalous_map.flatten(1).amax(1).min() > normal_map.flatten(1).amax(1).median()
    assert GRID == normal_map.shape[1:]

"""Training: determinism, crash and resume, several processes, errors, and a class token that really tells classes
apart."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from synthetic import GRID, MODEL, TRAIN, ArrayFeatures, fresh_model, two_categories

from mintad.config import TrainConfig, preset
from mintad.errors import TrainingError
from mintad.training import latest_checkpoint, train
from mintad.training.loop import batch_rows, batch_shape, learning_rate, make_accelerator, total_steps

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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    finished = worker(folder)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.mark.parametrize(
    "options", [("--kill-at", "2"), ("--kill-at", "11"), ("--kill-saving", "9"), ("--kill-saving", "14")]
)
def test_killed_and_resumed_is_bit_identical(uninterrupted, tmp_path, options):
    killed = worker(tmp_path, *options)
    assert killed.returncode == -signal.SIGKILL
    resumed = worker(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    expected, got = weights(uninterrupted), weights(tmp_path)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    losses = ["step", "loss", "mse", "ce", "prior"]
    expected_history, history = (pd.read_csv(folder / "history.csv")[losses] for folder in (uninterrupted, tmp_path))
    pd.testing.assert_frame_equal(expected_history, history)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000014"]  # no leftovers


def test_two_processes_give_the_single_process_result(tmp_path):
    """Two gloo processes share each batch. Dropout off: its masks are drawn per process. Tolerance 2e-4 on every
    weight (the learning rate is 1e-3): sums in another order. Left out are the biases of attention keys: softmax
    cancels them, their gradient is rounding noise alone, and AdamW scales noise up to full steps."""
    single = worker(tmp_path / "one", "--dropout", "0")
    assert single.returncode == 0, single.stderr
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    double = worker(tmp_path / "two", "--dropout", "0", launcher=launcher)
    assert double.returncode == 0, double.stderr
    expected, got = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in [name for name in expected if not name.endswith("key.bias")]:
        torch.testing.assert_close(
            got[name], expected[name], rtol=0, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_class_tokens_of_two_categories_do_not_coincide(tmp_path):
    """Everything class-aware hangs on this. Table 12's two softmaxes with default initialisation fail it."""
    config = dataclasses.replace(TRAIN, steps=150, lr=2e-3, schedule="onecycle", checkpoint_every=150, log_every=50)
    fast = preset("fast").model
    names = ("class_encoder_softmax", "token_softmax", "head_reads", "prompt_mapper_gain")
    as_fast = dataclasses.replace(MODEL, **{name: getattr(fast, name) for name in names})
    model, history = run(tmp_path / "fast", config, as_fast)
    test_features, test_labels = two_categories(seed=9)
    features, labels = two_categories()
    output = model(features.gather(range(len(features))))
    token = output.class_token
    between = (token[labels == 0].mean(0) - token[labels == 1].mean(0)).norm()
    within = max(token[labels == k].std(dim=0).norm() for k in (0, 1))
    assert (output.class_logits.argmax(-1).numpy() == labels).mean() == 1.0
    assert between > 0.1 and between > 3 * within
    query_gap = (output.query[labels == 0].mean(0) - output.query[labels == 1].mean(0)).abs().mean()
    assert query_gap > 0.05 * output.query.std()
    assert history["accuracy"].iloc[-1] == 1.0


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    features, labels = two_categories()

    class Spoiled(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Spoiled.calls += 1
            return super().gather(indices) * (float("nan") if Spoiled.calls > 7 else 1.0)

    with pytest.raises(TrainingError, match=r"not finite at step \d+.*step-00000006.*is kept"):
        run(tmp_path, features=Spoiled(features.array.numpy()), labels=labels)
    checkpoint = latest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in load_file(checkpoint.weights).values())


def test_resuming_with_another_length_or_model_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainingError, match="run of 14 steps, this one has 20"):
        run(tmp_path, dataclasses.replace(TRAIN, steps=20))
    with pytest.raises(TrainingError, match="does not fit the model"):
        run(tmp_path, model_config=dataclasses.replace(MODEL, ffn=64))


def test_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path)
    file = latest_checkpoint(tmp_path / "checkpoints").weights
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="model.safetensors cannot be read.*delete"):
        run(tmp_path)


def test_no_images_and_bad_devices_are_refused(tmp_path):
    features, labels = two_categories()
    with pytest.raises(TrainingError, match="no training images"):
        train(fresh_model(), features, np.array([], dtype=int), labels[:0], TRAIN, tmp_path)
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        make_accelerator(dataclasses.replace(TRAIN, precision="fp16"))
    with pytest.raises(TrainingError, match="auto, cpu or cuda"):
        make_accelerator(dataclasses.replace(TRAIN, device="gpu"))


def test_bf16_on_the_cpu_trains(tmp_path):
    _, history = run(tmp_path, dataclasses.replace(TRAIN, precision="bf16", steps=4))
    assert np.isfinite(history["loss"]).all()


def test_batches_cover_every_epoch_once():
    config = TrainConfig(batch_size=8)
    seen = np.concatenate([batch_rows(step, 40, config) for step in range(5)])
    assert sorted(seen) == list(range(40))
    assert not np.array_equal(seen, np.concatenate([batch_rows(step, 40, config) for step in range(5, 10)]))
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

"""The same seed gives the same weights, also resumed and in several processes; resuming adds up the seconds."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import TOGETHER, TRAIN, changed_model
from training_builders import run, stop_at, weights

from mintad.disk import sealed
from mintad.training import latest_checkpoint

WORKER = Path(__file__).with_name("synthetic.py")


def worker(folder, *options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), str(folder), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


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
    """Two gloo processes share each batch, its noise, and the decision to jitter it. Tolerance 2e-4 on every weight
    (the learning rate is 1e-3): sums in another order. Left out are the biases of attention keys: softmax cancels them,
    their gradient is rounding noise alone, and AdamW scales noise up to full steps."""
    run(tmp_path / "one", model_config=changed_model(**TOGETHER))
    double = worker(tmp_path / "two", "--together")
    assert double.returncode == 0, double.stderr
    assert double.stdout.count("patience in hours: 12.0") == 2  # the first process may extract features for long
    expected, got = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in [name for name in expected if not name.endswith("key.bias")]:
        torch.testing.assert_close(
            got[name], expected[name], rtol=0, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def change_state(folder, **changes):
    """Change values of the newest checkpoint's state as the trainer would have written it."""
    file = latest_checkpoint(folder / "checkpoints").path / "state.json"
    file.write_text(json.dumps(sealed(json.loads(file.read_text()) | changes)))


@pytest.mark.parametrize("content", [None, "", "step,lo", "step,loss\n2,"])
def test_a_lost_history_costs_the_curve_alone(tmp_path, content):
    run(tmp_path)
    change_state(tmp_path, seconds=7.0)
    history = tmp_path / "history.csv"
    history.unlink() if content is None else history.write_text(content)
    _, after = run(tmp_path)
    assert len(after) == 0 and latest_checkpoint(tmp_path / "checkpoints").state()["seconds"] == 7.0


def test_seconds_are_summed_over_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path, 7)
    state = latest_checkpoint(tmp_path / "checkpoints").state()
    assert state["step"] == 6 and state["seconds"] > 0
    change_state(tmp_path, seconds=1000.0)
    _, history = run(tmp_path)
    assert 1000 < history["seconds"].iloc[-1] < 1060

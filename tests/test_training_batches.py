"""Batches, their jitter, the number of steps and the schedule of the learning rate."""

import dataclasses

import numpy as np
import pytest

from mintad.config import TrainConfig, preset
from mintad.training.batches import batch_rows, jittered
from mintad.training.schedule import batch_shape, learning_rate, total_steps


def test_a_share_of_the_batches_is_jittered():
    share = np.mean([jittered(step, 0.3, seed=1) for step in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)
    assert all(jittered(step, 1.0, seed=1) and not jittered(step, 0.0, seed=1) for step in range(200))


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

"""Balance: what an epoch draws of uneven classes, and what an image weighs in the cross-entropy."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CHANNELS, GRID, TRAIN, ArrayFeatures, changed_model, fresh_model, two_categories

from mintad.config import TrainConfig, preset
from mintad.model.losses import cross_entropy
from mintad.training import train
from mintad.training.batches import batch_rows
from mintad.training.sampling import EXPONENT, class_draws, class_weights, epoch_order

counts = st.lists(st.integers(1, 60), min_size=1, max_size=8)
ways = st.sampled_from(sorted(EXPONENT))
few = settings(max_examples=40, deadline=None)


def labels_of(counts_N, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts_N)), counts_N))


@few
@given(counts, ways)
def test_a_class_fills_its_share_of_an_epoch(counts_N, way):
    draws_N = class_draws(np.array(counts_N), way)
    power = {"uniform": 1, "sqrt": 0.5, "balanced": 0}[way]
    share_N = np.array([n**power for n in counts_N]) / sum(n**power for n in counts_N)
    assert draws_N.sum() == sum(counts_N) and draws_N.min() >= 1
    assert np.abs(draws_N - share_N * sum(counts_N)).max() < 1 + 1e-6


@few
@given(counts, ways, st.integers(0, 5), st.integers(1, 4))
def test_images_of_a_class_take_turns_through_the_epochs(counts_N, way, seed, epochs):
    labels_n = labels_of(counts_N)
    orders = [epoch_order(labels_n, way, seed, epoch) for epoch in range(epochs)]
    draws_N = class_draws(np.array(counts_N), way)
    for order in orders:
        assert np.array_equal(np.bincount(labels_n[order], minlength=len(counts_N)), draws_N)
    seen_n = np.bincount(np.concatenate(orders), minlength=len(labels_n))
    assert all(np.ptp(seen_n[labels_n == label]) <= 1 for label in range(len(counts_N)))


@few
@given(counts, st.integers(0, 5), st.integers(0, 5))
def test_uniform_and_even_classes_draw_every_image_once_in_the_order_of_the_seed(counts_N, seed, epoch):
    labels_n = labels_of(counts_N)
    expected = np.random.default_rng([seed, epoch]).permutation(len(labels_n))
    assert np.array_equal(epoch_order(labels_n, "uniform", seed, epoch), expected)
    even = labels_of([7] * len(counts_N))
    expected = np.random.default_rng([seed, epoch]).permutation(len(even))
    assert all(np.array_equal(epoch_order(even, way, seed, epoch), expected) for way in EXPONENT)


def test_every_batch_holds_each_class_alike():
    labels_n, config = labels_of([200, 40, 10]), TrainConfig(batch_size=30, sampling="balanced")
    batches = [np.bincount(labels_n[batch_rows(step, labels_n, config)], minlength=3) for step in range(40)]
    assert np.abs(np.array(batches) - 10).max() <= 2
    assert np.array_equal(batch_rows(17, labels_n, config), batch_rows(17, labels_n, config))
    other = dataclasses.replace(config, seed=1)
    assert not np.array_equal(batch_rows(17, labels_n, config), batch_rows(17, labels_n, other))


@few
@given(counts, ways)
def test_weights_have_a_mean_of_one_over_the_images(counts_N, way):
    weight_N = class_weights(np.array(counts_N), way)
    assert np.average(weight_N, weights=counts_N) == pytest.approx(1)
    power = {"uniform": 0, "sqrt": -0.5, "balanced": -1}[way]
    assert weight_N / weight_N[0] == pytest.approx([(n / counts_N[0]) ** power for n in counts_N])


def test_weighted_cross_entropy_is_a_mean_over_images_that_processes_can_share():
    torch.manual_seed(0)
    logits_BN, labels_B, weight_N = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1]), torch.tensor([0.5, 1.5, 2.0])
    naive = sum(-logits_BN.softmax(-1)[n, k].log() * weight_N[k] for n, k in enumerate(labels_B)) / 6
    whole = cross_entropy(logits_BN, labels_B, weight_N)
    halves = [cross_entropy(logits_BN[half], labels_B[half], weight_N) for half in (slice(3), slice(3, 6))]
    assert torch.allclose(whole, naive) and torch.allclose(whole, sum(halves) / 2)
    assert torch.equal(cross_entropy(logits_BN, labels_B), torch.nn.functional.cross_entropy(logits_BN, labels_B))


def learn_uneven(folder, sampling):
    """Train on classes of 120, 60, 60 and 3 images, the last like the first but for a difference of 0.6 of its size:
    share of the images of each that the head has right, and how far the tokens of the first and the last lie apart."""
    rng, counts_N = np.random.default_rng(0), (120, 60, 60, 3)
    patterns = rng.normal(size=(4, GRID[0] * GRID[1], CHANNELS))
    patterns[3] = patterns[0] + 0.6 * patterns[3]
    labels_n = np.repeat(np.arange(4), counts_N)
    features = ArrayFeatures(patterns[labels_n] + 0.3 * rng.normal(size=(len(labels_n), *patterns.shape[1:])))
    fast = preset("fast")
    config = dataclasses.replace(fast.train, steps=50, batch_size=8, seed=2, sampling=sampling, device="cpu")
    gain = fast.model.prompt_mapper.gain
    model = fresh_model(changed_model(**{"prompt_mapper.gain": gain}), seed=2, classes=4)
    train(model, features, np.arange(len(labels_n)), labels_n, config, folder, progress=False)
    with torch.no_grad():
        output = model(features.array)
    right_n, token_nT = output.class_logits.argmax(-1).numpy() == labels_n, output.class_token
    apart = (token_nT[labels_n == 0].mean(0) - token_nT[labels_n == 3].mean(0)).norm().item()
    return [right_n[labels_n == label].mean() for label in range(4)], apart


def test_the_smallest_class_is_lost_in_uniform_batches(tmp_path):
    """Why the fast preset balances: the small class takes the large one's token, and saturated softmaxes keep it."""
    right_N, apart = learn_uneven(tmp_path, "uniform")
    assert right_N == [1, 1, 1, 0] and apart < 0.2


def test_the_fast_preset_keeps_the_smallest_class(tmp_path):
    right_N, apart = learn_uneven(tmp_path, preset("fast").train.sampling)
    assert right_N == [1, 1, 1, 1] and apart > 0.5


def test_an_interrupted_balanced_run_is_resumed_bit_for_bit(tmp_path):
    features, labels = two_categories()
    rows, labels = np.arange(30), labels[9:39]  # 15 of each, then 15 and 5
    rows, labels = rows[:20], labels[:20]
    config = dataclasses.replace(TRAIN, sampling="balanced", ce_weights="sqrt")

    class Interrupted(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Interrupted.calls += 1
            if Interrupted.calls == 8:
                raise KeyboardInterrupt
            return super().gather(indices)

    with pytest.raises(KeyboardInterrupt):
        broken = Interrupted(features.array.numpy())
        train(fresh_model(), broken, rows, labels, config, tmp_path / "broken", progress=False)
    models = [fresh_model(), fresh_model(), fresh_model()]
    folders = ("broken", "straight", "uniform")
    configs = (config, config, TRAIN)
    for model, folder, each in zip(models, folders, configs, strict=True):
        train(model, features, rows, labels, each, tmp_path / folder, progress=False)
    resumed, straight, uniform = (model.state_dict() for model in models)
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    assert not all(torch.equal(straight[name], uniform[name]) for name in straight)

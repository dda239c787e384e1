"""Models that are given a class, right or wrong: nothing else changes, and the measures are what their names say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from synthetic import CHANNELS, GRID, TRAIN, changed_model, fresh_model, two_categories

from mintad.course.checks import queries as checks
from mintad.course.lab import assumed_class
from mintad.errors import ConfigError
from mintad.training import train

TOKENS = GRID[0] * GRID[1]


def variant(name, **changes):
    model = fresh_model(changed_model(variant=name, **changes))
    if name == "text_prompt":
        model.text_NE.normal_()
    return model.eval()


@pytest.mark.parametrize("name", ["query_pool", "class_token", "text_prompt", "label_prompt"])
def test_an_assumed_class_is_the_label_of_a_model_that_needs_one(name):
    model, feat, labels = variant(name), torch.randn(3, TOKENS, CHANNELS), torch.tensor([0, 1, 1])
    torch.testing.assert_close(
        assumed_class.with_class(model, feat, labels).reconstruction, model(feat, labels_B=labels).reconstruction
    )


@pytest.mark.parametrize("name", ["mint_ad", "image_prompt", "mlp_query"])
def test_a_models_own_token_given_back_changes_nothing_and_another_does(name):
    model, feat = variant(name), torch.randn(2, TOKENS, CHANNELS)
    with torch.no_grad():
        usual = model(feat)
    back = assumed_class.with_class(model, feat, torch.tensor([0, 1]), usual.class_token)
    torch.testing.assert_close(back.reconstruction, usual.reconstruction)
    torch.testing.assert_close(back.token_error, usual.token_error)
    other = assumed_class.with_class(model, feat, torch.tensor([1, 1]), usual.class_token).reconstruction
    assert (other[0] - usual.reconstruction[0]).abs().max() > 1e-6
    torch.testing.assert_close(other[1], usual.reconstruction[1])


def test_mean_tokens_are_the_means_of_each_class():
    model, feat = variant("mint_ad"), torch.randn(4, TOKENS, CHANNELS)
    tokens = assumed_class.mean_tokens(model, feat, torch.tensor([1, 0, 1, 1]), 2)
    with torch.no_grad():
        own = model(feat).class_token
    torch.testing.assert_close(tokens, torch.stack([own[1], own[[0, 2, 3]].mean(0)]))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("uniad", {}, "uniad"),
        ("mint_ad", {"class_query": False}, "mint_ad"),
        ("mint_ad", {}, "mean_tokens"),
    ],
)
def test_a_model_that_cannot_be_given_a_class_says_so(name, changes, message):
    with pytest.raises(ConfigError, match=message):
        assumed_class.with_class(variant(name, **changes), torch.randn(1, TOKENS, CHANNELS), torch.tensor([0]))


def test_each_class_is_assumed_in_turn_and_sorted_by_the_true_one():
    model, feat, labels = variant("query_pool"), torch.randn(3, TOKENS, CHANNELS), torch.tensor([1, 0, 1])
    reconstruction, errors = assumed_class.with_each_class(model, feat, 2)
    for k in (0, 1):
        with torch.no_grad():
            expected = model(feat, labels_B=torch.full((3,), k))
        torch.testing.assert_close(reconstruction[k], expected.reconstruction)
        torch.testing.assert_close(errors[k], expected.token_error)
    values = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    torch.testing.assert_close(
        assumed_class.mean_by_true_class(values, labels), torch.tensor([[2.0, 20.0], [2.0, 20.0]])
    )


def test_the_pull_agrees_with_the_exercise_and_is_0_for_the_true_class():
    reconstruction, labels = torch.randn(3, 4, TOKENS, CHANNELS), torch.tensor([2, 0, 1, 2])
    means = torch.randn(3, TOKENS, CHANNELS)
    pulled = assumed_class.pull(reconstruction, labels, means)
    for b, own in enumerate(labels.tolist()):
        assert pulled[own, b] == 0
        for k in {0, 1, 2} - {own}:
            expected = checks.reference_pull(reconstruction[k, b], reconstruction[own, b], means[k], means[own])
            assert pulled[k, b].item() == pytest.approx(expected, abs=1e-5)


def test_a_trained_query_pool_reconstructs_better_with_the_true_class_and_is_pulled_by_the_wrong_one(tmp_path):
    features, labels = two_categories()
    model = variant("query_pool")
    config = dataclasses.replace(TRAIN, steps=60, lr=1e-2, checkpoint_every=60)
    train(model, features, np.arange(len(labels)), labels, config, tmp_path)
    model.eval()
    feat, labels = features.array, torch.as_tensor(labels)
    reconstruction, errors = assumed_class.with_each_class(model, feat, 2)
    table = assumed_class.mean_by_true_class(errors.mean(2), labels)
    assert table[0, 0] < table[0, 1] and table[1, 1] < table[1, 0]
    means = torch.stack([model.standardise(feat)[labels == k].mean(0) for k in (0, 1)])
    pulled = assumed_class.mean_by_true_class(assumed_class.pull(reconstruction, labels, means), labels)
    assert pulled[0, 1] > 0.05 and pulled[1, 0] > 0.05

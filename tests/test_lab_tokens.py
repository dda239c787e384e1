"""What is read off tokens must be there, and nothing must be read where nothing is."""

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import MODEL, TRAIN, fresh_model, two_categories

from mintad.config import Config
from mintad.course.lab.tokens import (
    angle_probe,
    closest_means,
    cluster_agreement,
    evenness,
    largest_share,
    linear_probe,
    mapper_steps,
    train_mapper,
    within_and_between,
)
from mintad.model.prompt_mapper import PromptMapper
from mintad.plots.queries import token_tables
from mintad.runs.prepare import PreparedData


def clouds(gap, n=40, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat(["a", "b"], n)
    return rng.normal(size=(2 * n, 5)) + gap * (names == "b")[:, None], names


def test_distances_leave_out_the_token_itself():
    within, between = within_and_between([[0.0], [2.0], [10.0], [12.0]], ["x", "x", "y", "y"])
    assert within == 2 and between == 10


def test_closest_means_takes_the_closest_pair():
    tokens, names = [[0, 0], [2, 0], [1, 3], [1, 3], [50, 0]], ["a", "a", "b", "b", "c"]
    assert closest_means(tokens, names) == 3


def test_clusters_agree_where_there_are_some():
    assert cluster_agreement(*clouds(8)) == 1 and abs(cluster_agreement(*clouds(0))) < 0.15


def test_probe_finds_a_small_direction_and_invents_none():
    values, names = clouds(0, n=100)
    assert linear_probe(values, names) < 0.65 and largest_share(names) == 0.5
    hidden = np.column_stack([values * 100, 1e-4 * (names == "b") + 1e-5 * np.random.default_rng(1).normal(size=200)])
    assert cluster_agreement(hidden, names) < 0.1 and linear_probe(hidden, names) > 0.95


def test_angle_probe_knows_the_symmetry():
    rng = np.random.default_rng(0)
    degrees = rng.uniform(-180, 180, 120)
    values = np.column_stack([np.cos(4 * np.radians(degrees)), np.sin(4 * np.radians(degrees)), rng.normal(size=120)])
    assert angle_probe(values, degrees, 4) > 0.95 and angle_probe(values, degrees, 1) < 0.1
    assert angle_probe(rng.normal(size=(120, 5)), degrees, 4) < 0.1


def test_evenness_is_one_for_uniform_and_none_for_one_hot():
    assert evenness(torch.full((2, 3, 8), 1 / 8)) == pytest.approx(1)
    assert evenness(torch.eye(4)) == pytest.approx(0)


def test_mapper_learns_and_the_transformer_stays():
    features, labels = two_categories()
    rows = np.arange(len(features))
    records = pd.DataFrame({"prompt_class": np.array(["a", "b"])[labels]})
    prepared = PreparedData(records, None, features, rows, rows[:0], ["a", "b"])
    model = fresh_model(MODEL)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    curve = train_mapper(model, prepared, Config(train=TRAIN), steps=60)
    assert curve.loss.shape == curve.accuracy.shape == (60,)
    assert curve.loss[0] == pytest.approx(np.log(2), abs=0.1) and curve.accuracy[-5:].mean() == 1
    changed = {name.split(".")[0] for name, weight in model.state_dict().items() if not weight.equal(before[name])}
    assert changed == {"adapter", "prompt_mapper"}


def test_tables_name_rows_once_and_keep_values():
    figure = token_tables({"one": (np.eye(3), ["x", "x", "y"]), "<two>": (np.ones((2, 4)), ["a", "b"])}, title="found")
    assert list(figure.layout.yaxis.ticktext) == ["x", "y"] and list(figure.layout.yaxis.tickvals) == [0, 2]
    assert figure.data[0].z.tolist() == np.eye(3).tolist() and figure.data[1].z.shape == (2, 4)
    assert "&lt;two&gt; (1.00 to 1.00)" in [note.text for note in figure.layout.annotations]


@pytest.mark.parametrize("classes", [0, 4])
def test_the_steps_of_a_mapper_are_those_of_table_12(classes):
    torch.manual_seed(0)
    mapper, adapted_BLD = PromptMapper(tokens=6, width=5, classes=classes), torch.randn(3, 6, 5)
    steps = mapper_steps(mapper, adapted_BLD)
    assert torch.equal(steps.by_channel, adapted_BLD.transpose(1, 2))
    assert torch.equal(steps.patterns, mapper.class_encoder(steps.by_channel).softmax(-1))
    assert torch.equal(steps.side_by_side, steps.patterns.flatten(1))
    assert torch.equal(steps.token, mapper.channel_encoder(steps.side_by_side).softmax(-1))
    assert (steps.logits is None) if not classes else torch.equal(steps.logits, mapper.head(steps.token))
    steps.token[:, 0].sum().backward()
    assert mapper.class_encoder[0].weight.grad.abs().sum() > 0
    assert not mapper.class_encoder._forward_pre_hooks and not mapper.channel_encoder._forward_pre_hooks

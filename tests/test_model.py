"""The model: shapes, gradients, exact parameter counts, and every equation against a naive loop."""

from typing import Annotated

import pytest
import torch
from annotated_types import Gt
from model_builders import small_model

from mintad.config import Float, ModelConfig, TrainConfig, preset, section
from mintad.config.sections import JitterConfig
from mintad.errors import ConfigError
from mintad.model import VARIANTS, UniAD, build_model, require_variant, variant
from mintad.model.complexity import describe
from mintad.model.jitter import FeatureJitter
from mintad.model.losses import compute_losses
from mintad.model.reconstruction import Standardise
from mintad.model.transformer import neighbour_mask


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_paper():
    model = build_model(preset("paper").model, channels=272, grid=(14, 14), classes=15)
    assert count(model.inr) == 602_368  # Table 9: 0.602 M
    assert count(model.distribution_decoder) == 263_168
    assert count(model.prompt_mapper) == 2_296_367
    assert count(model.transformer.encoder[0]) == 789_760
    assert count(model.transformer.decoder[0]) == 1_053_440
    assert len(model.transformer.encoder) == len(model.transformer.decoder) == 4


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("jitter_at", ["feature", "adapted"])
def test_shapes_finite_and_gradients(variant, jitter_at):
    model = small_model(variant, jitter=JitterConfig(at=jitter_at)).train()
    if variant == "text_prompt":
        model.text_NE.normal_()
    feat, labels = torch.randn(5, 16, 12), torch.tensor([0, 1, 2, 0, 1])
    output = model(feat, labels_B=labels if model.needs_labels else None)
    assert output.reconstruction.shape == output.target.shape == (5, 16, 12)
    if variant in ("mint_ad", "image_prompt", "label_prompt"):
        assert output.query.shape == output.mean.shape == output.log_variance.shape == (5, 16, 32)
    if variant in ("mint_ad", "mlp_query"):
        assert output.class_token.shape == (5, 8) and output.class_logits.shape == (5, 3)
    else:
        assert output.class_logits is None
    losses = compute_losses(output, labels, TrainConfig())
    losses.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), name
    assert model.eval().anomaly_map(feat, labels.numpy() if model.needs_labels else None).shape == (5, 4, 4)


def test_non_square_grid_is_row_major():
    model = small_model(grid=(3, 5)).eval()
    maps = model.anomaly_map(torch.randn(2, 15, 12))
    assert maps.shape == (2, 3, 5)
    position = model.transformer.position
    embedding = position()
    assert torch.equal(embedding[7], torch.cat([position.column[2], position.row[1]]))  # token 7 = row 1, column 2


def test_anomaly_score_is_equation_7():
    model = small_model().eval()
    feat = torch.randn(2, 16, 12)
    output = model(feat)
    expected = (output.target - output.reconstruction).norm(dim=-1).square().view(2, 4, 4)
    torch.testing.assert_close(model.anomaly_map(feat), expected)


def test_jitter_scale_and_clean_target():
    jitter = FeatureJitter(20.0).train()
    tokens, noise = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    noisy = jitter(tokens, noise)
    for b in range(2):
        for n in range(3):
            deviation = tokens[b, n].norm() * 20 / 7
            torch.testing.assert_close(noisy[b, n], tokens[b, n] + deviation * noise[b, n])
    assert torch.equal(jitter.eval()(tokens), tokens)
    assert torch.equal(FeatureJitter(20.0, probability=0.0).train()(tokens), tokens)
    model, feat = small_model().train(), torch.randn(2, 16, 12)
    assert torch.equal(model(feat).target, feat)  # the target stays clean


def test_evaluation_is_deterministic_and_independent_of_the_batch():
    model, feat = small_model().eval(), torch.randn(4, 16, 12)
    torch.testing.assert_close(model.anomaly_map(feat)[:1], model.anomaly_map(feat[:1]), rtol=1e-5, atol=1e-5)
    assert torch.equal(model.anomaly_map(feat), model.anomaly_map(feat))


def test_uniad_has_the_papers_mask_and_one_query_per_layer():
    model = build_model(ModelConfig(variant="uniad"), channels=8, grid=(14, 14), classes=1)
    assert torch.equal(model.transformer.mask_LL, neighbour_mask((14, 14), 7))
    assert len(model.queries) == 4 and not torch.equal(model.queries[0], model.queries[1])
    assert build_model(ModelConfig(), channels=8, grid=(14, 14), classes=1).transformer.mask_LL is None
    assert "transformer.mask_LL" not in model.state_dict()


def test_mask_that_blinds_a_token_is_refused():
    with pytest.raises(ConfigError, match="neighbour_mask.*covers the whole 5x5 grid"):
        build_model(ModelConfig(neighbour_mask=5), channels=8, grid=(5, 5), classes=2)


def test_unknown_variant_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'uniad'"):
        build_model(ModelConfig(variant="unaid"), channels=8, grid=(5, 5), classes=2)
    with pytest.raises(ConfigError, match="Did you mean 'uniad'"):
        require_variant(ModelConfig(variant="unaid"))


@pytest.mark.parametrize(
    ("variant", "options", "names"),
    [
        ("mlp_query", {"hiden": 8}, "model.options.hiden.*'hidden'"),
        ("mlp_query", {"hidden": 0}, "model.options.hidden"),
        ("text_prompt", {"encoder": "clap"}, "model.options.encoder.*'clip'"),
        ("uniad", {"hidden": 8}, "uniad.*hidden"),
    ],
)
def test_options_are_checked_by_the_variant(variant, options, names):
    with pytest.raises(ConfigError, match=names):
        require_variant(ModelConfig(variant=variant, options=options))


def test_a_variant_from_outside_the_package_has_options_too():
    class Scaled(UniAD):
        @section("model.options")
        class Options:
            scale: Annotated[Float, Gt(0)] = 2.0
            """How much larger the target is."""

        def embed(self, feat_BLF):
            return super().embed(feat_BLF * self.options.scale)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VARIANTS, "_entries", dict(VARIANTS))
        variant("scaled")(Scaled)
        model = small_model("scaled", options={"scale": 3}).eval()
        assert torch.equal(model(torch.ones(1, 16, 12)).target, torch.full((1, 16, 12), 3.0))
        with pytest.raises(ConfigError, match="Did you mean 'scale'"):
            small_model("scaled", options={"skale": 3})
    assert "scaled" not in VARIANTS


def test_a_given_token_takes_the_place_of_the_predicted_one():
    model, feat = small_model().eval(), torch.randn(2, 16, 12)
    usual, other = model(feat), torch.eye(8)[:2]
    assert torch.equal(model(feat, token=usual.class_token).reconstruction, usual.reconstruction)
    output = model(feat, token=other)
    assert torch.equal(output.query, model.class_aware_query(other)) and output.class_logits is None


def test_every_part_with_parameters_is_counted():
    backbone = torch.nn.Conv2d(3, 12, 1)
    backbone.image_size = 4
    backbone.forward = lambda image: torch.nn.Conv2d.forward(backbone, image).flatten(2).transpose(1, 2)
    counts = describe(backbone, small_model("class_token"))
    assert counts["class_tokens"] == 3 * 32 and counts["queries"] == 2 * 17 * 32
    assert counts["total"] == counts["total_with_backbone"] - 48 == count(small_model("class_token"))
    assert counts["macs"]["adapter"] == 16 * 12 * 32


def test_standardise():
    module = Standardise(3)
    tokens = torch.randn(10, 4, 3) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor([0.0, 2.0, 7.0])
    assert torch.equal(module(tokens), tokens)  # the identity until fitted
    module.fit(tokens.split(3))
    scaled = module(tokens).flatten(0, 1)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-4, rtol=0)
    fresh = Standardise(3)
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(tokens), module(tokens))


def test_autocast_leaves_token_query_and_prior_in_float32():
    model = small_model().eval()
    feat = torch.randn(3, 16, 12)
    types = {}
    for name in ("adapter", "transformer.encoder.0.ffn.0", "inr.synthesis_network.0", "prompt_mapper.head"):
        hook = lambda module, inputs, output, name=name: types.update({name: output.dtype})  # noqa: E731
        model.get_submodule(name).register_forward_hook(hook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(feat)
        adapted = model.adapter(feat)
    assert types["adapter"] == types["transformer.encoder.0.ffn.0"] == torch.bfloat16
    assert types["inr.synthesis_network.0"] == types["prompt_mapper.head"] == torch.float32
    token, logits = model.prompt_mapper(adapted.float())
    query = model.inr(model.query_position, token)
    mean, log_variance = model.distribution_decoder(query)
    expected = {
        "class_token": token,
        "class_logits": logits,
        "query": query,
        "mean": mean,
        "log_variance": log_variance,
    }
    for name, value in expected.items():
        assert torch.equal(getattr(output, name), value), name

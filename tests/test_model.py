"""The model: shapes, gradients, exact parameter counts, and every equation against a naive loop."""

import dataclasses
import math
from typing import Annotated

import pytest
import torch
from annotated_types import Gt

from mintad.config import Float, INRConfig, ModelConfig, PromptMapperConfig, TrainConfig, preset, section
from mintad.config.sections import JitterConfig
from mintad.errors import ConfigError
from mintad.model import VARIANTS, UniAD, build_model, require_variant, variant
from mintad.model.complexity import describe
from mintad.model.inr import INR
from mintad.model.jitter import FeatureJitter
from mintad.model.losses import compute_losses, reduce
from mintad.model.prior import DistributionDecoder, gaussian_nll
from mintad.model.prompt_mapper import PromptMapper
from mintad.model.reconstruction import Output, Standardise
from mintad.model.transformer import Attention, DecoderLayer, EncoderLayer, Transformer, neighbour_mask

SMALL = ModelConfig(
    width=32,
    heads=4,
    ffn_dim=64,
    encoder_layers=1,
    decoder_layers=2,
    prompt_mapper=PromptMapperConfig(token_width=8, hidden=16),
    inr=INRConfig(hidden=16),
)


def small_model(variant="mint_ad", grid=(4, 4), **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, variant=variant, **changes)
    return build_model(config, channels=12, grid=grid, classes=3)


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


def test_inr_equals_equation_8_token_by_token():
    torch.manual_seed(1)
    inr = INR(6, token_width=4, hidden=5, layers=2, omega=30.0)
    positions, tokens = torch.randn(3, 3), torch.randn(2, 4)
    query = inr(positions, tokens)
    for b in range(2):
        for n in range(3):
            h, alpha = positions[n], torch.cat([positions[n], tokens[b]])
            for i in range(3):
                synthesis, modulation = inr.synthesis_network[i], inr.modulation_network[i]
                alpha = torch.clamp(modulation.weight @ alpha + modulation.bias, min=0)
                frequency = 30.0 if i == 0 else 1.0
                h = alpha * torch.sin(frequency * (synthesis.weight @ h + synthesis.bias))
            expected = inr.output.weight @ h + inr.output.bias
            torch.testing.assert_close(query[b, n], expected, rtol=1e-4, atol=1e-5)


def test_inr_equation_9_feeds_the_token_to_every_layer():
    torch.manual_seed(1)
    inr = INR(6, token_width=4, hidden=5, layers=2, modulator_skip=True)
    positions, token = torch.randn(3, 3), torch.randn(1, 4)
    h, alpha = positions[0], positions[0]
    for i in range(3):
        synthesis, modulation = inr.synthesis_network[i], inr.modulation_network[i]
        alpha = torch.clamp(modulation.weight @ torch.cat([alpha, token[0]]) + modulation.bias, min=0)
        h = alpha * torch.sin((30.0 if i == 0 else 1.0) * (synthesis.weight @ h + synthesis.bias))
    torch.testing.assert_close(inr(positions, token)[0, 0], inr.output(h), rtol=1e-4, atol=1e-5)


def test_gaussian_nll_is_equation_4():
    value, mean, log_variance = torch.randn(3, 2, 4, 5).unbind(0)
    expected = -torch.distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(value)
    torch.testing.assert_close(gaussian_nll(value, mean, log_variance), expected)


def test_prior_loss_falls_without_end_as_features_collapse_until_the_floor():
    zero = torch.zeros(1)
    falling = [gaussian_nll(zero, zero, torch.tensor([v])).item() for v in (-2.0, -6.0, -10.0)]
    assert falling[0] > falling[1] > falling[2]
    decoder = DistributionDecoder(4, min_log_variance=-3.0)
    with torch.no_grad():
        decoder.network[-1].bias[4:] = -50.0
    assert decoder(torch.randn(2, 3, 4))[1].min() == -3.0


def test_losses_are_equations_1_5_and_6():
    torch.manual_seed(0)
    target, reconstruction = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    adapted, mean, log_variance = torch.randn(3, 2, 3, 5).unbind(0)
    logits, labels = torch.randn(2, 3), torch.tensor([2, 0])
    output = Output(
        target, adapted, reconstruction=reconstruction, class_logits=logits, mean=mean, log_variance=log_variance
    )
    config = TrainConfig(mse_reduction="token", prior_reduction="sum", weight_ce=0.7, weight_prior=0.3)
    losses = compute_losses(output, labels, config)
    mse = ce = prior = 0.0
    for b in range(2):
        ce -= math.log(math.exp(logits[b, labels[b]]) / sum(math.exp(v) for v in logits[b])) / 2
        for n in range(3):
            mse += sum((target[b, n, c] - reconstruction[b, n, c]).item() ** 2 for c in range(4)) / 3 / 2
            for d in range(5):
                variance = math.exp(log_variance[b, n, d])
                squared = (adapted[b, n, d] - mean[b, n, d]).item() ** 2
                prior += (0.5 * math.log(2 * math.pi * variance) + squared / (2 * variance)) / 2
    assert losses.mse.item() == pytest.approx(mse, rel=1e-4)
    assert losses.ce.item() == pytest.approx(ce, rel=1e-4)
    assert losses.prior.item() == pytest.approx(prior, rel=1e-4)
    assert losses.total.item() == pytest.approx(mse + 0.7 * ce + 0.3 * prior, rel=1e-4)


def test_reductions_differ_by_the_counts_they_average_over():
    elements = torch.rand(2, 3, 4)
    element, token, total = (reduce(elements, name).item() for name in ("element", "token", "sum"))
    assert token == pytest.approx(4 * element) and total == pytest.approx(12 * element)


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


def test_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2, 0.0), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = torch.randn(3, 2, 16, 8).unbind(0)
    mask = neighbour_mask((4, 4), 3)
    expected, _ = theirs(query, key, value, attn_mask=~mask)
    torch.testing.assert_close(ours(query, key, value, mask), expected, rtol=1e-5, atol=1e-5)


def test_neighbour_mask_equals_a_naive_loop():
    mask = neighbour_mask((4, 5), 3)
    for a in range(20):
        for b in range(20):
            near = abs(a // 5 - b // 5) <= 1 and abs(a % 5 - b % 5) <= 1
            assert mask[a, b] == (not near)


def test_masked_token_is_not_seen():
    torch.manual_seed(0)
    attention, mask = Attention(8, 2, 0.0), neighbour_mask((4, 4), 3)
    tokens = torch.randn(1, 16, 8)
    changed = tokens.clone()
    changed[0, 5] += 10
    before, after = attention(tokens, tokens, tokens, mask), attention(tokens, changed, changed, mask)
    blind = [n for n in range(16) if not mask[n, 5]]
    seeing = [n for n in range(16) if mask[n, 5]]
    assert torch.equal(before[0, blind], after[0, blind])
    assert not torch.isclose(before[0, seeing], after[0, seeing]).all(dim=-1).any()


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


def test_decoder_attends_to_memory_first_then_to_the_previous_layer():
    torch.manual_seed(0)
    layer = DecoderLayer(8, 2, 16, 0.0, 0.0).eval()
    query, memory, previous, position = torch.randn(4, 1, 9, 8).unbind(0)
    position = position[0]
    x = layer.norm1(query + layer.memory_attention(query + position, memory + position, memory))
    x = layer.norm2(x + layer.previous_attention(x + position, previous + position, previous))
    x = layer.norm3(x + layer.ffn(x))
    torch.testing.assert_close(layer(query, memory, previous, position), x)


def test_first_decoder_layer_takes_the_encoder_output_as_previous():
    torch.manual_seed(0)
    model = Transformer((3, 3), 8, heads=2, ffn_dim=16, encoder_layers=1, decoder_layers=1, dropout=0.0).eval()
    tokens, query = torch.randn(2, 9, 8), torch.randn(2, 9, 8)
    memory = model.encoder[0](tokens, model.position())
    expected = model.decoder_norm(model.decoder[0](query, memory, memory, model.position()))
    torch.testing.assert_close(model(tokens, [query]), expected)


def naive_attention(attention, query_LD, key_LD, value_LD):
    """Multi-head attention of one image, head by head and token by token."""
    query, key, value = (
        tokens @ layer.weight.T + layer.bias
        for tokens, layer in ((query_LD, attention.query), (key_LD, attention.key), (value_LD, attention.value))
    )
    size = query.shape[1] // attention.heads
    rows = []
    for n in range(len(query)):
        heads = []
        for start in range(0, query.shape[1], size):
            part = slice(start, start + size)
            logits = [float(query[n, part] @ key[m, part]) / math.sqrt(size) for m in range(len(key))]
            weights = [math.exp(logit - max(logits)) for logit in logits]
            heads.append(sum(w * value[m, part] for m, w in enumerate(weights)) / sum(weights))
        rows.append(torch.cat(heads) @ attention.out.weight.T + attention.out.bias)
    return torch.stack(rows)


def naive_norm(norm, x_LD):
    deviation = x_LD - x_LD.mean(dim=1, keepdim=True)
    scaled = deviation / (deviation.square().mean(dim=1, keepdim=True) + norm.eps).sqrt()
    return scaled * norm.weight + norm.bias


def naive_decoder(transformer, tokens_LD, query_LD, *, first_alone):
    """Encoder and decoder of one image in plain arithmetic; the query enters all decoder layers or the first alone."""
    position = transformer.position()
    for layer in transformer.encoder:
        at = tokens_LD + position
        tokens_LD = naive_norm(layer.norm1, tokens_LD + naive_attention(layer.attention, at, at, tokens_LD))
        tokens_LD = naive_norm(layer.norm2, tokens_LD + layer.ffn[3](layer.ffn[0](tokens_LD).clamp(min=0)))
    memory, output = tokens_LD, tokens_LD
    for n, layer in enumerate(transformer.decoder):
        target = output if first_alone and n > 0 else query_LD
        x = target + naive_attention(layer.memory_attention, target + position, memory + position, memory)
        x = naive_norm(layer.norm1, x)
        x = x + naive_attention(layer.previous_attention, x + position, output + position, output)
        x = naive_norm(layer.norm2, x)
        output = naive_norm(layer.norm3, x + layer.ffn[3](layer.ffn[0](x).clamp(min=0)))
    return naive_norm(transformer.decoder_norm, output)


@pytest.mark.parametrize("class_query", [True, False])
@pytest.mark.parametrize("layers", ["all", "first"])
def test_the_query_enters_all_decoder_layers_or_the_first_alone(layers, class_query):
    model = small_model(grid=(2, 3), decoder_layers=3, query_layers=layers, class_query=class_query).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases begin as ones and zeros
            parameter += 0.05 * torch.randn_like(parameter)
        output = model(torch.randn(2, 6, 12))
        for b in range(2):
            query = output.query[b] if class_query else model.shared_query
            decoded = naive_decoder(model.transformer, output.adapted[b], query, first_alone=layers == "first")
            expected = decoded @ model.output.weight.T + model.output.bias
            torch.testing.assert_close(output.reconstruction[b], expected, rtol=1e-4, atol=1e-4)


def test_where_the_query_enters_changes_nothing_but_the_forward_pass():
    models = [small_model(query_layers=layers, decoder_layers=2).eval() for layers in ("all", "first")]
    states = [model.state_dict() for model in models]
    assert states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    feat = torch.randn(2, 16, 12)
    assert not torch.allclose(models[0](feat).reconstruction, models[1](feat).reconstruction, atol=1e-3)
    shallow = [small_model(query_layers=layers, decoder_layers=1).eval() for layers in ("all", "first")]
    assert torch.equal(shallow[0](feat).reconstruction, shallow[1](feat).reconstruction)


def test_attention_weights_begin_as_in_torchs_attention_if_stacked():
    width, made = 64, []
    for how in ("separate", "stacked"):
        torch.manual_seed(0)
        made.append(Transformer((3, 3), width, heads=2, ffn_dim=16, attention_init=how))
    attentions = [[m for m in transformer.modules() if isinstance(m, Attention)] for transformer in made]
    assert len(attentions[0]) == 4 + 2 * 4
    for separate, stacked in zip(*attentions, strict=True):
        for name in ("query", "key", "value"):
            ours, theirs = getattr(separate, name).weight, getattr(stacked, name).weight
            torch.testing.assert_close(theirs, ours * 0.5**0.5)
        assert torch.equal(separate.out.weight, stacked.out.weight)
    in_proj = torch.nn.MultiheadAttention(width, 2).in_proj_weight
    weights = torch.cat([getattr(a, name).weight for a in attentions[1] for name in ("query", "key", "value")])
    assert weights.std().item() == pytest.approx(in_proj.std().item(), rel=0.02)
    assert weights.abs().max().item() == pytest.approx(in_proj.abs().max().item(), rel=0.01)
    assert in_proj.std().item() == pytest.approx(math.sqrt(1 / (2 * width)), rel=0.02)


def test_the_readings_leave_the_start_of_a_model_as_it_was():
    """A reading that draws differently would silently change every result that was measured before."""
    model = small_model()
    drawn = model.adapter.weight, model.output.weight, model.query_position
    sums = [parameter.detach().double().abs().sum().item() for parameter in drawn]
    assert sums == pytest.approx([71.903552, 70.083981, 26.099503], rel=1e-6)
    assert torch.rand(1).item() == pytest.approx(0.0561587, rel=1e-5), "as many numbers were drawn as ever"


def test_encoder_layer_is_post_norm():
    layer = EncoderLayer(8, 2, 16, 0.0, 0.0).eval()
    x = layer(torch.randn(2, 4, 8) * 50, torch.zeros(4, 8))
    torch.testing.assert_close(x.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)


def test_class_encoder_works_along_tokens():
    """A channel's spatial pattern decides: permuting tokens changes the token, unlike any mean over tokens."""
    torch.manual_seed(0)
    mapper = PromptMapper(9, 4, 3, PromptMapperConfig(hidden=8, token_width=5, gain=8.0))
    adapted = torch.randn(2, 9, 4)
    token, logits = mapper(adapted)
    assert token.shape == (2, 5) and logits.shape == (2, 3)
    torch.testing.assert_close(token.sum(-1), torch.ones(2))
    assert not torch.allclose(token, mapper(adapted.flip(1))[0])


def test_head_reads_the_token_or_the_values_before_its_softmax():
    torch.manual_seed(0)
    adapted = torch.randn(2, 9, 4)
    printed = PromptMapper(9, 4, 3, PromptMapperConfig(hidden=8, token_width=5))
    token, logits = printed(adapted)
    torch.testing.assert_close(logits, printed.head(token))
    other = PromptMapper(9, 4, 3, PromptMapperConfig(hidden=8, token_width=5, head_input="logits"))
    token, logits = other(adapted)
    assert not torch.allclose(logits, other.head(token))
    torch.testing.assert_close(token.sum(-1), torch.ones(2))


def test_token_std_scales_the_values_before_the_softmax():
    """Also where the gain would make the token one-hot, so that a gradient always passes."""
    torch.manual_seed(0)
    adapted = torch.randn(2, 9, 4)
    tokens = {}
    for std in (None, 2.0):
        torch.manual_seed(1)
        mapper = PromptMapper(9, 4, 3, PromptMapperConfig(hidden=8, token_width=5, gain=1000.0, token_std=std))
        pattern = mapper.class_encoder(adapted.transpose(1, 2)).softmax(-1)
        values = mapper.channel_encoder(pattern.flatten(1)).detach()
        tokens[std] = mapper(adapted)[0].detach()
    assert tokens[None].max() > 0.999 > 0.99 > tokens[2.0].max()
    for image in range(2):  # naive
        centred = values[image] - values[image].mean()
        scaled = 2.0 * centred / (centred.square().mean() + 1e-5).sqrt()
        torch.testing.assert_close(tokens[2.0][image], scaled.exp() / scaled.exp().sum())


def test_query_depends_on_class_token_and_position():
    model = small_model().eval()
    token = torch.eye(8)[:2]
    query = model.inr(model.query_position, token)
    assert (query[0] - query[1]).abs().mean() > 1e-3
    assert query.std(dim=1).mean() > 1e-3


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

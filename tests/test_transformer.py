"""Attention, its mask, and the layers that it stands in (Table 15), against other ways to write them."""

import math

import pytest
import torch
from model_builders import small_model

from mintad.model.transformer import Attention, DecoderLayer, EncoderLayer, Transformer, attend, neighbour_mask


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


@pytest.mark.parametrize("masked", [False, True])
def test_many_attention_weights_are_computed_in_parts_with_the_same_result(monkeypatch, masked):
    mask = neighbour_mask((4, 5), 3) if masked else None
    plain, held = torch.nn.functional.scaled_dot_product_attention, []

    def counted(query, key, value, attn_mask=None, dropout_p=0.0):
        held.append(query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2])
        return plain(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p)

    def outcome():
        torch.manual_seed(0)
        attention, tokens = Attention(8, 2, 1e-12), torch.randn(3, 20, 8, requires_grad=True)
        result = attention(tokens, tokens, tokens, mask)
        result.square().sum().backward()
        return [result, tokens.grad, *(parameter.grad for parameter in attention.parameters())]

    expected = outcome()
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    monkeypatch.setattr("mintad.model.transformer.MOST_WEIGHTS", 700)  # of 3 * 2 * 20 * 20
    for ours, theirs in zip(outcome(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert len(held) > 3 and max(held) <= 700


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_parts_is_that_of_their_own_dropout(monkeypatch, masked):
    """The weights are computed again for the gradient, with the same ones dropped."""
    monkeypatch.setattr("mintad.model.transformer.MOST_WEIGHTS", 100)
    mask = neighbour_mask((3, 4), 3) if masked else None

    def attended(*inputs):
        torch.manual_seed(0)
        return attend(*inputs, mask, 0.3)

    torch.manual_seed(1)
    inputs = [torch.randn(1, 2, 12, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(attended, inputs)
    assert not torch.equal(attended(*inputs), attend(*inputs, mask, 0.0)), "dropout acts"


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

"""From an image to the class token (Table 12), and from the token to a query (Eqs 8 and 9)."""

import torch
from model_builders import small_model

from mintad.config import PromptMapperConfig
from mintad.model.inr import INR
from mintad.model.prompt_mapper import PromptMapper


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

"""Who can see a token: the mask hides it, a residual path shows it, a learned query does not ask with it."""

from __future__ import annotations

import pytest
import torch

from mintad.course.lab.bare_attention import BareAttention
from mintad.course.lab.identity_shortcut import influence
from mintad.model.transformer import neighbour_mask

GRID, CENTRE = (5, 5), 12


def network_and_tokens(**choices):
    torch.manual_seed(0)
    return BareAttention(6, GRID, width=8, heads=2, **choices), torch.randn(25, 6)


@pytest.mark.parametrize("learned_query", [False, True])
def test_without_a_mask_every_token_counts(learned_query):
    net, tokens = network_and_tokens(learned_query=learned_query)
    assert (influence(net, tokens, CENTRE) > 0).all()


def test_a_learned_query_sees_nothing_behind_the_mask():
    net, tokens = network_and_tokens(learned_query=True, mask_size=3)
    hidden = ~neighbour_mask(GRID, 3)[CENTRE]
    shares = influence(net, tokens, CENTRE)
    assert (shares[hidden] == 0).all() and (shares[~hidden] > 0).all()


@pytest.mark.parametrize("leak", [{"learned_query": False}, {"learned_query": True, "residual": True}])
def test_the_asking_token_and_a_residual_path_lead_around_the_mask(leak):
    net, tokens = network_and_tokens(mask_size=3, **leak)
    assert influence(net, tokens, CENTRE)[CENTRE] > 0

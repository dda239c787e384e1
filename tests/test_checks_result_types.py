"""What a result must be beyond its numbers: it has its gradient if it is trained with, and a mask is boolean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from check_builders import RIGHT, failures

TRAINED = ["tokens.cross_entropy", "prior.reduce", "tokens.prompt_mapper", "roads.coupling", "roads.simplenet_loss"]
TRAINED += ["roads.distillation", "roads.look_up"]
UNTRAINABLE = {
    "float": lambda value: value.item() if value.ndim == 0 else value.detach(),
    "NumPy": lambda value: np.float32(value.item()) if value.ndim == 0 else value.detach().numpy(),
    "detached": lambda value: value.detach(),
    "another's gradient": lambda value: value.detach() + torch.zeros((), requires_grad=True),
}


@pytest.mark.parametrize("form", UNTRAINABLE)
@pytest.mark.parametrize("exercise", TRAINED)
def test_a_result_that_is_trained_with_has_its_gradient(exercise, form):
    def untrainable(*arguments):
        result = RIGHT[exercise][0](*arguments)
        several = isinstance(result, tuple)
        return tuple(map(UNTRAINABLE[form], result)) if several else UNTRAINABLE[form](result)

    for hint in failures(exercise, untrainable, 5):
        assert "gradient" in hint or "tensor" in hint
    for hint in failures(exercise, torch.no_grad()(RIGHT[exercise][0]), 5):
        assert "gradient" in hint


def test_a_head_that_reads_a_detached_token_is_refused():
    def mapper(adapted, class_encoder, channel_encoder, head):
        token, _ = RIGHT["tokens.prompt_mapper"][0](adapted, class_encoder, channel_encoder, head)
        return token, head(token.detach())

    assert all("gradient" in hint for hint in failures("tokens.prompt_mapper", mapper, 5))


def test_gradients_are_compared_on_every_drawn_case():
    drawn = []

    def only_at_first(logits, labels):
        drawn.append(logits.requires_grad)
        loss = RIGHT["tokens.cross_entropy"][0](logits, labels)
        return loss if sum(drawn) < 2 else loss.detach()

    assert all("gradient" in hint for hint in failures("tokens.cross_entropy", only_at_first, 1))


@pytest.mark.parametrize("exercise", ["interference.between", "transformer.neighbour_mask", "transfer.group_split"])
def test_what_must_be_boolean_may_not_be_numbers(exercise):
    for kind in (int, float):
        answer = lambda *a, kind=kind: torch.as_tensor(RIGHT[exercise][0](*a)).numpy().astype(kind)  # noqa: E731
        assert all("boolean" in hint for hint in failures(exercise, answer, 3))
        answer = lambda *a, kind=kind: torch.as_tensor(RIGHT[exercise][0](*a)).to(kind)  # noqa: E731
        assert all("boolean" in hint for hint in failures(exercise, answer, 3))

"""Checks of notebook 05: queries from a pool, class tokens, a pool's parameters, the pull of a wrong label (§3.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, differs, is_tensor, number, randn, require, same


def reference_pick_query(pool_NLD: Tensor, labels_B: Tensor) -> Tensor:
    """Return the query of every image's class."""
    return pool_NLD[labels_B]


@exercise(
    reference_pick_query, "(N, L, D) and (B,) to (B, L, D); only classes in the batch get a gradient", trains=True
)
def check_pick_query(call: Call, rng: np.random.Generator) -> None:
    """Check for the query (B, L, D) of every image's class from a pool (N, L, D), as in Fig. 2b."""
    (pool_NLD,), labels_B = randn((3, 4, 2)), torch.tensor([2, 0, 0, 1, 2])
    result = call(pool_NLD, labels_B)
    is_tensor(result, (5, 4, 2), "for a pool of 3 classes and 5 labels the shape is (5, 4, 2): one query per label")
    shares_BN = torch.nn.functional.one_hot(labels_B, 3).float().softmax(dim=1)
    blended = torch.einsum("bn,nld->bld", shares_BN, pool_NLD)
    differs(result, blended, "the queries of several classes are mixed; each label must pick exactly one")
    expected = torch.stack([pool_NLD[k] for k in labels_B.tolist()])
    same(result, expected, "return the queries of the labels 2, 0, 0, 1, 2, in this order")
    pool_NLD.requires_grad_()
    picked = call(pool_NLD, labels_B[:2])
    require(picked.requires_grad, "the queries have no gradient, so the pool would never learn; do not detach them")
    picked.sum().backward()
    hint = "with labels 2 and 0 the gradient must reach the queries of these two classes, and no others"
    require((pool_NLD.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True], hint)


def reference_with_class_token(tokens_BLD: Tensor, token_BD: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Put the class token first, transform, and drop it."""
    return transform(torch.cat([token_BD[:, None], tokens_BLD], dim=1))[:, 1:]


@exercise(reference_with_class_token, "1 + L tokens go in, the image's L tokens come out", trains=True)
def check_with_class_token(call: Call, rng: np.random.Generator) -> None:
    """Check that a class token goes first through the transformer and is then removed, as in Fig. 2c."""
    tokens_BLD, token_BD = randn((2, 5, 3), (2, 3))
    seen: list[Tensor] = []

    def transform(x: Tensor) -> Tensor:
        seen.append(x)
        return 2 * x + x.mean(dim=1, keepdim=True)

    result = call(tokens_BLD, token_BD, transform)
    require(len(seen) == 1, f"call transform once, for the whole batch, not {len(seen)} times")
    shape = tuple(getattr(seen[0], "shape", ()))
    is_tensor(seen[0], (2, 6, 3), f"transform must get 1 + 5 tokens of 2 images, (2, 6, 3), not {shape}")
    require(torch.equal(seen[0][:, 0], token_BD), "put the class token of each image first, at position 0")
    hint = "the image's tokens must follow the class token, unchanged and in order"
    require(torch.equal(seen[0][:, 1:], tokens_BLD), hint)
    expected = reference_with_class_token(tokens_BLD, token_BD, transform)
    same(result, expected, "after the transformer, remove the class token: the first token, not the last")


def reference_pool_parameters(classes: int, layers: int, tokens: int, width: int) -> int:
    """Count the numbers that a query pool learns."""
    return classes * layers * tokens * width


@exercise(reference_pool_parameters, "3,010,560 for MVTec AD's 15 classes, and as many again for 15 more")
def check_pool_parameters(call: Call, rng: np.random.Generator) -> None:
    """Check for the count of numbers that a query pool learns: a query per class, position and decoder layer."""
    same(call(1, 1, 5, 3), 15, "one class, one layer and 5 tokens of width 3 give 15, not {:.0f}; a query has no bias")
    same(call(1, 2, 5, 3), 30, "every decoder layer has its own pool: 2 layers give 30, not {:.0f}")
    hint = "15 classes, 4 layers and 196 tokens of width 256 give 3,010,560, not {:,.0f}"
    same(call(15, 4, 196, 256), 3_010_560, hint, tolerance=0)


def reference_pull(given_LF: Tensor, true_LF: Tensor, mean_given_LF: Tensor, mean_true_LF: Tensor) -> float:
    """Return the share of the way between two class means."""
    way = mean_given_LF - mean_true_LF
    return float(((given_LF - true_LF) * way).sum() / way.square().sum())


@exercise(
    reference_pull,
    "0 if the label changes nothing, 1 if it moves the reconstruction all the way",
    mistakes={
        "this is a cosine; divide by the squared length of the way, not by both lengths": lambda g, t, mg, mt: (
            ((g - t) * (mg - mt)).sum() / (g - t).norm() / (mg - mt).norm()
        ),
        "sum over all tokens first, then divide; this takes the mean of the tokens' ratios": lambda g, t, mg, mt: (
            ((g - t) * (mg - mt)).sum(1) / (mg - mt).square().sum(1)
        ).mean(),
        "divide by the *squared* length of the way": lambda g, t, mg, mt: (
            ((g - t) * (mg - mt)).sum() / (mg - mt).norm()
        ),
        "measure the move from the reconstruction with the true label, not from the class mean": lambda g, t, mg, mt: (
            ((g - mt) * (mg - mt)).sum() / (mg - mt).square().sum()
        ),
    },
)
def check_pull(call: Call, rng: np.random.Generator) -> None:
    """Check for the share of the way between two classes' means by which a wrong label moves a reconstruction."""
    true, mean_true, mean_given, across = randn(*[(4, 3)] * 4)
    way = mean_given - mean_true
    across = across - (across * way).sum() / way.square().sum() * way
    pull = {share: number(call(true + share * way, true, mean_given, mean_true)) for share in (0, 0.25, 1, -1)}
    same(pull[0], 0, "if the reconstruction does not change, the pull is 0, not {:.3g}")
    require(pull[1] > 0, "moving towards the given class is positive: the way is mean_given - mean_true")
    hint = "moving all the way from mean to mean is 1, not {:.3g}: divide by the squared length of the way"
    same(pull[1], 1, hint, tolerance=1e-4)
    same(pull[0.25], 0.25, "a quarter of the way is 0.25, not {:.3g}; do not square it", tolerance=1e-4)
    same(pull[-1], -1, "moving away from the given class is negative: use an inner product, not a norm", tolerance=1e-4)
    hint = "only movement along the way counts: take the inner product with the way"
    same(call(true + across + 0.5 * way, true, mean_given, mean_true), 0.5, hint, tolerance=1e-4)

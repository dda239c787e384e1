"""Checks of notebook 05: queries from a pool, class tokens, a pool's parameters, the pull of a wrong label (§3.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mintad.course.checks.grading import call, number, passed, require, same


def reference_pick_query(pool_NLD: Tensor, labels_B: Tensor) -> Tensor:
    """Return the query of every image's class."""
    return pool_NLD[labels_B]


def check_pick_query(fn: Callable[..., Tensor]) -> None:
    """Check for the query (B, L, D) of every image's class from a pool (N, L, D), as in Fig. 2b."""
    takes = "pool_NLD, labels_B"
    pool_NLD = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    labels_B = torch.tensor([2, 0, 0, 1, 2])
    result = call(fn, pool_NLD, labels_B, takes=takes)
    expected = torch.stack([pool_NLD[k] for k in labels_B.tolist()])
    hint = "for a pool of 3 classes and 5 labels the shape is (5, 4, 2): one query per label"
    require(isinstance(result, Tensor) and result.shape == expected.shape, hint)
    blended = torch.softmax(torch.nn.functional.one_hot(labels_B, 3).float(), dim=1)
    require(
        not torch.allclose(result, torch.einsum("bn,nld->bld", blended, pool_NLD)),
        "the queries of several classes are mixed; each label must pick exactly one",
    )
    same(result, expected, "return the queries of the labels 2, 0, 0, 1, 2, in this order")
    pool_NLD.requires_grad_()
    picked = call(fn, pool_NLD, labels_B[:2], takes=takes)
    require(picked.requires_grad, "the queries have no gradient, so the pool would never learn; do not detach them")
    picked.sum().backward()
    require(
        (pool_NLD.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True],
        "with labels 2 and 0 the gradient must reach the queries of these two classes, and no others",
    )
    passed(fn, "pick_query: (N, L, D) and (B,) to (B, L, D); only classes in the batch get a gradient")


def reference_with_class_token(tokens_BLD: Tensor, token_BD: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Put the class token first, transform, and drop it."""
    return transform(torch.cat([token_BD[:, None], tokens_BLD], dim=1))[:, 1:]


def check_with_class_token(fn: Callable[..., Tensor]) -> None:
    """Check that a class token goes first through the transformer and is then removed, as in Fig. 2c."""
    takes = "tokens_BLD, token_BD, transform"
    generator = torch.Generator().manual_seed(0)
    tokens_BLD, token_BD = (torch.randn(shape, generator=generator) for shape in ((2, 5, 3), (2, 3)))
    seen: list[Tensor] = []

    def transform(x: Tensor) -> Tensor:
        seen.append(x)
        return 2 * x + x.mean(dim=1, keepdim=True)

    result = call(fn, tokens_BLD, token_BD, transform, takes=takes)
    require(len(seen) == 1, f"call transform once, for the whole batch, not {len(seen)} times")
    require(
        isinstance(seen[0], Tensor) and seen[0].shape == (2, 6, 3),
        f"transform must get 1 + 5 tokens of 2 images, (2, 6, 3), not {tuple(getattr(seen[0], 'shape', ()))}",
    )
    require(torch.equal(seen[0][:, 0], token_BD), "put the class token of each image first, at position 0")
    require(
        torch.equal(seen[0][:, 1:], tokens_BLD),
        "the image's tokens must follow the class token, unchanged and in order",
    )
    expected = transform(torch.cat([token_BD[:, None], tokens_BLD], dim=1))[:, 1:]
    same(result, expected, "after the transformer, remove the class token: the first token, not the last")
    passed(fn, "with_class_token: 1 + L tokens go in, the image's L tokens come out")


def reference_pool_parameters(classes: int, layers: int, tokens: int, width: int) -> int:
    """Count the numbers that a query pool learns."""
    return classes * layers * tokens * width


def check_pool_parameters(fn: Callable[..., int]) -> None:
    """Check for the count of numbers that a query pool learns: a query per class, position and decoder layer."""
    takes = "classes, layers, tokens, width"
    single = number(call(fn, 1, 1, 5, 3, takes=takes))
    hint = f"one class, one layer and 5 tokens of width 3 give 15, not {single:.0f}; a query has no bias"
    require(single == 15, hint)
    layers = number(call(fn, 1, 2, 5, 3, takes=takes))
    require(layers == 30, f"every decoder layer has its own pool: 2 layers give 30, not {layers:.0f}")
    paper = number(call(fn, 15, 4, 196, 256, takes=takes))
    require(paper == 3_010_560, f"15 classes, 4 layers and 196 tokens of width 256 give 3,010,560, not {paper:,.0f}")
    passed(fn, "pool_parameters: 3,010,560 for MVTec AD's 15 classes, and as many again for 15 more")


def reference_pull(given_LF: Tensor, true_LF: Tensor, mean_given_LF: Tensor, mean_true_LF: Tensor) -> float:
    """Return the share of the way between two class means."""
    way = mean_given_LF - mean_true_LF
    return float(((given_LF - true_LF) * way).sum() / way.square().sum())


def check_pull(fn: Callable[..., float]) -> None:
    """Check for the share of the way between two classes' means by which a wrong label moves a reconstruction."""
    takes = "given_LF, true_LF, mean_given_LF, mean_true_LF"
    generator = torch.Generator().manual_seed(0)
    true, mean_true, mean_given, across = (torch.randn(4, 3, generator=generator) for _ in range(4))
    way = mean_given - mean_true
    across = across - (across * way).sum() / way.square().sum() * way
    pulls = {
        share: number(call(fn, true + share * way, true, mean_given, mean_true, takes=takes))
        for share in (0, 0.25, 1, -1)
    }
    require(abs(pulls[0]) < 1e-5, f"if the reconstruction does not change, the pull is 0, not {pulls[0]:.3g}")
    require(pulls[1] > 0, "moving towards the given class is positive: the way is mean_given - mean_true")
    require(
        abs(pulls[1] - 1) < 1e-4,
        f"moving all the way from mean to mean is 1, not {pulls[1]:.3g}: divide by the squared length of the way",
    )
    require(abs(pulls[0.25] - 0.25) < 1e-4, f"a quarter of the way is 0.25, not {pulls[0.25]:.3g}; do not square it")
    require(abs(pulls[-1] + 1) < 1e-4, "moving away from the given class is negative: use an inner product, not a norm")
    sideways = number(call(fn, true + across + 0.5 * way, true, mean_given, mean_true, takes=takes))
    require(abs(sideways - 0.5) < 1e-4, "only movement along the way counts: take the inner product with the way")
    passed(fn, "pull: 0 if the label changes nothing, 1 if it moves the reconstruction all the way")

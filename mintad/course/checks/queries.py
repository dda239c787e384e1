"""Checks of notebook 05: a query from a pool, a class token, what a pool costs, where a wrong label pulls (§3.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mintad.course.checks.grading import call, number, passed, require, same


def reference_pick_query(pool_NLD: Tensor, labels_B: Tensor) -> Tensor:
    return pool_NLD[labels_B]


def check_pick_query(fn: Callable[..., Tensor]) -> None:
    """Fig. 2b: of a pool (N, L, D), the query of every image's class, (B, L, D)."""
    takes = "pool_NLD, labels_B"
    pool_NLD = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    labels_B = torch.tensor([2, 0, 0, 1, 2])
    result = call(fn, pool_NLD, labels_B, takes=takes)
    wanted = torch.stack([pool_NLD[k] for k in labels_B.tolist()])
    hint = "a pool of 3 classes and 5 labels give (5, 4, 2), the query of label b at place b"
    require(isinstance(result, Tensor) and result.shape == wanted.shape, hint)
    blended = torch.softmax(torch.nn.functional.one_hot(labels_B, 3).float(), dim=1)
    require(
        not torch.allclose(result, torch.einsum("bn,nld->bld", blended, pool_NLD)),
        "the queries are blended over the classes: a label picks one, with the weight 1",
    )
    same(result, wanted, "the queries are not those of the labels 2, 0, 0, 1, 2, in this order")
    pool_NLD.requires_grad_()
    picked = call(fn, pool_NLD, labels_B[:2], takes=takes)
    require(picked.requires_grad, "the queries carry no gradient, so the pool would never learn")
    picked.sum().backward()
    require(
        (pool_NLD.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True],
        "the gradient of images of the classes 2 and 0 must reach their queries, and no others, so that they learn",
    )
    passed(fn, "pick_query: (N, L, D) and (B,) to (B, L, D), with a gradient for the classes of the batch alone")


def reference_with_class_token(tokens_BLD: Tensor, token_BD: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    return transform(torch.cat([token_BD[:, None], tokens_BLD], dim=1))[:, 1:]


def check_with_class_token(fn: Callable[..., Tensor]) -> None:
    """Fig. 2c: a class token before the image's tokens, through the transformer, cut off behind it."""
    takes = "tokens_BLD, token_BD, transform"
    generator = torch.Generator().manual_seed(0)
    tokens_BLD, token_BD = (torch.randn(shape, generator=generator) for shape in ((2, 5, 3), (2, 3)))
    seen: list[Tensor] = []

    def transform(x: Tensor) -> Tensor:
        seen.append(x)
        return 2 * x + x.mean(dim=1, keepdim=True)

    result = call(fn, tokens_BLD, token_BD, transform, takes=takes)
    require(len(seen) == 1, f"transform must be called once, for the whole batch, not {len(seen)} times")
    require(
        isinstance(seen[0], Tensor) and seen[0].shape == (2, 6, 3),
        f"transform must see 1 + 5 tokens of each of 2 images, (2, 6, 3), not {tuple(getattr(seen[0], 'shape', ()))}",
    )
    require(torch.equal(seen[0][:, 0], token_BD), "the class token of each image stands first, at place 0")
    require(torch.equal(seen[0][:, 1:], tokens_BLD), "the image's tokens follow, unchanged and in order")
    wanted = transform(torch.cat([token_BD[:, None], tokens_BLD], dim=1))[:, 1:]
    same(result, wanted, "cut the class token off behind the transformer: the first place, not the last")
    passed(fn, "with_class_token: 1 + L tokens go in, the image's L come out")


def reference_pool_parameters(classes: int, layers: int, tokens: int, width: int) -> int:
    return classes * layers * tokens * width


def check_pool_parameters(fn: Callable[..., int]) -> None:
    """Numbers that a query pool learns: a query per class, position and decoder layer, no bias."""
    takes = "classes, layers, tokens, width"
    one = number(call(fn, 1, 1, 5, 3, takes=takes))
    require(one == 15, f"one class, one layer, 5 tokens of 3 numbers: 15, not {one:.0f}; a query is no linear layer")
    layers = number(call(fn, 1, 2, 5, 3, takes=takes))
    require(layers == 30, f"every decoder layer has a pool of its own: 2 layers make 30, not {layers:.0f}")
    paper = number(call(fn, 15, 4, 196, 256, takes=takes))
    require(paper == 3_010_560, f"15 classes, 4 layers, 196 tokens of width 256 make 3,010,560, not {paper:,.0f}")
    passed(fn, "pool_parameters: 3,010,560 for MVTec AD's 15 classes, and as many again for the next 15")


def reference_pull(told_LF: Tensor, own_LF: Tensor, mean_told_LF: Tensor, mean_own_LF: Tensor) -> float:
    way = mean_told_LF - mean_own_LF
    return float(((told_LF - own_LF) * way).sum() / way.square().sum())


def check_pull(fn: Callable[..., float]) -> None:
    """How far a wrong label moves a reconstruction: the share of the way between two classes' means."""
    takes = "told_LF, own_LF, mean_told_LF, mean_own_LF"
    generator = torch.Generator().manual_seed(0)
    own, mean_own, mean_told, across = (torch.randn(4, 3, generator=generator) for _ in range(4))
    way = mean_told - mean_own
    across = across - (across * way).sum() / way.square().sum() * way
    found = {
        share: number(call(fn, own + share * way, own, mean_told, mean_own, takes=takes)) for share in (0, 0.25, 1, -1)
    }
    require(abs(found[0]) < 1e-5, f"a label that changes nothing pulls by 0, not {found[0]:.3g}")
    require(found[1] > 0, "moving to the told class must be positive: which mean is subtracted from which?")
    require(
        abs(found[1] - 1) < 1e-4, f"all the way from mean to mean is 1, not {found[1]:.3g}: divide by the way's length²"
    )
    require(abs(found[0.25] - 0.25) < 1e-4, f"a quarter of the way is 0.25, not {found[0.25]:.3g}; do not square it")
    require(abs(found[-1] + 1) < 1e-4, "moving away from the told class is negative: a dot product has a sign")
    sideways = number(call(fn, own + across + 0.5 * way, own, mean_told, mean_own, takes=takes))
    require(abs(sideways - 0.5) < 1e-4, "what moves across the way must not count: project on it")
    passed(fn, "pull: 0 where the label is not heard, 1 where it takes the reconstruction all the way")

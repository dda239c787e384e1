"""Notebook 05."""

import torch
import torch.nn.functional as F


def every_image_alone(tokens_BLD, token_BD, transform):
    return torch.cat(
        [transform(torch.cat([c[None], x])[None])[:, 1:] for x, c in zip(tokens_BLD, token_BD, strict=True)]
    )


WRONG = {
    "queries.pick_query": [
        lambda pool_NLD, labels_B: pool_NLD[: len(labels_B)],
        lambda pool_NLD, labels_B: pool_NLD[labels_B.sort().values],
        lambda pool_NLD, labels_B: torch.einsum("bn,nld->bld", F.one_hot(labels_B, 3).float().softmax(1), pool_NLD),
        lambda pool_NLD, labels_B: pool_NLD[:, labels_B],
        lambda pool_NLD, labels_B: pool_NLD.detach()[labels_B],
    ],
    "queries.with_class_token": [
        lambda x, c, transform: transform(torch.cat([x, c[:, None]], dim=1))[:, :-1],
        lambda x, c, transform: transform(torch.cat([c[:, None], x], dim=1))[:, :-1],
        lambda x, c, transform: transform(torch.cat([c[:, None], x], dim=1)),
        lambda x, c, transform: transform(x + c[:, None]),
        every_image_alone,
    ],
    "queries.pool_parameters": [
        lambda classes, layers, tokens, width: classes * tokens * width,
        lambda classes, layers, tokens, width: classes * layers * (tokens * width + width),
        lambda classes, layers, tokens, width: 3_010_560,
        lambda classes, layers, tokens, width: classes * layers * width,
    ],
    "queries.pull": [
        lambda given, true, mean_given, mean_true: float((given - true).norm() / (mean_given - mean_true).norm()),
        lambda given, true, mean_given, mean_true: float(
            ((given - true) * (mean_true - mean_given)).sum() / (mean_given - mean_true).square().sum()
        ),
        lambda given, true, mean_given, mean_true: float(
            F.cosine_similarity((given - true).flatten(), (mean_given - mean_true).flatten(), dim=0)
        ),
        lambda given, true, mean_given, mean_true: float(((given - true) * (mean_given - mean_true)).sum()),
        lambda given, true, mean_given, mean_true: float(
            ((given - mean_true) * (mean_given - mean_true)).sum() / (mean_given - mean_true).square().sum()
        ),
    ],
}


WRONG["queries.pull"] += [
    lambda given, true, mean_given, mean_true: (
        ((given - true) * (mean_given - mean_true)).sum(1) / (mean_given - mean_true).square().sum(1)
    ).mean(),
    lambda given, true, mean_given, mean_true: (
        ((given - true) * (mean_given - mean_true)).mean() / (mean_given - mean_true).square().sum()
    ),
]
WRONG["queries.pick_query"] += [
    lambda pool, labels: pool[labels - 1],
    lambda pool, labels: pool[labels].mean(0, keepdim=True).expand(len(labels), -1, -1),
]
WRONG["queries.pool_parameters"] += [lambda classes, layers, tokens, width: classes * layers * tokens * width + width]

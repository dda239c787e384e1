"""Notebook 06."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist


def mapper_by_functions(adapted, class_encoder, channel_encoder, head):
    pattern = F.softmax(class_encoder(adapted.permute(0, 2, 1)), dim=2)
    token = F.softmax(channel_encoder(pattern.reshape(len(adapted), -1)), dim=1)
    return token, head(token)


def mapper_by_image(adapted, class_encoder, channel_encoder, head):
    patterns = [torch.softmax(class_encoder(image.T), dim=-1).flatten() for image in adapted]
    token = torch.stack([torch.softmax(channel_encoder(pattern), dim=0) for pattern in patterns])
    return [token, head(token)]


def cross_entropy_of_one_hot(logits, labels):
    one_hot = F.one_hot(labels, logits.shape[1])
    return -(one_hot * torch.log_softmax(logits, dim=1)).sum(dim=1).mean() / logits.shape[1]


def cross_entropy_by_logsumexp(logits, labels):
    chosen = logits.gather(1, labels[:, None])[:, 0]
    return (torch.logsumexp(logits, dim=1) - chosen).mean() / logits.size(1)


def silhouette_by_class(tokens, names):
    distance, values = cdist(tokens, tokens), []
    for n, name in enumerate(names):
        means = {k: distance[n, names == k].sum() / max(1, (names == k).sum() - (k == name)) for k in set(names)}
        a = means.pop(name)
        b = min(means.values())
        values.append(b / a - 1 if b < a else 1 - a / b)
    return np.mean(values)


def silhouette_of_matrix(tokens, names):
    kinds, which = np.unique(names, return_inverse=True)
    member = np.eye(len(kinds))[which]
    sums = cdist(tokens, tokens) @ member
    a = sums[np.arange(len(names)), which] / (member.sum(0)[which] - 1)
    b = np.where(member > 0, np.inf, sums / member.sum(0)).min(1)
    return torch.as_tensor(((b - a) / np.maximum(a, b)).mean())


RIGHT = {
    "tokens.prompt_mapper": [mapper_by_functions, mapper_by_image],
    "tokens.cross_entropy": [cross_entropy_of_one_hot, cross_entropy_by_logsumexp],
    "tokens.silhouette": [silhouette_by_class, silhouette_of_matrix],
}

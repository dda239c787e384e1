"""Notebook 06."""

import numpy as np
import torch.nn.functional as F


def mapper_with_one_softmax(adapted, class_encoder, channel_encoder, head):
    token = channel_encoder(class_encoder(adapted.transpose(1, 2)).flatten(1)).softmax(-1)
    return token, head(token)


def mapper_with_softmax_over_channels(adapted, class_encoder, channel_encoder, head):
    pattern = class_encoder(adapted.transpose(1, 2)).softmax(1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token)


def mapper_whose_head_has_a_softmax(adapted, class_encoder, channel_encoder, head):
    pattern = class_encoder(adapted.transpose(1, 2)).softmax(-1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token).softmax(-1)


def mapper_without_transposing(adapted, class_encoder, channel_encoder, head):
    pattern = class_encoder(adapted.reshape(3, 4, 6)).softmax(-1)
    token = channel_encoder(pattern.flatten(1)).softmax(-1)
    return token, head(token)


def overflowing_cross_entropy(logits, labels):
    share = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -share[range(len(labels)), labels].log().mean() / logits.shape[1]


def _silhouette(tokens, names, own_of, other_of):
    distance = np.linalg.norm(tokens[:, None] - tokens, axis=-1)
    values = []
    for n, name in enumerate(names):
        a = own_of(distance[n, names == name])
        b = other_of([distance[n, names == k] for k in np.unique(names) if k != name])
        values.append((b - a) / max(a, b))
    return float(np.mean(values))


def silhouette_with_itself(tokens, names):
    return _silhouette(tokens, names, np.mean, lambda others: min(map(np.mean, others)))


def silhouette_to_all_others(tokens, names):
    def own(distances):
        return distances.sum() / (len(distances) - 1)

    return _silhouette(tokens, names, own, lambda others: np.concatenate(others).mean())


WRONG = {
    "tokens.prompt_mapper": [
        mapper_with_one_softmax,
        mapper_with_softmax_over_channels,
        mapper_whose_head_has_a_softmax,
        mapper_without_transposing,
    ],
    "tokens.cross_entropy": [
        F.cross_entropy,
        lambda logits, labels: F.cross_entropy(logits, labels) / len(labels),
        overflowing_cross_entropy,
    ],
    "tokens.silhouette": [silhouette_with_itself, silhouette_to_all_others],
}


def mapper_whose_head_comes_too_early(adapted, class_encoder, channel_encoder, head):
    values = channel_encoder(class_encoder(adapted.transpose(1, 2)).softmax(-1).flatten(1))
    return values.softmax(-1), head(values)


def mapper_without_a_last_softmax(adapted, class_encoder, channel_encoder, head):
    token = channel_encoder(class_encoder(adapted.transpose(1, 2)).softmax(-1).flatten(1))
    return token, head(token)


def silhouette_to_the_nearest_token(tokens, names):
    def own(distances):
        return distances.sum() / (len(distances) - 1)

    return _silhouette(tokens, names, own, lambda others: min(map(np.min, others)))


def silhouette_of_all_classes(tokens, names):
    def own(distances):
        return distances.sum() / (len(distances) - 1)

    return _silhouette(tokens, names, own, lambda others: np.mean([k.mean() for k in others]))


def silhouette_by(distance, whole):
    def silhouette(tokens, names):
        apart = distance(tokens[:, None] - tokens)
        values = []
        for n, name in enumerate(names):
            a = apart[n, names == name].sum() / ((names == name).sum() - 1)
            b = min(apart[n, names == k].mean() for k in np.unique(names) if k != name)
            values.append((b - a) / whole(a, b))
        return float(np.mean(values))

    return silhouette


def euclidean(gap):
    return np.linalg.norm(gap, axis=-1)


WRONG["tokens.prompt_mapper"] += [mapper_whose_head_comes_too_early, mapper_without_a_last_softmax]
WRONG["tokens.cross_entropy"] += [
    lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum") / logits.shape[1],
    lambda logits, labels: F.cross_entropy(logits.softmax(-1), labels) / logits.shape[1],
    lambda logits, labels: -F.cross_entropy(logits, labels) / logits.shape[1],
    lambda logits, labels: F.cross_entropy(logits, labels) / 5,
]
WRONG["tokens.silhouette"] += [
    silhouette_to_the_nearest_token,
    silhouette_of_all_classes,
    lambda tokens, names: silhouette_with_itself(tokens, names) - 0.01,
    silhouette_by(euclidean, lambda a, b: b),
    silhouette_by(euclidean, lambda a, b: a),
    silhouette_by(lambda gap: (gap**2).sum(-1), max),
]

"""Notebook 10."""

from functools import partial

import numpy as np
import torch

from mintad.model.reconstruction import ReconstructionModel


def wrong_pairs_of_own_kind(scores, labels):
    shares = np.empty(len(scores))
    for n, (score, label) in enumerate(zip(scores, labels, strict=True)):
        other = scores[labels != label]
        wrong = other > score if label else other < score
        shares[n] = wrong.sum() / (labels == label).sum()
    return shares


def wrong_pairs_without_ties(scores, labels):
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    shares = np.empty(len(scores))
    shares[labels == 1], shares[labels == 0] = (gap < 0).mean(axis=1), (gap < 0).mean(axis=0)
    return shares


def wrong_pairs_anomalous_last(scores, labels):
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wrong = (gap < 0) + 0.5 * (gap == 0)
    return np.concatenate([wrong.mean(axis=0), wrong.mean(axis=1)])


def nearest_mean_unscaled(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm(test[:, None] - means, axis=-1).argmin(axis=1)


def nearest_neighbour(train, classes, test):
    distance = np.linalg.norm((test[:, None] - train) / train.std(axis=0), axis=-1)
    return classes[distance.argmin(axis=1)]


WRONG = {
    "training.epochs": [
        lambda steps, batch_size, images: steps * batch_size / images,
        lambda steps, batch_size, images: steps / max(1, images // batch_size) + 1,
        lambda steps, batch_size, images: steps / -(-images // batch_size),
    ],
    "training.wrong_pairs": [wrong_pairs_of_own_kind, wrong_pairs_without_ties, wrong_pairs_anomalous_last],
    "training.paired": [
        lambda a, b: (np.mean(a) - np.mean(b), np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))),
        lambda a, b: ((a - b).mean(), (a - b).std(ddof=1)),
        lambda a, b: ((b - a).mean(), (a - b).std(ddof=1) / np.sqrt(len(a))),
        lambda a, b: ((a - b).mean(), (a - b).std() / np.sqrt(len(a))),
    ],
    "training.nearest_mean": [nearest_mean_unscaled, nearest_neighbour],
}


def nearest_mean_city_block(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return (np.abs(test[:, None] - means) / train.std(axis=0)).sum(-1).argmin(axis=1)


def nearest_mean_scaled_by_the_test(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm((test[:, None] - means) / (test.std(axis=0) + 1e-9), axis=-1).argmin(axis=1)


def nearest_mean_scaled_by_the_variance(train, classes, test):
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm((test[:, None] - means) / train.var(axis=0), axis=-1).argmin(axis=1)


WRONG["training.epochs"] += [
    lambda steps, batch_size, images: steps // max(1, images // batch_size),
    lambda steps, batch_size, images: steps / (images / min(batch_size, images)),
    lambda steps, batch_size, images: round(steps / max(1, images // batch_size)),
]
WRONG["training.wrong_pairs"] += [lambda scores, labels: 1 - wrong_pairs_without_ties(scores, labels)]
WRONG["training.nearest_mean"] += [
    nearest_mean_city_block,
    nearest_mean_scaled_by_the_test,
    nearest_mean_scaled_by_the_variance,
]


def _whole_model(feat, noise, net, fn, *, jitter=True, once=False, residual=False, own=True, detached=False):
    """MINT-AD with one mistake."""
    adapted = net.adapter(feat)
    token, logits = fn.prompt_mapper(adapted, net.class_encoder, net.channel_encoder, net.head)
    source = token if own else logits.softmax(-1)[:, :1].expand_as(token)
    source = source.detach() if detached else source
    query = net.query_output(torch.stack([fn.modulated(net.z, t, net.sines, net.modulators) for t in source]))
    tokens = net.adapter(fn.feature_jitter(feat, noise, net.alpha) if jitter else feat)
    for layer in net.encoder:
        tokens = layer(tokens)
    previous = tokens
    for n, layer in enumerate(net.decoder):
        previous = fn.decoder_layer(query if not (once and n) else previous, tokens, previous, layer)
    reconstruction = net.output(net.decoder_norm(previous))
    return reconstruction + feat * residual, adapted, logits, *net.distribution_decoder(query)


def whole_model_without_functions(feat, noise, net, fn):
    """Right with the functions of the notebooks, which the check does not give."""
    adapted = net.adapter(feat)
    token = net.channel_encoder(net.class_encoder(adapted.mT).softmax(-1).flatten(1)).softmax(-1)
    h, alpha = net.z.expand(len(feat), -1, -1), torch.cat([net.z.expand(len(feat), -1, -1),
                                                           token[:, None].expand(-1, len(net.z), -1)], -1)  # fmt: skip
    for sine, modulator in zip(net.sines, net.modulators, strict=True):
        alpha = modulator(alpha).relu()
        h = alpha * torch.sin(sine(h))
    query = net.query_output(h)
    std = feat.norm(dim=-1, keepdim=True) * net.alpha / feat.shape[-1]
    tokens = net.adapter(feat + noise * std)
    for layer in net.encoder:
        tokens = layer(tokens)
    previous = tokens
    for layer in net.decoder:
        x = layer.norm1(query + layer.memory_attention(query, tokens, tokens))
        x = layer.norm2(x + layer.previous_attention(x, previous, previous))
        previous = layer.norm3(x + layer.ffn(x))
    return net.output(net.decoder_norm(previous)), adapted, net.head(token), *net.distribution_decoder(query)


def whole_model_turned_decoder(feat, noise, net, fn):
    """The memory asks, and the query is looked at."""
    return _whole_model(feat, noise, net, Swapped(fn))


class Swapped:
    def __init__(self, fn):
        self.fn = fn

    def __getattr__(self, name):
        function = getattr(self.fn, name)
        return (lambda q, m, p, layer: function(m, q, p, layer)) if name == "decoder_layer" else function


WRONG["training.whole_model"] = [
    partial(_whole_model, jitter=False),
    partial(_whole_model, once=True),
    partial(_whole_model, residual=True),
    partial(_whole_model, own=False),
    partial(_whole_model, detached=True),
    lambda *a: _whole_model(*a)[:3],
    lambda *a: _whole_model(*a)[::-1],
    lambda feat, noise, net, fn: _whole_model(feat[:1], noise[:1], net, fn),
    whole_model_without_functions,
    whole_model_turned_decoder,
]


def _whole_loss(labels, target, reconstruction, adapted, logits, mean, log_variance, fn, **wrong):
    """Eq. 6 with one mistake."""
    options = {"how": "token", "prior": "element", "weights": (1.0, 1.0, 0.1), "classes": True} | wrong
    how, prior, weights, classes = options.values()
    parts = fn.reduce((reconstruction - target) ** 2, how), fn.cross_entropy(logits, labels)
    third = fn.reduce(fn.gaussian_nll(adapted, mean, log_variance), prior)
    factor = logits.shape[1] if classes else len(labels)
    return weights[0] * parts[0] + weights[1] * factor * parts[1] + weights[2] * third


WRONG["training.whole_loss"] = [
    partial(_whole_loss, how="element"),
    partial(_whole_loss, prior="token"),
    partial(_whole_loss, classes=False),
    partial(_whole_loss, weights=(1.0, 1.0, 1.0)),
    partial(_whole_loss, weights=(1.0, 0.1, 0.1)),
    partial(_whole_loss, weights=(1.0, 1.0, -0.1)),
    lambda *a: _whole_loss(*a).item(),
    lambda *a: _whole_loss(*a).detach(),
    lambda labels, target, rec, adapted, logits, mean, s, fn: _whole_loss(
        labels, target, rec, mean, logits, adapted, s, fn
    ),
    lambda labels, target, rec, adapted, logits, mean, s, fn: (
        (rec - target).square().sum(-1).mean() + torch.nn.functional.cross_entropy(logits, labels)
    ),
]


class Wrong(ReconstructionModel):
    """A model with a learned query, and one mistake in a subclass."""

    def __init__(self, config, channels, grid, classes):
        super().__init__(config, channels, grid)
        self.query = torch.nn.Parameter(torch.randn(self.tokens, config.width))

    def forward(self, feat_BLF, noise=None, labels_B=None):
        output = self.embed(feat_BLF)
        queries = [self.asking(output, labels_B)] * self.config.decoder_layers
        output.reconstruction = self.reconstruct(output, queries, self.noise(noise))
        return output

    def asking(self, output, labels_B):
        return self.query + 0.1 * output.adapted.mean(1, keepdim=True)

    def noise(self, noise):
        return noise


class Unjittered(Wrong):
    def noise(self, noise):
        return None if noise is None else torch.zeros_like(noise)


class DrawsItsOwnNoise(Wrong):
    def noise(self, noise):
        return noise if noise is None else torch.randn_like(noise)


class LooksAtTheBatch(Wrong):
    def asking(self, output, labels_B):
        return self.query + output.adapted.mean((0, 1))


class UsesLabelsInSecret(Wrong):
    def asking(self, output, labels_B):
        return self.query * (1 + labels_B[:, None, None])


class Random(Wrong):
    def asking(self, output, labels_B):
        return self.query + torch.randn_like(self.query)


class Copies(Wrong):
    def forward(self, feat_BLF, noise=None, labels_B=None):
        output = super().forward(feat_BLF, noise, labels_B)
        output.reconstruction = output.target + 1e-4 * output.reconstruction
        return output


class ReturnsATensor(Wrong):
    def forward(self, feat_BLF, noise=None, labels_B=None):
        return super().forward(feat_BLF, noise, labels_B).reconstruction


class OneForAll(Wrong):
    def forward(self, feat_BLF, noise=None, labels_B=None):
        output = super().forward(feat_BLF, noise, labels_B)
        output.reconstruction = output.reconstruction[:1].expand_as(output.target)
        return output


class Detached(Wrong):
    def forward(self, feat_BLF, noise=None, labels_B=None):
        output = super().forward(feat_BLF, noise, labels_B)
        output.reconstruction = output.reconstruction.detach()
        return output


WRONG["training.own_variant"] = [
    Unjittered,
    DrawsItsOwnNoise,
    LooksAtTheBatch,
    UsesLabelsInSecret,
    Random,
    Copies,
    ReturnsATensor,
    OneForAll,
    Detached,
    torch.nn.Linear,
    lambda *_: None,
]

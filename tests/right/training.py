"""Notebook 10."""

import functools

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import sem

from mintad.model.mint_ad import MintAD
from mintad.model.reconstruction import ReconstructionModel
from mintad.model.uniad import UniAD


def epochs_by_batches(steps, batch_size, images):
    return steps / max(1, images // batch_size)


def epochs_by_counting(steps, batch_size, images):
    left, batches, size = images, 0, batch_size if batch_size < images else images
    while left >= size:
        left, batches = left - size, batches + 1
    return np.float32(steps / batches)


def wrong_pairs_by_loop(scores, labels):
    shares = []
    for score, label in zip(scores, labels, strict=True):
        gap = (scores[labels != label] - score) * (1 if label else -1)
        shares.append(np.mean(np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))))
    return shares


def wrong_pairs_in_torch(scores, labels):
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)
    sign = torch.sign(scores[None] - scores[:, None]) * torch.where(labels == 1, 1, -1)[:, None]
    other = labels[:, None] != labels
    return ((1 + sign) / 2 * other).sum(1) / other.sum(1)


def paired_by_hand(a, b):
    d, n = a - b, len(a)
    mean = sum(d) / n
    return [mean, (sum((d - mean) ** 2) / (n - 1) / n) ** 0.5]


def nearest_mean_by_loop(train, classes, test):
    scale, answer = np.std(train, axis=0), []
    for image in test:
        errors = [(((image - train[classes == k].mean(0)) / scale) ** 2).sum() for k in sorted(set(classes))]
        answer.append(int(np.argmin(errors)))
    return answer


def nearest_mean_by_whitening(train, classes, test):
    scale = train.std(axis=0)
    means = np.array([(train / scale)[classes == k].mean(axis=0) for k in np.unique(classes)])
    return cdist(test / scale, means).argmin(axis=1)


RIGHT = {
    "training.epochs": [epochs_by_batches, epochs_by_counting],
    "training.wrong_pairs": [wrong_pairs_by_loop, wrong_pairs_in_torch],
    "training.paired": [paired_by_hand, lambda a, b: np.array([np.mean(a) - np.mean(b), sem(a - b)])],
    "training.nearest_mean": [nearest_mean_by_loop, nearest_mean_by_whitening],
}


def whole_model_by_vmap(feat, noise, net, fn):
    clean = net.adapter(feat)
    tokens, logits = fn.prompt_mapper(clean, net.class_encoder, net.channel_encoder, net.head)
    one_image = lambda token: net.query_output(fn.modulated(net.z, token, net.sines, net.modulators))  # noqa: E731
    queries = torch.vmap(one_image)(tokens)
    memory = net.adapter(fn.feature_jitter(feat, noise, net.alpha))
    for layer in net.encoder:
        memory = layer(memory)
    outputs = [memory]
    for layer in net.decoder:
        outputs.append(fn.decoder_layer(queries, memory, outputs[-1], layer))
    return [net.output(net.decoder_norm(outputs[-1])), clean, logits, *net.distribution_decoder(queries)]


def whole_model_image_by_image(feat, noise, net, fn):
    parts = []
    for image, drawn in zip(feat.split(1), noise.split(1), strict=True):
        adapted = net.adapter(image)
        (token,), logits = fn.prompt_mapper(adapted, net.class_encoder, net.channel_encoder, net.head)
        query = net.query_output(fn.modulated(net.z, token, net.sines, net.modulators))[None]
        encoded = functools.reduce(lambda x, f: f(x), net.encoder, net.adapter(fn.feature_jitter(image, drawn, 20.0)))
        last = functools.reduce(lambda x, f: fn.decoder_layer(query, encoded, x, f), net.decoder, encoded)
        mean, log_variance = net.distribution_decoder(query)
        parts.append((net.output(net.decoder_norm(last)), adapted, logits, mean, log_variance))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def whole_loss_in_one_line(labels, target, reconstruction, adapted, logits, mean, log_variance, fn):
    return (
        fn.reduce((target - reconstruction).square(), "token")
        + fn.cross_entropy(logits, labels) * logits.size(-1)
        + fn.reduce(fn.gaussian_nll(adapted, mean, log_variance), "element") / 10
    )


def whole_loss_by_weights(labels, target, reconstruction, adapted, logits, mean, log_variance, fn):
    parts = torch.stack([
        fn.reduce(torch.pow(reconstruction - target, 2), "token"),
        fn.cross_entropy(logits, labels),
        fn.reduce(fn.gaussian_nll(adapted, mean, log_variance), "element"),
    ])  # fmt: skip
    return parts @ torch.tensor([1.0, len(logits.T), 0.1])


RIGHT["training.whole_model"] = [whole_model_by_vmap, whole_model_image_by_image]
RIGHT["training.whole_loss"] = [whole_loss_in_one_line, whole_loss_by_weights]


class QueryFromLogits(MintAD):
    """MINT-AD whose class token is what the head says."""

    def prompt(self, adapted_BLC, labels_B):
        _, logits = super().prompt(adapted_BLC, labels_B)
        token = torch.softmax(logits, -1)
        return torch.nn.functional.pad(token, (0, self.config.prompt_mapper.token_width - token.shape[1])), logits


class GatedClass(ReconstructionModel):
    """A query shared by all classes, and a gate for each, which must be given."""

    needs_labels = True

    def __init__(self, config, channels, grid, classes):
        super().__init__(config, channels, grid)
        self.query = torch.nn.Parameter(torch.randn(self.tokens, config.width))
        self.gate = torch.nn.Embedding(classes, config.width)

    def forward(self, feat_BLF, noise=None, labels_B=None):
        output = self.embed(feat_BLF)
        query = self.query * self.gate(self.require_labels(labels_B))[:, None]
        output.reconstruction = self.reconstruct(output, [query] * self.config.decoder_layers, noise)
        return output


class WithoutMask(UniAD):
    """UniAD, and nothing else is changed but its mask."""

    def __init__(self, config, channels, grid, classes, mask=0):
        ReconstructionModel.__init__(self, config, channels, grid, default_mask=lambda grid: mask)
        shape = self.tokens, config.width
        self.queries = torch.nn.ParameterList(torch.randn(shape) for _ in range(config.decoder_layers))


class SmallestMask(WithoutMask):
    """A token may not see itself, but its neighbours."""

    def __init__(self, config, channels, grid, classes):
        super().__init__(config, channels, grid, classes, mask=1)


RIGHT["training.own_variant"] = [QueryFromLogits, GatedClass, WithoutMask, SmallestMask]

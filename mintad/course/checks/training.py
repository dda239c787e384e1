"""Checks of notebook 10: epochs of a run, wrongly ranked pairs, the nearest mean, a fair comparison; a whole model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mintad.course.checks import whole
from mintad.course.checks.exercise import exercise
from mintad.course.checks.grading import Call, call, differs, is_tensor, randn, require, same, two_numbers
from mintad.course.lab import own_variant
from mintad.course.lab.assembly import Functions, Net, small_net
from mintad.course.stand_ins import STAND_INS
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.variants import VARIANTS

Array = np.ndarray
WITH_MASK = 7, 7
"""The lesson's grid, on which a variant is compared with the package's: a smaller one has no room for other masks."""


def reference_epochs(steps: int, batch_size: int, images: int) -> float:
    """Return the number of passes over the training set."""
    return steps / (images // min(batch_size, images))


@exercise(
    reference_epochs,
    "whole batches only, and a batch never holds more images than there are",
    mistakes={
        "this counts the incomplete last batch of a pass, which is left out": lambda steps, batch, images: (
            steps / -(-images // batch)
        ),
        "this rounds down; a run may end within a pass, for example after 60.2": lambda *a: reference_epochs(*a) // 1,
        "this counts images; some of a pass are left out, so count whole batches": lambda steps, batch, images: (
            steps * batch / images
        ),
    },
)
def check_epochs(call: Call, rng: np.random.Generator) -> None:
    """Check for the number of passes over the training set; the incomplete last batch of a pass is left out."""
    same(call(300, 32, 320), 30, "320 images are 10 batches of 32, so 300 steps are 30 epochs, not {:g}")
    hint = "170 images are 5 whole batches of 32 (10 images are left out), so 300 steps are 60 epochs, not {:g}"
    same(call(300, 32, 170), 60, hint)
    hint = "170 images are 5 whole batches of 32, so 301 steps are 60.2 epochs, not {:g}: do not round"
    same(call(301, 32, 170), 60.2, hint)
    same(call(300, 32, 20), 300, "with 20 images a batch holds all 20, so 300 steps are 300 epochs, not {:g}")


def reference_wrong_pairs(scores: Array, labels: Array) -> Array:
    """Return each image's share of wrongly ranked pairs."""
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wrong = (gap < 0) + 0.5 * (gap == 0)
    shares = np.empty(len(scores))
    shares[labels == 1], shares[labels == 0] = wrong.mean(axis=1), wrong.mean(axis=0)
    return shares


@exercise(reference_wrong_pairs, "their mean over the anomalous images is 1 - AUROC")
def check_wrong_pairs(call: Call, rng: np.random.Generator) -> None:
    """Check for each image's share of the images of the other kind that it is ranked wrongly against."""
    scores, labels = np.array([0.1, 0.9, 0.5, 0.4]), np.array([0, 0, 1, 1])
    hint = "normal scores 0.1 and 0.9, anomalous ones 0.5 and 0.4: the shares are 0, 1, 0.5, 0.5"
    same(call(scores, labels), [0, 1, 0.5, 0.5], hint)
    hint = "return the shares in the order of the images, also if normal and anomalous ones are mixed"
    same(call(scores[[2, 0, 3, 1]], labels[[2, 0, 3, 1]]), [0.5, 0, 0.5, 1], hint)
    hint = "one anomalous image and three normal ones: divide by the number of images of the *other* kind"
    same(call(np.array([0.1, 0.2, 0.3, 0.15]), np.array([0, 0, 0, 1])), [0, 1, 1, 2 / 3], hint)
    hint = "a tie counts as half a wrong pair, because the mean must be 1 - AUROC"
    same(call(np.array([0.5, 0.5]), np.array([0, 1])), [0.5, 0.5], hint)


def reference_paired(a: Array, b: Array) -> tuple[float, float]:
    """Return mean difference and its standard error."""
    difference = a - b
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))


@exercise(reference_paired, "0.020 ± 0.004, although the categories themselves differ by 0.4")
def check_paired(call: Call, rng: np.random.Generator) -> None:
    """Check for the mean difference of two variants over the same categories or seeds, and its standard error."""
    a, b = np.array([0.99, 0.80, 0.60, 0.95]), np.array([0.97, 0.79, 0.57, 0.93])
    mean, error = two_numbers(call(a, b), "return two numbers: the mean difference and its standard error")
    same(mean, 0.02, "a is 0.02 better than b on average, not {:.4g}; take a - b")
    expected = np.std([0.02, 0.01, 0.03, 0.02], ddof=1) / 2
    apart = np.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4)
    require(abs(error - apart) > 1e-9, "this treats the values as unpaired; take the differences first")
    require(abs(error - expected * 2) > 1e-9, "this is the standard deviation of one difference; divide it by sqrt(n)")
    hint = f"the standard error is {expected:.5f}, not {{:.5f}}: divide the differences' std(ddof=1) by sqrt(n)"
    same(error, expected, hint)


def reference_nearest_mean(train: Array, classes: Array, test: Array) -> Array:
    """Return the class of the nearest class mean."""
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    return np.linalg.norm((test[:, None] - means) / train.std(axis=0), axis=-1).argmin(axis=1)


@exercise(reference_nearest_mean, "one mean per class, all channels weigh the same")
def check_nearest_mean(call: Call, rng: np.random.Generator) -> None:
    """Check for the nearest class mean, channels divided by their standard deviation over the training images."""
    train, classes = np.array([[0.0, 0], [2, 0], [0, 4], [2, 4]]), np.array([0, 0, 1, 1])
    hint = "with the means (1, 0) and (1, 4), the test images (1, .5), (1, 3.5), (5, .1) are of the classes 0, 1, 0"
    same(call(train, classes, np.array([[1.0, 0.5], [1.0, 3.5], [5.0, 0.1]])), [0, 1, 0], hint)
    train = np.array([[0.0, 0], [1000, 0], [100, 4], [1100, 4]])
    hint = "a channel with large values decides alone; divide each channel by its standard deviation over `train`"
    same(call(train, classes, np.array([[560.0, 0.2]])), [0], hint)
    corner = np.array([1.75**0.5, 1.0])  # both channels then have the same standard deviation
    train, test = np.array([corner, -corner, [-1, 2] + corner, [-1, 2] - corner]), np.array([[2.0, 2.0]])
    hint = "the distance is Euclidean: square the differences, sum them over the channels"
    same(call(train, np.array([0, 0, 1, 1]), test), [0], hint)
    train, classes = np.array([[0.0, 0], [0, 6], [4, 0]]), np.array([1, 1, 0])
    hint = "compare with the *mean* of each class, not with single images; class k is row k of the means"
    same(call(train, classes, np.array([[1.8, 0.0], [0.5, 3.0]])), [0, 1], hint)


def reference_whole_model(feat: Tensor, noise: Tensor, net: Net, fn: Functions) -> tuple[Tensor, ...]:
    """Return reconstruction, adapted features, class logits, mean and log-variance."""
    adapted = net.adapter(feat)
    token, logits = fn.prompt_mapper(adapted, net.class_encoder, net.channel_encoder, net.head)
    query = net.query_output(torch.stack([fn.modulated(net.z, t, net.sines, net.modulators) for t in token]))
    mean, log_variance = net.distribution_decoder(query)
    tokens = net.adapter(fn.feature_jitter(feat, noise, net.alpha))
    for layer in net.encoder:
        tokens = layer(tokens)
    memory = previous = tokens
    for layer in net.decoder:
        previous = fn.decoder_layer(query, memory, previous, layer)
    return net.output(net.decoder_norm(previous)), adapted, logits, mean, log_variance


@exercise(
    reference_whole_model,
    "the functions it is given, each in its place; trainable from end to end",
    trains=True,
    mistakes={
        "the jitter is missing: the encoder's tokens are adapter(feature_jitter(feat, noise, alpha))": partial(
            whole.forward, clean=True
        ),
        "the prompt mapper gets jittered features; it gets the clean f = adapter(feat)": partial(
            whole.forward, mapper_sees_noise=True
        ),
        "the adapted features that you return are jittered; the prior looks at the clean f": partial(
            whole.forward, prior_sees_noise=True
        ),
        "all images have the first one's query; each has its own, from its own class token": partial(
            whole.forward, one_token=True
        ),
        "the query does not come from the class token": partial(whole.forward, no_token=True),
        "query_output, the INR's last linear layer, is missing": partial(whole.forward, bare_query=True),
        "the encoder is missing: send the tokens through all its layers": partial(whole.forward, no_encoder=True),
        "the query enters every layer of the decoder, not the first alone": partial(whole.forward, query_once=True),
        "each layer of the decoder gets the output of the one before as `previous`": partial(
            whole.forward, forgets=True
        ),
        "the memory stays the encoder's output in all layers of the decoder": partial(whole.forward, memory_moves=True),
        "decoder_norm is missing before the output": partial(whole.forward, no_norm=True),
        "nothing is added behind the decoder": partial(whole.forward, added=True),
    },
)
def check_whole_model(call: Call, rng: np.random.Generator) -> None:
    """Check that a MINT-AD is put together from given functions and layers, from features (B, L, F) to five outputs."""
    torch.manual_seed(0)
    net = small_net(grid=(2, 3), channels=7, classes=4)
    feat, noise = randn((3, 6, 7), (3, 6, 7))
    results = call(feat, noise, net, STAND_INS)
    five = isinstance(results, tuple | list) and len(results) == 5
    require(five, "return five tensors: reconstruction, adapted, logits, mean, log_variance")
    names = ("reconstruction", "adapted", "logits", "mean", "log_variance")
    shapes = ((3, 6, 7), (3, 6, 8), (3, 4), (3, 6, 8), (3, 6, 8))
    for name, shape, result in zip(names, shapes, results, strict=True):
        is_tensor(result, shape, f"{name} must be a tensor of shape {shape} here, in this order: {', '.join(names)}")
    others = call(feat, torch.zeros_like(noise), net, STAND_INS)
    differs(others[0], results[0], "the noise changes nothing: jitter what enters the encoder")
    for name, result, expected in zip(names, results, reference_whole_model(feat, noise, net, STAND_INS), strict=True):
        same(result, expected, f"{name} is wrong; use the functions of `fn`, the check has others than you")


def reference_whole_loss(
    labels: Tensor,
    target: Tensor,
    reconstruction: Tensor,
    adapted: Tensor,
    logits: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    fn: Functions,
) -> Tensor:
    """Return the loss of Eq. 6."""
    mse = fn.reduce((reconstruction - target) ** 2, "token")
    ce = logits.shape[1] * fn.cross_entropy(logits, labels)
    prior = fn.reduce(fn.gaussian_nll(adapted, mean, log_variance), "element")
    return mse + ce + 0.1 * prior


@exercise(
    reference_whole_loss,
    "three parts, each in its reduction and with its weight",
    trains=True,
    mistakes={
        "Eq. 1 divides by the number of classes N; multiply by it, because the package's loss does not": partial(
            whole.loss, eq_1=True
        ),
        "the weight of the prior is missing: 0.1": partial(whole.loss, lambda_b=1.0),
        "the two weights are exchanged: 1 for the cross-entropy, 0.1 for the prior": partial(
            whole.loss, lambda_a=0.1, lambda_b=1.0
        ),
        "the cross-entropy is missing": partial(whole.loss, lambda_a=0.0),
        "the prior loss is missing": partial(whole.loss, lambda_b=0.0),
        "the squared error is reduced by 'token', as Eq. 5 says": partial(whole.loss, mse="element"),
        "the squared error is reduced by 'token'; this is 'sum'": partial(whole.loss, mse="sum"),
        "the prior is reduced by 'element' here, not as Eq. 4 is printed": partial(whole.loss, prior="sum"),
        "the prior is reduced by 'element', the squared error by 'token'": partial(whole.loss, prior="token"),
        "square the error; this is its absolute value": partial(whole.loss, absolute=True),
        "the sign of the prior is turned: gaussian_nll is a loss already": partial(whole.loss, sign=True),
    },
)
def check_whole_loss(call: Call, rng: np.random.Generator) -> None:
    """Check for Eq. 6, L_MSE + L_CE + 0.1 L_Prior, from the outputs of a whole model and given functions."""
    target, reconstruction, adapted, logits = randn((3, 6, 7), (3, 6, 7), (3, 6, 8), (3, 4))
    mean, log_variance = randn((3, 6, 8), (3, 6, 8), seed=1)
    labels = torch.tensor([0, 3, 1])
    outputs = (reconstruction, adapted, logits, mean, log_variance)
    result = call(labels, target, *outputs, STAND_INS)
    is_tensor(result, (), "return one number, as a tensor without axes: the sum of the three parts")
    expected = reference_whole_loss(labels, target, *outputs, STAND_INS)
    hint = "the sum of fn.reduce(squared error), N fn.cross_entropy and 0.1 fn.reduce(fn.gaussian_nll) is {:.4f} here"
    same(result, expected.item(), hint.replace("{:.4f}", f"{expected.item():.4f}, not {{:.4f}}"))


class reference_own_variant(ReconstructionModel):  # noqa: N801 - named like the exercise
    """The learned query of every layer is shifted by the image's mean token."""

    def __init__(self, config, channels, grid, classes) -> None:
        super().__init__(config, channels, grid)
        self.queries = nn.ParameterList(torch.randn(self.tokens, config.width) for _ in range(config.decoder_layers))
        self.shift = nn.Linear(config.width, config.width)

    def forward(self, feat_BLF: Tensor, noise: Tensor | None = None, labels_B: Tensor | None = None) -> Output:
        """Reconstruct features (B, L, F); `noise` as in `FeatureJitter`, `labels_B` is not used."""
        output = self.embed(feat_BLF)
        shift_B1D = self.shift(output.adapted.mean(dim=1, keepdim=True))
        output.reconstruction = self.reconstruct(output, [query + shift_B1D for query in self.queries], noise)
        return output


@exercise(reference_own_variant, "a model of its own; it is jittered, trains, and looks at each image alone")
def check_own_variant(build: Call, rng: np.random.Generator) -> None:
    """Check a class of models: made with (config, channels, grid, classes), forward(feat, noise, labels) -> Output."""
    seed = int(rng.integers(2**31))

    def made(kind: Callable[..., nn.Module], grid: tuple[int, int] = (2, 3), **config: Any) -> nn.Module:
        torch.manual_seed(seed)
        return kind(replace(own_variant.SMALL, **config), 7, grid, 3)

    model = made(build)
    hint = "it must be a class derived from ReconstructionModel, or from a variant such as UniAD or MintAD"
    require(isinstance(model, ReconstructionModel), hint)
    feat, noise, wide = randn((3, 6, 7), (3, 6, 7), (3, math.prod(WITH_MASK), 7), seed=seed)
    labels = torch.tensor([0, 2, 1])

    def reconstructed(*inputs: Tensor | None) -> Tensor:
        if model.training:
            torch.manual_seed(seed)  # the same dropout each time
        output = call(model, *inputs, takes="feat_BLF, noise, labels_B")
        require(isinstance(output, Output), "forward must return the output that self.embed(feat_BLF) gave you")
        is_tensor(output.reconstruction, (3, 6, 7), "set output.reconstruction, (B, L, F): self.reconstruct gives it")
        return output.reconstruction.detach()

    model.train()
    jittered = reconstructed(feat, noise, labels)
    differs(jittered, reconstructed(feat, -noise, labels), "the noise changes nothing: give it to self.reconstruct")
    model.eval()
    whole.require_sound(lambda feat, labels: reconstructed(feat, None, labels), feat, labels, model.needs_labels)
    for name, kind in VARIANTS.items():
        if isinstance(model, kind) and type(model) is not kind and kind.__module__.startswith("mintad.model."):
            models = (made(k, grid=WITH_MASK, neighbour_mask=None).eval() for k in (build, kind))  # each its own mask
            mine, theirs = (call(m, wide, None, labels, takes="feat_BLF, noise, labels_B") for m in models)
            same_values = torch.allclose(mine.reconstruction, theirs.reconstruction, atol=1e-6)
            require(not same_values, f"it does what {name} does: change something")
    losses = whole.few_steps(model, feat, labels)
    require(losses[-1] < losses[0], f"training does not help: the error goes from {losses[0]:.3f} to {losses[-1]:.3f}")
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    require(not unused, f"nothing is learned in {', '.join(unused[:3])}: the result does not depend on it")

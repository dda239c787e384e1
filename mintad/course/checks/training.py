"""Checks of notebook 10: epochs of a run, wrongly ranked pairs, a fair comparison of two variants, the nearest mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mintad.course.checks.grading import call, number, passed, require, same


def reference_epochs(steps: int, batch_size: int, images: int) -> float:
    """Return the number of passes over the training set."""
    batch = min(batch_size, images)
    return steps / (images // batch)


def check_epochs(fn: Callable[..., float]) -> None:
    """Check for the number of passes over the training set; the incomplete last batch of a pass is left out."""
    takes = "steps, batch_size, images"
    exact = number(call(fn, 300, 32, 320, takes=takes))
    require(exact == 30, f"320 images are 10 batches of 32, so 300 steps are 30 epochs, not {exact:g}")
    left = number(call(fn, 300, 32, 170, takes=takes))
    require(
        left == 60,
        f"170 images are 5 whole batches of 32 (10 images are left out), so 300 steps are 60 epochs, not {left:g}",
    )
    small = number(call(fn, 300, 32, 20, takes=takes))
    require(small == 300, f"with 20 images a batch holds all 20, so 300 steps are 300 epochs, not {small:g}")
    passed(fn, "epochs: whole batches only, and a batch never holds more images than there are")


def reference_wrong_pairs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each image's share of wrongly ranked pairs."""
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wrong = (gap < 0) + 0.5 * (gap == 0)
    shares = np.empty(len(scores))
    shares[labels == 1], shares[labels == 0] = wrong.mean(axis=1), wrong.mean(axis=0)
    return shares


def check_wrong_pairs(fn: Callable[..., np.ndarray]) -> None:
    """Check for each image's share of the images of the other kind that it is ranked wrongly against."""
    scores, labels = np.array([0.1, 0.9, 0.5, 0.4]), np.array([0, 0, 1, 1])
    takes = "scores, labels"
    result = call(fn, scores, labels, takes=takes)
    same(
        result, [0, 1, 0.5, 0.5], "normal scores 0.1 and 0.9, anomalous ones 0.5 and 0.4: the shares are 0, 1, 0.5, 0.5"
    )
    mixed = call(fn, scores[[2, 0, 3, 1]], labels[[2, 0, 3, 1]], takes=takes)
    same(
        mixed,
        [0.5, 0, 0.5, 1],
        "return the shares in the order of the images, also if normal and anomalous ones are mixed",
    )
    uneven = call(fn, np.array([0.1, 0.2, 0.3, 0.15]), np.array([0, 0, 0, 1]), takes=takes)
    same(
        uneven,
        [0, 1, 1, 2 / 3],
        "one anomalous image and three normal ones: divide by the number of images of the *other* kind",
    )
    tie = call(fn, np.array([0.5, 0.5]), np.array([0, 1]), takes=takes)
    same(tie, [0.5, 0.5], "a tie counts as half a wrong pair, because the mean must be 1 - AUROC")
    passed(fn, "wrong_pairs: their mean over the anomalous images is 1 - AUROC")


def reference_paired(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return mean difference and its standard error."""
    difference = a - b
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))


def check_paired(fn: Callable[..., tuple[float, float]]) -> None:
    """Check for the mean difference of two variants over the same categories or seeds, and its standard error."""
    a, b = np.array([0.99, 0.80, 0.60, 0.95]), np.array([0.97, 0.79, 0.57, 0.93])
    takes = "a, b"
    result = call(fn, a, b, takes=takes)
    require(np.shape(result) == (2,), "return two numbers: the mean difference and its standard error")
    mean, error = (float(value) for value in np.asarray(result, dtype=float))
    require(abs(mean - 0.02) < 1e-9, f"a is 0.02 better than b on average, not {mean:.4g}; take a - b")
    expected = np.std([0.02, 0.01, 0.03, 0.02], ddof=1) / 2
    apart = np.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4)
    require(abs(error - apart) > 1e-9, "this treats the values as unpaired; take the differences first")
    require(abs(error - expected * 2) > 1e-9, "this is the standard deviation of one difference; divide it by sqrt(n)")
    require(
        abs(error - expected) < 1e-9,
        f"the standard error is {expected:.5f}, not {error:.5f}: divide the differences' std(ddof=1) by sqrt(n)",
    )
    passed(fn, "paired: 0.020 ± 0.004, although the categories themselves differ by 0.4")


def reference_nearest_mean(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the class of the nearest class mean."""
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    std = train.std(axis=0)
    return np.linalg.norm((test[:, None] - means) / std, axis=-1).argmin(axis=1)


def check_nearest_mean(fn: Callable[..., np.ndarray]) -> None:
    """Check for the nearest class mean, channels divided by their standard deviation over the training images."""
    train = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    classes, takes = np.array([0, 0, 1, 1]), "train, classes, test"
    plain = call(fn, train, classes, np.array([[1.0, 0.5], [1.0, 3.5], [5.0, 0.1]]), takes=takes)
    same(
        plain,
        [0, 1, 0],
        "with the means (1, 0) and (1, 4), the test images (1, .5), (1, 3.5), (5, .1) are of the classes 0, 1, 0",
    )
    train = np.array([[0.0, 0.0], [1000.0, 0.0], [100.0, 4.0], [1100.0, 4.0]])
    scaled = call(fn, train, classes, np.array([[560.0, 0.2]]), takes=takes)
    same(
        scaled,
        [0],
        "a channel with large values decides alone; divide each channel by its standard deviation over `train`",
    )
    train, classes = np.array([[0.0, 0.0], [0.0, 6.0], [4.0, 0.0]]), np.array([1, 1, 0])
    between = call(fn, train, classes, np.array([[1.8, 0.0], [0.5, 3.0]]), takes=takes)
    same(
        between, [0, 1], "compare with the *mean* of each class, not with single images; class k is row k of the means"
    )
    passed(fn, "nearest_mean: one mean per class, all channels weigh the same")

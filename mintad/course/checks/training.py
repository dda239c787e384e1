"""Checks of notebook 10: epochs of a run, wrongly ranked pairs, a fair comparison of two variants, the nearest mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mintad.course.checks.grading import call, number, passed, require, same


def reference_epochs(steps: int, batch_size: int, images: int) -> float:
    batch = min(batch_size, images)
    return steps / (images // batch)


def check_epochs(fn: Callable[..., float]) -> None:
    """Passes over the training set in so many steps, the incomplete last batch of a pass left out."""
    takes = "steps, batch_size, images"
    exact = number(call(fn, 300, 32, 320, takes=takes))
    require(exact == 30, f"320 images make 10 batches of 32: 300 steps are 30 epochs, not {exact:g}")
    left = number(call(fn, 300, 32, 170, takes=takes))
    require(left == 60, f"170 images make 5 whole batches of 32; the other 10 images wait: 60 epochs, not {left:g}")
    small = number(call(fn, 300, 32, 20, takes=takes))
    require(small == 300, f"with 20 images a batch holds all 20: 300 steps are 300 epochs, not {small:g}")
    passed(fn, "epochs: whole batches only, and never more images in a batch than there are")


def reference_wrong_pairs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wrong = (gap < 0) + 0.5 * (gap == 0)
    shares = np.empty(len(scores))
    shares[labels == 1], shares[labels == 0] = wrong.mean(axis=1), wrong.mean(axis=0)
    return shares


def check_wrong_pairs(fn: Callable[..., np.ndarray]) -> None:
    """For each image the share of the images of the other kind that it is ranked wrongly against."""
    scores, labels = np.array([0.1, 0.9, 0.5, 0.4]), np.array([0, 0, 1, 1])
    takes = "scores, labels"
    result = call(fn, scores, labels, takes=takes)
    same(result, [0, 1, 0.5, 0.5], "normal 0.1 and 0.9, anomalous 0.5 and 0.4: the shares are 0, 1, 0.5, 0.5")
    mixed = call(fn, scores[[2, 0, 3, 1]], labels[[2, 0, 3, 1]], takes=takes)
    same(mixed, [0.5, 0, 0.5, 1], "in another order the shares must follow their images")
    uneven = call(fn, np.array([0.1, 0.2, 0.3, 0.15]), np.array([0, 0, 0, 1]), takes=takes)
    same(uneven, [0, 1, 1, 2 / 3], "one anomaly and three normals: divide by the number of images of the *other* kind")
    tie = call(fn, np.array([0.5, 0.5]), np.array([0, 1]), takes=takes)
    same(tie, [0.5, 0.5], "a tie is half a mistake, or the mean would not be 1 - AUROC")
    passed(fn, "wrong_pairs: their mean over the anomalous images is 1 - AUROC")


def reference_paired(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    difference = a - b
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))


def check_paired(fn: Callable[..., tuple[float, float]]) -> None:
    """Mean difference of two variants over the same categories or seeds, and its standard error."""
    a, b = np.array([0.99, 0.80, 0.60, 0.95]), np.array([0.97, 0.79, 0.57, 0.93])
    takes = "a, b"
    result = call(fn, a, b, takes=takes)
    require(np.shape(result) == (2,), "return two numbers: the mean difference and its standard error")
    mean, error = (float(value) for value in np.asarray(result, dtype=float))
    require(abs(mean - 0.02) < 1e-9, f"a is 0.02 better than b on average, not {mean:.4g}; the order is a - b")
    wanted = np.std([0.02, 0.01, 0.03, 0.02], ddof=1) / 2
    apart = np.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4)
    require(abs(error - apart) > 1e-9, "this ignores that the values are paired: take the differences first")
    require(abs(error - wanted * 2) > 1e-9, "that is the deviation of one difference; the mean of n varies less")
    require(
        abs(error - wanted) < 1e-9,
        f"the standard error is {wanted:.5f}, not {error:.5f}: deviation (ddof=1) of the differences over sqrt(n)",
    )
    passed(fn, "paired: 0.020 ± 0.004, although the categories themselves differ by 0.4")


def reference_nearest_mean(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> np.ndarray:
    means = np.stack([train[classes == k].mean(axis=0) for k in range(classes.max() + 1)])
    deviation = train.std(axis=0)
    return np.linalg.norm((test[:, None] - means) / deviation, axis=-1).argmin(axis=1)


def check_nearest_mean(fn: Callable[..., np.ndarray]) -> None:
    """Class index of the nearest class mean, channels in units of their deviation over the training images."""
    train = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    classes, takes = np.array([0, 0, 1, 1]), "train, classes, test"
    plain = call(fn, train, classes, np.array([[1.0, 0.5], [1.0, 3.5], [5.0, 0.1]]), takes=takes)
    same(plain, [0, 1, 0], "means are (1, 0) and (1, 4); the test images (1, .5), (1, 3.5), (5, .1) are of 0, 1, 0")
    train = np.array([[0.0, 0.0], [1000.0, 0.0], [100.0, 4.0], [1100.0, 4.0]])
    scaled = call(fn, train, classes, np.array([[560.0, 0.2]]), takes=takes)
    same(scaled, [0], "a loud channel decides alone: divide every channel by its deviation over `train`")
    train, classes = np.array([[0.0, 0.0], [0.0, 6.0], [4.0, 0.0]]), np.array([1, 1, 0])
    between = call(fn, train, classes, np.array([[1.8, 0.0], [0.5, 3.0]]), takes=takes)
    same(between, [0, 1], "compare with the *mean* of each class, with class k in row k of the means")
    passed(fn, "nearest_mean: one mean a class, all channels alike")

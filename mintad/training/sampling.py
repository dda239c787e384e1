"""How often each class trains where classes have different numbers of images; the paper is silent.

With n_k images of class k, a place in a batch goes to class k with probability n_k^q / sum_j n_j^q (Kang et al.,
"Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, Eq. 1).
"""

from __future__ import annotations

import numpy as np

EXPONENT = {"uniform": 1.0, "sqrt": 0.5, "balanced": 0.0}
"""q by the name of a setting: every image alike, between the two, every class alike."""
STREAM = 1  # last number of the seeds of turns; nothing else draws from seeds of four numbers


def epoch_order(labels_n: np.ndarray, sampling: str, seed: int, epoch: int) -> np.ndarray:
    """Return the positions (n,) of the training images that an epoch sees, a function of (seed, epoch) alone.

    For 'uniform', and for classes of the same size, every image comes once, in random order. Otherwise each class fills
    its share of the n places, spread evenly over the epoch. Its images take turns: in a whole training, one of them is
    drawn at most once more than another. (The last, incomplete batch of an epoch is dropped.)
    """
    counts_N = np.bincount(labels_n)
    draws_N = class_draws(counts_N, sampling)
    rng = np.random.default_rng([seed, epoch])
    if np.array_equal(draws_N, counts_N):
        return rng.permutation(len(labels_n))
    chosen, places = [], []
    for label in np.flatnonzero(draws_N):
        draws, members = draws_N[label], np.flatnonzero(labels_n == label)
        first, last = epoch * draws // len(members), ((epoch + 1) * draws - 1) // len(members)
        turns = [
            np.random.default_rng([seed, turn, label, STREAM]).permutation(members) for turn in range(first, last + 1)
        ]
        start = epoch * draws - first * len(members)
        chosen.append(np.concatenate(turns)[start : start + draws])
        places.append((np.arange(draws) + rng.random(draws)) / draws)
    return np.concatenate(chosen)[np.argsort(np.concatenate(places))]


def class_draws(counts_N: np.ndarray, sampling: str) -> np.ndarray:
    """Return how often each class (N,) is drawn in an epoch, which has as many places as there are images.

    Shares are rounded by largest remainders. A class with an image is drawn at least once.
    """
    exact_N = counts_N * class_weights(counts_N, sampling)
    draws_N = np.floor(exact_N + 1e-9).astype(int)
    missing = counts_N.sum() - draws_N.sum()
    draws_N[np.argsort(draws_N - exact_N, kind="stable")[:missing]] += 1
    return draws_N


def class_weights(counts_N: np.ndarray, weights: str) -> np.ndarray:
    """Return how much an image of each class (N,) counts: n_k^(q - 1), scaled to a mean of 1 over the images.

    All ones for 'uniform', in proportion to 1 / n_k for 'balanced'.
    """
    weight_N = np.maximum(counts_N, 1) ** (EXPONENT[weights] - 1)
    return weight_N * (counts_N.sum() / (counts_N * weight_N).sum())

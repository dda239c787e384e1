"""Notebook 12."""

import numpy as np
from scipy import stats


def three_digits(values):
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def biased(values):
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def ranks_of_all(differences):
    ranks = stats.rankdata(np.abs(differences))
    return ranks[differences > 0].sum(), ranks[differences < 0].sum()


def ranks_without_ties(differences):
    kept = differences[differences != 0]
    ranks = np.argsort(np.argsort(np.abs(kept))) + 1
    return float(ranks[kept > 0].sum()), float(ranks[kept < 0].sum())


def unpaired(a, b, draws, rng):
    def means(values):
        return values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)

    return means(a) - means(b)


def permuted(a, b, draws, rng):
    return np.array([rng.permutation(a - b).mean() for _ in range(draws)])


def single_pairs(a, b, draws, rng):
    return (a - b)[rng.integers(len(a), size=draws)]


def bonferroni(p_values):
    return np.minimum(1, len(p_values) * p_values)


def not_monotone(p_values):
    rank = np.argsort(np.argsort(p_values))
    return np.minimum(1, (len(p_values) - rank) * p_values)


def sorted_holm(p_values):
    ordered = np.sort(p_values)
    return np.minimum(1, np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * ordered))


WRONG = {
    "report.mean_std": [three_digits, biased],
    "report.signed_ranks": [ranks_of_all, ranks_without_ties, lambda d: ((d > 0).sum(), (d < 0).sum())],
    "report.paired_bootstrap": [unpaired, permuted, single_pairs],
    "report.holm": [bonferroni, not_monotone, sorted_holm],
}

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
    return rng.permuted(np.tile(a - b, (draws, 1)), axis=1).mean(axis=1)


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


def rounded_mean_only(values):
    std = np.std(values, ddof=1)
    return f"{np.mean(values):.3f} ± {float(f'{std:.0e}')}"


def rounded_by_the_unrounded_deviation(values):
    std = np.std(values, ddof=1)
    digits = -int(np.floor(np.log10(std)))
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


def rounded_to_the_first_digit_above_zero(values):
    std = np.std(values, ddof=1)
    digits = next(n for n in range(12) if round(std, n) > 0)
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


def standard_error(values):
    std = np.std(values, ddof=1) / len(values) ** 0.5
    digits = -int(f"{std:.0e}".split("e")[1])
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


def two_digits_of_the_deviation(values):
    std = np.std(values, ddof=1)
    digits = 1 - int(f"{std:.0e}".split("e")[1])
    return f"{np.mean(values):.{digits}f} ± {std:.{digits}f}"


def bootstrap_of_another_generator(a, b, draws, rng):
    return (a - b)[np.random.default_rng(0).integers(len(a), size=(draws, len(a)))].mean(axis=1)


def normal_draws(a, b, draws, rng):
    return rng.normal((a - b).mean(), np.std(a - b) / np.sqrt(len(a)), draws)


def holm_with(factor=0, most=1.0, way=np.maximum.accumulate):
    def holm(p_values):
        order, adjusted = np.argsort(p_values), np.empty(len(p_values))
        factors = len(p_values) - np.arange(len(p_values)) + factor
        adjusted[order] = np.minimum(most, way(factors * p_values[order]))
        return adjusted

    return holm


def ranks_by(ranks, differences):
    return ranks[differences > 0].sum(), ranks[differences < 0].sum()


WRONG["report.mean_std"] += [
    rounded_mean_only,
    standard_error,
    two_digits_of_the_deviation,
    rounded_by_the_unrounded_deviation,
    rounded_to_the_first_digit_above_zero,
]
WRONG["report.signed_ranks"] += [
    lambda d: ranks_without_ties(d)[::-1],
    lambda d: (stats.rankdata(d[d > 0]).sum(), stats.rankdata(-d[d < 0]).sum()),
    lambda d: (stats.wilcoxon(d).statistic, stats.wilcoxon(d).statistic),
    lambda d: ranks_by(stats.rankdata(d[d != 0]), d[d != 0]),
]
WRONG["report.paired_bootstrap"] += [bootstrap_of_another_generator, normal_draws]
WRONG["report.holm"] += [
    holm_with(most=np.inf),
    holm_with(factor=-1),
    holm_with(way=lambda x: np.minimum.accumulate(x[::-1])[::-1]),
]

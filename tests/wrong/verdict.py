"""Notebook 14."""

import numpy as np
from scipy import stats


def judged_by_sign(low, high, smallest):
    return "supported" if low > 0 else "against" if high < 0 else "open"


def small_last(low, high, smallest):
    verdict = judged_by_sign(low, high, smallest)
    return "too small" if verdict == "open" and -smallest < low and high < smallest else verdict


def beyond_smallest(low, high, smallest):
    if -smallest < low and high < smallest:
        return "too small"
    return "supported" if low > smallest else "against" if high < -smallest else "open"


def judged_by_middle(low, high, smallest):
    middle = (low + high) / 2
    return "too small" if abs(middle) < smallest else "supported" if middle > 0 else "against"


def open_if_it_contains_zero(low, high, smallest):
    if low <= 0 <= high:
        return "open"
    return "too small" if max(-low, high) < smallest else "supported" if low > 0 else "against"


def simple_effects(values):
    return values[1, 0] - values[0, 0], values[0, 1] - values[0, 0], values[1, 1] - values[0, 0]


def transposed(values):
    columns, rows = np.mean(values, axis=1), np.mean(values, axis=0)
    return rows[1] - rows[0], columns[1] - columns[0], values[1, 1] - values[0, 1] - values[1, 0] + values[0, 0]


def sums(values):
    rows, columns = np.sum(values, axis=1), np.sum(values, axis=0)
    return rows[1] - rows[0], columns[1] - columns[0], values[1, 1] - values[0, 1] - values[1, 0] + values[0, 0]


def halved_interaction(values):
    rows, columns = np.mean(values, axis=1), np.mean(values, axis=0)
    return rows[1] - rows[0], columns[1] - columns[0], (np.trace(values) - np.trace(np.fliplr(values))) / 2


def until(half_width, first=2):
    def repetitions(std, smallest):
        return next(n for n in range(first, 100_000) if half_width(n, std) <= smallest)

    return repetitions


WRONG = {
    "verdict.judge": [judged_by_sign, small_last, beyond_smallest, judged_by_middle, open_if_it_contains_zero],
    "verdict.apart": [simple_effects, transposed, sums, halved_interaction],
    "verdict.repetitions": [
        until(lambda n, std: 1.96 * std / n**0.5),
        until(lambda n, std: stats.t.ppf(0.975, n - 1) * std / n),
        until(lambda n, std: stats.t.ppf(0.95, n - 1) * std / n**0.5),
        until(lambda n, std: stats.t.ppf(0.975, n) * std / n**0.5),
        until(lambda n, std: std / n**0.5),
    ],
}

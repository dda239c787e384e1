"""Notebook 11."""

import numpy as np


def split_images(groups, share, seed):
    return np.random.default_rng(seed).random(len(groups)) < share


def split_first_products(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[: round(share * len(names))])


def split_without_seed(groups, share, seed):
    names = np.random.default_rng().permutation(np.unique(groups))
    return np.isin(groups, names[: round(share * len(names))])


def first_near(steps, loss, tolerance):
    return int(steps[np.flatnonzero(np.abs(loss - loss[-1]) <= tolerance * abs(loss[-1]))[0]])


def near_without_abs(steps, loss, tolerance):
    outside = np.flatnonzero(loss > (1 + tolerance) * loss[-1])
    return int(steps[outside[-1] + 1]) if len(outside) else int(steps[0])


def smallest_step(steps, loss, tolerance):
    falls = np.abs(np.diff(loss)) <= tolerance * np.abs(loss[:-1])
    return int(steps[1:][falls][0]) if falls.any() else int(steps[-1])


def quantile_of_all(scores, labels, rate):
    threshold = np.quantile(scores, 1 - rate)
    return threshold, (scores[labels == 1] > threshold).mean()


def highest_normal(scores, labels, rate):
    threshold = scores[labels == 0].max()
    return threshold, (scores[labels == 1] > threshold).mean()


def one_too_low(scores, labels, rate):
    normal = np.sort(scores[labels == 0])
    threshold = normal[max(0, len(normal) - 2 - int(rate * len(normal)))]
    return threshold, (scores[labels == 1] > threshold).mean()


def cost_of_the_test_set(scores, labels, threshold, defect_rate, miss, alarm):
    wrong = np.where(labels == 1, miss * (scores <= threshold), alarm * (scores > threshold))
    return float(wrong.mean())


def cost_swapped(scores, labels, threshold, defect_rate, miss, alarm):
    missed, alarms = (scores[labels == 1] <= threshold).mean(), (scores[labels == 0] > threshold).mean()
    return float(defect_rate * alarm * alarms + (1 - defect_rate) * miss * missed)


def cost_at_or_above(scores, labels, threshold, defect_rate, miss, alarm):
    missed, alarms = (scores[labels == 1] < threshold).mean(), (scores[labels == 0] >= threshold).mean()
    return float(defect_rate * miss * missed + (1 - defect_rate) * alarm * alarms)


WRONG = {
    "transfer.group_split": [split_images, split_first_products, split_without_seed],
    "transfer.plateau": [first_near, near_without_abs, smallest_step],
    "transfer.operating_point": [quantile_of_all, highest_normal, one_too_low],
    "transfer.expected_cost": [cost_of_the_test_set, cost_swapped, cost_at_or_above],
}


def split_by_coin(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[np.random.default_rng(seed).random(len(names)) < share])


def split_for_training(groups, share, seed):
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    return ~np.isin(groups, names[: round(share * len(names))])


def quantile_of_the_normals(scores, labels, rate):
    threshold = np.quantile(scores[labels == 0], 1 - rate)
    return threshold, (scores[labels == 1] > threshold).mean()


def hits_at_the_threshold(scores, labels, rate):
    normal = np.sort(scores[labels == 0])
    threshold = normal[len(normal) - 1 - int(rate * len(normal) + 1e-9)]
    return threshold, (scores[labels == 1] >= threshold).mean()


def cost_without_a_rate(scores, labels, threshold, defect_rate, miss, alarm):
    return miss * (scores[labels == 1] <= threshold).mean() + alarm * (scores[labels == 0] > threshold).mean()


def cost_of_all_images(scores, labels, threshold, defect_rate, miss, alarm):
    missed, alarms = ((labels == 1) & (scores <= threshold)).mean(), ((labels == 0) & (scores > threshold)).mean()
    return defect_rate * miss * missed + (1 - defect_rate) * alarm * alarms


WRONG["transfer.group_split"] += [split_by_coin, split_for_training]
WRONG["transfer.plateau"] += [
    lambda steps, loss, tolerance: int(np.flatnonzero(np.abs(loss - loss[-1]) <= tolerance * abs(loss[-1]))[-1]),
    lambda steps, loss, tolerance: first_near(steps, loss, tolerance * abs(loss[0] / loss[-1])),
]
WRONG["transfer.operating_point"] += [quantile_of_the_normals, hits_at_the_threshold]
WRONG["transfer.expected_cost"] += [cost_without_a_rate, cost_of_all_images]

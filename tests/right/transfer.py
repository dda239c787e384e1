"""Notebook 11."""

import random

import numpy as np
import torch


def split_by_shuffling(groups, share, seed):
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    chosen = set(names[: max(1, round(share * len(names)))])
    return [name in chosen for name in groups]


def split_by_choice(groups, share, seed):
    names, which = np.unique(groups, return_inverse=True)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(names), dtype=torch.bool)
    chosen[torch.randperm(len(names), generator=generator)[: max(1, round(share * len(names)))]] = True
    return chosen[torch.as_tensor(which)]


def plateau_from_the_end(steps, loss, tolerance):
    first = len(loss) - 1
    while first > 0 and abs(loss[first - 1] - loss[-1]) <= tolerance * abs(loss[-1]):
        first -= 1
    return steps[first]


def plateau_by_running(steps, loss, tolerance):
    near = np.abs(loss / loss[-1] - 1) <= tolerance
    return torch.as_tensor(steps[np.logical_and.accumulate(near[::-1])[::-1]][0])


def point_by_trying(scores, labels, rate):
    normal, anomalous = scores[labels == 0], scores[labels == 1]
    limits = [t for t in [normal.min() - 1, *normal] if (normal > t).mean() <= rate + 1e-9]
    return [min(limits), float((anomalous > min(limits)).mean())]


def point_by_descending(scores, labels, rate):
    normal = sorted(scores[labels == 0].tolist(), reverse=True)
    threshold = normal[int(rate * len(normal) + 1e-9)]
    hits = [score > threshold for score in scores[labels == 1]]
    return torch.tensor([threshold, sum(hits) / len(hits)], dtype=torch.float64)


def cost_of_parts(scores, labels, threshold, defect_rate, miss, alarm):
    flagged = scores > threshold
    good, bad = labels == 0, labels == 1
    price = miss * defect_rate * (1 - flagged[bad].mean())
    return price + alarm * (1 - defect_rate) * flagged[good].mean()


def cost_by_counting(scores, labels, threshold, defect_rate, miss, alarm):
    counts = {0: [0, 0], 1: [0, 0]}
    for score, label in zip(scores.tolist(), labels.tolist(), strict=True):
        counts[label][score > threshold] += 1
    missed, alarms = counts[1][0] / sum(counts[1]), counts[0][1] / sum(counts[0])
    return torch.tensor(defect_rate * missed * miss + (1 - defect_rate) * alarms * alarm)


RIGHT = {
    "transfer.group_split": [split_by_shuffling, split_by_choice],
    "transfer.plateau": [plateau_from_the_end, plateau_by_running],
    "transfer.operating_point": [point_by_trying, point_by_descending],
    "transfer.expected_cost": [cost_of_parts, cost_by_counting],
}

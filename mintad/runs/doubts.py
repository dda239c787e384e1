"""When decisions about new images deserve doubt: thresholds from few images, many flags, photographs unlike training.

Each doubt is one line. None of them changes a decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import betabinom

from mintad.data.photographs import Photograph, unlike
from mintad.scoring.conformal import fewest
from mintad.scoring.decisions import Decisions
from mintad.scoring.threshold import conformal_rank

NO_THRESHOLD = (
    "no image is called normal or anomalous, because no images were held out of this training to fit a threshold to; "
    "give --threshold, or train anew with --set data.holdout=0.1"
)
SURPRISE = 1e-3
"""Probability, if all images were normal, below which the number of flagged ones is worth a word."""


def doubts(
    table: pd.DataFrame,
    decisions: Decisions | None,
    photographs: Sequence[Photograph],
    trained: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Return a line for each doubt about predictions; for the arguments see `doubts_by_kind`."""
    return list(doubts_by_kind(table, decisions, photographs, trained).values())


def doubts_by_kind(
    table: pd.DataFrame,
    decisions: Decisions | None,
    photographs: Sequence[Photograph],
    trained: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Return kind -> line for each doubt about predictions, so that one of a kind can be said once.

    Args:
        table: columns image, judged_class, and those of `Decisions.of` where there are decisions.
        decisions: the rules behind them; None where the run has none.
        photographs: one for each row.
        trained: see `mintad.data.photographs.describe`; empty where it is not known.
    """
    lines: dict[str, str] = {}
    if decisions is None and len(table):
        lines["undecided"] = NO_THRESHOLD
    if decisions is not None and decisions.calibration is not None and len(table):
        lines["few"] = few_images(set(table["judged_class"]), decisions)
        lines["few for unknown"] = few_for_unknown(table, decisions)
        lines |= many_flagged(table, decisions)
    lines |= unlike_training(table, photographs, trained) if trained else {}
    return {kind: line for kind, line in lines.items() if line}


def few_images(classes: Iterable[str], decisions: Decisions) -> str:
    """Say of which of some classes the threshold rests on too few held-out images; '' if of none."""
    if decisions.fixed is not None:
        return ""
    needed, pooled = fewest(decisions.quantile), decisions.pooled()
    if not pooled.reached:
        rate, images = 1 / (pooled.n + 1), "image" if pooled.n == 1 else "images"
        return (
            f"the threshold rests on {pooled.n} held-out {images}, {needed} are needed for the quantile "
            f"{decisions.quantile:.4g}: expect up to {100 * rate:.3g}% false alarms "
            f"instead of {100 * (1 - decisions.quantile):.4g}%"
        )
    fitted = {name: decisions.calibration.threshold(name, decisions.quantile) for name in classes}
    few = [f"{name} ({threshold.n})" for name, threshold in sorted(fitted.items()) if threshold.pooled]
    if not few:
        return ""
    return (
        f"fewer than {needed} held-out images, too few for thresholds of their own, so that the images of all classes "
        f"decide: {', '.join(few)}"
    )


def few_for_unknown(table: pd.DataFrame, decisions: Decisions) -> str:
    """Say, where products are called unknown, if that rests on too few held-out images; '' if not.

    Too few are those with which more than 1.5 times as many known products may be called unknown as promised. With n
    images up to 1 in n + 1 are: 1.23 % with 80, instead of 1 %, is not worth a word.
    """
    limit, unknown = decisions.unknown(), int(table["unknown_product"].sum())
    if not unknown or 1 / (limit.n + 1) <= 1.5 * (1 - limit.quantile):
        return ""
    return (
        f"the limit of unknown products ({unknown} of {len(table)} images are called so) rests on {limit.n} held-out "
        f"{'image' if limit.n == 1 else 'images'}, {fewest(limit.quantile)} are needed: up to "
        f"{100 / (limit.n + 1):.3g}% of known products are called unknown instead of "
        f"{100 * (1 - limit.quantile):.3g}%"
    )


def many_flagged(table: pd.DataFrame, decisions: Decisions) -> dict[str, str]:
    """Say if far more images are flagged than normal ones would be.

    The rate of false alarms of a threshold that is the k-th of n scores is not known but has a Beta(n + 1 - k, k)
    distribution, so their number among new normal images is beta-binomial. With several thresholds the least
    probable number counts, times the number of thresholds.
    """
    lines, pooled = {}, decisions.pooled()
    rate = 1 - decisions.quantile if pooled.reached else 1 / (pooled.n + 1)
    if decisions.fixed is None and _surprise(table, decisions) < SURPRISE:
        flagged, count = int(table["anomalous"].sum()), len(table)
        lines["many flagged"] = (
            f"{flagged} of {count} images ({flagged / count:.0%}) are flagged, and of normal images about {rate:.1%} "
            "should be; there are many defects, or the images are not like those of the training"
        )
    unknown, count, limit = int(table["unknown_product"].sum()), len(table), decisions.unknown()
    if betabinom.sf(unknown - 1, count, limit.n + 1 - limit.rank, limit.rank) < SURPRISE:
        lines["many unknown"] = (
            f"{unknown} of {count} images ({unknown / count:.0%}) look like no product of the training: scores and "
            "classes of an unknown product mean nothing"
        )
    return lines


def _surprise(table: pd.DataFrame, decisions: Decisions) -> float:
    """Return the probability of as many flags under the least probable of the thresholds, if all were normal."""
    judged = table["judged_class"]
    fitted = {name: decisions.calibration.threshold(name, decisions.quantile) for name in set(judged)}
    groups = {name: "" if threshold.pooled else name for name, threshold in fitted.items()}
    found = []
    for group, flags in table["anomalous"].groupby(judged.map(groups)):
        n, rank = decisions.pooled().n, decisions.pooled().rank
        if group:  # a threshold of its own
            n = fitted[group].n
            rank = conformal_rank(n, decisions.quantile)
        found.append(betabinom.sf(int(flags.sum()) - 1, len(flags), n + 1 - rank, rank))
    return min(found) * len(found)


def unlike_training(
    table: pd.DataFrame, photographs: Sequence[Photograph], trained: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Say of every kind of difference from the training images how many images have it, and give the first."""
    found: dict[str, list[str]] = {}
    for image, judged, one in zip(table["image"], table["judged_class"], photographs, strict=True):
        for kind, values in unlike(one, trained, judged).items():
            name = "".join(sign if sign.isprintable() else "?" for sign in str(image))  # one line, whatever the name
            found.setdefault(kind, []).append(f"{name}: {values}")
    return {
        kind: f"{len(images)} of {len(table)} images have another {kind} than the training images (first: {images[0]})"
        for kind, images in found.items()
    }

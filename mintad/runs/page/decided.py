"""What the results page says about decisions: the thresholds, what they rest on, what they did to the test images."""

from __future__ import annotations

import pandas as pd

from mintad.data.records import category_keys
from mintad.runs.page.render import Table
from mintad.scoring.conformal import fewest
from mintad.scoring.decisions import UNKNOWN_QUANTILE, Decisions


def threshold_table(scores: pd.DataFrame, decisions: Decisions, *, tested: bool = True) -> Table:
    """Return the threshold of every class beside the rates on the test images of the category of the same name.

    Where nothing was `tested`, there are no rates: the scores are those that the thresholds were fitted to.
    """
    keys, rows = category_keys(scores), []
    for name, threshold in decisions.thresholds().items():
        images = scores[keys == name] if name else scores
        basis = "all classes" if threshold.pooled and len(decisions.classes) > 1 else "its own"
        if not tested:
            rows.append([name or "all", threshold.n, basis, threshold.value])
            continue
        flagged = [_share(images.loc[images["label"] == label, "anomalous"]) for label in (0, 1)]
        unknown = _share(images.loc[images["label"] == 0, "unknown_product"])
        rows.append([name or "all", threshold.n, basis, threshold.value, *flagged, unknown])
    head = ["predicted class", "held-out images", "rests on", "threshold"]
    caption = "An image is called anomalous if its score is above the threshold of its predicted class."
    if tested:
        head += ["false alarms", "anomalies found", "normal, but unknown"]
        caption += (
            " Rates are of the category's test images; the last is the share of its normal ones that were taken for an "
            "unknown product."
        )
    return Table(head, rows, caption)


def threshold_notes(decisions: Decisions, *, tested: bool = True) -> list[str]:
    """Return what the thresholds promise, and for which classes they do not."""
    quantile, needed, pooled = f"{decisions.quantile:.4g}", fewest(decisions.quantile), decisions.pooled()
    if not pooled.reached:
        few = (
            f"Only {pooled.n:,} normal training images were held out, too few for the quantile {quantile}, which takes "
            f"{needed:,}. The highest of their scores is the threshold of all classes; a new normal image is above it "
            f"with a probability of up to {1 / (pooled.n + 1):.1%}, and no p-value is below that."
        )
        return [few]
    notes = [
        f"Each threshold is fitted to normal training images that were held out, {pooled.n:,} in all: a new normal "
        f"image like them should pass with a probability of at least {quantile}."
        + " Rates are measured on the test images."
        * tested
    ]
    small = [name for name, threshold in decisions.thresholds().items() if threshold.pooled]
    if small:
        notes.append(
            f"Fewer than {needed:,} held-out images, too few for a threshold of their own: {', '.join(small)}. The "
            "images of all classes together judge these classes, which promises nothing for one of them; no image is "
            "flagged that scores below a held-out one of its class."
        )
    unknown, count = decisions.unknown(), decisions.pooled().n
    limit = f"at most {1 - UNKNOWN_QUANTILE:.0%}" if unknown.reached else f"up to {1 / (count + 1):.1%}"
    notes.append(f"The product of {limit} of new normal images should be called unknown.")
    return notes


def _share(flags: pd.Series) -> float | None:
    return float(flags.mean()) if len(flags) else None

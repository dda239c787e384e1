"""What the page says about categories without anomalous test images: held-out normal images, and defects made by us."""

from __future__ import annotations

import pandas as pd

from mintad.runs.page.render import Table
from mintad.runs.page.tables import Tile
from mintad.scoring import auroc
from mintad.scoring.decisions import Decisions

MADE_KINDS = ("held-out normal", "made-defect")
"""What labels 0 and 1 of `as_scores` are."""


def as_scores(made: pd.DataFrame) -> pd.DataFrame:
    """Return the images as they are (label 0) and with a made defect (label 1), one row each, as figures take them."""
    names = made["category"].str.partition("/")
    rows = pd.DataFrame({"dataset": names[0], "category": names[2], "label": 0})
    plain = rows.assign(pred_score=made["pred_score"], anomalous=made["anomalous"])
    changed = rows.assign(label=1, pred_score=made["made_score"], anomalous=made["made_anomalous"])
    return pd.concat([plain, changed], ignore_index=True)


def made_tiles(made: pd.DataFrame, decisions: Decisions) -> list[Tile]:
    """Return the headline numbers: false alarms that the thresholds let expect, and made defects that they find."""
    pooled = decisions.pooled()
    expected = 1 - pooled.rank / (pooled.n + 1)
    note = f"of new normal images, from {pooled.n:,} held-out ones"
    found = made["made_anomalous"].mean()
    return [
        Tile(f"≤ {expected:.1%}", "false alarms expected", note),
        Tile(f"{found:.1%}", "made defects found", f"of {len(made):,}, pasted by us: no measure of real defects"),
    ]


def made_table(made: pd.DataFrame, *, decided: bool) -> Table:
    """Return a row for each category: its held-out images, and how made defects are told from them."""
    rows = []
    for category, images in made.groupby("category"):
        scores = as_scores(images)
        values = [len(images), float(images["pred_score"].median()), float(images["pred_score"].max())]
        if decided:
            values += [float(images[name].mean()) for name in ("anomalous", "made_anomalous")]
        rows.append([category, *values, float(auroc(scores["pred_score"], scores["label"]))])
    shares = ["share above the threshold", "made defects above it"] if decided else []
    head = ["category", "held-out normal images", "median score", "highest score", *shares, "image AUROC, made defects"]
    caption = (
        "Categories without anomalous test images. The defects are made by us: a piece of another picture, a scar or a "
        "darkened rectangle, pasted on the held-out normal images. They show whether the model sees anything at all, "
        "and are easier than most real defects; no number here is a measurement on yours. The threshold was fitted to "
        "the held-out images, so few of these are above it."
    )
    return Table(head, rows, caption)

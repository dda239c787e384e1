"""The results page of a run, section by section."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from mintad import plots
from mintad.runs.page.decided import threshold_notes, threshold_table
from mintad.runs.page.galleries import galleries
from mintad.runs.page.render import render
from mintad.runs.page.tables import (
    category_table,
    chooses_model,
    class_rows,
    comparison,
    defect_table,
    hardest_defect,
    tiles,
)
from mintad.scoring.decisions import Decisions
from mintad.scoring.metrics import first_method, value_of

FOLDED = 20
"""Tables with more rows start folded."""


def results_page(
    *,
    scores: pd.DataFrame,
    grid_maps: np.ndarray,
    results: pd.DataFrame,
    history: pd.DataFrame | None,
    config: dict[str, Any],
    decisions: Decisions | None,
    title: str,
    versions: dict[str, str] | None = None,
    n_cases: int = 6,
) -> str:
    """Return the page as HTML: about 5 MB, nearly all of it plotly's script, so that it works offline.

    Args:
        scores: the test rows of the record table with pred_score, pred_class ("" for none), and the columns of
            `Decisions.of` where there are decisions.
        grid_maps: (n, H, W) anomaly maps in the same order.
        results: columns `RESULT_COLUMNS`; the first method and setting is the run's own model.
        config, versions: shown at the end.
        decisions: the rules that gave them; None if there are none.
        n_cases: images in each gallery.

    Raises:
        DataError: an image or a mask of a case cannot be read.
    """
    own, defects = first_method(results), defect_table(scores)
    limits = decisions and {name or "all": threshold.value for name, threshold in decisions.thresholds().items()}
    ranked = value_of(own, "image_auroc") is not None
    classes = class_rows(results)
    judge = "classifier" if chooses_model(classes) else "class head"
    listings = {"Configuration": config, "Versions": versions}
    return render(
        "results.html.j2",
        title=title,
        scores=scores,
        decided=decisions is not None,
        thresholds=decisions and threshold_table(scores, decisions),
        threshold_notes=threshold_notes(decisions) if decisions else [],
        tiles=tiles(scores, results, decided=decisions is not None),
        categories=category_table(scores, own),
        category_bars=plots.per_category_bars(own) if ranked else None,
        comparison=comparison(results, config.get("model", {}).get("recentre", {}).get("neighbours", 0)),
        score_figures=[*([plots.roc_pr(scores)] if ranked else []), plots.score_histograms(scores, limits)],
        defects=defects,
        defects_summary=hardest_defect(defects) if defects and len(defects.rows) > FOLDED else "",
        confusion=plots.confusion(scores, judge=judge) if len(classes) else None,
        judge=judge,
        galleries=galleries(scores, grid_maps, n_cases),
        learning_curves=plots.learning_curves(history) if history is not None and len(history) else None,
        listings={
            name: json.dumps(part, indent=2, ensure_ascii=False, default=str) for name, part in listings.items() if part
        },
    )

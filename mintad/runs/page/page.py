"""The results page of a run, section by section."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from mintad import plots
from mintad.runs.page.decided import threshold_notes, threshold_table
from mintad.runs.page.galleries import galleries
from mintad.runs.page.made import MADE_KINDS, as_scores, made_table, made_tiles
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
    made: pd.DataFrame | None = None,
    n_cases: int = 6,
) -> str:
    """Return the page as HTML: about 5 MB, nearly all of it plotly's script, so that it works offline.

    Args:
        scores: the test rows of the record table with pred_score, pred_class ("" for none), and the columns of
            `Decisions.of` where there are decisions; without test images the rows that were held out.
        grid_maps: (n, H, W) anomaly maps in the same order.
        results: columns `RESULT_COLUMNS`; the first method and setting is the run's own model.
        config, versions: shown at the end.
        decisions: the rules that gave them; None if there are none.
        made: held-out images with a made defect, see `mintad.runs.made`; None for none.
        n_cases: images in each gallery.

    Raises:
        DataError: an image or a mask of a case cannot be read.
    """
    own, defects = first_method(results), defect_table(scores)
    tested, decided = bool((scores["split"] == "test").any()), decisions is not None
    limits = decisions and {name or "all": threshold.value for name, threshold in decisions.thresholds().items()}
    histograms = plots.score_histograms(scores, limits) if tested else None
    ranked = value_of(own, "image_auroc") is not None
    classes = class_rows(results)
    judge = "classifier" if chooses_model(classes) else "class head"
    listings = {"Configuration": config, "Versions": versions}
    return render(
        "results.html.j2",
        title=title,
        scores=scores,
        decided=decided,
        tested=tested,
        thresholds=decisions and threshold_table(scores, decisions, tested=tested),
        threshold_notes=threshold_notes(decisions, tested=tested) if decisions else [],
        tiles=tiles(scores, results, decided=decided) if tested else [],
        made_tiles=[] if made is None or not decisions else made_tiles(made, decisions),
        made=None if made is None else made_table(made, decided=decided),
        made_figure=None if made is None else plots.score_histograms(as_scores(made), limits, kinds=MADE_KINDS),
        categories=category_table(scores, own) if tested else None,
        category_bars=plots.per_category_bars(own) if ranked else None,
        comparison=comparison(results, config.get("model", {}).get("recentre", {}).get("neighbours", 0)),
        score_figures=[*([plots.roc_pr(scores)] if ranked else []), *([histograms] if tested else [])],
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

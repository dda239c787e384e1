"""Writing the results of a run, all at once: tables, maps, thresholds, digests, and the page that shows them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from mintad.disk import digest, published
from mintad.runs.directory import Run, scoring_digest
from mintad.runs.files import BEFORE, DIGESTS, MADE, PAGE, PHOTOGRAPHS, REGION, RESULT_FILES, RESULTS
from mintad.runs.page import results_page
from mintad.runs.region import stored_region
from mintad.scoring.decisions import Decisions
from mintad.scoring.region_of_interest import share_of_cells
from mintad.scoring.sharp_prior import SCORES


@dataclass(frozen=True, eq=False)
class RunResults:
    """All results of a run. They are written together, so that what one of them leaves out is gone."""

    results: pd.DataFrame
    """Columns `mintad.scoring.metrics.RESULT_COLUMNS`."""
    scores: pd.DataFrame
    """The test rows of the record table with pred_score, pred_class and the columns of `decisions`; without test
    images, those held out."""
    maps_nHW: np.ndarray
    """Their anomaly maps."""
    decisions: Decisions | None
    made: pd.DataFrame | None
    """What `mintad.runs.made` gives."""
    region: np.ndarray | None
    """(S, S) bool, where anomalies count; None: everywhere."""

    @classmethod
    def of(cls, run: Run) -> RunResults:
        """Read the results of a finished run; raise MintadError where they are damaged."""
        return cls(run.results(), run.scores(), run.maps(), run.decisions(), run.made_defects(), stored_region(run))


def save_results(run: Run, found: RunResults) -> None:
    """Write all results of a run: scores, maps, thresholds, page, and last the table that makes it a finished run.

    Earlier results stay until the new ones lie beside them, complete, so that a crash costs no finished work.
    """
    scores, maps_nHW, decisions, region = found.scores, found.maps_nHW, found.decisions, found.region
    shown_nHW = maps_nHW if region is None else maps_nHW * share_of_cells(region, maps_nHW.shape[1:])
    config, separate = run.config(), "separate" in set(found.results["setting"])
    score = "" if config.scoring.score == "reconstruction" else f", {SCORES[config.scoring.score]},"
    title = f"{config.model.variant}{score} on {config.data.name}"
    title += ", one model per category" if separate else ""
    title += "" if region is None else ", in a region of interest alone"
    page = results_page(
        scores=scores,
        grid_maps=shown_nHW,
        results=found.results,
        history=_history(run),
        config=config.to_dict(),
        decisions=decisions,
        title=title,
        versions=run.read("versions"),
        made=found.made,
    )
    maps = io.BytesIO()
    np.save(maps, maps_nHW)
    masks = [json.dumps(list(files)) if files else "" for files in scores["masks"]]
    contents = {
        "scores.csv": scores.assign(masks=masks).to_csv(index=False).encode(),
        "maps.npy": maps.getvalue(),
        RESULTS: found.results.to_csv(index=False).encode(),
    }
    if found.made is not None:
        contents[MADE] = found.made.to_csv(index=False).encode()
    if region is not None:
        picture = io.BytesIO()
        Image.fromarray(region).save(picture, "PNG")
        contents[REGION] = picture.getvalue()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    if (run.path / PHOTOGRAPHS).exists():
        digests[PHOTOGRAPHS] = digest(run.path / PHOTOGRAPHS)
    digests |= {"scoring": scoring_digest(config), "decided": decisions is not None}
    decided = json.dumps(None if decisions is None else decisions.to_json(), indent=1)  # has a digest inside
    contents |= {DIGESTS: json.dumps(digests, indent=1).encode(), "threshold.json": decided.encode()}
    contents[PAGE] = page.encode()
    names = [name for name in reversed(RESULT_FILES) if name in contents]
    with contextlib.ExitStack() as stack:  # the file that is opened last gets its name first
        files = {name: stack.enter_context(published(run.path / name)) for name in names}
        for name, content in contents.items():
            files[name].write(content)
        for file in files.values():  # all that would not fit on the disk is known before anything is removed
            file.flush()
        if run.finished:  # a crash from here on leaves an unfinished run, which knows its baselines
            os.replace(run.path / RESULTS, run.path / BEFORE)
        run.discard_results()
    (run.path / BEFORE).unlink(missing_ok=True)


def _history(run: Run) -> pd.DataFrame | None:
    """Return the learning curve; None where it is lost or damaged, because the results do not depend on it."""
    try:
        history = pd.read_csv(run.path / "history.csv")
    except (OSError, ValueError):
        return None
    return history if "seconds" in history else None

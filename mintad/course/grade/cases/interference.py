"""Hidden cases of notebook 02."""

from __future__ import annotations

from typing import Any

import numpy as np

from mintad.course.checks.grading import CheckFailed, differs, require
from mintad.course.checks.interference import check_new_shape
from mintad.course.grade.cases import Student, compared, judged, whole
from toy import Region
from toy.geometry import WINDOW

MOST_SEGMENTS, MIN_RADIUS = 1_000, 0.002
HERE = "mintad.course.grade.open_exercises"


@compared("interference.between")
def between(rng: np.random.Generator) -> tuple[Any, ...]:
    """Points and segments anywhere."""
    points, a, b = rng.uniform(-1.5, 1.5, (3, whole(rng, 5, 60), 2))
    return points, a, b


@compared("interference.interclass_accepted")
def interclass_accepted(rng: np.random.Generator) -> tuple[Any, ...]:
    """Scores, some of them exactly 1, of points between and elsewhere, near supports and far from them."""
    n = whole(rng, 20, 80)
    inside, distances = rng.random(n) < 0.6, rng.choice([0.02, 0.08, 0.12, 0.5], n)
    inside[:2], distances[:2] = True, 0.3
    return rng.choice([0.2, 0.9, 1.0, 1.1, 3.0], n), inside, distances


@judged("interference.new_shape", check=False)
def new_shape(student: Student, rng: np.random.Generator) -> None:
    """The notebook's check, on regions that are made again here from their numbers; also one class more."""

    def regions(classes: int) -> Any:
        made = student.apply(f"{HERE}.regions", classes)
        listed = isinstance(made, list) and all(isinstance(region, tuple) and len(region) == 3 for region in made)
        if not listed:
            return made
        return [_region(*region) for region in made]

    check_new_shape(regions)
    more = whole(rng, 4, 6)
    require(len(regions(more)) == more, f"asked for {more} classes it returns {len(regions(more))} regions")


@judged("interference.new_model", check=False)
def new_model(student: Student, rng: np.random.Generator) -> None:
    """Train the network in the sandbox, and look at what comes out."""
    classes, seed = whole(rng, 3, 5), whole(rng, 0, 2**31)
    seen = student.apply(f"{HERE}.trained", classes, seed)
    require(isinstance(seen, dict), "it must be a class derived from torch.nn.Module")
    if seen.get("problem"):
        raise CheckFailed(str(seen["problem"]))
    untrained, results = seen.get("untrained"), seen.get("reconstructions")
    require(np.shape(untrained) == (6, 2), "forward must return points of shape (B, 2)")
    require(isinstance(results, list) and len(results) == classes, "training a stack of two fails")
    first = np.asarray(results[0], dtype=float)
    require(first.ndim == 3 and bool(np.isfinite(first).all()), "after training it returns no finite points")
    hint = "another label gives the same reconstruction: it is not class-aware"
    for other in results[1:]:
        differs(other, first, hint, tolerance=1e-3)


def _region(segments: Any, radius: Any, weight: Any) -> Region:
    """Return a region that can be sampled: sampling one without an area would not end."""
    array = np.asarray(segments, dtype=float)
    fits = array.ndim == 3 and array.shape[1:] == (2, 2) and 0 < len(array) <= MOST_SEGMENTS
    require(fits and bool(np.isfinite(array).all()), "a region's segments have the shape (S, 2, 2)")
    require(MIN_RADIUS <= radius <= 2 * WINDOW, f"a region's radius must be between {MIN_RADIUS} and {2 * WINDOW:g}")
    require(bool(np.abs(array).max() < 2 * WINDOW), f"a support leaves the window of ±{WINDOW}")
    return Region(array, float(radius), float(weight))

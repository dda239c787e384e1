"""Drawn cases of notebook 02."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mintad.course.checks.cases import Student, compared, judged, whole
from mintad.course.checks.grading import CheckFailed, require
from mintad.course.checks.interference import LEAST_MOVE, check_new_shape
from toy import Region, make_shape
from toy.geometry import WINDOW

MOST_SEGMENTS, MIN_RADIUS = 1_000, 0.002
STEPS = 30  # of training
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

    check_new_shape(regions, seed=whole(rng, 0, 2**31))
    more = whole(rng, 4, 6)
    require(len(regions(more)) == more, f"asked for {more} classes it returns {len(regions(more))} regions")


@judged("interference.new_model", check=False)
def new_model(student: Student, rng: np.random.Generator) -> None:
    """Train two networks from here, on points of ours: the sandbox only evaluates them, and says their gradients.

    Their results must be a function of the weights, get better by training, and depend on the label.
    """
    classes, seed = whole(rng, 3, 5), whole(rng, 0, 2**31)
    points, names = make_shape("blobs", classes).sample(200, np.random.default_rng(seed))
    clean = torch.as_tensor(points, dtype=torch.float32).expand(2, -1, -1)
    own = functional.one_hot(torch.as_tensor(names), classes).float().expand(2, -1, -1)
    made = student.apply(f"{HERE}.networks", classes)
    require(isinstance(made, dict), "it must be a class derived from torch.nn.Module")
    if made.get("problem"):
        raise CheckFailed(str(made["problem"]))
    weights = made.get("weights")
    usable = isinstance(weights, list) and all(isinstance(w, torch.Tensor) and w.is_floating_point() for w in weights)
    require(usable and len(weights) > 0, "it has no parameters to train")
    initial = [weight.clone() for weight in weights]
    weights = [weight.detach().clone().requires_grad_() for weight in weights]

    def results(points: torch.Tensor, label: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
        try:
            result = student.apply(f"{HERE}.outputs", classes, bool(made.get("direct")), points, label, *weights)
        except Exception as error:
            text = f"training a stack of two fails with {type(error).__name__}: {error}"
            raise CheckFailed(text) from error
        fits = isinstance(result, torch.Tensor) and result.shape == points.shape
        require(fits, "forward must return points of shape (B, 2)")
        require(bool(result.isfinite().all()), "it returns points that are not finite")
        return result

    with torch.no_grad():
        before = results(clean, own, initial)
    optimiser, generator = torch.optim.Adam(weights, lr=1e-2), torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        optimiser.zero_grad()
        result = results(clean + 0.1 * torch.randn(clean.shape, generator=generator), own, weights)
        require(result.requires_grad, "what it returns does not depend on its parameters")
        (result - clean).square().sum().div(clean.shape[1]).backward()
        optimiser.step()
    with torch.no_grad():
        again, after = results(clean, own, initial), results(clean, own, weights)
        require(torch.allclose(again, before, atol=1e-4), "with the same weights it returns something else")
        lower = (after - clean).square().mean() < (before - clean).square().mean()
        require(bool(lower), "training does not bring the reconstructions nearer to the points")
        labels = [one_hot.expand(*clean.shape[:2], -1) for one_hot in torch.eye(classes)]
        given = [results(clean, label, weights) for label in labels]
    for other in given[1:]:
        hint = "another label gives the same reconstruction, or moves it by less than 0.01: it is not class-aware"
        require(float((other - given[0]).detach().abs().max()) > LEAST_MOVE, hint)


def _region(segments: Any, radius: Any, weight: Any) -> Region:
    """Return a region that can be sampled: sampling one without an area would not end."""
    array = np.asarray(segments, dtype=float)
    fits = array.ndim == 3 and array.shape[1:] == (2, 2) and 0 < len(array) <= MOST_SEGMENTS
    require(fits and bool(np.isfinite(array).all()), "a region's segments have the shape (S, 2, 2)")
    require(MIN_RADIUS <= radius <= 2 * WINDOW, f"a region's radius must be between {MIN_RADIUS} and {2 * WINDOW:g}")
    require(bool(np.abs(array).max() < 2 * WINDOW), f"a support leaves the window of ±{WINDOW}")
    return Region(array, float(radius), float(weight))

"""Drawn cases of notebook 10."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mintad.course.checks.cases import Student, both_labels, compared, judged, normal, torch_seed, whole
from mintad.course.checks.grading import CheckFailed, differs, require
from mintad.course.checks.whole import require_sound
from mintad.course.lab.assembly import small_net
from mintad.course.stand_ins import STAND_INS

HERE = "mintad.course.grade.open_exercises"
STEPS = 25  # of training


@compared("training.epochs")
def epochs(rng: np.random.Generator) -> tuple[Any, ...]:
    """Runs that end within an epoch, and batches larger than the set."""
    return whole(rng, 1, 2000), whole(rng, 1, 64), whole(rng, 10, 500)


@compared("training.wrong_pairs")
def wrong_pairs(rng: np.random.Generator) -> tuple[Any, ...]:
    """Mixed images, some of them tied."""
    labels = both_labels(rng, whole(rng, 4, 30))
    return np.round(rng.normal(size=len(labels)) + labels, 1), labels


@compared("training.paired")
def paired(rng: np.random.Generator) -> tuple[Any, ...]:
    """Categories that differ more than the variants do."""
    n = whole(rng, 3, 15)
    levels = rng.uniform(0.5, 1, n)
    return levels + rng.normal(0, 0.01, n), levels + rng.normal(0, 0.01, n)


@compared("training.nearest_mean")
def nearest_mean(rng: np.random.Generator) -> tuple[Any, ...]:
    """Channels of different scales, classes of different sizes."""
    classes, channels = whole(rng, 2, 5), whole(rng, 2, 4)
    scale = 10.0 ** rng.integers(-2, 3, channels)
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(0, classes, 20)]))
    centres = rng.normal(size=(classes, channels)) * 2
    train = (centres[labels] + rng.normal(size=(len(labels), channels))) * scale
    return train, labels, rng.normal(size=(whole(rng, 3, 20), channels)) * 2 * scale


@compared("training.whole_model", tolerance=1e-3, withheld=["mintad.course.checks.whole.forward"])
def whole_model(rng: np.random.Generator) -> tuple[Any, ...]:
    """Nets of other sizes, depths and weights."""
    torch_seed(rng)
    grid, channels, images = (whole(rng, 2, 3), whole(rng, 2, 4)), whole(rng, 3, 9), whole(rng, 2, 4)
    net = small_net(grid=grid, channels=channels, classes=whole(rng, 2, 5), layers=whole(rng, 2, 3))
    shape = images, grid[0] * grid[1], channels
    return normal(rng, *shape), normal(rng, *shape), net, STAND_INS


@compared("training.whole_loss", withheld=["mintad.course.checks.whole.loss"])
def whole_loss(rng: np.random.Generator) -> tuple[Any, ...]:
    """Outputs of other sizes."""
    images, tokens, channels, width, classes = (whole(rng, 2, 6) for _ in range(5))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    target, reconstruction = normal(rng, images, tokens, channels), normal(rng, images, tokens, channels)
    adapted, mean, log_variance = (normal(rng, images, tokens, width) for _ in range(3))
    return labels, target, reconstruction, adapted, normal(rng, images, classes), mean, log_variance, STAND_INS


@judged("training.own_variant", check=False)
def own_variant(student: Student, rng: np.random.Generator) -> None:
    """Train a model from here, on features of ours: the sandbox only evaluates it, and says its gradients."""
    sizes = whole(rng, 3, 8), (whole(rng, 2, 3), whole(rng, 2, 3)), whole(rng, 2, 4)
    shape = 4, sizes[1][0] * sizes[1][1], sizes[0]
    feat, noise, labels = normal(rng, *shape), normal(rng, *shape), torch.from_numpy(rng.integers(0, sizes[2], 4))
    labels[:2] = torch.tensor([0, 1])
    made = student.apply(f"{HERE}.variant_weights", *sizes)
    require(isinstance(made, dict), "it must be a class derived from ReconstructionModel")
    if made.get("problem"):
        raise CheckFailed(str(made["problem"]))
    weights = made.get("weights")
    usable = isinstance(weights, list) and all(isinstance(w, torch.Tensor) and w.is_floating_point() for w in weights)
    require(usable and len(weights) > 0, "it has no parameters to train")
    weights = [weight.detach().clone().requires_grad_() for weight in weights]

    def results(training: bool, feat: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        try:
            result = student.apply(f"{HERE}.variant_outputs", *sizes, training, feat, noise, labels, *weights)
        except Exception as error:
            raise CheckFailed(f"the forward fails with {type(error).__name__}: {error}") from error
        fits = isinstance(result, torch.Tensor) and result.shape == feat.shape
        require(fits, "forward must return an output whose reconstruction has the features' shape")
        return result

    def error() -> float:
        with torch.no_grad():
            return float((results(False, feat, noise, labels) - feat).square().mean())

    with torch.no_grad():
        jittered = results(True, feat, noise, labels)
        differs(jittered, results(True, feat, -noise, labels), "the noise changes nothing: give it to self.reconstruct")
        told = bool(made.get("needs_labels"))
        require_sound(lambda feat, labels: results(False, feat, noise, labels), feat, labels, told)
    before, optimiser = error(), torch.optim.AdamW(weights, lr=1e-2)
    for _ in range(STEPS):
        optimiser.zero_grad()
        result = results(True, feat, 0 * noise, labels)
        require(result.requires_grad, "what it returns does not depend on its parameters")
        (result - feat).square().mean().backward()
        optimiser.step()
    after = error()
    require(after < before, f"training does not help: the error goes from {before:.3f} to {after:.3f}")

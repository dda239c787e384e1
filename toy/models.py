"""The networks: autoencoders with and without knowledge of the class (Figs 1 and 2 in the plane).

A new model is one decorated class. Its `forward` gets points (B, 2) and one-hot labels (B, K) and returns the
reconstruction (B, 2), and also class logits (B, K) if it predicts the class itself. Many networks train at once: their
weights are then stacked, (M, ...), with points (M, B, 2) and labels (M, B, K). A forward made of `mlp`, `Linear`, `@`
and dimensions counted from the end runs on stacks unchanged; any other runs through `torch.func.vmap`, at about half
the speed.

    @model("linear_label", jitter=True, needs_label=True)
    class LinearLabel(nn.Module):
        def __init__(self, classes, settings):
            super().__init__()
            self.net = mlp(2 + classes, 2, settings)

        def forward(self, x, label):
            return self.net(torch.cat([x, label], -1))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mintad.errors import nearest
from toy.layers import Linear, ModulatedSiren, mlp
from toy.settings import Settings, ToyError


@dataclass(frozen=True)
class ModelKind:
    """How a model is built and used."""

    build: type[nn.Module]
    """Network class, called with (classes, settings)."""
    jitter: bool
    """Whether it is trained to undo input jitter of `Settings.sigma`."""
    needs_label: bool
    """Whether it must be given the class of a point, in training and in test."""
    separate: bool = False
    """Whether there is one network per class, trained on that class alone."""


MODELS: dict[str, ModelKind] = {}
"""Name -> kind, in the order of the reports."""


def model(name: str, *, jitter: bool, needs_label: bool, separate: bool = False) -> Callable[[type], type]:
    """Register a network class under a name; `ModelKind` explains the arguments."""

    def register(build: type[nn.Module]) -> type[nn.Module]:
        MODELS[name] = ModelKind(build, jitter, needs_label, separate)
        return build

    return register


def find_models(names: Sequence[str] | None = None) -> dict[str, ModelKind]:
    """Return the named models, or all if `names` is None.

    Raises:
        ToyError: an unknown name, or an empty list of names.
    """
    for name in names or ():
        if name not in MODELS:
            raise ToyError(f"unknown model '{name}'." + nearest(str(name), MODELS))
    if names is not None and not names:
        raise ToyError(f"no model named. Allowed: {', '.join(MODELS)}.")
    return {name: MODELS[name] for name in names or MODELS}


@model("dae_separate", jitter=True, needs_label=True, separate=True)
@model("dae", jitter=True, needs_label=False)
@model("ae", jitter=False, needs_label=False)  # decorators run from below: this one comes first
class Autoencoder(nn.Module):
    """A plain network from a point to itself (Fig. 5); wide enough to copy."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__()
        self.net = mlp(2, 2, settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Reconstruct points (B, 2); the labels are not used."""
        return self.net(x)


@model("label", jitter=True, needs_label=True)
class LabelInput(nn.Module):
    """A plain network whose input is the point and its one-hot label."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__()
        self.net = mlp(2 + classes, 2, settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Reconstruct points (B, 2), given one-hot labels (B, K)."""
        return self.net(torch.cat([x, label], -1))


class _QueryModel(nn.Module):
    """An encoder, a query that joins its output, and a decoder: the layout of the image model."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        half = settings.depth // 2
        self.encoder = mlp(2, settings.width, settings, half)
        self.decoder = mlp(2 * settings.width, 2, settings, settings.depth - half)

    def decode(self, x: Tensor, query: Tensor) -> Tensor:
        """Reconstruct points (B, 2), given queries (B, width)."""
        return self.decoder(torch.cat([self.encoder(x), query], -1))


@model("query_pool", jitter=True, needs_label=True)
class QueryPool(_QueryModel):
    """A learned query for every class (Fig. 2b)."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.pool = nn.Parameter(torch.randn(classes, settings.width))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Reconstruct points (B, 2), given one-hot labels (B, K)."""
        return self.decode(x, label @ self.pool)


@model("inr", jitter=True, needs_label=True)
class INRQuery(_QueryModel):
    """A query from a modulated SIREN, whose input is a learned token of the known class."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.tokens = nn.Parameter(torch.randn(classes, settings.token_width))
        self.siren = ModulatedSiren(settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Reconstruct points (B, 2), given one-hot labels (B, K)."""
        return self.decode(x, label @ self.siren(self.tokens))  # one query per class, then each point's own


@model("inr_unlabelled", jitter=True, needs_label=False)
class INRUnlabelled(_QueryModel):
    """MINT-AD in the plane: the token comes from the point itself (the feature prompt), through a small classifier.

    Only the cross-entropy on the logits uses the label, and only in training. As in the image model the classifier
    reads the clean point: in training, `x` is the jittered point and `clean` the clean one.
    """

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.classifier = mlp(2, settings.token_width, settings, 2)
        self.head = Linear(settings.token_width, classes)
        self.siren = ModulatedSiren(settings)

    def forward(self, x: Tensor, label: Tensor, clean: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruct points (B, 2) and return the logits (B, K) of their classes."""
        values = self.classifier(x if clean is None else clean)
        return self.decode(x, self.siren(values.softmax(-1))), self.head(values)

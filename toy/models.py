"""The networks: autoencoders with and without knowledge of the class (Figs 1 and 2 in the plane).

A new model is one decorated class; `forward` gets points (B, 2) and one-hot labels (B, K) and returns the
reconstruction (B, 2), and class logits (B, K) if it predicts the class itself. Many networks train at once: weights are
then stacked, (M, ...), points (M, B, 2) and labels (M, B, K). A forward made of `mlp`, `Linear`, `@` and dimensions
counted from the end runs on stacks as it stands; any other runs through `torch.func.vmap`, at about half the speed.

    @model("linear_label", jitter=True, told=True)
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
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.errors import nearest
from toy.settings import Settings, ToyError

ACTIVATION = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


@dataclass(frozen=True)
class ModelKind:
    """How a model is built and used."""

    build: type[nn.Module]
    """Made with (classes, settings)."""
    jitter: bool
    """Trained to undo input jitter of `Settings.sigma`."""
    told: bool
    """Told the class of a point, in training and test alike."""
    separate: bool = False
    """One network per class, trained on that class alone."""


MODELS: dict[str, ModelKind] = {}
"""Name -> kind, in the order of the reports."""


def model(name: str, *, jitter: bool, told: bool, separate: bool = False) -> Callable[[type], type]:
    """Register a network class under a name; see `ModelKind` for the arguments."""

    def register(build: type[nn.Module]) -> type[nn.Module]:
        MODELS[name] = ModelKind(build, jitter, told, separate)
        return build

    return register


def find_models(names: Sequence[str] | None = None) -> dict[str, ModelKind]:
    """The named models, or all.

    Raises:
        ToyError: an unknown name, or none at all.
    """
    for name in names or ():
        if name not in MODELS:
            raise ToyError(f"unknown model '{name}'." + nearest(str(name), MODELS))
    if names is not None and not names:
        raise ToyError(f"no model named. Allowed: {', '.join(MODELS)}.")
    return {name: MODELS[name] for name in names or MODELS}


class Linear(nn.Linear):
    """`nn.Linear` that also takes stacked weights (M, out, in) and biases (M, out) with inputs (M, B, in)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        return torch.baddbmm(self.bias.unsqueeze(-2), x, self.weight.mT)


def mlp(inputs: int, outputs: int, settings: Settings, depth: int | None = None) -> nn.Sequential:
    """`depth` hidden layers (default: the settings') of `settings.width` units."""
    widths = [inputs] + [settings.width] * (settings.depth if depth is None else depth)
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [Linear(before, after), ACTIVATION[settings.activation]()]
    return nn.Sequential(*layers, Linear(widths[-1], outputs))


@model("dae_separate", jitter=True, told=True, separate=True)
@model("dae", jitter=True, told=False)
@model("ae", jitter=False, told=False)  # decorators run from below: this one comes first
class Autoencoder(nn.Module):
    """A plain network from a point to itself (Fig. 5); wide enough to copy."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__()
        self.net = mlp(2, 2, settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.net(x)


@model("label", jitter=True, told=True)
class LabelInput(nn.Module):
    """The one-hot label beside the point."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__()
        self.net = mlp(2 + classes, 2, settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.net(torch.cat([x, label], -1))


class _QueryModel(nn.Module):
    """Encoder, a query that meets its output, decoder: the layout of the image model."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        half = settings.depth // 2
        self.encoder = mlp(2, settings.width, settings, half)
        self.decoder = mlp(2 * settings.width, 2, settings, settings.depth - half)

    def decode(self, x: Tensor, query: Tensor) -> Tensor:
        return self.decoder(torch.cat([self.encoder(x), query], -1))


@model("query_pool", jitter=True, told=True)
class QueryPool(_QueryModel):
    """A learned query for every class (Fig. 2b)."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.pool = nn.Parameter(torch.randn(classes, settings.width))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.decode(x, label @ self.pool)


class ModulatedSiren(nn.Module):
    """``h_i = alpha_i * sin(W_i h_{i-1} + b_i)`` (Eq. 8), alpha from the class token by a ReLU network (Table 13).

    There is one position, a learned z: a point of the plane is a single token.
    """

    def __init__(self, settings: Settings, layers: int = 2) -> None:
        super().__init__()
        width, self.omega = settings.width, settings.omega
        self.position = nn.Parameter(torch.rand(3) * 2 - 1)
        self.sines = nn.ModuleList([Linear(3, width)] + [Linear(width, width) for _ in range(layers - 1)])
        first = Linear(3 + settings.token_width, width)
        self.modulators = nn.ModuleList([first] + [Linear(width, width) for _ in range(layers - 1)])
        for layer in self.modulators:
            nn.init.ones_(layer.bias)  # amplitudes start near 1, as in the image model
        self.output = Linear(width, width)

    def forward(self, token: Tensor) -> Tensor:
        """Queries (B, width) for class tokens (B, T)."""
        h = self.position.unsqueeze(-2)
        alpha = torch.cat([h.expand(*token.shape[:-1], -1), token], -1)
        for n, (sine, modulator) in enumerate(zip(self.sines, self.modulators, strict=True)):
            alpha = modulator(alpha).relu()
            h = alpha * torch.sin((self.omega if n == 0 else 1.0) * sine(h))
        return self.output(h)


@model("inr", jitter=True, told=True)
class INRQuery(_QueryModel):
    """The query from a modulated SIREN, driven by a learned token of the known class."""

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.tokens = nn.Parameter(torch.randn(classes, settings.token_width))
        self.siren = ModulatedSiren(settings)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.decode(x, label @ self.siren(self.tokens))  # one query per class, then each point's own


@model("inr_unlabelled", jitter=True, told=False)
class INRUnlabelled(_QueryModel):
    """MINT-AD in the plane: the token comes from the point itself (the feature prompt), through a small classifier.

    The label is used in training only, by the cross-entropy on the logits. As in the image model the classifier reads
    the clean point; `train` gives the jittered one to `forward` and the clean one as `clean`.
    """

    def __init__(self, classes: int, settings: Settings) -> None:
        super().__init__(settings)
        self.classifier = mlp(2, settings.token_width, settings, 2)
        self.head = Linear(settings.token_width, classes)
        self.siren = ModulatedSiren(settings)

    def forward(self, x: Tensor, label: Tensor, clean: Tensor | None = None) -> tuple[Tensor, Tensor]:
        values = self.classifier(x if clean is None else clean)
        return self.decode(x, self.siren(values.softmax(-1))), self.head(values)

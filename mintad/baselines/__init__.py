"""Baselines that MINT-AD is compared with, on features of the very same backbone or on the images themselves.

A baseline is one module here, with `@baseline("name")` on its class, and its line in `BASELINES` below. Fitted on all
training rows it is *unified*, one model for all categories, like MINT-AD; `PerCategory` fits one per category. A run's
`baselines.setting`, `baselines.length` and `baselines.options` say how large it is and how long it trains.
"""

from __future__ import annotations

from collections.abc import Iterable

from mintad.errors import ConfigError
from mintad.registry import Registry


class BaselineRegistry(Registry):
    """Registry of baselines; none may be named like a model variant, because a run's results have one row per name."""

    def require(self, names: Iterable[str]) -> None:
        """Refuse unknown names and names that a model variant has too.

        Raises:
            ConfigError: such a name.
        """
        from mintad.model import VARIANTS  # here, because help texts list the baselines without PyTorch

        names = tuple(names)
        super().require(names)
        for name in VARIANTS.keys() & names:
            raise ConfigError(f"'{name}' is both a baseline and a model variant", fix="rename one of them")

    def trained(self) -> list[str]:
        """List the baselines that train a network, which takes minutes and not seconds."""
        return [name for name, cls in self.items() if getattr(cls, "trained", False)]

    def on_features(self) -> list[str]:
        """List the baselines that read features, and not images."""
        return [name for name, cls in self.items() if not getattr(cls, "reads_images", False)]


MODULES = [
    "mintad.baselines.padim",
    "mintad.baselines.patchcore",
    "mintad.baselines.nearest",
    "mintad.baselines.kmeans",
    "mintad.baselines.simplenet",
    "mintad.baselines.cfa",
    "mintad.baselines.cflow",
    "mintad.baselines.utrad",
    "mintad.baselines.hvq_trans",
    "mintad.baselines.hvq_trans_told",
    "mintad.baselines.cutpaste",
    "mintad.baselines.students",
    "mintad.baselines.draem",
    "mintad.baselines.omnial",
    "mintad.baselines.mkd",
    "mintad.baselines.panda",
    "mintad.baselines.fcdd",
    "mintad.baselines.fcdd_oe",
]
BASELINES: BaselineRegistry = BaselineRegistry("baseline", modules=MODULES)
"""Name -> class; each is built from a grid (H, W) and a seed."""

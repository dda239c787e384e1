"""Baselines that MINT-AD is compared with, on the very same features.

A baseline is one module here, with `@baseline("name")` on its class, and its line in `BASELINES` below. Fitted on all
training rows it is *unified*, one model for all categories, like MINT-AD; `PerCategory` fits one per category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mintad.registry import Registry

if TYPE_CHECKING:
    from mintad.baselines.base import Baseline

BASELINES: Registry[type[Baseline]] = Registry(
    "baseline", modules=["mintad.baselines.padim", "mintad.baselines.patchcore"]
)
"""Name -> class; each is built from a grid (H, W)."""

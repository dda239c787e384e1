"""Baselines of MINT-AD on the very same features: PaDiM and PatchCore, for comparisons that hold everything else fixed.

Both are detectors as `mintad.scoring.maps.Detector` describes them. Fitted on all training rows they are
*unified*, one model for all categories, like MINT-AD; `PerCategory` fits one per category and is told the
category at test time.
"""

from mintad.baselines.padim import PaDiM
from mintad.baselines.patchcore import PatchCore
from mintad.baselines.per_category import PerCategory

BASELINES = {"padim": PaDiM, "patchcore": PatchCore}
"""Baselines by name; each is built from a grid (H, W)."""

__all__ = ["BASELINES", "PaDiM", "PatchCore", "PerCategory"]

"""Peers of MINT-AD on the very same features: PaDiM and PatchCore, for comparisons that hold everything else fixed.

Both are detectors as `mintad.scoring.Detector` describes them. Fitted on all training rows they are
*unified*, one model for all categories, like MINT-AD; `PerCategory` fits one per category and is told the
category at test time.
"""

from mintad.peers.padim import PaDiM
from mintad.peers.patchcore import PatchCore
from mintad.peers.per_category import PerCategory

PEERS = {"padim": PaDiM, "patchcore": PatchCore}
"""Peers by name; each is built from a grid (H, W)."""

__all__ = ["PEERS", "PaDiM", "PatchCore", "PerCategory"]

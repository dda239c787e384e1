"""MINT-AD, its baselines and its variants, one file per section of the paper and one per variant."""

from mintad.model.mint_ad import MintAD
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import UniAD
from mintad.model.variants import VARIANTS, build_model, require_variant, variant

__all__ = [
    "VARIANTS",
    "MintAD",
    "Output",
    "ReconstructionModel",
    "UniAD",
    "build_model",
    "require_variant",
    "variant",
]

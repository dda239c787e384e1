"""MINT-AD, UniAD and their variants: one file per section of the paper and one per variant."""

# ruff: noqa: F401  (the imports are what the package offers)
from mintad.model.mint_ad import MintAD
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.uniad import UniAD
from mintad.model.variants import VARIANTS, build_model, require_variant, variant

"""mini: twelve made-up products with defects, drawn from a seed, so that class-awareness can be seen without a
download.

`products` draws the twelve, `defects` spoils them, `factory` writes the set and loads it.
"""

from mintad.data.mini.defects import DEFECTS
from mintad.data.mini.factory import MiniParameters, load_mini, make_mini, render, render_with_twin
from mintad.data.mini.products import PRODUCTS, TEXTURES, swap_partner

__all__ = [
    "DEFECTS",
    "PRODUCTS",
    "TEXTURES",
    "MiniParameters",
    "load_mini",
    "make_mini",
    "render",
    "render_with_twin",
    "swap_partner",
]

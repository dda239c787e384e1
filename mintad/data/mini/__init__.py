"""mini: twelve invented products with defects, drawn from a seed, to show class-awareness without a download."""

from functools import partial

from mintad.data.dataset import Dataset
from mintad.data.mini.defects import DEFECTS
from mintad.data.mini.factory import LAYOUT, MiniParameters, load_mini, make_mini, render, render_with_twin
from mintad.data.mini.products import PRODUCTS, swap_partner
from mintad.data.registry import DATASETS
from mintad.data.tree import scan_root

__all__ = ["DEFECTS", "PRODUCTS", "MiniParameters", "make_mini", "render", "render_with_twin", "swap_partner"]

SCAN = partial(scan_root, layout=LAYOUT)
DATASETS.add("mini", Dataset(name="mini", title="mini", load=load_mini, scan=SCAN, categories=tuple(PRODUCTS)))

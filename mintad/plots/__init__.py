"""Figures: arrays and tables in, `go.Figure` out; nothing is shown or written here.

One look for all (`theme`): hues are safe for colour-blind readers, normal images are triangles or blue, anomalous ones
circles or vermilion (as in Fig. 4), anomaly scores use one sequential colour map with a common range. A `title`
states what the figure shows, with its numbers; `unit` is that of the values, `value_range` that of axis or colours.
"""

# ruff: noqa: F401  (the imports are what the package offers)
from mintad.plots.arrays import bars, case_panel, curves, embedding, gallery, grouped_bars, maps
from mintad.plots.figures import confusion, learning_curves, per_category_bars, roc_pr, score_histograms
from mintad.plots.images import colourise, data_uri, overlay, resize_map, score_range
from mintad.plots.theme import ANOMALOUS, NORMAL, OKABE_ITO, SCORE_COLOURS, SYMBOLS, template, thin

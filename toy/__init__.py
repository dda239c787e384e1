"""2-D experiments that show the identical shortcut and inter-class interference (Figs 1, 5, 6, 7 and A.3 of the paper).

One concept a file, each readable alone: `shapes` (data with known support), `settings`, `models`, `train` (many small
networks at once), `decisions` (scores, thresholds), `measures`, `context` (scikit-learn's detectors), `experiment`
(all of it for one shape), `figures`. Nothing here imports the image models.
"""

from toy.experiment import Comparison, compare
from toy.models import MODELS, model
from toy.settings import Settings, ToyError
from toy.shapes import SHAPES, Region, Shape, make_shape, shape

__all__ = [
    "MODELS",
    "SHAPES",
    "Comparison",
    "Region",
    "Settings",
    "Shape",
    "ToyError",
    "compare",
    "make_shape",
    "model",
    "shape",
]

"""Data sets as record tables: `load("mvtec", root)`. See `mintad.data.records` for the columns."""

from mintad.data.dataset import Dataset
from mintad.data.registry import DATASETS, load

__all__ = ["DATASETS", "Dataset", "load"]

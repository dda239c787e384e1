"""Damage to the files of a run: reading an array that may be damaged, and what to do about a JSON file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np


def advice(run: Path, name: str) -> str:
    """Say what to do about a JSON file of a run, by its name without an end, that is damaged or wrongly missing."""
    anew = f"mintad evaluate {run} writes it anew"
    if name == "digests":  # of which an evaluation takes what the results rest on
        return f"remove it, and {anew}"
    if name in ("threshold", "photographs"):
        return anew
    if name == "seconds":
        return "remove it: it says no more than how long the work took"
    return "restore it, or train into another --out" + (" or with --overwrite" if name != "config" else "")


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file; ValueError where its header promises another size than the file's, before memory is taken."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        promised, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if promised != there:
            raise ValueError(f"its header says {promised:,} bytes, and it has {there:,}")
    return np.load(path, allow_pickle=False)

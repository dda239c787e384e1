"""Drawing, writing and loading the set: MVTec layout, masks, and the parameters it was made with.

Every image has a random stream of its own, from (seed, category, split, defect, index): it does not depend on how
many others are made. A defective image is rendered twice from the same stream, with and without the defect; the mask
is where they differ.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from platformdirs import user_cache_dir
from scipy import ndimage

from mintad.data.mini.canvas import lit
from mintad.data.mini.defects import DEFECTS
from mintad.data.mini.products import PRODUCTS
from mintad.data.tree import Layout, absolute, build_records, scan_root
from mintad.data.workers import end_with_parent
from mintad.errors import DataError, nearest, shown
from mintad.lock import exclusive_lock
from mintad.progress import track

log = logging.getLogger(__name__)
LAYOUT = Layout(dataset="mini", masks_required=True)
VERSION = 1  # increased whenever the same parameters give other pictures
VISIBLE = 0.05  # change of a channel from which a pixel counts as anomalous
SMALLEST = 0.0012  # share of the picture that a defect covers at least; a smaller one is drawn again
ATTEMPTS = 20
MOST_PIXELS = 10**10  # of a whole set, 200,000 pictures of the usual size: days of drawing, and a mistake


@dataclass(frozen=True, kw_only=True)
class MiniParameters:
    """Parameters of a set. Counts are per category; `n_test_defect` is per category and defect."""

    categories: tuple[str, ...] = tuple(PRODUCTS)
    n_train: int = 40
    n_test_good: int = 15
    n_test_defect: int = 5
    size: int = 224
    difficulty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.categories:
            if name not in PRODUCTS:
                raise DataError(f"mini: unknown category '{name}'." + nearest(name, PRODUCTS))
        for name in ("n_train", "n_test_good", "n_test_defect", "size", "seed"):
            if not isinstance(getattr(self, name), int):
                raise DataError(f"mini: {name} must be a whole number, not {shown(getattr(self, name))}")
        if not isinstance(self.difficulty, int | float):
            raise DataError(f"mini: difficulty must be a number, not {shown(self.difficulty)}")
        limits = {
            "categories must be distinct names": 0 < len(self.categories) == len(set(self.categories)),
            **{f"{n} must be at least 1": getattr(self, n) >= 1 for n in ("n_train", "n_test_good", "n_test_defect")},
            "size must be 64 to 4096 pixels": 64 <= self.size <= 4096,
            "difficulty must be in (0, 3]; 1 is the default, 2 is subtle": 0 < self.difficulty <= 3,
            "seed must not be negative": self.seed >= 0,
        }
        for limit, holds in limits.items():
            if not holds:
                raise DataError(f"mini: {limit}, not {shown(getattr(self, limit.split()[0]))}")
        pictures = len(self.categories) * (self.n_train + self.n_test_good + len(DEFECTS) * self.n_test_defect)
        if (pixels := pictures * self.size**2) > MOST_PIXELS:
            problem = f"mini: {pictures:,} pictures of {self.size} x {self.size} pixels are {pixels:,} pixels"
            raise DataError(problem, fix=f"at most {MOST_PIXELS:,} are drawn")

    def as_json(self) -> str:
        """Return the parameters and `VERSION` as JSON, which identifies the pictures."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1)


def render(
    category: str, split: str, defect: str, index: int, *, size: int = 224, difficulty: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture (S, S, 3), uint8, and its mask (S, S), bool; arguments as in `render_with_twin`."""
    return render_with_twin(category, split, defect, index, size=size, difficulty=difficulty, seed=seed)[:2]


def render_with_twin(
    category: str, split: str, defect: str, index: int, *, size: int = 224, difficulty: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a picture (S, S, 3), uint8, its mask (S, S), bool, and the same picture without the defect.

    Args:
        category, defect: keys of `PRODUCTS` and `DEFECTS`; the defect may be 'good'.
        split, index: 'train' or 'test', and the number of the picture.
        size: S, in pixels.
        difficulty: see `mintad.data.mini.defects`.
        seed: of the whole set.
    """
    stream = [seed, zlib.crc32(category.encode()), zlib.crc32(f"{split}/{defect}".encode()), index]
    layers = PRODUCTS[category](size, np.random.default_rng([*stream, 0]))
    clean = lit(layers.image, np.random.default_rng([*stream, 1]))
    if defect == "good":
        return _to_bytes(clean), np.zeros((size, size), dtype=bool), _to_bytes(clean)
    for attempt in range(ATTEMPTS):
        damaged = DEFECTS[defect](category, layers, np.random.default_rng([*stream, 2, attempt]), difficulty)
        picture = lit(damaged, np.random.default_rng([*stream, 1]))
        changed = np.abs(picture - clean).max(axis=2) > min(VISIBLE, VISIBLE / difficulty)
        changed = ndimage.binary_fill_holes(ndimage.binary_closing(changed, iterations=max(1, size // 75)))
        mask = ndimage.binary_opening(changed, iterations=1)
        if mask.mean() >= SMALLEST:
            return _to_bytes(picture), mask, _to_bytes(clean)
    problem = f"mini: no visible '{defect}' on {category} number {index} in {ATTEMPTS} attempts"
    raise DataError(problem, fix=f"lower the difficulty, {difficulty}")


def make_mini(root: str | Path, parameters: MiniParameters | None = None, *, progress: bool = False) -> Path:
    """Write the set below `root` in MVTec layout, or return the finished one there; anything else is a DataError."""
    parameters, root = parameters or MiniParameters(), Path(root)
    made_with = root / "mini.json"
    if made_with.exists():
        if json.loads(made_with.read_text(encoding="utf-8")) != json.loads(parameters.as_json()):
            problem = f"a mini set made from other parameters ({made_with})"
            raise DataError(problem, path=root, fix="choose another root")
        return root
    if root.exists() and any(root.iterdir()):
        raise DataError("not empty and no mini set", path=root, fix="choose another root")
    root.parent.mkdir(parents=True, exist_ok=True)
    text = "waiting for another process that draws %s; if it was stopped, end it"
    with exclusive_lock(root.with_name(f".{root.name}.lock"), on_wait=lambda: log.warning(text, root)):
        if made_with.exists():  # another process was faster
            return make_mini(root, parameters)
        _remove_abandoned(root)
        temporary = root.with_name(f".{root.name}.{uuid.uuid4().hex[:12]}")
        temporary.mkdir()
        _draw(temporary, parameters, progress)
        try:
            if root.exists():
                root.rmdir()
            temporary.rename(root)
        except OSError:  # something is there now: a set that was copied, or drawn where the file system has no locks
            shutil.rmtree(temporary, ignore_errors=True)
            if not made_with.exists():
                raise
    return root


def _remove_abandoned(root: Path) -> None:
    """Remove what processes that were killed have drawn for `root`; the caller holds the lock, so none draws now."""
    for folder in root.parent.glob(f".{glob.escape(root.name)}.*"):
        ours = re.fullmatch(r"[0-9a-f]{12}", folder.name.removeprefix(f".{root.name}."))
        if ours and folder.is_dir() and {file.name for file in folder.iterdir()} <= {*PRODUCTS, "mini.json"}:
            shutil.rmtree(folder, ignore_errors=True)


def _draw(folder: Path, parameters: MiniParameters, progress: bool) -> None:
    counts = {("train", "good"): parameters.n_train, ("test", "good"): parameters.n_test_good}
    counts |= {("test", defect): parameters.n_test_defect for defect in DEFECTS}
    jobs = [(name, *kind, n) for name in parameters.categories for kind, count in counts.items() for n in range(count)]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), initializer=end_with_parent) as pool:
        work = pool.map(partial(_write, folder, parameters), jobs, chunksize=16)
        list(track(work, "mini: drawing", len(jobs), show=progress))
    (folder / "mini.json").write_text(parameters.as_json(), encoding="utf-8")


def load_mini(
    root: str | Path | None = None,
    *,
    categories: Sequence[str] = tuple(PRODUCTS),
    n_train: int = 40,
    n_test_good: int = 15,
    n_test_defect: int = 5,
    size: int = 224,
    difficulty: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Load the record table of the mini set, which is drawn on first use.

    Args:
        root: where it is or will be written; None for the user's cache folder, one place for each set of parameters.
        categories, n_train, n_test_good, n_test_defect, size, difficulty, seed: see `MiniParameters`.

    Raises:
        DataError: bad parameters, or `root` holds something else.
    """
    if not isinstance(categories, list | tuple):
        raise DataError(f"mini: categories must be a list of names, not {shown(categories)}")
    counts = {"n_train": n_train, "n_test_good": n_test_good, "n_test_defect": n_test_defect}
    drawing = {"size": size, "difficulty": difficulty, "seed": seed}
    parameters = MiniParameters(categories=tuple(categories), **counts, **drawing)
    folder = absolute(make_mini(root or default_root(parameters), parameters, progress=True))
    return build_records(scan_root(folder, LAYOUT), folder)


def default_root(parameters: MiniParameters) -> Path:
    """Return the place of a set in the user's cache folder ($MINTAD_CACHE overrides it)."""
    base = Path(os.environ.get("MINTAD_CACHE") or user_cache_dir("mintad"))
    return base / f"mini-{zlib.crc32(parameters.as_json().encode()):08x}"


def _write(root: Path, parameters: MiniParameters, job: tuple[str, str, str, int]) -> None:
    category, split, defect, index = job
    picture, mask = render(*job, size=parameters.size, difficulty=parameters.difficulty, seed=parameters.seed)
    files = {root / category / split / defect / f"{index:03d}.png": picture}
    if defect != "good":
        files[root / category / "ground_truth" / defect / f"{index:03d}_mask.png"] = mask.astype(np.uint8) * 255
    for path, pixels in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return (image * 255).round().astype(np.uint8)

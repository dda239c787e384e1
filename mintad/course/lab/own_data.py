"""From a folder of one's own images to a detector (notebook 11).

An example folder with faults to find in it, synthetic defects made by pasting, and what a threshold fitted to n normal
images guarantees.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from scipy.stats import beta

from mintad import plots
from mintad.baselines.padim import PaDiM
from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.mini import render
from mintad.data.records import category_keys
from mintad.features.backbone import read_pixels
from mintad.plots.series import case_grid
from mintad.plots.theme import INK
from mintad.runs.experiment import resolve_folder
from mintad.runs.predict import Predictor
from mintad.runs.prepare import PreparedData
from mintad.runs.shared import runs_dir
from mintad.scoring.maps import grid_maps, image_scores
from mintad.scoring.metrics import measure, value_of
from mintad.scoring.threshold import conformal_rank

PRODUCTS = ("button", "gear")
DEFECTS = ("missing", "scratch", "swap")


def folders(folder: str, new: str = "") -> tuple[Path, list[Path]]:
    """Return the folder of the data set and the folders of new images, as absolute paths.

    Args:
        folder: the user's images, in the layout of `mintad.data.tree`; '' for the example.
        new: folder or file of images to judge; '' for the example's, or for the test images of `folder`.
    """
    if folder:
        root = resolve_folder(folder)
        new_images = sorted(path for path in root.rglob("test") if path.is_dir())
    else:
        example = example_folder(runs_dir() / "own_images")
        root, new_images = example / "parts", [example / "new"]
    return root, [resolve_folder(new)] if new else new_images


def example_folder(path: Path, *, n_train: int = 40, n_good: int = 12, n_defect: int = 5) -> Path:
    """Write ``parts/`` (two products, no masks) and ``new/`` below `path`, unless it exists, and return `path`.

    Each product has `n_train` training images, `n_good` normal test images, and `n_defect` of each defect.
    """
    if path.exists():
        return path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # renamed when complete
    counts = {("train", "good"): n_train, ("test", "good"): n_good} | {("test", defect): n_defect for defect in DEFECTS}
    for product in PRODUCTS:
        for (split, defect), count in counts.items():
            for index in range(count):
                file = temporary / "parts" / product / split / defect / f"{index:03d}.png"
                _draw(file, product, split, defect, index, seed=7)
        for index, defect in enumerate(("good", "good", *DEFECTS)):
            _draw(temporary / "new" / f"{product}_{index}.png", product, "test", defect, index, seed=8)
    try:
        temporary.rename(path)
    except OSError:  # another process was faster
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _draw(file: Path, product: str, split: str, defect: str, index: int, *, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture, _ = render(product, split, defect, index, seed=seed, difficulty=1.5)
    Image.fromarray(picture).save(file)


def add_faults(root: Path) -> list[Path]:
    """Add two faulty files to the example: one that was cut off, and a test image that is also a training image."""
    good = root / PRODUCTS[0] / "train" / "good" / "000.png"
    cut_off, leaked = good.with_name("cut_off.png"), root / PRODUCTS[0] / "test" / "good" / "again.png"
    cut_off.write_bytes(good.read_bytes()[:2000])
    shutil.copyfile(good, leaked)
    return [cut_off, leaked]


def thumbnail(file: str | Path, side: int = 160) -> np.ndarray:
    """Read an image file as a small square (side, side, 3), uint8."""
    return np.asarray(read_image(file).resize((side, side), Image.Resampling.BILINEAR))


def short_name(file: str | Path) -> str:
    """Return the file name without its ending, after its folder unless that is the example's ``new``."""
    path = Path(file)
    return path.stem if path.parent.name == "new" else f"{path.parent.name}/{path.stem}"


def paste(image: np.ndarray, source: np.ndarray, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste a random square of `source` at a random place of a copy of `image` (H, W, 3); return it and its mask."""
    pasted, mask = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    (top, source_top), (left, source_left) = (rng.integers(0, n - side + 1, size=2) for n in mask.shape)
    inside = np.s_[top : top + side, left : left + side]
    pasted[inside] = source[source_top : source_top + side, source_left : source_left + side]
    mask[inside] = True
    return pasted, mask


def score_pasted(
    predictor: Predictor, files: Sequence[str | Path], sides: Sequence[int], *, seed: int = 0
) -> dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]]:
    """Paste squares from other images into normal images that did not train the model, and score the results.

    Returns:
        Side of the square, in pixels of the network's input -> (image, mask, grid map, score) for each of the files.
    """
    images = [read_pixels(file, predictor.config.features.image_size) for file in files]
    n, scored = len(images), {}
    for side in sides:
        rng = np.random.default_rng(seed)
        sources = [images[(k + 1 + rng.integers(max(1, n - 1))) % n] for k in range(n)]
        pairs = [paste(image, source, side, rng) for image, source in zip(images, sources, strict=True)]
        scores, maps, _ = predictor([Image.fromarray(image) for image, _ in pairs])
        scored[side] = [(*pair, grid, float(score)) for pair, grid, score in zip(pairs, maps, scores, strict=True)]
    return scored


def pasted_figure(
    scored: Mapping[int, Sequence[tuple]], side: int, number: int, threshold: float, value_range: tuple[float, float]
) -> go.Figure:
    """Draw one of the images of `score_pasted`: image, mask, map, and whether the threshold flags it."""
    image, mask, grid, score = scored[side][number]
    heat = plots.overlay(image, plots.resize_map(grid, image.shape[:2]), value_range)
    title = f"{side} pixels: score {score:.3g}, {'flagged' if score > threshold else 'passed'} at {threshold:.3g}"
    return case_grid({f"held-out image {number}": (image, mask, heat)}, title=title)


def false_alarms(n: int, quantile: float) -> tuple[float, float, float]:
    """Return 5th percentile, mean and 95th percentile of the share of false alarms, over draws of n held-out images.

    With the k-th smallest score as threshold (k as in `mintad.scoring.threshold.fit_threshold`), the share of new
    normal images above it is distributed as Beta(n + 1 - k, k), whatever the scores look like, as long as new images
    are drawn like the held-out ones (split-conformal prediction; Vovk, 2012). `quantile` is the share that should pass.
    """
    rank = min(n, conformal_rank(n, quantile))
    share = beta(n + 1 - rank, rank)
    return float(share.ppf(0.05)), float(share.mean()), float(share.ppf(0.95))


def false_alarm_figure(quantile: float, ours: int) -> go.Figure:
    """Draw `false_alarms` over the number of held-out images; the title gives the values for `ours` images."""
    numbers = np.unique(np.geomspace(3, 300, 80).round().astype(int))
    lows, means, highs = zip(*[false_alarms(int(n), quantile) for n in numbers], strict=True)
    low, mean, high = false_alarms(ours, quantile)
    title = f"{ours} held-out images: {mean:.1%} false alarms on average, but anything from {low:.1%} to {high:.1%}"
    names = {"x_title": "held-out normal images", "y_title": "new normal images flagged"}
    bands = {"95th percentile": highs, "mean": means, "5th percentile": lows}
    figure = plots.curves(numbers, bands, title=title, **names)
    figure.add_vline(x=ours, line={"dash": "dot", "color": INK})
    figure.update_xaxes(type="log", tickvals=[3, 5, 10, 20, 50, 100, 200, 300])
    figure.add_hline(y=1 - quantile, line={"dash": "dash", "color": INK})
    return figure.update_yaxes(tickformat=".0%", rangemode="tozero")


def auroc_by_size(prepared: PreparedData, config: Config, counts: Sequence[int], *, seed: int = 0) -> dict[int, float]:
    """Measure PaDiM's image AUROC, mean over categories, by number of training images: would more of them help?

    PaDiM is fitted in seconds. A category that has fewer images than a count gives all of them.
    """
    rng, rows, test = np.random.default_rng(seed), prepared.train_rows, prepared.test_rows
    scoring = PaDiM.published_scoring(config.scoring)
    keys = category_keys(prepared.records).to_numpy()
    shuffled = [rng.permutation(rows[keys[rows] == key]) for key in sorted(set(keys[rows]))]
    scores, aurocs = prepared.records.iloc[test].reset_index(drop=True).assign(pred_class=""), {}
    for count in counts:
        chosen = np.concatenate([category_rows[:count] for category_rows in shuffled])
        baseline = PaDiM(prepared.backbone.grid).fit(prepared.features, chosen)
        maps_nHW = grid_maps(baseline, prepared.features, test, scoring)
        scores["pred_score"] = image_scores(maps_nHW, config.features.image_size, scoring)
        aurocs[count] = value_of(measure(scores), "image_auroc")
    return aurocs


def size_figure(by_size: Mapping[int, float]) -> go.Figure:
    """Draw the values of `auroc_by_size` as bars; the title compares the fewest images with the most."""
    least, most = min(by_size), max(by_size)
    title = f"PaDiM: {by_size[least]:.3f} from {least} images per category, {by_size[most]:.3f} from {most}"
    values = {f"{count} images per category": value for count, value in by_size.items()}
    return plots.bars(values, title=title, unit="image AUROC, mean over categories", value_range=(0, 1))

"""What notebook 11 needs to go from a folder of one's own images to a detector: an example folder with faults to find
in it, defects made by pasting, and what a threshold from n normal images promises."""

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
from mintad.features.backbone import to_pixels
from mintad.plots.series import case_grid
from mintad.plots.theme import INK
from mintad.runs.experiment import resolve_folder
from mintad.runs.predict import Predictor
from mintad.runs.prepare import PreparedData
from mintad.runs.shared import runs_dir
from mintad.scoring.maps import grid_maps, image_scores
from mintad.scoring.metrics import measure, value_of

PRODUCTS = ("button", "gear")
DEFECTS = ("missing", "scratch", "swap")
SIZE = 224
"""Side of the network's input, and of the example's images, pixels."""


def folders(folder: str, new: str = "") -> tuple[Path, list[Path]]:
    """The data set and the new images, absolute: the user's, or the example's where `folder` is ''.

    Args:
        folder: of the user's images, in the layout of `mintad.data.tree`; '' for the example.
        new: folder or file of images to judge; '' for the example's, or for the test images of `folder`.
    """
    example = None if folder else example_folder(runs_dir() / "own_images")
    root = example / "parts" if example else resolve_folder(folder)
    if new:
        return root, [resolve_folder(new)]
    return root, [example / "new"] if example else sorted(path for path in root.rglob("test") if path.is_dir())


def example_folder(path: Path, *, n_train: int = 40, n_good: int = 12, n_defect: int = 5) -> Path:
    """Write ``parts/`` (two products, no masks) and ``new/`` below `path`, or take what is there. Complete or not at
    all: it is written beside and renamed.

    Args:
        path: folder to make.
        n_train, n_good: normal images a product, for training and for test.
        n_defect: anomalous test images a product and defect.
    """
    if path.exists():
        return path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    for product in PRODUCTS:
        parts = {("train", "good"): n_train, ("test", "good"): n_good}
        parts |= {("test", defect): n_defect for defect in DEFECTS}
        for (split, defect), count in parts.items():
            for index in range(count):
                _draw(temporary / "parts" / product / split / defect, product, split, defect, index, seed=7)
        for index, defect in enumerate(("good", "good", *DEFECTS)):
            _draw(temporary / "new", product, "test", defect, index, seed=8, name=f"{product}_{index}.png")
    try:
        temporary.rename(path)
    except OSError:  # another process was faster
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _draw(folder: Path, product: str, split: str, defect: str, index: int, *, seed: int, name: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture, _ = render(product, split, defect, index, size=SIZE, seed=seed, difficulty=1.5)
    Image.fromarray(picture).save(folder / (name or f"{index:03d}.png"))


def spoil(root: Path) -> list[Path]:
    """Put two faults into the example, and say where: a file that was cut off, and a test image that is a training
    image, too."""
    good = root / PRODUCTS[0] / "train" / "good" / "000.png"
    cut_off = good.with_name("cut_off.png")
    cut_off.write_bytes(good.read_bytes()[:2000])
    leak = root / PRODUCTS[0] / "test" / "good" / "again.png"
    shutil.copyfile(good, leak)
    return [cut_off, leak]


def thumbnail(file: str | Path, side: int = 160) -> np.ndarray:
    """An image file as a small square (side, side, 3), uint8."""
    return np.asarray(read_image(file).resize((side, side), Image.Resampling.BILINEAR))


def short_name(file: str | Path) -> str:
    """The last parts of a path that tell images apart: file name, and folder where that is not the only one."""
    path = Path(file)
    return path.stem if path.parent.name == "new" else f"{path.parent.name}/{path.stem}"


def paste(image: np.ndarray, source: np.ndarray, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A made defect: a square of `source` at another place of `image` (H, W, 3), and its mask (H, W)."""
    height, width = image.shape[:2]
    made, mask = image.copy(), np.zeros((height, width), dtype=bool)
    tops = rng.integers(0, height - side + 1, size=2)
    lefts = rng.integers(0, width - side + 1, size=2)
    inside = np.s_[tops[0] : tops[0] + side, lefts[0] : lefts[0] + side]
    made[inside] = source[tops[1] : tops[1] + side, lefts[1] : lefts[1] + side]
    mask[inside] = True
    return made, mask


def pasted(
    predictor: Predictor, files: Sequence[str | Path], sides: Sequence[int], *, seed: int = 0
) -> dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]]:
    """Side of the pasted square -> for each normal image (image, mask, grid map, score) with such a square pasted in
    from another one; 0 leaves the images as they are.

    Args:
        predictor: a trained run.
        files: normal images, none of which trained the model.
        sides: in pixels of the network's input.
        seed: of places and sources.
    """
    size = predictor.config.features.image_size
    images = [to_pixels(read_image(file), size) for file in files]
    found = {}
    for side in sides:
        rng = np.random.default_rng(seed)
        sources = [images[(n + 1 + rng.integers(max(1, len(images) - 1))) % len(images)] for n in range(len(images))]
        made = [paste(image, source, side, rng) for image, source in zip(images, sources, strict=True)]
        scores, maps, _ = predictor([Image.fromarray(image) for image, _ in made])
        found[side] = [(*pair, grid, float(score)) for pair, grid, score in zip(made, maps, scores, strict=True)]
    return found


def pasted_figure(
    found: Mapping[int, Sequence[tuple]], side: int, which: int, threshold: float, value_range: tuple[float, float]
) -> go.Figure:
    """One of the images of `pasted`: image, mask, map, and whether the threshold flags it."""
    image, mask, grid, score = found[side][which]
    heat = plots.overlay(image, plots.resize_map(grid, image.shape[:2]), value_range)
    title = f"{side} pixels: score {score:.3g}, {'flagged' if score > threshold else 'passed'} at {threshold:.3g}"
    return case_grid({f"held-out image {which}": (image, mask, heat)}, title=title)


def false_alarms(n: int, quantile: float) -> tuple[float, float, float]:
    """What a threshold from n held-out normal images promises: 5th percentile, mean and 95th percentile of the share of
    new normal images above it, over draws of the n.

    With the k-th smallest score as threshold that share is distributed as Beta(n + 1 - k, k), whatever the scores look
    like, as long as new images are drawn like the held-out ones (split-conformal prediction; Vovk, 2012). k is the rank
    that `mintad.scoring.threshold.fit_threshold` takes.
    """
    rank = min(n, int(np.ceil((n + 1) * quantile - 1e-9)))
    share = beta(n + 1 - rank, rank)
    return float(share.ppf(0.05)), float(share.mean()), float(share.ppf(0.95))


def false_alarm_figure(quantile: float, ours: int) -> go.Figure:
    """Promise of the threshold over the number of held-out images; the title says it for `ours`."""
    numbers = np.unique(np.geomspace(3, 300, 80).round().astype(int))
    band = np.array([false_alarms(int(n), quantile) for n in numbers])
    low, mean, high = false_alarms(ours, quantile)
    figure = plots.curves(
        numbers,
        {"95th percentile": band[:, 2], "mean": band[:, 1], "5th percentile": band[:, 0]},
        title=f"{ours} held-out images: {mean:.1%} false alarms on average, but anything from {low:.1%} to {high:.1%}",
        x_title="held-out normal images",
        y_title="new normal images flagged",
    )
    figure.add_vline(x=ours, line={"dash": "dot", "color": INK})
    figure.update_xaxes(type="log", tickvals=[3, 5, 10, 20, 50, 100, 200, 300])
    figure.add_hline(y=1 - quantile, line={"dash": "dash", "color": INK})
    return figure.update_yaxes(tickformat=".0%", rangemode="tozero")


def auroc_by_size(prepared: PreparedData, config: Config, counts: Sequence[int], *, seed: int = 0) -> dict[int, float]:
    """Training images a category -> mean image AUROC on the test images, of PaDiM (fitted in seconds): whether more
    normal images would help. Counts beyond what a category has take all of it."""
    rng, rows = np.random.default_rng(seed), prepared.train_rows
    keys = category_keys(prepared.records).to_numpy()
    order = {key: rng.permutation(rows[keys[rows] == key]) for key in sorted(set(keys[rows]))}
    test = prepared.test_rows
    scores, found = prepared.records.iloc[test].reset_index(drop=True).assign(pred_class=""), {}
    for count in counts:
        chosen = np.concatenate([of_category[:count] for of_category in order.values()])
        baseline = PaDiM(prepared.backbone.grid).fit(prepared.features, chosen)
        maps_nHW = grid_maps(baseline, prepared.features, test, config.scoring)
        scores["pred_score"] = image_scores(maps_nHW, config.features.image_size, config.scoring)
        found[count] = value_of(measure(scores), "image_auroc")
    return found


def size_figure(by_size: Mapping[int, float]) -> go.Figure:
    """What `auroc_by_size` found, as bars; the title compares the fewest images with the most."""
    least, most = min(by_size), max(by_size)
    title = f"PaDiM: {by_size[least]:.3f} from {least} images a category, {by_size[most]:.3f} from {most}"
    named = {f"{count} images a category": value for count, value in by_size.items()}
    return plots.bars(named, title=title, unit="image AUROC, mean over categories", value_range=(0, 1))

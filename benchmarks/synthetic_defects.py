"""Judge a setting without any test image: held-out normal images against the same images with a made defect.

    python benchmarks/synthetic_defects.py data/results/four_real_synthetic.csv "jitter 40" --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}' --set features.grid=14
    --set train.steps=750 --set model.jitter.scale=40

One setting a call, whose rows are added to the CSV (or replace those of the same name), with the options it was made
by and two keys of the presets that have changed over time. Each held-out image is judged as it is and with one defect:
in turn a rectangle from another image of its category, a scar (a long thin one), or a darkened rectangle. Made defects
are easier than real ones and of other kinds, and some cannot be seen (background on background): they rank settings,
and promise nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import write

from mintad.baselines import BASELINES
from mintad.cli import resolve_config
from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.records import category_keys
from mintad.features.backbone import to_pixels
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model
from mintad.scoring import auroc, average_precision
from mintad.scoring.maps import Detector, grid_maps, image_scores, upsample
from mintad.training import train
from mintad.training.schedule import total_steps

KINDS = ("patch", "scar", "dark")
RECTANGLE, THIN, LONG = (12, 40), (4, 9), (24, 80)
"""Sides of the defects, pixels of an input of 224."""
SCORES = {"max": ("max", 16), "pooled_max_16": ("pooled_max", 16), "pooled_max_64": ("pooled_max", 64)}
MARGIN = 30
"""Pixels at the border that stay free of defects."""


def spoil(images: list[np.ndarray], keys: np.ndarray, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Each image (S, S, 3) with one defect, and the masks (n, S, S)."""
    rng, spoiled, masks = np.random.default_rng(seed), [], []
    for n, image in enumerate(images):
        side, kind = len(image), KINDS[n % len(KINDS)]
        source = images[rng.choice([k for k in range(len(images)) if keys[k] == keys[n] and k != n])]
        spans = (RECTANGLE, RECTANGLE) if kind != "scar" else (THIN, LONG) if rng.random() < 0.5 else (LONG, THIN)
        height, width = (rng.integers(*span) for span in spans)
        top, left = rng.integers(MARGIN, side - MARGIN - height), rng.integers(MARGIN, side - MARGIN - width)
        from_top, from_left = rng.integers(0, side - height), rng.integers(0, side - width)
        there = np.s_[top : top + height, left : left + width]
        made, mask = image.copy(), np.zeros((side, side), dtype=bool)
        if kind == "dark":
            made[there] = (made[there] * rng.uniform(0.5, 0.75)).astype(np.uint8)
        else:
            made[there] = source[from_top : from_top + height, from_left : from_left + width]
        mask[there] = True
        spoiled.append(made)
        masks.append(mask)
    return spoiled, np.stack(masks)


class FeatureArray:
    """The part of a `FeatureTable` that `grid_maps` uses, over a tensor (n, L, F)."""

    def __init__(self, feat_nLF: torch.Tensor) -> None:
        self.feat_nLF = feat_nLF

    def gather(self, rows: np.ndarray) -> torch.Tensor:
        """Return the features (B, L, F) of some rows."""
        return self.feat_nLF[rows]


@torch.no_grad()
def features_of(images: list[np.ndarray], prepared: PreparedData) -> torch.Tensor:
    """Features (n, L, F) of pixels that no file holds."""
    batches, backbone = np.array_split(np.stack(images), max(1, len(images) // 16)), prepared.backbone
    return torch.cat([backbone(backbone.normalise(batch)) for batch in batches])


def judge(
    detector: Detector,
    prepared: PreparedData,
    config: Config,
    feat_nLF: torch.Tensor,
    masks: np.ndarray,
    labels: np.ndarray | None = None,
) -> dict:
    """(category, metric) -> value."""
    rows, keys = prepared.holdout_rows, category_keys(prepared.records).to_numpy()[prepared.holdout_rows]
    good = grid_maps(detector, prepared.features, rows, config.scoring, labels=labels)
    spoiled = FeatureArray(feat_nLF)
    bad = grid_maps(detector, spoiled, np.arange(len(feat_nLF)), config.scoring, labels=labels)
    found, size = {}, config.features.image_size
    for category in sorted(set(keys)):
        own = keys == category
        labels = np.repeat([0, 1], own.sum())
        for name, (how, pool) in SCORES.items():
            scoring = dataclasses.replace(config.scoring, image_score=how, pool=pool)
            scores = np.concatenate([image_scores(maps[own], size, scoring) for maps in (good, bad)])
            found[category, f"image_auroc_{name}"] = auroc(scores, labels)
        found[category, "pixel_ap_spoiled"] = average_precision(
            upsample(bad[own], size).ravel(), masks[own].ravel().astype(int)
        )
    means = pd.Series(found).groupby(level=1).mean()
    return found | {("mean", metric): value for metric, value in means.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("setting", help="a name for the rows")
    parser.add_argument("--baseline", choices=sorted(BASELINES), help="judge a baseline, and no model")
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    prepared = prepare_data(config, progress=False)
    counts = category_keys(prepared.records.iloc[prepared.holdout_rows]).value_counts()
    if counts.min() < 2 or len(counts) < len(prepared.classes):
        parser.error("every category needs two held-out images at least; raise data.holdout")
    size, kept_back = config.features.image_size, prepared.records.iloc[prepared.holdout_rows]
    images = [to_pixels(read_image(path), size) for path in kept_back["image"]]
    spoiled, masks = spoil(images, category_keys(kept_back).to_numpy())
    feat_nLF = features_of(spoiled, prepared)
    options = {"preset": arguments.preset, "data": arguments.data, "root": arguments.root}
    named = [f"{name} {value}" for name, value in options.items() if value is not None]
    presets = [f"gain {config.model.prompt_mapper.gain:g}", f"weight_ce {config.train.weight_ce:g}"]
    rows, changes = [], "; ".join([*named, *arguments.set, *presets])

    def look(done: int, detector: Detector, labels: np.ndarray | None = None) -> None:
        for (category, metric), value in judge(detector, prepared, config, feat_nLF, masks, labels).items():
            row = {"setting": arguments.setting, "changes": changes, "steps": done, "category": category}
            rows.append({**row, "metric": metric, "value": round(float(value), 4)})

    if arguments.baseline:
        look(0, BASELINES[arguments.baseline](prepared.backbone.grid).fit(prepared.features, prepared.train_rows))
    else:
        model = new_model(config, prepared)
        last = total_steps(len(prepared.train_rows), config.train)

        def after(done: int) -> None:
            if done in (last // 2, last):
                model.eval()
                look(done, model, prepared.labels_for(model, prepared.holdout_rows))
                model.train()

        with tempfile.TemporaryDirectory() as folder:
            data = (prepared.features, prepared.train_rows, prepared.train_labels)
            train(model, *data, config.train, Path(folder), progress=False, after_step=after)
    earlier = pd.read_csv(arguments.csv, comment="#").to_dict("records") if arguments.csv.exists() else []
    write(arguments.csv, [row for row in earlier if row["setting"] != arguments.setting] + rows)
    table = pd.DataFrame(rows).pivot_table(index=["steps", "metric"], columns="category", values="value")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()

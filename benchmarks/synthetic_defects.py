"""Evaluate a setting without any test image, on held-out normal images with and without a synthetic defect.

    python benchmarks/synthetic_defects.py data/results/four_real_synthetic.csv "jitter 40" --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}' --set features.grid=14
    --set train.steps=750 --set model.jitter.scale=40

One call evaluates one setting. Its rows are added to the CSV or replace those of the same name. The column `changes`
has the options of the call and two keys of the presets that have changed over time. Each held-out image is scored as it
is and with one defect of `mintad.data.synthetic`, which says what they are worth.
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
from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.records import category_keys
from mintad.data.synthetic import add_defects
from mintad.features.backbone import to_pixels
from mintad.features.extract import features_of
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import fit_baseline, published
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model
from mintad.scoring import auroc, average_precision
from mintad.scoring.maps import Detector, grid_maps, image_scores, upsample
from mintad.scoring.metrics import MEAN
from mintad.training import train
from mintad.training.schedule import total_steps

SCORES = {"max": ("max", 16), "pooled_max_16": ("pooled_max", 16), "pooled_max_64": ("pooled_max", 64)}
"""Name in the metric -> `scoring.image_score` and `scoring.pool`."""

Values = dict[tuple[str, str], float]
"""(category, metric) -> value."""


@dataclasses.dataclass(frozen=True)
class SyntheticTest:
    """The held-out normal images, each with one synthetic defect."""

    feat_nLF: torch.Tensor
    masks: np.ndarray
    """Where the defects are (n, S, S)."""

    @classmethod
    def from_holdout(cls, prepared: PreparedData, size: int) -> SyntheticTest:
        """Add a defect to every held-out image and compute the features."""
        records = prepared.records.iloc[prepared.holdout_rows]
        images = [to_pixels(read_image(path), size) for path in records["image"]]
        with_defects, masks = add_defects(images, category_keys(records).to_numpy())
        return cls(features_of(prepared.backbone, with_defects), masks)

    def gather(self, rows: np.ndarray) -> torch.Tensor:
        """Return the features (B, L, F) of some images, as `FeatureTable.gather` does for `grid_maps`."""
        return self.feat_nLF[rows]


def evaluate(
    detector: Detector,
    prepared: PreparedData,
    config: Config,
    test: SyntheticTest,
    prompt_labels: np.ndarray | None = None,
) -> Values:
    """Measure how well a detector tells held-out images with a defect from those without, per category and as a mean.

    Args:
        detector: the model or baseline.
        prepared: the data, with held-out images.
        config: of the run.
        test: the same images with defects.
        prompt_labels: classes of the held-out images, indices or names, for a detector that is given them.
    """
    rows, keys = prepared.holdout_rows, category_keys(prepared.records).to_numpy()[prepared.holdout_rows]
    normal = grid_maps(detector, prepared.features, rows, config.scoring, labels=prompt_labels)
    anomalous = grid_maps(detector, test, np.arange(len(rows)), config.scoring, labels=prompt_labels)
    values, size = {}, config.features.image_size
    for category in sorted(set(keys)):
        in_category = keys == category
        labels = np.repeat([0, 1], in_category.sum())
        for name, (how, pool) in SCORES.items():
            scoring = dataclasses.replace(config.scoring, image_score=how, pool=pool)
            scores = [image_scores(maps[in_category], size, scoring) for maps in (normal, anomalous)]
            values[category, f"image_auroc_{name}"] = auroc(np.concatenate(scores), labels)
        scoring = config.scoring
        pixels = upsample(anomalous[in_category], size, blur=scoring.blur, align_corners=scoring.align_corners).ravel()
        values[category, "pixel_ap_spoiled"] = average_precision(pixels, test.masks[in_category].ravel().astype(int))
    means = pd.Series(values).groupby(level=1).mean()
    return values | {(MEAN, metric): value for metric, value in means.items()}


def evaluate_baseline(name: str, prepared: PreparedData, config: Config, test: SyntheticTest) -> dict[int, Values]:
    """Fit and evaluate a baseline; the number of steps is 0."""
    baseline, _, _ = fit_baseline(name, prepared, config)
    names = category_keys(prepared.records).to_numpy()[prepared.holdout_rows]
    return {0: evaluate(baseline, prepared, config, test, names if baseline.needs_labels else None)}


def evaluate_training(prepared: PreparedData, config: Config, test: SyntheticTest) -> dict[int, Values]:
    """Train a model and evaluate it after half of the steps and after all: steps -> values."""
    model = new_model(config, prepared)
    steps = total_steps(len(prepared.train_rows), config.train)
    values: dict[int, Values] = {}

    def after_step(done: int) -> None:
        if done in (steps // 2, steps):
            model.eval()
            prompt_labels = prepared.labels_for(model, prepared.holdout_rows)
            values[done] = evaluate(model, prepared, config, test, prompt_labels)
            model.train()

    with tempfile.TemporaryDirectory() as folder:
        data = (prepared.features, prepared.train_rows, prepared.train_labels)
        train(model, *data, config.train, Path(folder), progress=False, after_step=after_step)
    return values


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("setting", help="name of the setting in the CSV")
    features_alone = sorted(BASELINES.on_features())
    parser.add_argument("--baseline", choices=features_alone, help="evaluate a baseline instead of a model")
    parser.add_argument("--preset")
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser


def describe_changes(arguments: argparse.Namespace, config: Config) -> str:
    """Return the options of the call in one line, with two keys of the presets that have changed over time."""
    options = {"preset": arguments.preset, "data": arguments.data, "root": arguments.root}
    given = [f"{name} {value}" for name, value in options.items() if value is not None]
    presets = [f"gain {config.model.prompt_mapper.gain:g}", f"weight_ce {config.train.weight_ce:g}"]
    return "; ".join([*given, *arguments.set, *presets])


def main() -> None:
    """Evaluate one setting and add its rows to the CSV."""
    parser = make_parser()
    arguments = parser.parse_args()
    config = resolve_config(arguments.preset, None, arguments.set, arguments.data, arguments.root)
    config = published(arguments.baseline, config) if arguments.baseline else config
    prepared = prepare_data(config, progress=False)
    counts = category_keys(prepared.records.iloc[prepared.holdout_rows]).value_counts()
    if counts.min() < 2 or len(counts) < len(prepared.classes):
        parser.error("every category needs at least two held-out images; raise data.holdout")
    test = SyntheticTest.from_holdout(prepared, config.features.image_size)
    if arguments.baseline:
        values_by_steps = evaluate_baseline(arguments.baseline, prepared, config, test)
    else:
        values_by_steps = evaluate_training(prepared, config, test)
    setting = {"setting": arguments.setting, "changes": describe_changes(arguments, config)}
    rows = [
        {**setting, "steps": steps, "category": category, "metric": metric, "value": round(float(value), 4)}
        for steps, values in values_by_steps.items()
        for (category, metric), value in values.items()
    ]
    earlier = read_commented_csv(arguments.csv)[1].to_dict("records") if arguments.csv.exists() else []
    write(arguments.csv, [row for row in earlier if row["setting"] != arguments.setting] + rows)
    table = pd.DataFrame(rows).pivot_table(index=["steps", "metric"], columns="category", values="value")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()

"""Measure what the thresholds of a run decide, and whether an unknown product is noticed, on its test images.

    python benchmarks/decisions.py data/results/decisions.csv RUN [RUN ...]

The runs are read, not changed. Their sharp prior is fitted again. Columns: seed, category, rule, quantity, value, and
low and high (a 95 % interval over test images) of the TPRs.

* false_alarms and misses at the run's quantile by three rules: `pooled`, one threshold for all classes; `class`, the
  predicted class's own, and the pooled one where it has too few held-out images; `class, not below its own`, which is
  the rule of `mintad.scoring.conformal`. `held_out` is the number of held-out images of the class.
* image_tpr_at_fpr1, image_tpr_at_fpr5: by category, and their mean.
* unknown_auroc: the category is left out of `KnownProducts` and of the calibration, and its normal test images are
  ranked above the normal ones of the other categories. unknown_found: the share of them that is called unknown.
  unknown_normal, unknown_defects: nothing is left out; the share of the category's normal and anomalous test images
  that is called unknown all the same. The distance does not use the network, so that nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from provenance import write

from mintad.data.records import category_keys
from mintad.runs.calibrate import calibrate, decide
from mintad.runs.directory import Run
from mintad.runs.load import trained_model
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.scoring import auroc
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import UNKNOWN_QUANTILE, Decisions
from mintad.scoring.detect import detect
from mintad.scoring.known_products import KnownProducts, median_over_tokens
from mintad.scoring.maps import image_scores
from mintad.scoring.metrics import MEAN
from mintad.scoring.ranking import tpr_at
from mintad.scoring.resampling import interval, resampled_tprs
from mintad.scoring.sharp_prior import SharpPrior, SharpPriorDetector

RATES = {"image_tpr_at_fpr1": 0.01, "image_tpr_at_fpr5": 0.05}
Row = dict[str, object]


def judged(run: Run, data: PreparedData) -> tuple[Decisions, pd.DataFrame]:
    """Return the rules of decision of a run, and its scored and judged test images."""
    config = run.config()
    model = trained_model(run, data.backbone, torch.device("cpu"))
    detector = model
    if config.scoring.score != "reconstruction":
        inputs = (data.features, data.train_rows, data.train_labels, data.backbone.grid, config.scoring.sharp_prior)
        prior = SharpPrior.fit(*inputs, seed=config.train.seed)
        detector = SharpPriorDetector(model, prior, score=config.scoring.score)
    rows, scoring = data.test_rows, config.scoring
    labels = data.labels_for(model, rows)
    [maps_nHW], predicted, names = detect(model, [detector], data.features, rows, data.classes, scoring, labels=labels)
    scores = data.records.iloc[rows].reset_index(drop=True)
    scores = scores.assign(
        pred_score=image_scores(maps_nHW, config.features.image_size, scoring, data.region), pred_class=predicted
    )
    products = KnownProducts.fit(data.features, data.train_rows, seed=config.train.seed)
    decisions = calibrate(products, detector, model, data, config)
    return decisions, decide(decisions, products, scores, names, data)


def of_thresholds(decisions: Decisions, scores: pd.DataFrame) -> Iterator[Row]:
    """Yield false alarms and misses of every category by each rule."""
    quantile, fitted = decisions.quantile, decisions.thresholds()
    one = decisions.pooled().value
    limits = {
        "pooled": dict.fromkeys(fitted, one),
        "class": {name: one if limit.pooled else limit.value for name, limit in fitted.items()},
        "class, not below its own": {name: limit.value for name, limit in fitted.items()},
    }
    keys = category_keys(scores)
    for category, images in scores.groupby(keys):
        held_out = {"category": category, "rule": "", "quantity": "held_out"}
        yield held_out | {"value": len(decisions.calibration.of_class(category))}
        for rule, limit in limits.items():
            flagged = images["pred_score"] > images["pred_class"].map(limit)
            row = {"category": category, "rule": f"{rule}, quantile {quantile:g}"}
            yield row | {"quantity": "false_alarms", "value": flagged[images["label"] == 0].mean()}
            yield row | {"quantity": "misses", "value": 1 - flagged[images["label"] == 1].mean()}


def of_rates(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield the TPRs of every category and their mean, with intervals over the test images."""
    keys = category_keys(scores).to_numpy()
    for name, rate in RATES.items():
        values = {key: tpr_at(rate, part["pred_score"], part["label"]) for key, part in scores.groupby(keys)}
        for key, value in {**values, MEAN: float(np.mean(list(values.values())))}.items():
            images = scores if key == MEAN else scores[keys == key]
            groups = keys if key == MEAN else keys[keys == key]
            low, high = interval(resampled_tprs(images["pred_score"], images["label"], groups, rate))
            yield {"category": key, "rule": "", "quantity": name, "value": value, "low": low, "high": high}


def of_unknown(data: PreparedData, scores: pd.DataFrame, seed: int) -> Iterator[Row]:
    """Yield how well every category is told from the others when it was left out of the known products."""
    keys, everything = category_keys(data.records).to_numpy(), np.arange(len(data.records))
    described, test, labels = median_over_tokens(data.features, everything), data.test_rows, scores["label"].to_numpy()
    for key in sorted(set(keys[test])):
        train, held_out = (rows[keys[rows] != key] for rows in (data.train_rows, data.holdout_rows))
        known = KnownProducts.fit(data.features, train, seed=seed)
        limit = Calibration(known.distance(described[held_out]), [""] * len(held_out)).pooled(UNKNOWN_QUANTILE).value
        normal = test[labels == 0]
        left_out, others = normal[keys[normal] == key], normal[keys[normal] != key]
        distances = {name: known.distance(described[rows]) for name, rows in (("out", left_out), ("in", others))}
        value = auroc(np.concatenate([*distances.values()]), np.repeat([1, 0], [len(left_out), len(others)]))
        own = scores[keys[test] == key]
        quantities = {
            "unknown_auroc": value,
            "unknown_found": (distances["out"] > limit).mean(),
            "unknown_normal": own.loc[own["label"] == 0, "unknown_product"].mean(),
            "unknown_defects": own.loc[own["label"] == 1, "unknown_product"].mean(),
        }
        yield from ({"category": key, "rule": "", "quantity": name, "value": v} for name, v in quantities.items())


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write.")],
    runs: Annotated[list[Path], typer.Argument(help="Finished run directories with held-out images.")],
) -> None:
    """Measure every run, and write the table after each."""
    rows: list[Row] = []
    for run in map(Run, runs):
        config = run.config()
        data = prepare_data(config, progress=False)
        decisions, scores = judged(run, data)
        found = [*of_thresholds(decisions, scores), *of_rates(scores), *of_unknown(data, scores, config.train.seed)]
        rows += [{"seed": config.train.seed} | row for row in found]
        table = pd.DataFrame(rows).round(4)
        write(csv, table, config=config.override(**{"train.seed": 0}))
        shown = pd.DataFrame(found)
        columns = shown["quantity"] + " " + shown["rule"]
        print(
            run.path, shown.assign(column=columns).pivot(index="category", columns="column", values="value").T.round(3)
        )


if __name__ == "__main__":
    typer.run(main)

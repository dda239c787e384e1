"""Where does knowing the class pay? Detectors without it, with the class from MINT-AD's head, and told the class.

    python benchmarks/class_knowledge.py data/results/class_knowledge.csv runs/real8/real8-mint_ad-*

Each finished run of MINT-AD gives the data, the seed, the training images and the head's class of every test image. The
detectors are closed-form or memories, so nothing is trained. "blind" is one model for all categories; "head" and "told"
have one model per category. All normal images are used in each case. PatchCore remembers 10,000 tokens per model, so
with one model per category it remembers more in all. The sharp prior and its parts show which of its ingredients needs
the class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import typer
from provenance import write
from torch import Tensor

from mintad.config import Config, SharpPriorConfig
from mintad.data.records import category_keys
from mintad.runs.baselines import evaluate_baseline
from mintad.runs.directory import Run
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.scoring.evaluate import evaluate
from mintad.scoring.sharp_prior import SharpPrior

PRIORS = {
    "sharp_prior": SharpPriorConfig(),
    "sharp_prior, class mean": SharpPriorConfig(neighbours=0),
    "sharp_prior, class mean, one scale": SharpPriorConfig(neighbours=0, scales=(1,)),
}
BASELINES = ("padim", "patchcore")


class Told:
    """The sharp prior as a detector whose labels are given: the true class, the head's, or 0 for all."""

    returns_squared_error = True

    def __init__(self, prior: SharpPrior) -> None:
        self.prior = prior

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F)."""
        weights_BN = F.one_hot(torch.as_tensor(np.asarray(labels, dtype=np.int64)), len(self.prior.classes)).float()
        return self.prior.distance(feat_BLF, weights_BN).unflatten(1, self.prior.classes[0].grid)


def sharp_priors(data: PreparedData, config: Config, head_names: list[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield name, what is known, and results of every sharp prior."""
    true_labels = data.labels(data.test_rows)
    head_labels = np.array([data.classes.index(name) for name in head_names])
    for name, prior_config in PRIORS.items():
        for knows, train_labels, labels in (
            ("blind", np.zeros_like(data.train_labels), np.zeros_like(true_labels)),
            ("head", data.train_labels, head_labels),
            ("told", data.train_labels, true_labels),
        ):
            if knows != "told":
                all_images = dataclasses.replace(prior_config, images=len(data.train_rows))  # of one class, too
                prior = SharpPrior.fit(data.features, data.train_rows, train_labels, data.backbone.grid, all_images)
            arguments = (Told(prior), data.features, data.records, config)
            yield name, knows, evaluate(*arguments, method=name, labels=labels).results


def baselines(data: PreparedData, config: Config, head_names: list[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield name, what is known, and results of every baseline, set up as published."""
    for name in BASELINES:
        for knows, options in (
            ("blind", {}),
            ("head", {"separate": True, "labels": head_names}),
            ("told", {"separate": True}),
        ):
            yield name, knows, evaluate_baseline(name, data, config, **options).results


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write.")],
    runs: Annotated[list[Path], typer.Argument(help="Finished runs of mint_ad, one per seed.")],
) -> None:
    """Measure every detector with every knowledge of the class; the table is written after each."""
    tables = []
    for detectors in (sharp_priors, baselines):  # the baselines last, because they take minutes
        for run in map(Run, runs):
            config = run.config()
            data = dataclasses.replace(prepare_data(config, progress=False), classes=run.read("classes"))
            assert set(data.classes) == set(category_keys(data.records)), "the head's classes must be the categories"
            predicted = run.scores().set_index("image")["pred_class"]
            head_names = list(predicted.reindex(data.records["image"].iloc[data.test_rows]))
            for method, knows, table in detectors(data, config, head_names):
                tables.append(table.assign(method=method, setting=knows))
                value = table.query("category == 'mean' and metric == 'image_auroc'")["value"].item()
                print(f"seed {config.train.seed}: {method}, {knows}: {value:.4f}", flush=True)
                write(csv, pd.concat(tables).round({"value": 5}), config=config)


if __name__ == "__main__":
    typer.run(main)

"""Models and image features of a finished run, unified or separate (notebook 10)."""

from __future__ import annotations

import numpy as np
import torch

from mintad.data.records import category_keys
from mintad.runs.directory import Run
from mintad.runs.experiment import trained_setting
from mintad.runs.files import CATEGORIES
from mintad.runs.shared import TrainedRun


def runs_by_category(run: Run) -> dict[str, Run]:
    """Return the run of every model in a finished training: itself if unified, one per category if separate."""
    if trained_setting(run.path) != "separate":
        return {"all categories": run}
    return {key: Run(run.path / CATEGORIES / key.replace("/", "__")) for key in run.read("classes")}


def image_features(run: Run) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Compute the features of every test image before and after reconstruction, in either setting.

    An image's features are the mean over its tokens, each channel in units of its standard deviation over the test
    images.

    Returns:
        before (n, F), after (n, F), the images' "dataset/category" and their labels (n,), 1 for anomalous.
    """
    parts = [_mean_features(TrainedRun.load(model_run)) for model_run in runs_by_category(run).values()]
    before_nF, after_nF, keys, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    std_F = before_nF.std(axis=0)
    std_F[std_F < 1e-6] = 1.0
    return before_nF / std_F, after_nF / std_F, list(keys), labels


@torch.no_grad()
def _mean_features(trained: TrainedRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows, model, prepared = trained.rows(split="test"), trained.model, trained.prepared
    before, after = [], []
    for batch in np.array_split(rows, max(1, len(rows) // 64)):
        labels_B = torch.as_tensor(prepared.labels(batch)) if model.needs_labels else None
        feat_BLF = trained.features.gather(batch)
        before.append(model.pooled(feat_BLF).mean(dim=1))
        after.append(before[-1] - model(feat_BLF, labels_B=labels_B).residual.mean(dim=1) * model.target_unit_F)
    records = prepared.records.iloc[rows]
    keys, labels = category_keys(records).to_numpy(), records["label"].to_numpy()
    return torch.cat(before).numpy(), torch.cat(after).numpy(), keys, labels

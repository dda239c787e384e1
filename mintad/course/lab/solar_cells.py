"""A detector for photographs of real solar cells, in seconds: what a working detector shows, before any theory.

The photographs are those of the ELPV data set (Deitsch et al., 2019), which comes as a pip package. The detector is the
sharp prior (`mintad.scoring.sharp_prior`, ours) on the features of the frozen backbone; nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from mintad.config import preset
from mintad.course.environment import load_if_there
from mintad.data.images import read_image
from mintad.plots.images import overlay, resize_map, score_range
from mintad.runs.prepare import extract_features
from mintad.scoring.conformal import p_value
from mintad.scoring.maps import image_scores
from mintad.scoring.metrics import auroc
from mintad.scoring.sharp_prior import SharpPrior

IMAGE_SIZE = 224
DEFECTIVE = 0.05
"""A cell is called defective if at most this share of new normal cells would look as odd."""


@dataclass(frozen=True)
class JudgedCells:
    """Test cells with their maps and decisions; `truth` is 1 where experts called a cell surely defective."""

    files: list[str]
    maps_nHW: np.ndarray
    p_values: np.ndarray
    truth: np.ndarray

    @property
    def flagged(self) -> np.ndarray:
        """Whether each cell is called defective (n,)."""
        return self.p_values <= DEFECTIVE

    def gallery(self, of_each: int = 3) -> dict[str, np.ndarray]:
        """Return caption -> picture: the first cells of each kind, then the same with heatmap, decision and p-value."""
        chosen = np.concatenate([np.flatnonzero(self.truth == kind)[:of_each] for kind in (0, 1)])
        value_range, photographs, judged = score_range(self.maps_nHW), {}, {}
        for n, row in enumerate(np.random.default_rng(0).permutation(chosen), start=1):
            picture = np.asarray(read_image(self.files[row]))
            heat = resize_map(self.maps_nHW[row], picture.shape[:2])
            decision = "defective" if self.flagged[row] else "normal"
            photographs[f"{n}, experts: {'defective' if self.truth[row] else 'good'}"] = picture
            judged[f"{n}: {decision}, p = {self.p_values[row]:.2f}"] = overlay(picture, heat, value_range)
        return photographs | judged

    def aurocs(self) -> dict[str, float]:
        """Return the AUROC of four ways to make one number of a map."""
        config = preset("fast").scoring
        ways = {
            "maximum": ("max", config.top_share),
            "mean of the highest 1 %": ("top_mean", 0.01),
            "mean of the highest 10 %": ("top_mean", 0.1),
            "mean of all": ("mean", config.top_share),
        }
        settings = {name: replace(config, image_score=kind, top_share=share) for name, (kind, share) in ways.items()}
        return {name: auroc(image_scores(self.maps_nHW, IMAGE_SIZE, s), self.truth) for name, s in settings.items()}

    def summary(self) -> str:
        """Return what was found and what was flagged by mistake, in one line."""
        found, alarms = (self.flagged[self.truth == kind] for kind in (1, 0))
        return (
            f"{found.sum()} of {len(found)} defective cells found, {alarms.sum()} of {len(alarms)} normal ones flagged"
        )


def judge_cells(*, train: int = 160, held_out: int = 60, test: int = 40, seed: int = 0) -> JudgedCells | None:
    """Fit the sharp prior to monocrystalline cells and judge others; None if the photographs are not installed.

    Args:
        train: normal cells that the Gaussians are fitted to.
        held_out: further normal training cells, from which p-values are taken.
        test: test cells of each kind, normal and surely defective.
        seed: which cells are drawn.
    """
    records = load_if_there("elpv")
    if records is None:
        return None
    records = records[records["category"] == "mono"]
    normal = records[records["split"] == "train"].sample(train + held_out, random_state=seed)
    kinds = [records[(records["split"] == "test") & (records["label"] == label)] for label in (0, 1)]
    tested = pd.concat([kind.sample(test, random_state=seed) for kind in kinds])
    config = preset("fast")
    backbone, features = extract_features(config.features, pd.concat([normal, tested], ignore_index=True))
    rows = np.arange(len(features))
    prior = SharpPrior.fit(
        features, rows[:train], np.zeros(train, dtype=int), backbone.grid, config.scoring.sharp_prior, seed=seed
    )
    judged = features.gather(rows[train:])
    with torch.no_grad():
        maps_nHW = prior.distance(judged, torch.ones(len(judged), 1)).unflatten(1, backbone.grid).numpy()
    scores = image_scores(maps_nHW, IMAGE_SIZE, config.scoring)
    known, new = np.sort(scores[:held_out]), scores[held_out:]
    p_values = np.array([p_value(known, score) for score in new])
    return JudgedCells(list(tested["image"]), maps_nHW[held_out:], p_values, tested["label"].to_numpy())

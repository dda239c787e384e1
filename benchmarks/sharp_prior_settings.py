"""Choose the settings of the sharp prior without any test image, by cross-validation on normal training images.

    python benchmarks/sharp_prior_settings.py data/results/sharp_prior_settings.csv --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}'

Every normal training image gets a synthetic defect, as in `synthetic_defects.py`. The Gaussians are fitted to two
thirds of a category's images; the rest is scored without and with the defect. The category is told, because the choice
is about the density and not about the class head. One setting is changed at a time, and the share of tokens that the
image score averages is measured for all of them. `megabytes` is what the Gaussians of a class take, without its images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from provenance import write

from mintad.config import SharpPriorConfig
from mintad.data.images import read_image
from mintad.data.records import category_keys
from mintad.data.synthetic import add_defects
from mintad.features.backbone import to_pixels
from mintad.features.extract import features_of
from mintad.features.table import FeatureTable
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.scoring import auroc
from mintad.scoring.maps import image_scores
from mintad.scoring.metrics import MEAN
from mintad.scoring.sharp_prior import SharpPrior

FOLDS = 3
CHANGES = (
    {},
    *({"neighbours": number} for number in (0, 3, 15)),
    *({"scales": scales} for scales in ((1,), (2,))),
    *({"ridge": ridge} for ridge in (0.003, 0.03)),
    *({"channels": channels} for channels in (16, 32, 64, 96, 128)),
)
SHARES = (0.001, 0.01, 0.02, 0.05)


def with_defects(prepared: PreparedData, rows: np.ndarray, size: int) -> torch.Tensor:
    """Return the features (n, L, F), float16, of the images in `rows`, each with one synthetic defect."""
    images = [to_pixels(read_image(path), size) for path in prepared.records["image"].iloc[rows]]
    spoiled, _ = add_defects(images, np.zeros(len(rows)))
    return features_of(prepared.backbone, spoiled).half()


def scores(prepared: PreparedData, category: str, size: int) -> Iterator[tuple[dict, float, np.ndarray, np.ndarray]]:
    """Yield every change with its megabytes and the token distances (n, L) of a category's images.

    The distances are of the images without and with their defects.
    """
    keys, splits = category_keys(prepared.records).to_numpy(), (prepared.records["split"] == "train").to_numpy()
    rows = np.flatnonzero((keys == category) & splits)
    normal_nLF = prepared.features.gather(rows)
    spoiled_nLF = with_defects(prepared, rows, size).float()
    fold_n, table = np.random.default_rng(0).permutation(len(rows)) % FOLDS, FeatureTable.from_tensor(normal_nLF)
    for change in CHANGES:
        config, distances = dataclasses.replace(SharpPriorConfig(), **change), np.zeros((2, *normal_nLF.shape[:2]))
        for fold in range(FOLDS):
            (train,), (held,) = np.nonzero(fold_n != fold), np.nonzero(fold_n == fold)
            prior = SharpPrior.fit(table, train, np.zeros(len(train), dtype=int), prepared.backbone.grid, config)
            for distance_nL, feat_nLF in zip(distances, (normal_nLF, spoiled_nLF), strict=True):
                distance_nL[held] = prior.distance(feat_nLF[held], torch.ones(len(held), 1)).numpy()
        parts = prior.classes[0].named_buffers()
        megabytes = sum(part.nbytes for name, part in parts if name != "normal.images_nLF") / 1e6
        yield change, megabytes, *distances


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write.")],
    data: Annotated[str, typer.Option(help="Data set.")] = "elpv",
    root: Annotated[Path | None, typer.Option(help="Its folder.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
) -> None:
    """Measure every setting on every category, and write means over the categories last."""
    config = resolve_config("fast", None, set_ or [], data, root)
    prepared = prepare_data(config, progress=False)
    rows = []
    for category in sorted(set(category_keys(prepared.records))):
        for change, megabytes, normal_nL, spoiled_nL in scores(prepared, category, config.features.image_size):
            name = ", ".join(f"{key} {value}" for key, value in change.items()) or "as shipped"
            maps_nHW = np.concatenate([normal_nL, spoiled_nL]).reshape(-1, *prepared.backbone.grid)
            for share in SHARES:
                scoring = dataclasses.replace(config.scoring, image_score="top_mean", top_share=share)
                values = image_scores(maps_nHW, config.features.image_size, scoring)
                value = auroc(values, np.repeat([0, 1], len(normal_nL)))
                setting = {"setting": name, "megabytes": megabytes, "top_share": share}
                rows.append({**setting, "category": category, "image_auroc": value})
        print(f"{category}: done", flush=True)
    table = pd.DataFrame(rows)
    means = table.groupby(["setting", "megabytes", "top_share"], sort=False, as_index=False)["image_auroc"].mean()
    table = pd.concat([table, means.assign(category=MEAN)], ignore_index=True)
    table = table.round({"image_auroc": 5, "megabytes": 2})
    write(csv, table, config=config)
    print(means.pivot(index="setting", columns="top_share", values="image_auroc").round(4).to_string())


if __name__ == "__main__":
    typer.run(main)

"""Where does knowing the class pay? Detectors without it, with the class from MINT-AD's head, and told the class.

    mintad sweep benchmarks/sweeps/class_knowledge.yaml --workers 2
    python benchmarks/class_knowledge.py data/results/class_knowledge.csv mini runs/sweeps/class_knowledge/*mini*

The finished runs give the data and the seeds. "blind" knows nothing of the class of a test image, "head" has the class
from the head of the seed's MINT-AD, and "told" has the true one. What is measured follows from the runs of a seed:

* mint_ad: Eq. 7, "head". Of its first run also the sharp prior and its parts, and the baselines: one model for all
  categories ("blind"), or one for each. Their "head" is that run's, too.
* mint_ad with `model.class_loss=false`, trained without labels: Eq. 7, "blind".
* label_prompt: Eq. 7, "told".
* uniad: "blind". A separate uniad, one model per category: "head" and "told".

All normal training images are used in each case. Without the class, the nearest neighbour remembers as many tokens as
all the models with one do together; PatchCore remembers 10,000 per model, so with one model per category more in all.

Each measurement is kept with its scores under --work, and is not repeated for the same run. The table gets the rows of
this data set anew. A second table, NAME_intervals.csv, has 95 % intervals over test images and seeds: of every mean,
and of what the class brings.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterator
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
from mintad.disk import digest
from mintad.model.reconstruction import ReconstructionModel
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.baselines import fit_baseline
from mintad.runs.directory import Run
from mintad.runs.files import CATEGORIES
from mintad.runs.load import trained_model
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.scoring.evaluate import Evaluation, evaluate
from mintad.scoring.resampling import interval, mean_over_seeds, resampled_aurocs
from mintad.scoring.sharp_prior import SharpPrior

PRIORS = {
    "sharp_prior": SharpPriorConfig(),
    "sharp_prior, class mean": SharpPriorConfig(neighbours=0),
    "sharp_prior, class mean, one scale": SharpPriorConfig(neighbours=0, scales=(1,)),
}
BASELINES = ("padim", "patchcore", "nearest")
KNOWLEDGE = ("blind", "head", "told")
KEPT = ("image_auroc", "pixel_ap")
"""Metrics in the table."""
RECONSTRUCTIONS = {"mint_ad": "head", "label_prompt": "told", "uniad": "blind"}
"""Variants whose reconstruction is measured, and what they know of the class; MINT-AD without labels is "blind"."""
Measured = Iterator[tuple[str, str, Callable[[], Evaluation]]]
"""Method, what it knows, and the measurement, which is made only if it is not there yet."""


class Told:
    """The sharp prior as a detector whose labels are given: the true class, the head's, or 0 for all."""

    returns_squared_error = True

    def __init__(self, prior: SharpPrior) -> None:
        self.prior = prior

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F)."""
        weights_BN = F.one_hot(torch.as_tensor(np.asarray(labels, dtype=np.int64)), len(self.prior.classes)).float()
        return self.prior.distance(feat_BLF, weights_BN).unflatten(1, self.prior.classes[0].grid)


def lazily(make: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that calls `make` once, when it is first called."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def sharp_priors(data: PreparedData, config: Config, head_names: list[str]) -> Measured:
    """Yield the sharp priors: one Gaussian for all classes, or one for each."""
    true_labels = data.labels(data.test_rows)
    labels = {
        "blind": np.zeros_like(true_labels),
        "head": np.array([data.classes.index(name) for name in head_names]),
        "told": true_labels,
    }
    for name, prior_config in PRIORS.items():
        config_of_all = dataclasses.replace(prior_config, images=len(data.train_rows))  # of one class, too

        def fit(train_labels: np.ndarray, settings: SharpPriorConfig = config_of_all) -> Told:
            return Told(SharpPrior.fit(data.features, data.train_rows, train_labels, data.backbone.grid, settings))

        blind = lazily(lambda fit=fit: fit(np.zeros_like(data.train_labels)))
        aware = lazily(lambda fit=fit: fit(data.train_labels))
        for knows in KNOWLEDGE:

            def measure(knows: str = knows, fitted=blind if knows == "blind" else aware, name=name) -> Evaluation:
                inputs = (fitted(), data.features, data.records, config)
                return evaluate(*inputs, method=name, setting=knows, labels=labels[knows])

            yield name, knows, measure


def baselines(data: PreparedData, config: Config, head_names: list[str]) -> Measured:
    """Yield the baselines, set up as published: one model for all categories, or one for each."""
    true_names = category_keys(data.records).to_numpy()[data.test_rows]
    labels = {"blind": None, "head": head_names, "told": true_names}
    for name in BASELINES:
        unified = {"limit": 100_000 * len(data.classes)} if name == "nearest" else {}
        fits = {
            separate: lazily(
                lambda name=name, separate=separate, options={} if separate else unified: fit_baseline(
                    name, data, config, separate=separate, options=options
                )
            )
            for separate in (False, True)
        }
        for knows in KNOWLEDGE:

            def measure(knows: str = knows, fit=fits[knows != "blind"], name: str = name) -> Evaluation:
                fitted, features, own = fit()
                return evaluate(fitted, features, data.records, own, method=name, setting=knows, labels=labels[knows])

            yield name, knows, measure


def eq7(config: Config) -> str:
    """Return what the table calls a model's reconstruction error; only of plain features it is the paper's score."""
    family = "uniad" if config.model.variant == "uniad" else "mint_ad"
    return f"{family}, Eq. 7" + (", recentred" if config.model.recentre.neighbours else "")


def reconstruction(run: Run, data: PreparedData, config: Config) -> Measured:
    """Yield Eq. 7 of a trained model."""
    variant, labelled = config.model.variant, config.model.class_loss
    method, knows = eq7(config), RECONSTRUCTIONS[variant] if labelled or variant != "mint_ad" else "blind"

    def measure() -> Evaluation:
        model = trained_model(run, data.backbone, torch.device("cpu"))
        labels = data.labels_for(model, data.test_rows)
        return evaluate(model, data.features, data.records, config, method=method, setting=knows, labels=labels)

    yield method, knows, measure


class OnePerCategory:
    """Trained models, one per category, as a detector that is given the category of each image."""

    returns_squared_error = True

    def __init__(self, models: dict[str, ReconstructionModel]) -> None:
        self.models = models

    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of features (B, L, F), each from the model of its label."""
        return torch.cat(
            [self.models[name].anomaly_map(feat[None]) for feat, name in zip(feat_BLF, labels, strict=True)]
        )


def separate(run: Run, data: PreparedData, config: Config, head_names: list[str]) -> Measured:
    """Yield Eq. 7 of one trained model per category."""
    runs = map(Run, sorted((run.path / CATEGORIES).iterdir()))
    trained = {of_one.read("classes")[0]: of_one for of_one in runs}
    detector = lazily(
        lambda: OnePerCategory(
            {name: trained_model(of_one, data.backbone, torch.device("cpu")) for name, of_one in trained.items()}
        )
    )
    true_names = list(category_keys(data.records).iloc[data.test_rows])
    for knows, labels in (("head", head_names), ("told", true_names)):

        def measure(knows: str = knows, labels: list[str] = labels) -> Evaluation:
            inputs = (detector(), data.features, data.records, config)
            return evaluate(*inputs, method=eq7(config), setting=knows, labels=labels)

        yield eq7(config), knows, measure


def identity(run: Run) -> str:
    """Return a short digest of a run's settings and of its images' scores, which its weights decide."""
    return digest(run.path / "scores.csv", json.dumps(run.config().flat()))[:12]


def has_head(run: Run) -> bool:
    """Return whether a run is a unified MINT-AD whose head learned the classes."""
    model = run.config().model
    return model.variant == "mint_ad" and model.class_loss and not (run.path / CATEGORIES).exists()


def measurements(run: Run, heads: dict[int, Run]) -> Measured:
    """Yield everything that a run allows; `heads`: the run of each seed whose head finds the classes."""
    config = run.config()
    data = dataclasses.replace(prepare_data(config, progress=False), classes=run.read("classes"))
    assert set(data.classes) == set(category_keys(data.records)), "the head's classes must be the categories"
    head = heads[config.train.seed]
    of_head = head.scores().set_index("image")["pred_class"].rename(os.path.realpath)
    head_names = list(of_head.loc[data.records["image"].iloc[data.test_rows].map(os.path.realpath)])
    if (run.path / CATEGORIES).exists():
        yield from separate(run, data, config, head_names)
        return
    yield from reconstruction(run, data, config)
    if run is head:
        yield from sharp_priors(data, config, head_names)
        yield from baselines(data, config, head_names)


def intervals(scores: pd.DataFrame) -> pd.DataFrame:
    """Return means over the seeds with 95 % intervals, of every detector and of every step in what it knows.

    Each draw takes test images with replacement, the same for all detectors of a seed, and seeds with replacement.
    """
    drawn: dict[tuple[str, str], dict[int, tuple[float, np.ndarray]]] = {}
    for seed, of_seed in scores.groupby("seed"):
        wide = of_seed.pivot(index=["image", "category", "label"], columns=["method", "setting"], values="pred_score")
        table = wide.reset_index()[["label", "category"]]
        inputs = {key: wide[key].to_numpy() for key in wide}
        values, draws = resampled_aurocs(inputs, table["label"].to_numpy(), table["category"].to_numpy())
        for key in inputs:
            drawn.setdefault(key, {})[seed] = values[key], draws[key]
    compared = [(method, knows, None) for method, knows in drawn]
    compared += [(m, b, a) for m, _ in drawn for a, b in itertools.combinations(KNOWLEDGE, 2)]
    rows = {}
    for method, knows, less in compared:
        first, second = drawn.get((method, knows), {}), drawn.get((method, less), {})
        seeds = sorted(set(first) & set(second) if less else first)
        if not seeds:
            continue
        values = np.array([first[seed][0] - (second[seed][0] if less else 0) for seed in seeds])
        low, high = interval(mean_over_seeds([first[seed][1] - (second[seed][1] if less else 0) for seed in seeds]))
        name = f"{knows} - {less}" if less else knows
        rows[method, name] = {"seeds": len(seeds), "image_auroc": values.mean(), "low": low, "high": high}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "setting"])
    return table.reset_index().round(5)


def replaced(csv: Path, name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the rows of a data set replaced."""
    rows = rows.assign(data=name)[["data", *rows.columns.drop("data", errors="ignore")]]
    if not csv.exists():
        return rows
    former = read_commented_csv(csv)[1]
    return pd.concat([former[former["data"] != name], rows], ignore_index=True)


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write; its intervals are written beside it.")],
    name: Annotated[str, typer.Argument(help="What the table calls the data.")],
    runs: Annotated[list[Path], typer.Argument(help="Finished runs on this data.")],
    work: Annotated[Path, typer.Option(help="Folder for finished measurements.")] = Path("runs/class_knowledge"),
    skip: Annotated[list[str] | None, typer.Option(help="A method that is not measured now.")] = None,
) -> None:
    """Measure every detector with every knowledge of the class; the tables are written last."""
    results, scores, opened = [], [], list(map(Run, runs))
    unknown = {run.config().model.variant for run in opened} - RECONSTRUCTIONS.keys()
    if unknown:
        raise typer.BadParameter(f"no place in this table for {', '.join(sorted(unknown))}", param_hint="runs")
    heads = {run.config().train.seed: run for run in reversed(opened) if has_head(run)}
    for run in opened:
        seed = run.config().train.seed
        for method, knows, measure in measurements(run, heads):
            stem = f"{name}-{method}-{knows}-{seed}-{identity(run)}"
            files = [work / f"{stem}-{what}.csv" for what in ("results", "scores")]
            if not all(file.exists() for file in files):
                if method in (skip or ()):
                    continue
                evaluation = measure()
                work.mkdir(parents=True, exist_ok=True)
                evaluation.results.to_csv(files[0], index=False)
                table = evaluation.scores.assign(category=category_keys(evaluation.scores))
                table[["image", "category", "label", "pred_score"]].to_csv(files[1], index=False)
            results.append(pd.read_csv(files[0]))
            kept = pd.read_csv(files[1]).assign(method=method, setting=knows, seed=seed)
            scores.append(kept.assign(image=kept["image"].map(os.path.realpath)))  # runs may know a folder by a link
            value = results[-1].query("category == 'mean' and metric == 'image_auroc'")["value"].item()
            print(f"{name}, seed {seed}: {method}, {knows}: {value:.4f}", flush=True)
    table = pd.concat(results, ignore_index=True).round({"value": 5})
    table = table[table["metric"].isin(KEPT)]
    write(csv, replaced(csv, name, table))
    beside = csv.with_name(f"{csv.stem}_intervals.csv")
    write(beside, replaced(beside, name, intervals(pd.concat(scores, ignore_index=True))))


if __name__ == "__main__":
    typer.run(main)

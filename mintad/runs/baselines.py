"""The baselines beside a run: fitted to the normal images that it trains on, with what their authors let them see."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from pydantic import TypeAdapter, ValidationError

from mintad.baselines import BASELINES
from mintad.baselines.base import Baseline, Context
from mintad.baselines.images import ImageTable
from mintad.baselines.per_category import PerCategory
from mintad.baselines.training import TrainedBaseline
from mintad.config import Config
from mintad.data.records import category_keys
from mintad.errors import ConfigError, DataError, nearest
from mintad.features.table import FeatureTable
from mintad.runs.prepare import PreparedData, configured_backbone, extract_features
from mintad.scoring.evaluate import Evaluation, evaluate
from mintad.training.device import near

log = logging.getLogger(__name__)
MAY_BE_ZERO = (".projection",)  # whole numbers of which 0 says that there is none


def require_baselines(names: Iterable[str], config: Config) -> None:
    """Refuse names that are no baselines, and baselines that cannot use their options or the run's backbone.

    Raises:
        ConfigError: such a name, in the configuration too.
        DataError: see the baselines that read files of their own.
    """
    names = tuple(names)
    BASELINES.require([*names, *config.baselines.options])
    for name in {*names, *config.baselines.options}:
        _require_options(name, config)
    for name in names:
        try:
            _require_backbone(name, config)
        except ConfigError as error:
            fix = "choose another backbone, or leave the baseline out"
            raise ConfigError(f"baseline '{name}' cannot be compared: {error.problem}", fix=fix) from error


def options_of(name: str, config: Config) -> dict[str, Any]:
    """Return the options with which a run's configuration makes a baseline, its seed and setting included."""
    setting = {"setting": config.baselines.setting} if BASELINES[name].reads_images else {}
    return {"seed": config.train.seed, **setting, **config.baselines.options.get(name, {})}


def differently_made(names: Iterable[str], before: Config, now: Config) -> list[str]:
    """Return the baselines among `names` that two configurations make differently."""

    def made(name: str, config: Config) -> tuple:
        length = config.baselines.length if issubclass(BASELINES[name], TrainedBaseline) else 1
        return options_of(name, config), length

    return [name for name in names if name in BASELINES and made(name, before) != made(name, now)]


def _require_options(name: str, config: Config) -> None:
    """Refuse options that a baseline has not, or of another type, and sizes below 1, before any training."""
    cls, known = BASELINES[name], BASELINES[name].option_types()
    for option, value in config.baselines.options.get(name, {}).items():
        if option not in known:
            raise ConfigError(f"baselines.options: {cls.title} has no option '{option}'." + nearest(option, known))
        _require_value(f"baselines.options.{name}.{option}", value, known[option])
    if cls.reads_images:
        cls(config.features, **options_of(name, config))  # refuses an unknown setting


def _require_value(key: str, value: Any, hint: Any) -> None:
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        raise ConfigError(f"{key} must be {getattr(hint, '__name__', hint)}, not {value!r}") from error
    least = 1 if hint is int and not key.endswith(MAY_BE_ZERO) else 0
    if isinstance(value, int | float) and not least <= value < math.inf:
        raise ConfigError(f"{key} must be a number from {least} on, not {value}")


def _require_backbone(name: str, config: Config) -> None:
    """Build the backbone as a baseline would, with random weights, so that a refusal comes before any training."""
    if BASELINES[name].reads_images:
        method = BASELINES[name](config.features, **options_of(name, config))
        if method.reductions:
            method.new_backbone("random")
    elif (features := published(name, config).features) != config.features:
        configured_backbone(features, weights="random")


def require_comparable(names: Iterable[str], records: pd.DataFrame) -> None:
    """Refuse baselines beside a run whose test images give no metric to compare.

    Raises:
        DataError: no category has normal and anomalous test images.
    """
    if tuple(names) and not is_comparable(records):
        problem = "no category has both normal and anomalous test images, so that baselines cannot be compared"
        raise DataError(problem, fix="leave --baselines out, or add such images")


def is_comparable(records: pd.DataFrame) -> bool:
    """Return whether a category of a record table has both normal and anomalous test images."""
    tested = records[records["split"] == "test"]
    return bool((tested.groupby(category_keys(tested))["label"].nunique() == 2).any())


def published(name: str, config: Config) -> Config:
    """Return a run's configuration with the features and scores that a baseline's authors use."""
    cls = BASELINES[name]
    features, scoring = cls.published_features(config.features), cls.published_scoring(config.scoring)
    return dataclasses.replace(config, features=features, scoring=scoring)


def evaluate_baseline(
    name: str,
    data: PreparedData,
    config: Config,
    *,
    separate: bool = False,
    labels: Sequence[str] | None = None,
    options: Mapping[str, Any] = {},
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Evaluation:
    """Fit a baseline to the training rows of `data` and evaluate it on the test rows.

    Its features come from the cache where they are not those of `data`; a baseline on images decodes them. Its random
    choices follow `train.seed`, under which its results are listed.

    Args:
        separate: one model per category, see `PerCategory`.
        labels: "dataset/category" that a classifier gives each test row, to choose its model; None for the true one,
            which a unified baseline that `needs_labels` is given, too.
        options: of the baseline's class, besides those of `config.baselines`.

    Returns:
        Its results have the setting 'unified', 'separate', or with labels 'separate_chosen'.
    """
    fitted, features, own = fit_baseline(
        name, data, config, separate=separate, options=options, device=device, progress=progress
    )
    setting = "unified"
    if separate:
        setting = "separate" if labels is None else "separate_chosen"
    if labels is None and (separate or fitted.needs_labels):
        labels = category_keys(data.records).to_numpy()[data.test_rows]
    if data.region is not None and BASELINES[name].image_score is not Baseline.image_score:
        log.warning(
            "%s scores whole images; for the region of interest its maps are scored instead", BASELINES[name].title
        )
    about = {"method": name, "setting": setting, "region": data.region}
    return evaluate(fitted, features, data.records, own, labels=labels, **about)


def fit_baseline(
    name: str,
    data: PreparedData,
    config: Config,
    *,
    separate: bool = False,
    options: Mapping[str, Any] = {},
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> tuple[Baseline, FeatureTable | ImageTable, Config]:
    """Fit a baseline to the training rows of `data`, see `evaluate_baseline` for the arguments.

    Returns:
        The baseline, the features or images that it was fitted to and reads, and the configuration with which it is
        scored.
    """
    own, categories = published(name, config), category_keys(data.records).to_numpy()
    options = {**options_of(name, config), **options}
    if BASELINES[name].reads_images:
        given, stages = config.features, ()
        size = BASELINES[name](given, **options).setting.image_size
        features = ImageTable(data.records["image"], size, device)
    else:
        backbone, features = data.backbone, data.features
        if own.features != config.features:
            backbone, features = extract_features(own.features, data.records, device=device, progress=progress)
        given, stages = backbone.grid, backbone.stage_channels
        features = near(features, torch.device(device))

    def new() -> Baseline:
        fresh = BASELINES[name](given, **options)
        fresh.context = Context(stages, categories, config.baselines.length, progress)
        return fresh

    baseline = PerCategory(new, categories) if separate else new()
    return baseline.fit(features, data.train_rows), features, own

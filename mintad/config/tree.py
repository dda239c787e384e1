"""The whole configuration of a run: its values under dotted keys, presets, and files."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from mintad.config.fields import limits, read_yaml, require, section
from mintad.config.sections import (
    BaselinesConfig,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    ScoringConfig,
    TrainConfig,
)
from mintad.config.yaml_text import Loader
from mintad.disk import read_text
from mintad.errors import ConfigError, DataError, nearest, shown

_OF_BASELINES = "baselines.options"  # baselines.options.NAME.OPTION is a key, too
_MAPPINGS = ("data.options", "model.options", _OF_BASELINES)  # data.options.NAME is a key, too


@section("")
class Config:
    """The whole configuration of a run."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    scoring: ScoringConfig = dataclasses.field(default_factory=ScoringConfig)
    baselines: BaselinesConfig = dataclasses.field(default_factory=BaselinesConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return a nested plain dictionary, ready for JSON or YAML."""
        return dataclasses.asdict(self)

    def flat(self) -> dict[str, Any]:
        """Return every value under its dotted key, tuples as lists: two configurations differ where these differ."""
        values = _flatten(self.to_dict()).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Return the configuration that `to_dict` gave; missing keys keep their defaults.

        Raises:
            ConfigError: an unknown key (the nearest valid one is named) or a value that is not allowed.
        """
        return cls(**_nest(_flatten(values)))

    def override(self, **changes: Any) -> Config:
        """Return a copy with single values changed, keys dotted: ``config.override(**{"model.inr.layers": 2})``.

        Setting one of `train.epochs` and `train.steps` clears the other. Another `data.name` resets root, categories
        and options, another `model.variant` its options. Values may be text, as on a command line.

        Raises:
            ConfigError: an unknown key or a value that is not allowed.
        """
        for key, other in (("train.steps", "train.epochs"), ("train.epochs", "train.steps")):
            changes = {other: None, **changes} if key in changes else changes
        if changes.get("data.name", self.data.name) != self.data.name:
            changes = {"data.root": None, "data.categories": (), "data.options": {}, **changes}
        if changes.get("model.variant", self.model.variant) != self.model.variant:
            changes = {"model.options": {}, **changes}
        changes = {key: value.strip() if isinstance(value, str) else value for key, value in changes.items()}
        changes = {key: read_yaml(value) if key.startswith(_MAPPINGS) else value for key, value in changes.items()}
        return Config(**_nest(self.flat() | changes))


def preset(name: str) -> Config:
    """Return a named configuration.

    'paper' is MINT-AD as published, 'uniad' UniAD as published. 'small' is the paper's method at a size for two CPU
    cores (minutes), 'fast' is 'small' with balanced batches, recentred features and our sharp prior, 'lesson' the
    notebooks' (a minute). 'lesson@17' is 'lesson' on pictures drawn from the seed 17, so that each of a class may have
    pictures of their own.

    Raises:
        ConfigError: unknown name, or a seed where the data are not drawn.
    """
    name, drawn, seed = name.partition("@")
    require(name in PRESETS, f"unknown preset '{name}'." + nearest(name, PRESETS))
    chosen = PRESETS[name]
    if not drawn:
        return chosen
    require(chosen.data.name == "mini", f"preset '{name}' has no drawn pictures, so it takes no seed '@{seed}'")
    require(
        seed.isdecimal() and len(seed) < 19,
        f"preset '{name}@{seed}': behind @ stands a whole number, the seed of the pictures",
    )
    return chosen.override(**{"data.options.seed": int(seed)})


def load_config(path: str | Path, base: Config | None = None) -> Config:
    """Read a YAML or JSON file over `base` (default: the fast preset); an optional key `preset` names another base.

    Raises:
        ConfigError: file missing, not YAML, or unknown keys.
    """
    try:
        values = yaml.load(read_text(path), Loader) or {}
    except (DataError, OSError, yaml.YAMLError, ValueError) as error:
        reason = error.problem if isinstance(error, DataError) else error
        problem = f"cannot read configuration {path}: {' '.join(str(reason).split())}"
        raise ConfigError(problem) from error
    require(isinstance(values, dict), f"{path}: the file must hold a mapping of keys to values")
    named = values.pop("preset", None)
    require(isinstance(named, str | None), f"{path}: preset must be a name, not {shown(named)}")
    base = preset(named) if named else base or preset("fast")
    try:
        return base.override(**_flatten(values))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def describe_keys(config: Config) -> Iterator[tuple[str, Any, str, str]]:
    """Yield every dotted key in order, with its value in `config`, its limits in words, and what it means."""
    for (key, info), value in zip(_fields().items(), config.flat().values(), strict=True):
        yield key, value, limits(info.annotation, info.metadata).removeprefix("a "), " ".join(info.description.split())


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted keys; a mapping that is a value, such as data.options, stays whole."""
    require(isinstance(values, Mapping), f"'{prefix[:-1] or 'configuration'}' must be a mapping of keys to values")
    sections, flat = {key.rpartition(".")[0] for key in _fields()}, {}
    for key, value in ((f"{prefix}{name}", value) for name, value in values.items()):
        nested = isinstance(value, Mapping) and value and key not in _fields()
        inside = _flatten(value, f"{key}.") if nested or key in sections else {key: value}
        twice = next(iter(flat.keys() & inside.keys()), None)
        require(twice is None, f"the configuration key '{twice}' is given twice, dotted and nested")
        flat |= inside
    return flat


@functools.cache
def _fields(cls: type = Config, prefix: str = "") -> dict[str, FieldInfo]:
    fields = {}
    for name, info in cls.__pydantic_fields__.items():
        is_section = dataclasses.is_dataclass(info.annotation)
        fields |= _fields(info.annotation, f"{prefix}{name}.") if is_section else {f"{prefix}{name}": info}
    return fields


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested mappings that dotted keys describe; refuses unknown keys."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in _fields() and not key.startswith(tuple(f"{mapping}." for mapping in _MAPPINGS)):
            raise ConfigError(f"unknown configuration key '{key}'." + nearest(key, _fields()))
        deepest = 3 if key.startswith(f"{_OF_BASELINES}.") else 2  # no section is deeper; the rest is an option's name
        *path, name = key.split(".", deepest)
        require("." not in name, f"'{key}': an option's name has no dot, unlike '{name}'")
        branch = functools.reduce(lambda branch, part: branch.setdefault(part, {}), path, tree)
        require(isinstance(branch, dict), f"{'.'.join(path)} must be a mapping, because {key} is set, too")
        branch[name] = copy.deepcopy(value)  # a mapping of the caller must not change with a later key
    return tree


_SMALL = {"width": 128, "ffn_dim": 512, "encoder_layers": 1, "decoder_layers": 1, "attention_dropout": 0.0}
PRESETS: dict[str, Config] = {
    "paper": Config(
        data={"name": "mvtec", "holdout": 0.0},
        features={"backbone": "tf_efficientnet_b4"},
        baselines={"setting": "paper"},
    ),
    "small": Config(
        features={"grid": 7, "resize": "area", "standardise": True},
        model={**_SMALL, "prompt_mapper": {"hidden": 128, "gain": 16.0}, "inr": {"hidden": 128}},
        train={"epochs": None, "steps": 1600, "lr": 2e-3, "schedule": "onecycle", "weight_ce": 10.0},
    ),
}
PRESETS["fast"] = PRESETS["small"].override(
    **{
        "features.grid": 14,
        "model.pool": 2,
        "model.recentre.neighbours": 5,
        "model.prompt_mapper.token_std": 2.0,
        "train.sampling": "balanced",
        "scoring.score": "gaussian",
        "scoring.image_score": "top_mean",
    }
)
UNIAD_RECIPE = {
    "model.variant": "uniad",
    "model.attention_init": "stacked",
    "train.mse_reduction": "element",
    "train.batch_size": 8,
    "scoring.distance": "root",
    "scoring.image_score": "pooled_max",
    "scoring.pool": 16,
    "scoring.align_corners": True,
}
"""UniAD as published (github zhiyuanyou/UniAD, a5b9d9d), where it differs from the `paper` preset.

Its code averages the squared error over all elements, trains with 8 images a GPU (its 97.6 on MVTec AD is from one GPU;
on n, set train.batch_size to 8n), takes the root of the summed squares as the map, and for an image the maximum after
averaging 16 x 16 pixels. Backbone, grid, AdamW with lr 1e-4, 1000 epochs with a tenth of it after 800, clipping at 0.1
and jitter are `paper`'s; there is no class or prior loss. Not rebuilt: its EfficientNet pads as for 380 pixels (see
`mintad.features.backbone.Backbone`); its decoder layers begin as copies of one layer; it also trains on the incomplete
last batch of an epoch. Not wanted: it chooses the best epoch on test images, takes the labels of images from resized
masks and turns an AUROC below 0.5 over.

The variant `uniad` in any other preset is UniAD's network in our recipe.
"""
PRESETS["uniad"] = PRESETS["paper"].override(**UNIAD_RECIPE)


_NOT_OF_UNIAD = tuple(
    "data. features.backbone features.weights features.dtype model.class_ model.prior model.query_layers "
    "model.prompt_mapper. model.inr. train.seed train.device train.batch_size train.precision train.weight_ce "
    "train.ce_weights train.weight_prior train.prior_reduction train.checkpoint_every train.log_every "
    "scoring.top_share scoring.sharp_prior. scoring.threshold_quantile baselines.".split()
)
"""Keys, or their beginnings, that say nothing about UniAD's recipe: of data, machine, seed, and MINT-AD's own parts."""


def is_published_uniad(config: Config) -> bool:
    """Tell whether a configuration is UniAD as published, on any data, backbone and number of GPUs.

    If not, a model of the variant `uniad` is UniAD's network in another recipe.
    """
    flat, published = config.flat(), PRESETS["uniad"].flat()
    return all(flat[key] == value for key, value in published.items() if not key.startswith(_NOT_OF_UNIAD))


_PAIRS = ["weave", "leather", "brick", "terrazzo", "gear", "button"]  # each with the one its "swap" defects come from
LESSON_DATA = {"categories": _PAIRS, "n_train": 30, "n_test_good": 10, "n_test_defect": 4, "difficulty": 1.5}
_LESSON = {"data.name": "mini", "data.options": LESSON_DATA, "train.steps": 300, "train.weight_ce": 1.0}
PRESETS["lesson"] = PRESETS["small"].override(**_LESSON)

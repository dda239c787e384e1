"""Named configurations, and configurations in files."""

from __future__ import annotations

from pathlib import Path

import yaml

from mintad.config.fields import require
from mintad.config.sections import DataConfig, FeatureConfig, INRConfig, ModelConfig, PromptMapperConfig, TrainConfig
from mintad.config.tree import Config, flatten
from mintad.errors import ConfigError, nearest

PRESETS: dict[str, Config] = {
    "paper": Config(data=DataConfig(name="mvtec", holdout=0.0), features=FeatureConfig(backbone="tf_efficientnet_b4")),
    "fast": Config(
        features=FeatureConfig(grid=7, resize="area", standardise=True),
        model=ModelConfig(
            width=128,
            ffn_dim=512,
            encoder_layers=1,
            decoder_layers=1,
            attention_dropout=0.0,
            prompt_mapper=PromptMapperConfig(hidden=128, gain=16.0),
            inr=INRConfig(hidden=128),
        ),
        train=TrainConfig(epochs=None, steps=1600, lr=2e-3, schedule="onecycle", weight_ce=10.0),
    ),
}
LESSON_CATEGORIES = ["weave", "leather", "brick", "terrazzo", "gear", "button"]
"""Three pairs of `mini`'s products, each with the partner that its "swap" defects are cut from."""
LESSON_DATA = {"categories": LESSON_CATEGORIES, "n_train": 30, "n_test_good": 10, "n_test_defect": 4, "difficulty": 1.5}
PRESETS["lesson"] = PRESETS["fast"].override(
    **{"data.name": "mini", "data.options": LESSON_DATA, "train.steps": 300, "train.weight_ce": 1.0}
)


def preset(name: str) -> Config:
    """Return a named configuration: 'paper', 'fast' (2 CPU cores, minutes) or 'lesson' (the notebooks': half a minute).

    Raises:
        ConfigError: unknown name.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset '{name}'." + nearest(name, PRESETS))
    return PRESETS[name]


def load_config(path: str | Path, base: Config | None = None) -> Config:
    """Read a YAML or JSON file over `base` (default: the fast preset); an optional key `preset` names another base.

    Raises:
        ConfigError: file missing, not YAML, or unknown keys.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"cannot read configuration {path}: {error}") from error
    require(isinstance(values, dict), f"{path}: the file must hold a mapping of keys to values")
    base = preset(values.pop("preset")) if "preset" in values else base or preset("fast")
    try:
        return base.override(**flatten(values))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error

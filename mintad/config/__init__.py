"""Configuration: frozen, keyword-only sections of typed fields with limits, and a reason under every field.

A run is described by one `Config`. `preset("paper")` is the published configuration (§4.1, Tables 11-15),
`preset("fast")` the one for two CPU cores. `override` changes single values by dotted key and refuses unknown keys by
name; `describe_keys` lists every key with its default, limits and reason.
"""

from mintad.config.fields import Bool, Count, Float, Int, section
from mintad.config.presets import LESSON, LESSON_DATA, PRESETS, load_config, preset
from mintad.config.sections import (
    DataConfig,
    FeatureConfig,
    INRConfig,
    JitterConfig,
    ModelConfig,
    PriorConfig,
    PromptMapperConfig,
    ScoringConfig,
    TrainConfig,
)
from mintad.config.tree import Config, ConfigKey, describe_keys, flat_keys

__all__ = [
    "LESSON",
    "LESSON_DATA",
    "PRESETS",
    "Bool",
    "Config",
    "ConfigKey",
    "Count",
    "DataConfig",
    "FeatureConfig",
    "Float",
    "INRConfig",
    "Int",
    "JitterConfig",
    "ModelConfig",
    "PriorConfig",
    "PromptMapperConfig",
    "ScoringConfig",
    "TrainConfig",
    "describe_keys",
    "flat_keys",
    "load_config",
    "preset",
    "section",
]

"""Configuration: frozen, keyword-only sections of typed fields with limits, and a reason under every field.

A run is described by one `Config`. `preset("paper")` is the published configuration (§4.1, Tables 11-15),
`preset("fast")` the one for two CPU cores. `override` changes single values by dotted key and refuses unknown keys by
name; `describe_keys` lists every key with its default, limits and reason.
"""

# ruff: noqa: F401  (the imports are what the package offers)
from mintad.config.fields import Bool, Count, Float, Int, section
from mintad.config.presets import LESSON_DATA, PRESETS, load_config, preset
from mintad.config.sections import (
    FeatureConfig,
    INRConfig,
    JitterConfig,
    ModelConfig,
    PromptMapperConfig,
    ScoringConfig,
    TrainConfig,
)
from mintad.config.tree import Config, describe_keys

"""Configuration: frozen, keyword-only sections of typed fields with limits, and a reason under every field.

`preset("paper")` is the published `Config` of a run (§4.1, Tables 11-15), `preset("fast")` the one for two CPU cores,
`preset("uniad")` UniAD's as published.
"""

# ruff: noqa: F401  (the imports are what the package offers)
from mintad.config.fields import Bool, Count, Float, Int, section
from mintad.config.sections import (
    FeatureConfig,
    INRConfig,
    ModelConfig,
    PromptMapperConfig,
    ScoringConfig,
    SharpPriorConfig,
    TrainConfig,
)
from mintad.config.tree import LESSON_DATA, PRESETS, Config, describe_keys, is_published_uniad, load_config, preset

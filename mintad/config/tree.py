"""The whole configuration of a run, and its values under dotted keys."""

from __future__ import annotations

import copy
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from mintad.config.fields import limits, read_text, require, section
from mintad.config.sections import DataConfig, FeatureConfig, ModelConfig, ScoringConfig, TrainConfig
from mintad.errors import ConfigError, nearest


@section("")
class Config:
    """The whole configuration of a run."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    scoring: ScoringConfig = dataclasses.field(default_factory=ScoringConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return a nested plain dictionary, ready for JSON or YAML."""
        return dataclasses.asdict(self)

    def flat(self) -> dict[str, Any]:
        """Return every value under its dotted key, tuples as lists: two configurations differ where these differ."""
        leaves = _walk(vars(self), lambda value: vars(value) if dataclasses.is_dataclass(value) else None)
        return {key: list(value) if isinstance(value, tuple) else copy.deepcopy(value) for key, value in leaves}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Return the configuration that `to_dict` gave, now or in an older version; missing keys keep their defaults.

        Raises:
            ConfigError: an unknown key (the nearest valid one is named) or a value that is not allowed.
        """
        return cls(**_nest(_with_new_names(flatten(values))))

    def override(self, **changes: Any) -> Config:
        """Return a copy with single values changed, keys dotted: ``config.override(**{"model.inr.layers": 2})``.

        Setting one of `train.epochs` and `train.steps` clears the other. Another `data.name` puts root, categories and
        options, which belong to the former set, back to their defaults, and another `model.variant` its options. Values
        may be text, as on a command line.

        Raises:
            ConfigError: an unknown key or a value that is not allowed.
        """
        if "train.steps" in changes:
            changes = {"train.epochs": None, **changes}
        elif "train.epochs" in changes:
            changes = {"train.steps": None, **changes}
        if changes.get("data.name", self.data.name) != self.data.name:
            changes = {"data.root": None, "data.categories": (), "data.options": {}, **changes}
        if changes.get("model.variant", self.model.variant) != self.model.variant:
            changes = {"model.options": {}, **changes}
        changes = {key: _read(key, value) if isinstance(value, str) else value for key, value in changes.items()}
        return Config(**_nest(self.flat() | changes))


class ConfigKey(NamedTuple):
    """A key of the configuration, with what `mintad config` says about it."""

    name: str
    default: Any
    limits: str
    description: str


def describe_keys(config: Config | None = None) -> Iterator[ConfigKey]:
    """Yield every dotted key in order, with its value in `config` (default: in `Config()`) and its limits in words."""
    values = (config or Config()).flat()
    for key, info in _fields().items():
        yield ConfigKey(key, values[key], limits(info).removeprefix("a "), " ".join((info.description or "").split()))


def flat_keys() -> list[str]:
    """Return all dotted keys of a `Config`, in order."""
    return list(_fields())


@functools.cache
def _fields() -> dict[str, FieldInfo]:
    return dict(_walk(Config.__pydantic_fields__, lambda info: getattr(info.annotation, "__pydantic_fields__", None)))


def _read(key: str, text: str) -> Any:
    return read_text(text, _fields()[key].annotation if key in _fields() else Any, key)


def _walk(tree: Mapping[str, Any], inside: Callable[[Any], Mapping[str, Any] | None]) -> Iterator[tuple[str, Any]]:
    """Leaves of a tree under their dotted keys; `inside` gives the branches of a node, None for a leaf."""
    for name, node in tree.items():
        branches = inside(node)
        if branches is None:
            yield name, node
        else:
            yield from ((f"{name}.{key}", leaf) for key, leaf in _walk(branches, inside))


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted keys; a mapping that is a value, such as data.options, stays whole.

    Raises:
        ConfigError: a section is no mapping.
    """
    require(isinstance(values, Mapping), f"'{prefix[:-1] or 'configuration'}' must be a mapping of keys to values")
    flat = {}
    for key, value in ((f"{prefix}{name}", value) for name, value in values.items()):
        is_section = any(field.startswith(f"{key}.") for field in _fields())
        nested = isinstance(value, Mapping) and value and key not in _fields()
        flat |= flatten(value, f"{key}.") if is_section or nested else {key: value}
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, name = _split(key)
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[name] = value
    return tree


def _split(key: str) -> list[str]:
    """Parts of a dotted key; what stands behind the key of a mapping, such as data.options, is one name.

    Raises:
        ConfigError: an unknown key.
    """
    for field, info in _fields().items():
        if key.startswith(f"{field}.") and typing.get_origin(info.annotation) is dict:
            return [*field.split("."), key.removeprefix(f"{field}.")]
    if key in _MOVED:
        raise ConfigError(f"the configuration key '{key}' is now called '{_MOVED[key]}'")
    if key not in _fields():
        raise ConfigError(f"unknown configuration key '{key}'." + nearest(key, _fields()))
    return key.split(".")


_MOVED = {
    "model.ffn": "model.ffn_dim",
    "model.jitter_scale": "model.jitter.scale",
    "model.jitter_prob": "model.jitter.probability",
    "model.jitter_at": "model.jitter.at",
    "model.token_width": "model.prompt_mapper.token_width",
    "model.token_hidden": "model.prompt_mapper.hidden",
    "model.class_encoder_softmax": "model.prompt_mapper.class_encoder_softmax",
    "model.token_softmax": "model.prompt_mapper.token_softmax",
    "model.head_reads": "model.prompt_mapper.head_input",
    "model.prompt_mapper_gain": "model.prompt_mapper.gain",
    "model.inr_width": "model.inr.hidden",
    "model.inr_layers": "model.inr.layers",
    "model.inr_omega": "model.inr.omega",
    "model.modulator_skip": "model.inr.modulator_skip",
    "model.min_log_variance": "model.prior.min_log_variance",
    "model.mlp_hidden": "model.options.hidden",
    "model.text_encoder": "model.options.encoder",
}
"""Keys of older run directories and tables, and what they are called now."""
_OLD_OPTIONS = {"model.mlp_hidden": ("mlp_query", 256), "model.text_encoder": ("text_prompt", "minilm")}
"""Old keys of one variant, and their defaults: they stood in the configuration of every variant."""


def _with_new_names(flat: Mapping[str, Any]) -> dict[str, Any]:
    variant = flat.get("model.variant")
    default = {key for key, (owner, value) in _OLD_OPTIONS.items() if variant != owner or flat.get(key) == value}
    return {_MOVED.get(key, key): value for key, value in flat.items() if key not in default}

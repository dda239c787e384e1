"""Configuration: frozen, keyword-only sections of typed fields with limits, and a reason under every field.

A run is described by one `Config`. `preset("paper")` is the published configuration (§4.1, Tables 11-15),
`preset("fast")` the one for two CPU cores. `override` changes single values by dotted key and refuses unknown keys by
name; `describe_keys` lists every key with its default, limits and reason.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BeforeValidator, ConfigDict, Strict, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from mintad.errors import ConfigError, nearest

T = TypeVar("T")
UNIONS = (typing.Union, types.UnionType)
_RULES = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def section(name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, keyword-only dataclass whose fields are checked, with one-line errors.

    Args:
        name: what the keys of the section begin with, for example "model.inr" ("model.options" for a variant's own).
    """

    def decorate(cls: type[T]) -> type[T]:
        checked = dataclass(frozen=True, kw_only=True, config=_RULES)(cls)
        construct = checked.__init__

        @functools.wraps(construct)
        def __init__(self: T, **values: Any) -> None:
            try:
                construct(self, **values)
            except ValidationError as error:
                raise ConfigError(_explain(error.errors()[0], checked, name)) from None

        checked.__init__ = __init__
        return checked

    return decorate


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):  # Python would take true for 1
        raise ValueError
    return value


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


Bool = Annotated[bool, Strict()]
Int = Annotated[int, BeforeValidator(_refuse_bool)]
Float = Annotated[float, BeforeValidator(_refuse_bool)]
Count = Annotated[Int, Ge(1)]
YAML_NO = BeforeValidator(lambda value: "no" if value is False else value)  # YAML reads a bare `no` as false
PathText = Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)]


@section("data")
class DataConfig:
    name: str = "elpv"
    """Data set: elpv, mini, mvtec, visa, btad, merged, cifar10 or folder."""
    root: PathText | None = None
    """Folder of the data set; null for sets that bring their own (elpv, mini)."""
    categories: tuple[str, ...] = ()
    """Categories to use; an empty list takes all."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keyword options of the loader, for example {grades: anomalous} for elpv."""
    holdout: Annotated[Float, Ge(0), Lt(0.9)] = 0.1
    """Share of the normal training images kept out of training to fit the threshold (0: no threshold)."""


@section("features")
class FeatureConfig:
    backbone: str = "efficientnet_lite0"
    """'efficientnet_lite0' (weights come with a pip package) or any timm model with `features_only`."""
    weights: PathText = "auto"
    """'auto' (pip package, else timm's hub), 'random', or the path of a local file."""
    image_size: Annotated[Int, Ge(32)] = 224
    """Side of the square network input, in pixels."""
    grid: Count = 14
    """Side of the token grid; L = grid * grid tokens."""
    reductions: Annotated[tuple[Count, ...], MinLen(1)] = (2, 4, 8, 16)
    """Backbone stages by their reduction, in rising order; UniAD's CIFAR-10 recipe adds 32."""
    resize: Literal["bilinear", "area"] = "bilinear"
    """How a stage is resized to the grid: 'bilinear' samples it (UniAD's recipe), 'area' averages each cell."""
    dtype: Literal["float16", "float32"] = "float16"
    """Storage type of the feature cache."""
    standardise: Bool = False
    """Scale each channel to zero mean and unit variance over the training tokens (not in the paper)."""

    @model_validator(mode="after")
    def _check(self) -> FeatureConfig:
        rising = list(self.reductions) == sorted(set(self.reductions))
        _require(rising, f"features.reductions must be in rising order, not {list(self.reductions)}")
        _require(self.grid <= self.image_size, f"features.grid must be in 1..image_size, not {self.grid}")
        return self


@section("model.prompt_mapper")
class PromptMapperConfig:
    """The class encoder of the MINT-AD family (§3.3, Table 12)."""

    token_width: Count = 32
    """T, width of the class token (Table 12)."""
    hidden: Count = 256
    """Hidden width of the class and channel encoders (Table 12)."""
    class_encoder_softmax: Bool = True
    """Softmax at the end of the class encoder, as printed in Table 12."""
    token_softmax: Bool = True
    """Softmax at the end of the channel encoder (Table 12): the class token is then a distribution."""
    head_input: Literal["token", "logits"] = "token"
    """What the classification head reads: the token (Table 12) or its values before the softmax."""
    gain: Annotated[Float, Gt(0)] = 1.0
    """Gain on the initial weights of the linear layers in front of a softmax, and of the head behind one. The paper is
    silent on initialisation; 1 is PyTorch's, which leaves both softmaxes almost uniform."""

    @model_validator(mode="after")
    def _check(self) -> PromptMapperConfig:
        softmax = self.token_softmax or self.class_encoder_softmax
        message = "model.prompt_mapper.token_width must be at least 2: a softmax over one value is always 1"
        _require(self.token_width >= 2 or not softmax, message)
        return self


@section("model.inr")
class INRConfig:
    """The implicit neural representation that makes the query (§3.3, Eqs 8-9, Table 13)."""

    hidden: Count = 256
    """Hidden width of both INR networks (Table 13)."""
    layers: Annotated[Int, Ge(0)] = 4
    """Hidden layers after the first in both INR networks (Table 13)."""
    omega: Annotated[Float, Gt(0)] = 30.0
    """Frequency factor of the first sine layer. The paper does not give it; 30 is SIREN's."""
    modulator_skip: Bool = False
    """Feed the class token to every layer of the modulation network (Eq. 9) instead of the first only (Table 13)."""


@section("model.jitter")
class JitterConfig:
    """The feature jitter (§3.2, from UniAD)."""

    scale: Annotated[Float, Ge(0)] = 20.0
    """alpha of the feature jitter: standard deviation of the noise = |token| * alpha / channels (UniAD)."""
    probability: Annotated[Float, Ge(0), Le(1)] = 1.0
    """Probability that a training batch is jittered; one decision per batch, the same in all processes."""
    at: Literal["feature", "adapted"] = "feature"
    """Jitter the backbone's token (as UniAD) or the adapted one. The paper adds an adapter and does not say."""


@section("model.prior")
class PriorConfig:
    """The Gaussian prior over adapted features (§3.4, Table 14)."""

    min_log_variance: Float = -10.0
    """Floor of the predicted log-variance, because the prior's likelihood (Eq. 4) has no upper bound."""


@section("model")
class ModelConfig:
    variant: str = "mint_ad"
    """'mint_ad' (feature prompt, INR query); 'uniad' (learned query in every decoder layer, neighbour mask) and its
    three class-aware improvements of Fig. 2, 'query_pool', 'class_token', 'text_prompt'; MINT-AD with another prompt
    (Fig. 3a, b), 'image_prompt', 'label_prompt'; or with an MLP instead of the INR (Table 9), 'mlp_query'."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Options of the variant alone: 'hidden' of mlp_query, 'encoder' of text_prompt."""
    adapter: Bool = True
    """Table 5, 'Adapter': learn the projection of features to the transformer's width. Off, it stays the fixed random
    projection it starts as: the transformer needs its width either way, and the paper does not say what replaces it."""
    class_loss: Bool = True
    """Table 5, 'L_CE', of the MINT-AD family: a head on the class token learns the labels."""
    prior_loss: Bool = True
    """Table 5, 'L_Prior', of the MINT-AD family: the query also predicts the adapted features' distribution."""
    class_query: Bool = True
    """Table 5, 'Query', of the MINT-AD family: the class-aware query drives the decoder. Off, one learned query does,
    the same for all layers and classes; with `prior_loss` the INR still runs, for the prior alone."""
    width: Annotated[Int, Ge(2)] = 256
    """D, channels of a token inside the transformer and of the query; even, for row and column embeddings."""
    heads: Count = 8
    """Attention heads; must divide the width."""
    ffn_dim: Count = 1024
    """Hidden width of the feed-forward networks (Table 15)."""
    encoder_layers: Count = 4
    """Encoder depth. Table 15 says 4, §3.2 says 6; 4 is UniAD's, 'same-size transformer'."""
    decoder_layers: Count = 4
    """Decoder depth, as above."""
    dropout: Annotated[Float, Ge(0), Lt(1)] = 0.1
    """Dropout behind attention and feed-forward layers (Table 15)."""
    attention_dropout: Annotated[Float, Ge(0), Lt(1)] = 0.1
    """Dropout on attention weights, as in UniAD; it takes a quarter of a CPU step."""
    neighbour_mask: Annotated[Int | None, Ge(0)] = None
    """Side of the square neighbourhood that attention must not see: odd, or 0 for none. null is the variant's own: none
    for MINT-AD (§3.2), for UniAD the odd half of the grid (its 7 on 14x14)."""
    jitter: JitterConfig = dataclasses.field(default_factory=JitterConfig)
    prompt_mapper: PromptMapperConfig = dataclasses.field(default_factory=PromptMapperConfig)
    inr: INRConfig = dataclasses.field(default_factory=INRConfig)
    prior: PriorConfig = dataclasses.field(default_factory=PriorConfig)

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        multiple, odd = self.width % self.heads == 0, not self.neighbour_mask or self.neighbour_mask % 2 == 1
        _require(multiple, f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        _require(self.width % 2 == 0, f"model.width must be even (row and column embeddings), not {self.width}")
        _require(odd, f"model.neighbour_mask must be null, 0 or odd, not {self.neighbour_mask}")
        return self


@section("train")
class TrainConfig:
    epochs: Annotated[Float | None, Gt(0)] = 1000.0
    """Passes over the training set (§4.1). Give epochs or steps, not both."""
    steps: Annotated[Int | None, Ge(1)] = None
    """Optimiser steps."""
    batch_size: Count = 32
    """Images per step over all processes together (§4.1: '32 on 4 GPUs', read as the total)."""
    lr: Annotated[Float, Gt(0)] = 1e-4
    """Peak learning rate of AdamW (§4.1)."""
    weight_decay: Annotated[Float, Ge(0)] = 1e-4
    """AdamW's weight decay (§4.1)."""
    schedule: Literal["step", "onecycle"] = "step"
    """'step': times 0.1 after 80 % (800 of 1000 epochs, §4.1); 'onecycle': warm-up over 10 %, then cosine to 0."""
    clip_norm: Annotated[Float, Ge(0)] = 0.1
    """Gradient norm limit, UniAD's recipe; 0 for none."""
    weight_ce: Annotated[Float, Ge(0)] = 1.0
    """lambda_a of Eq. 6 (§3.5: 1, so that the classification is learned first). Beside a reconstruction loss that sums
    192 channels, 1 is little: in long trainings on mini, classes that were told apart were lost again, with 10 not."""
    weight_prior: Annotated[Float, Ge(0)] = 0.1
    """lambda_b of Eq. 6."""
    mse_reduction: Literal["element", "token"] = "token"
    """'token': sum over channels, mean over tokens (Eq. 5 to the letter); 'element': mean over elements (UniAD's)."""
    prior_reduction: Literal["element", "token", "sum"] = "element"
    """'element' and 'token' as above, 'sum': sum over tokens and channels (Eq. 4 to the letter); each then a mean over
    images. The larger the prior beside the reconstruction, the more it pays the adapter to shrink its output to a
    point instead of describing the image, so the default keeps it the smaller of the two."""
    seed: Annotated[Int, Ge(0)] = 0
    """Seed of initialisation, order, jitter and dropout."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """'auto' takes a GPU if there is one."""
    precision: Annotated[Literal["no", "bf16", "fp16"], YAML_NO] = "no"
    """Mixed precision of adapter and transformer (accelerate) in training. Prompt mapper, INR and prior stay in
    float32, and so do evaluation and prediction."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 20
    """Steps between lines of the history, and between checks for non-finite losses."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        _require(
            (self.epochs is None) != (self.steps is None),
            f"give train.epochs or train.steps, and null for the other (epochs={self.epochs}, steps={self.steps})",
        )
        return self


@section("scoring")
class ScoringConfig:
    distance: Literal["squared", "root"] = "squared"
    """Per-token error of the model: squared norm (Eq. 7) or its root (UniAD's code). Baselines give distances."""
    image_score: Literal["max", "pooled_max", "mean"] = "max"
    """Image score from the anomaly map: maximum (§3.6), UniAD's maximum after average pooling, or mean (CIFAR-10)."""
    pool: Count = 16
    """Window of 'pooled_max', in input pixels."""
    threshold_quantile: Annotated[Float, Gt(0), Lt(1)] = 0.95
    """The threshold lets at least this share of new normal images pass: a score of the held-out normal images at the
    conformal rank, see `mintad.scoring.maps.fit_threshold`."""


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
        return cls(**_nest(_with_new_names(_flatten(values))))

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
        changes = {key: _parse(key, value) if isinstance(value, str) else value for key, value in changes.items()}
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
        yield ConfigKey(key, values[key], _limits(info).removeprefix("a "), " ".join((info.description or "").split()))


def flat_keys() -> list[str]:
    """Return all dotted keys of a `Config`, in order."""
    return list(_fields())


@functools.cache
def _fields() -> dict[str, FieldInfo]:
    return dict(_walk(Config.__pydantic_fields__, lambda info: getattr(info.annotation, "__pydantic_fields__", None)))


def _walk(tree: Mapping[str, Any], inside: Callable[[Any], Mapping[str, Any] | None]) -> Iterator[tuple[str, Any]]:
    """Leaves of a tree under their dotted keys; `inside` gives the branches of a node, None for a leaf."""
    for name, node in tree.items():
        branches = inside(node)
        if branches is None:
            yield name, node
        else:
            yield from ((f"{name}.{key}", leaf) for key, leaf in _walk(branches, inside))


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of nested mappings; a mapping that is a value itself, such as data.options, stays whole."""
    _require(isinstance(values, Mapping), f"'{prefix[:-1] or 'configuration'}' must be a mapping of keys to values")
    flat = {}
    for key, value in ((f"{prefix}{name}", value) for name, value in values.items()):
        is_section = any(field.startswith(f"{key}.") for field in _fields())
        nested = isinstance(value, Mapping) and value and key not in _fields()
        flat |= _flatten(value, f"{key}.") if is_section or nested else {key: value}
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
    for known, info in _fields().items():
        if key.startswith(f"{known}.") and typing.get_origin(info.annotation) is dict:
            return [*known.split("."), key.removeprefix(f"{known}.")]
    if key in _MOVED:
        raise ConfigError(f"the configuration key '{key}' is now called '{_MOVED[key]}'")
    if key not in _fields():
        raise ConfigError(f"unknown configuration key '{key}'." + nearest(key, _fields()))
    return key.split(".")


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without what `Annotated` adds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _kinds(parts[0])
    return [kind for part in parts for kind in _kinds(part)] if origin in UNIONS else [annotation]


def _limits(info: FieldInfo) -> str:
    """What a value of a field must be, in words."""
    kind, *null = _kinds(info.annotation)
    options = typing.get_args(kind)
    origin = typing.get_origin(kind) or kind
    items = {str: "text", int: "whole numbers"}.get(_kinds(options[0])[0], "values") if options else ""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    names |= {Literal: " or ".join(map(str, options)), tuple: f"a list of {items}"}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{signs[name]} {getattr(limit, name)}" for limit in info.metadata for name in signs if hasattr(limit, name)
    ]
    return names.get(origin, str(kind)) + (f" {' and '.join(limits)}" if limits else "") + (", or null" if null else "")


def _explain(problem: Mapping[str, Any], kind: type, key: str) -> str:
    """Error message for a problem that pydantic found in a section called `key`."""
    info, location = None, list(problem["loc"])
    while location and location[0] in (fields := getattr(kind, "__pydantic_fields__", {})):
        info, key = fields[location[0]], f"{key}.{location.pop(0)}".lstrip(".")
        kind = info.annotation
    value = problem["input"]
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown configuration key '{key}.{location[0]}'." + nearest(location[0], fields)
    if problem["type"] == "literal_error":
        return f"{key} = {value!r} is not allowed." + nearest(str(value), typing.get_args(kind))
    return f"{key} must be {_limits(info)}, {'but holds' if location else 'not'} {value!r}"


def _parse(key: str, text: str) -> Any:
    """A value written as text. The type decides how it is read: names stay as they are written ('01' is not 1, 'no'
    not false), lists are ``a, b`` or ``[a, b]``, everything else is YAML."""
    text, kinds = text.strip(), _kinds(_fields()[key].annotation) if key in _fields() else [Any]
    if typing.get_origin(kinds[0]) is tuple:
        items = _yaml(text, key, yaml.BaseLoader) if text.startswith("[") else text.split(",") if text else []
        items = [item.strip() if isinstance(item, str) else item for item in items]
        _require("" not in items, f"an element of {key} must not be empty")
        return items
    _require(text != "", f"{key} must not be empty")
    if type(None) in kinds and text in ("null", "~"):
        return None
    as_written = kinds[0] is str or typing.get_origin(kinds[0]) is Literal
    return text if as_written else _yaml(text, key, yaml.SafeLoader)


def _yaml(text: str, key: str, loader: type) -> Any:
    try:
        return yaml.load(text, loader)  # a safe loader in every case: BaseLoader or SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise ConfigError(f"{key} = {text!r} cannot be read: {' '.join(str(error).split())}") from error


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
    _require(isinstance(values, dict), f"{path}: the file must hold a mapping of keys to values")
    base = preset(values.pop("preset")) if "preset" in values else base or preset("fast")
    try:
        return base.override(**_flatten(values))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


PRESETS: dict[str, Config] = {
    "paper": Config(
        data=DataConfig(name="mvtec", holdout=0.0),
        features=FeatureConfig(backbone="tf_efficientnet_b4"),
    ),
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
LESSON_DATA = {
    "categories": ["weave", "leather", "brick", "terrazzo", "gear", "button"],
    "n_train": 30,
    "n_test_good": 10,
    "n_test_defect": 4,
    "difficulty": 1.5,
}
"""Three pairs of `mini`'s products, each with the partner that its "swap" defects are cut from."""
LESSON = {"data.name": "mini", "data.options": LESSON_DATA, "train.steps": 300, "train.weight_ce": 1.0}
"""The weight of the cross-entropy is the paper's: six products are told apart with it."""
PRESETS["lesson"] = PRESETS["fast"].override(**LESSON)

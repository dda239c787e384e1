"""Configuration: frozen, keyword-only dataclasses with a reason under every field.

A run is described by one `Config` of five parts. `preset("paper")` is the published configuration (§4.1, Tables 11-15),
`preset("fast")` the one for two CPU cores; `override` changes single values by dotted key and refuses unknown keys
by name.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from mintad.errors import ConfigError, nearest
from mintad.typed import build, check_fields, parse, require, require_one_of


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    name: str = "elpv"
    """Data set: elpv, mini, mvtec, visa, btad, merged, cifar10 or folder."""
    root: str | None = None
    """Folder of the data set; None for sets that bring their own (elpv, mini)."""
    categories: tuple[str, ...] = ()
    """Categories to use, () for all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword options of the loader, for example {'grades': 'anomalous'} for elpv."""
    holdout: float = 0.1
    """Share of the normal training images kept out of training to fit the threshold (0: no threshold)."""

    def __post_init__(self) -> None:
        check_fields(self, "data")
        require(0 <= self.holdout < 0.9, f"data.holdout must be in [0, 0.9), not {self.holdout}")


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    backbone: str = "efficientnet_lite0"
    """'efficientnet_lite0' (weights come with a pip package) or any timm model with `features_only`."""
    weights: str = "auto"
    """'auto' (pip package, else timm's hub), 'random', or the path of a local file."""
    image_size: int = 224
    """Side of the square network input, in pixels."""
    grid: int = 14
    """Side of the token grid; L = grid * grid tokens."""
    reductions: tuple[int, ...] = (2, 4, 8, 16)
    """Backbone stages by their reduction; UniAD's CIFAR-10 recipe adds 32."""
    resize: Literal["bilinear", "area"] = "bilinear"
    """How a stage comes to the grid: 'bilinear' samples it (UniAD's recipe), 'area' averages each cell."""
    dtype: Literal["float16", "float32"] = "float16"
    """Storage type of the feature cache."""
    standardise: bool = False
    """Scale each channel to zero mean and unit variance over the training tokens (not in the paper)."""

    def __post_init__(self) -> None:
        check_fields(self, "features")
        rising = list(self.reductions) == sorted({n for n in self.reductions if n > 0})
        require(
            rising and len(self.reductions) > 0,
            f"features.reductions must be positive numbers in rising order, not {list(self.reductions)}",
        )
        require(self.image_size >= 32, f"features.image_size must be at least 32, not {self.image_size}")
        require(1 <= self.grid <= self.image_size, f"features.grid must be in 1..image_size, not {self.grid}")


Variant = Literal[
    "mint_ad",
    "uniad",
    "query_pool",
    "class_token",
    "text_prompt",
    "image_prompt",
    "label_prompt",
    "mlp_query",
]
"""Names of `mintad.model.VARIANTS`: Table 4."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    variant: Variant = "mint_ad"
    """'mint_ad' (feature prompt, INR query); 'uniad' (learned query in every decoder layer, neighbour mask) and its
    three class-aware improvements of Fig. 2, 'query_pool', 'class_token', 'text_prompt'; MINT-AD with another prompt
    (Fig. 3a, b), 'image_prompt', 'label_prompt'; or with an MLP for the INR (Table 9), 'mlp_query'."""
    adapter: bool = True
    """Table 5, 'Adapter': learn the projection of features to the transformer's width. Off, it stays the fixed random
    projection it starts as: the transformer needs its width either way, and the paper does not say what replaces it."""
    class_loss: bool = True
    """Table 5, 'L_CE', of the MINT-AD family: a head on the class token learns the labels."""
    prior_loss: bool = True
    """Table 5, 'L_Prior', of the MINT-AD family: the query also predicts the adapted features' distribution."""
    class_query: bool = True
    """Table 5, 'Query', of the MINT-AD family: the class-aware query drives the decoder. Off, one learned query does,
    the same for all layers and classes; with `prior_loss` the INR still runs, for the prior alone."""
    width: int = 256
    """D, channels of a token inside the transformer and of the query."""
    heads: int = 8
    """Attention heads; must divide the width."""
    ffn: int = 1024
    """Hidden width of the feed-forward networks (Table 15)."""
    encoder_layers: int = 4
    """Encoder depth. Table 15 says 4, §3.2 says 6; 4 is UniAD's, 'same-size transformer'."""
    decoder_layers: int = 4
    """Decoder depth, as above."""
    dropout: float = 0.1
    """Dropout behind attention and feed-forward layers (Table 15)."""
    attention_dropout: float = 0.1
    """Dropout on attention weights, as in UniAD; a quarter of a CPU step."""
    neighbour_mask: int | None = None
    """Side of the square neighbourhood that attention must not see, 0 for none. null is the variant's own: none for
    MINT-AD (§3.2), for UniAD the odd half of the grid (its 7 on 14x14)."""
    jitter_scale: float = 20.0
    """alpha of the feature jitter: noise deviation = |token| * alpha / channels."""
    jitter_prob: float = 1.0
    """Probability that a training batch is jittered; one decision a batch, the same in all processes."""
    jitter_at: Literal["feature", "adapted"] = "feature"
    """Jitter the backbone's token (as UniAD) or the adapted one. The paper adds an adapter and does not say."""
    token_width: int = 32
    """T, width of the class token (Table 12)."""
    token_hidden: int = 256
    """Hidden width of the class and channel encoders (Table 12)."""
    class_encoder_softmax: bool = True
    """Softmax at the end of the class encoder, as printed in Table 12."""
    token_softmax: bool = True
    """Softmax at the end of the channel encoder (Table 12): the class token is then a distribution."""
    head_input: Literal["token", "logits"] = "token"
    """What the classification head reads: the token (Table 12) or its values before the softmax."""
    prompt_mapper_gain: float = 1.0
    """Gain on the initial weights of the linear layers whose output a softmax reads, and of the head behind one. The
    paper is silent on initialisation; 1 is PyTorch's, which leaves both softmaxes almost uniform."""
    inr_width: int = 256
    """Hidden width of both INR networks (Table 13)."""
    inr_layers: int = 4
    """Hidden layers after the first in both INR networks (Table 13)."""
    inr_omega: float = 30.0
    """SIREN's frequency factor of the first sine layer."""
    modulator_skip: bool = False
    """Feed the class token to every layer of the modulation network (Eq. 9) instead of the first only (Table 13)."""
    mlp_hidden: int = 256
    """Hidden width of 'mlp_query', whose last layer gives all L * D numbers of a query at once. 7,637 gives Table 9's
    383.5 M parameters, 256 gives 12.9 M."""
    text_encoder: Literal["minilm", "clip"] = "minilm"
    """Encoder of 'text_prompt': 'minilm' (all-MiniLM-L6-v2, comes with a pip package) or 'clip' (the paper's, ViT-B/32
    here, from a hub)."""
    min_log_variance: float = -10.0
    """Floor of the predicted log-variance: the prior's likelihood has no upper bound."""

    def __post_init__(self) -> None:
        check_fields(self, "model")
        sizes = (
            "width",
            "heads",
            "ffn",
            "encoder_layers",
            "decoder_layers",
            "token_width",
            "token_hidden",
            "inr_width",
            "mlp_hidden",
        )
        for name in sizes:
            require(getattr(self, name) >= 1, f"model.{name} must be at least 1, not {getattr(self, name)}")
        softmax = self.token_softmax or self.class_encoder_softmax
        require(
            self.token_width >= 2 or not softmax,
            "model.token_width must be at least 2: a softmax over one value is always 1",
        )
        require(self.inr_layers >= 0, f"model.inr_layers must not be negative, not {self.inr_layers}")
        for name in ("inr_omega", "prompt_mapper_gain"):
            require(getattr(self, name) > 0, f"model.{name} must be positive, not {getattr(self, name)}")
        require(self.width % self.heads == 0, f"model.width ({self.width}) must be a multiple of heads ({self.heads})")
        require(self.width % 2 == 0, f"model.width must be even (row and column embeddings), not {self.width}")
        for name in ("dropout", "attention_dropout"):
            require(0 <= getattr(self, name) < 1, f"model.{name} must be in [0, 1), not {getattr(self, name)}")
        require(self.jitter_scale >= 0, f"model.jitter_scale must not be negative, not {self.jitter_scale}")
        require(0 <= self.jitter_prob <= 1, f"model.jitter_prob must be in [0, 1], not {self.jitter_prob}")
        require(
            not self.neighbour_mask or self.neighbour_mask % 2 == 1,
            f"model.neighbour_mask must be null, 0 or odd, not {self.neighbour_mask}",
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: float | None = 1000.0
    """Passes over the training set (§4.1). Give epochs or steps, not both."""
    steps: int | None = None
    """Optimiser steps."""
    batch_size: int = 32
    """Images per step over all processes together (§4.1: '32 on 4 GPUs', read as the total)."""
    lr: float = 1e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    schedule: Literal["step", "onecycle"] = "step"
    """'step': times 0.1 after 80 % (800 of 1000 epochs, §4.1); 'onecycle': warm-up over 10 %, then cosine to 0."""
    clip_norm: float = 0.1
    """Gradient norm limit, UniAD's recipe; 0 for none."""
    weight_ce: float = 1.0
    """lambda_a of Eq. 6 (§3.5: 1, so that the classification is learned first). Beside a reconstruction loss that sums
    192 channels, 1 is little: in long trainings on mini classes that were told apart were lost again, with 10 not."""
    weight_prior: float = 0.1
    """lambda_b of Eq. 6."""
    mse_reduction: Literal["element", "token"] = "token"
    """'token': sum over channels, mean over tokens (Eq. 5 to the letter); 'element': mean over elements (UniAD's)."""
    prior_reduction: Literal["element", "token", "sum"] = "element"
    """'element' and 'token' as above, 'sum': sum over tokens and channels (Eq. 4 to the letter); each then a mean over
    images. The larger the prior beside the reconstruction, the more it pays the adapter to shrink its output to a
    point instead of describing the image, so the default keeps it the smaller of the two."""
    seed: int = 0
    """Seed of initialisation, order, jitter and dropout."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """'auto', 'cpu' or 'cuda'."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of adapter and transformer (accelerate) in training. Prompt mapper, INR and prior stay in
    float32, and so do evaluation and prediction."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 20
    """Steps between lines of the history, and between checks for non-finite losses."""

    def __post_init__(self) -> None:
        check_fields(self, "train")
        require(
            (self.epochs is None) != (self.steps is None),
            f"give train.epochs or train.steps, and null for the other (epochs={self.epochs}, steps={self.steps})",
        )
        for name in ("epochs", "steps", "batch_size", "lr", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            require(value is None or value > 0, f"train.{name} must be positive, not {value}")
        for name in ("weight_decay", "clip_norm", "weight_ce", "weight_prior", "seed"):
            require(getattr(self, name) >= 0, f"train.{name} must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    distance: Literal["squared", "root"] = "squared"
    """Per-token error of the model: squared norm (Eq. 7) or its square root (UniAD's code). Baselines give distances."""
    image_score: Literal["max", "pooled_max", "mean"] = "max"
    """Image score from the anomaly map: maximum (§3.6), UniAD's maximum after average pooling, or mean (CIFAR-10)."""
    pool: int = 16
    """Window of 'pooled_max', in input pixels."""
    threshold_quantile: float = 0.95
    """The threshold lets at least this share of new normal images pass: a score of the held-out normal images at the
    conformal rank, see `mintad.scoring.threshold.fit_threshold`."""

    def __post_init__(self) -> None:
        check_fields(self, "scoring")
        require(self.pool >= 1, f"scoring.pool must be at least 1, not {self.pool}")
        require(0 < self.threshold_quantile < 1, "scoring.threshold_quantile must be in (0, 1)")


@dataclass(frozen=True, kw_only=True)
class Config:
    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionary, ready for JSON or YAML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of `to_dict`; missing keys keep their defaults.

        Raises:
            ConfigError: an unknown key (the nearest valid one is named) or a value of a wrong type.
        """
        return build(cls, values, "")

    def override(self, **changes: Any) -> Config:
        """A copy with single values changed, keys dotted: ``config.override(**{"model.width": 128})``.

        Setting one of `train.epochs` and `train.steps` clears the other; another `data.name` puts root, categories and
        options, which belong to the former set, back to their defaults. Values may be text, as on a command line.

        Raises:
            ConfigError: an unknown key or a value that is not allowed.
        """
        tree = self.to_dict()
        if "train.steps" in changes:
            changes = {"train.epochs": None, **changes}
        elif "train.epochs" in changes:
            changes = {"train.steps": None, **changes}
        if changes.get("data.name", self.data.name) != self.data.name:
            changes = {"data.root": None, "data.categories": (), "data.options": {}, **changes}
        for key, value in changes.items():
            require_one_of(key, flat_keys(), f"unknown configuration key '{key}'.")
            part, name = key.split(".")
            hint = typing.get_type_hints(typing.get_type_hints(Config)[part])[name]
            tree[part][name] = parse(hint, value, key) if isinstance(value, str) else value
        return Config.from_dict(tree)


def flat_keys() -> list[str]:
    """All dotted keys of a `Config`, in order."""
    parts = typing.get_type_hints(Config)
    return [f"{part}.{f.name}" for part, kind in parts.items() for f in dataclasses.fields(kind)]


def preset(name: str) -> Config:
    """A named configuration: 'paper', 'fast' (2 CPU cores, minutes) or 'lesson' (the notebooks': half a minute).

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
    dotted = {}
    for part, changes in values.items():
        known = typing.get_type_hints(Config)
        require_one_of(part, known, f"{path}: unknown configuration key '{part}'.")
        require(isinstance(changes, dict), f"{path}: '{part}' must be a mapping of keys to values")
        dotted.update({f"{part}.{key}": value for key, value in changes.items()})
    return base.override(**dotted)


PRESETS: dict[str, Config] = {
    "paper": Config(
        data=DataConfig(name="mvtec", holdout=0.0),
        features=FeatureConfig(backbone="tf_efficientnet_b4"),
    ),
    "fast": Config(
        features=FeatureConfig(grid=7, resize="area", standardise=True),
        model=ModelConfig(
            width=128,
            ffn=512,
            encoder_layers=1,
            decoder_layers=1,
            attention_dropout=0.0,
            token_hidden=128,
            inr_width=128,
            prompt_mapper_gain=16.0,
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

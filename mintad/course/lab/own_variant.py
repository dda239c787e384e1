"""Train a variant that a notebook's reader has written, on the lesson's data (notebook 10)."""

from __future__ import annotations

import re

import torch

from mintad.config import Config, INRConfig, ModelConfig, PromptMapperConfig
from mintad.errors import ConfigError
from mintad.model.reconstruction import ReconstructionModel
from mintad.model.variants import NAMES, VARIANTS
from mintad.runs.directory import Run
from mintad.runs.shared import runs_dir
from mintad.runs.train import train_run

PLAIN_NAME = "own_variant"  # of a class without @variant("name")
SMALL = ModelConfig(
    width=8,
    heads=2,
    ffn_dim=16,
    encoder_layers=1,
    decoder_layers=2,
    dropout=0.0,
    attention_dropout=0.0,
    neighbour_mask=0,
    prompt_mapper=PromptMapperConfig(token_width=5, hidden=8, gain=8.0),
    inr=INRConfig(hidden=8, layers=1),
)
"""Configuration on which the check and the grader try a variant; nothing in it is random in training but the noise."""


def name_of(kind: type[ReconstructionModel]) -> str:
    """Return the name under which a class is registered; one without a name is registered as `PLAIN_NAME`.

    Raises:
        ConfigError: the name cannot be a folder's, or it is one of the package's own variants.
    """
    name = next((name for name, entry in VARIANTS.items() if entry is kind), PLAIN_NAME)
    if name in NAMES or not re.fullmatch(r"\w{1,40}", name):
        raise ConfigError(f"a variant of your own cannot be called '{name}'", fix="letters, digits and _, a new name")
    return name if name in VARIANTS and VARIANTS[name] is kind else _register(kind)


def _register(kind: type[ReconstructionModel]) -> str:
    VARIANTS.add(PLAIN_NAME, kind, module=__name__)  # so that a cell may be run again with another class
    return PLAIN_NAME


def train_variant(kind: type[ReconstructionModel], config: Config) -> Run:
    """Train a variant anew, whatever was trained under its name before, and return the finished run.

    Args:
        kind: the class.
        config: of which the data, the recipe and the seed are taken.

    Raises:
        MintadError: see `name_of` and `mintad.runs.train.train_run`.
    """
    name = name_of(kind)
    out = runs_dir() / f"own-{name}-{config.data.name}-seed{config.train.seed}"
    with torch.random.fork_rng():
        return train_run(config.override(**{"model.variant": name}), out, overwrite=True, progress=False)

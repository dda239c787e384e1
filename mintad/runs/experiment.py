"""One training described by plain values: what notebook 10 is parameterised by, and what a sweep hands to it.

Names and texts go in; a configuration, a run directory and a finished run in either of Table 1's settings come out.
Relative paths never depend on the working directory alone, which differs between JupyterLab, papermill and nbval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import mintad
from mintad.config import Config
from mintad.config import preset as named
from mintad.errors import ConfigError, TrainingError, nearest
from mintad.model import require_variant
from mintad.runs.directory import Run
from mintad.runs.separate import FOLDER, train_separate
from mintad.runs.shared import runs_dir, shared_model_dir, train_shared
from mintad.runs.train import train_run

SETTINGS = ("unified", "separate")
"""Table 1: one model for all categories, or one a category."""
OWN_PARAMETER = {
    "data.name": "data",
    "data.root": "root",
    "data.categories": "categories",
    "model.variant": "variant",
    "train.seed": "seed",
    "train.device": "device",
}
"""Keys that `overrides` must leave alone, and the parameter that sets each."""


def configure(
    *,
    preset: str = "lesson",
    data: str = "mini",
    root: str = "",
    categories: str | Sequence[str] = "",
    variant: str = "mint_ad",
    overrides: str | Mapping[str, Any] = "",
    seed: int = 0,
    device: str = "auto",
) -> Config:
    """The configuration that a notebook's parameters describe.

    Args:
        preset: of `mintad.config.PRESETS`.
        data: name of the data set.
        root: its folder, see `place`; '' for sets that bring their own.
        categories: comma-separated, or a sequence; '' for all.
        variant: of `mintad.model.VARIANTS`.
        overrides: dotted keys and values, as a mapping or as YAML or JSON text.
        seed: of initialisation, order, jitter, dropout and hold-out.
        device: 'auto', 'cpu' or 'cuda'.

    Raises:
        ConfigError: an unknown name, key or value, or a key that has a parameter of its own.
    """
    changes = {"data.name": data, "model.variant": variant, "train.seed": seed, "train.device": device}
    if root:
        changes["data.root"] = str(place(root))
    if categories:
        changes["data.categories"] = categories
    more = read_overrides(overrides)
    for key in more:
        if key in OWN_PARAMETER:
            raise ConfigError(f"overrides must not set {key}; the parameter {OWN_PARAMETER[key]} does")
    config = named(preset).override(**changes, **more)
    require_variant(config.model)
    return config


def read_overrides(overrides: str | Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values of a mapping, or of YAML or JSON text: ``{train.steps: 100, model.width: 64}``.

    Raises:
        ConfigError: the text is no mapping.
    """
    if isinstance(overrides, Mapping):
        return dict(overrides)
    try:
        values = yaml.safe_load(overrides) or {}
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"overrides = {overrides!r} cannot be read: {problem}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"overrides must be a mapping such as {{train.steps: 100}}, not {overrides!r}")
    return {str(key): value for key, value in values.items()}


def place(path: str | Path) -> Path:
    """A folder to read from, absolute. A relative one is taken from the working directory if it is there, else from
    the repository that the package lies in."""
    given = Path(path).expanduser()
    here, there = given.absolute(), Path(mintad.__file__).resolve().parent.parent / given
    return there if there.exists() and not here.exists() else here


def run_folder(config: Config, setting: str = "unified", out_dir: str | Path = "") -> Path:
    """Where a training goes, absolute: `out_dir`, a relative one below `runs_dir`, with or without a leading runs/; ''
    names it by variant, data and fingerprint of the configuration, so that the same parameters find their run again.

    Raises:
        ConfigError: an unknown setting.
    """
    if setting not in SETTINGS:
        raise ConfigError(f"unknown setting '{setting}'." + nearest(setting, SETTINGS))
    if str(out_dir):
        parts = Path(out_dir).expanduser().parts
        return runs_dir().joinpath(*parts[1:] if len(parts) > 1 and parts[0] == "runs" else parts)
    folder = shared_model_dir(config)
    return folder if setting == "unified" else folder.with_name(f"{folder.name}-separate")


def train_setting(
    config: Config, setting: str = "unified", out_dir: str | Path = "", *, baselines: str | Sequence[str] = ()
) -> Run:
    """Train in one of `SETTINGS`; a run that was interrupted is resumed, a finished one loaded.

    Args:
        config: the whole configuration.
        setting: 'unified' or 'separate'.
        out_dir: see `run_folder`.
        baselines: comma-separated, or a sequence, of `mintad.baselines.BASELINES`.

    Raises:
        TrainingError: the folder holds a run of the other setting.
        MintadError: see `mintad.runs.train.train_run`.
    """
    names = tuple(re.findall(r"[\w.-]+", baselines)) if isinstance(baselines, str) else tuple(baselines)
    out = run_folder(config, setting, out_dir)
    found = setting_of(out)
    if found not in (None, setting):
        raise TrainingError(f"{out} holds a {found} training, not a {setting} one; choose another out_dir")
    if setting == "separate":
        return train_separate(config, out, baseline_names=names, progress=False)
    if not str(out_dir):
        return train_shared(config, baselines=names)
    return train_run(config, out, baseline_names=names, progress=False)


def setting_of(folder: Path) -> str | None:
    """Which setting a run directory was trained in; None before anything was."""
    if (folder / FOLDER).exists():
        return "separate"
    return "unified" if (folder / "checkpoints").exists() else None

"""One training described by plain values: the parameters of notebook 10 and of sweeps, in either of Table 1's settings.

Relative paths never depend on the working directory alone, which differs between JupyterLab, papermill and nbval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mintad.config import Config
from mintad.config import preset as load_preset
from mintad.config.yaml_text import Loader
from mintad.disk import BESIDE_PACKAGE, expanded
from mintad.errors import ConfigError, nearest, shown
from mintad.model import require_variant
from mintad.runs.directory import Run
from mintad.runs.files import CATEGORIES
from mintad.runs.separate import train_separate
from mintad.runs.shared import runs_dir, shared_model_dir, train_shared
from mintad.runs.train import train_run

SETTINGS = ("unified", "separate")  # Table 1: one model for all categories, or one per category
OWN_PARAMETER = ("data.name", "data.root", "data.categories", "model.variant", "train.seed", "train.device")


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
    """Return the configuration that a notebook's parameters describe.

    Args:
        preset, data, variant, device: names, as `mintad list` and `mintad config` print them.
        root: folder of the data set, see `resolve_folder`; '' for sets that bring their own.
        categories: comma-separated, or a sequence; '' for all.
        overrides: see `read_overrides`.
        seed: of initialisation, order, jitter, dropout and hold-out.

    Raises:
        ConfigError: an unknown name, key or value, or a key that has a parameter of its own.
    """
    changes = {"data.name": data, "model.variant": variant, "train.seed": seed, "train.device": device}
    changes |= {"data.root": str(resolve_folder(root))} if root else {}
    changes |= {"data.categories": categories} if categories else {}
    further = read_overrides(overrides)
    for key in further.keys() & set(OWN_PARAMETER):
        parameter = key.removesuffix(".name").rpartition(".")[2]
        raise ConfigError(f"overrides must not set {key}; the parameter {parameter} does")
    config = load_preset(preset).override(**changes, **further)
    require_variant(config.model)
    return config


def read_overrides(overrides: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys and values of a mapping, or of YAML or JSON text such as ``{train.steps: 100}``."""
    if isinstance(overrides, Mapping):
        return dict(overrides)
    try:
        values = yaml.load(overrides, Loader) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"overrides cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"overrides must be a mapping such as {{train.steps: 100}}, not {shown(overrides)}")
    return {str(key): value for key, value in values.items()}


def read_names(baselines: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of baselines, given comma-separated or as a sequence; ConfigError for anything else."""
    if baselines is None:
        return ()
    if not isinstance(baselines, str | Sequence):
        raise ConfigError(f"baselines must be names, not {shown(baselines)}")
    return tuple(re.findall(r"[\w.-]+", baselines)) if isinstance(baselines, str) else tuple(baselines)


def resolve_folder(path: str | Path) -> Path:
    """Return a folder to read from, absolute: in the working directory if it is there, else in the repository."""
    relative = expanded(path)
    here, in_repository = relative.absolute(), BESIDE_PACKAGE / relative
    return in_repository if in_repository.exists() and not here.exists() else here


def output_folder(config: Config, setting: str = "unified", out_dir: str | Path = "") -> Path:
    """Return the run directory of a training, absolute.

    A relative `out_dir` starts at `runs_dir`, with or without a leading runs/. Without `out_dir` the name is that of
    `shared_model_dir`, so that the same parameters find their run again. An unknown setting raises ConfigError.
    """
    if setting not in SETTINGS:
        raise ConfigError(f"unknown setting '{setting}'." + nearest(setting, SETTINGS))
    if str(out_dir):
        parts = expanded(out_dir).parts
        return runs_dir().joinpath(*parts[1:] if len(parts) > 1 and parts[0] == "runs" else parts)
    folder = shared_model_dir(config)
    return folder if setting == "unified" else folder.with_name(f"{folder.name}-separate")


def train_setting(
    config: Config, setting: str = "unified", out_dir: str | Path = "", *, baselines: str | Sequence[str] = ()
) -> Run:
    """Train in one of `SETTINGS`; an interrupted run is resumed, a finished one loaded.

    For `out_dir` see `output_folder`; `baselines` are comma-separated, or a sequence.

    Raises:
        MintadError: see `mintad.runs.train.train_run`; the folder holds a run of the other setting.
    """
    names = read_names(baselines)
    out = output_folder(config, setting, out_dir)
    if setting == "separate":
        return train_separate(config, out, baseline_names=names, progress=False)
    if not str(out_dir):
        return train_shared(config, baselines=names)
    return train_run(config, out, baseline_names=names, progress=False)


def trained_setting(folder: Path) -> str | None:
    """Return the setting in which a run directory was trained; None before any training."""
    if (folder / CATEGORIES).exists():
        return "separate"
    return "unified" if (folder / "checkpoints").exists() else None

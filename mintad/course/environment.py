"""Check what mintad can use on this machine (device, packages, weights, data), and say how to fix what is missing.

Nothing is downloaded, drawn or trained, and the network is not used. Notebook 00 shows the result as a table.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import timm
import torch
from packaging.requirements import Requirement

from mintad.config import preset
from mintad.data import DATASETS, Dataset, load
from mintad.data.mini import MiniParameters
from mintad.data.mini.factory import default_root
from mintad.data.tree import absolute
from mintad.errors import DataError, MintadError
from mintad.features.backbone import timm_model
from mintad.features.cache import cache_root
from mintad.features.weights import LITE0_MODEL, lite0_file
from mintad.model.text import PACKAGE as MINILM
from mintad.runs.directory import Run
from mintad.runs.shared import runs_dir, shared_model_dir

EXTRAS = ("", "offline", "pages")
"""Parts of the package's requirements that are checked: the necessary ones, and these extras, which are optional."""
SHARED_VARIANTS = ("mint_ad", "uniad")
"""Trained models that several notebooks share."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked for."""

    part: str
    """device, package, weights, data, folder or model."""
    name: str
    found: bool
    detail: str
    """Version, number of images, or what it would be good for."""
    fix: str = ""
    """What to do, if it is missing."""
    needed: bool = False
    """Whether the notebook series cannot do without it."""

    @property
    def state(self) -> str:
        """✓ found, ✗ missing and needed, – missing and optional."""
        return "✓" if self.found else "✗" if self.needed else "–"


def check(data_root: str | Path | None = None) -> list[Check]:
    """Check everything, in the order in which a run needs it.

    Args:
        data_root: folder with mvtec/, visa/, btad/ and cifar10/ inside; None for `default_data_root`.
    """
    root = default_data_root() if not data_root else absolute(data_root)
    return [*devices(), *packages(), *weights(), *data_sets(root), *folders(), *shared_models()]


def table(checks: Iterable[Check]) -> pd.DataFrame:
    """Return the checks as a table: state, part, name, detail, fix."""
    rows = [(item.state, item.part, item.name, item.detail, "" if item.found else item.fix) for item in checks]
    return pd.DataFrame(rows, columns=["", "part", "name", "detail", "fix"])


def verdict(checks: Sequence[Check]) -> str:
    """Return one line if everything that the series needs is there, else a line with the fix for each missing thing."""
    missing = [item for item in checks if item.needed and not item.found]
    optional = [item.name for item in checks if not item.needed and not item.found and item.part != "model"]
    if missing:
        return "\n".join(f"✗ {item.part} {item.name}: {item.detail}. Fix: {item.fix}" for item in missing)
    return "✓ all that the series needs is here" + (f"; not here, optional: {', '.join(optional)}" if optional else "")


def load_if_there(name: str, data_root: str | Path | None = None) -> pd.DataFrame | None:
    """Load the record table of a data set; print a line with the fix and return None where it is missing or damaged.

    Args:
        name: a name in `DATASETS`.
        data_root: see `check`.

    Raises:
        DataError: no such data set.
    """
    dataset = DATASETS[name]
    try:
        return load(name, _find_root(dataset, absolute(data_root or default_data_root())) if dataset.source else None)
    except MintadError as error:
        print(f"{name} is skipped: {error}")
        return None


def default_data_root() -> Path:
    """Return data/ of the repository that the package lies in, else of the working directory: `mintad data get` puts
    data sets there."""
    repository = Path(__file__).resolve().parents[2]
    return (repository if (repository / "pyproject.toml").exists() else Path.cwd()) / "data"


def install(extra: str = "") -> str:
    """Return the command that installs the package, with an extra; it is on no index, so from its own folder."""
    return f"python -m pip install -e '.{f'[{extra}]' if extra else ''}' in the repository's folder"


def devices() -> list[Check]:
    """Check processor and GPU."""
    cpu = f"{os.cpu_count()} cores, of which PyTorch uses {torch.get_num_threads()}, {platform.machine()}"
    found = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if found else "none that PyTorch can use; the notebooks need none"
    fix = "for the paper preset: a CUDA build of PyTorch, see pytorch.org"
    return [
        Check(part="device", name="CPU", found=True, detail=cpu, needed=True),
        Check(part="device", name="GPU", found=found, detail=gpu, fix=fix),
    ]


def packages(distribution: str = "mintad") -> list[Check]:
    """Check what the distribution requires: one line for all that fits, one for each that is missing or too old."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        fix = install()
        return [Check(part="package", name=distribution, found=False, detail="not installed", fix=fix, needed=True)]
    fitting, checks = [], []
    for requirement in map(Requirement, lines):
        extra = next((name for name in EXTRAS if _applies(requirement, name)), None)
        if extra is None:
            continue
        version = _version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            fitting.append(f"{requirement.name} {version}")
            continue
        name, specifier = requirement.name, str(requirement.specifier)
        detail = f"version {version}, required {specifier}" if version else "not installed"
        fix = install(extra) if extra else f"python -m pip install '{name}{specifier}'"
        checks.append(Check(part="package", name=name, found=False, detail=detail, fix=fix, needed=not extra))
    shown = [text for text in fitting if text.split()[0] in ("torch", "timm", "numpy", "plotly", "papermill")]
    summary = f"Python {platform.python_version()}, {', '.join(shown)}"
    name = f"{len(fitting)} of {len(fitting) + len(checks)}"
    return [Check(part="package", name=name, found=True, detail=summary, needed=True), *checks]


def weights() -> list[Check]:
    """Check the backbones of the presets, and the text prompt's encoder."""
    lite0 = lite0_file() is not None
    checks = [
        Check(
            part="weights",
            name="EfficientNet-Lite0",
            found=lite0 or in_hub_cache(LITE0_MODEL),
            detail="lesson and fast presets" + (", from its pip package" if lite0 else ""),
            fix=install("offline"),
            needed=True,
        )
    ]
    backbone = preset("paper").features.backbone
    fix = "comes from timm's hub on first use; without a network --set features.weights=PATH"
    found = in_hub_cache(timm_model(backbone))
    checks.append(Check(part="weights", name=backbone, found=found, detail="paper preset", fix=fix))
    encoder = all(importlib.util.find_spec(name) is not None for name in (MINILM, "sentence_transformers"))
    fix = install("text")
    return [*checks, Check(part="weights", name="MiniLM", found=encoder, detail="variant text_prompt", fix=fix)]


def in_hub_cache(timm_name: str) -> bool:
    """Whether timm's weights of this name lie in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(timm_name)
    if cfg is None or not cfg.hf_hub_id:
        return False
    names = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    return any(isinstance(try_to_load_from_cache(cfg.hf_hub_id, name), str) for name in names)


def data_sets(root: Path) -> list[Check]:
    """Check mini, which is drawn on first use, ELPV from its package, and the public sets below `root`."""
    drawn = (default_root(_lesson_mini()) / "mini.json").exists()
    detail = "drawn, lesson preset" if drawn else "is drawn on first use, in about 10 s"
    checks = [Check(part="data", name="mini", found=True, detail=detail, needed=True), _elpv()]
    for name, dataset in DATASETS.items():
        if dataset.source is None:
            continue
        try:
            folder = _find_root(dataset, root)
            present = sum((folder / entry).exists() for entry in dataset.source.expects)
            detail = f"{present} of {len(dataset.source.expects)} expected folders and files"
            checks.append(Check(part="data", name=dataset.title, found=True, detail=detail))
        except MintadError as error:
            fix = f"mintad data get {name}, or by hand: data/README.md"
            checks.append(Check(part="data", name=dataset.title, found=False, detail=str(error), fix=fix))
    return checks


def folders() -> list[Check]:
    """Check where features and runs are kept, and whether they can be written."""
    checks = []
    for name, folder, variable in (("features", cache_root(), "MINTAD_CACHE"), ("runs", runs_dir(), "MINTAD_RUNS")):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        found, detail = there.is_dir() and os.access(there, os.W_OK), str(folder).replace(str(Path.home()), "~", 1)
        fix = f"set {variable} to a folder that can be written"
        checks.append(Check(part="folder", name=name, found=found, detail=detail, fix=fix, needed=True))
    return checks


def shared_models() -> list[Check]:
    """Check the trained models that notebooks share; a missing one is trained by the first notebook that needs it."""
    checks = []
    for variant in SHARED_VARIANTS:
        found = Run(shared_model_dir(preset("lesson").override(**{"model.variant": variant}))).finished
        detail = "trained, lesson preset" if found else "not trained yet, lesson preset"
        fix = "none needed: the first notebook that uses it trains it, in about a minute on two cores"
        checks.append(Check(part="model", name=variant, found=found, detail=detail, fix=fix))
    return checks


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lesson_mini() -> MiniParameters:
    options = preset("lesson").data.options
    return MiniParameters(**{**options, "categories": tuple(options["categories"])})


def _elpv() -> Check:
    try:
        records = load("elpv")
        detail = f"{len(records):,} images in {records['category'].nunique()} categories"
        return Check(part="data", name="ELPV", found=True, detail=detail)
    except MintadError:
        fix = install("offline")
        return Check(part="data", name="ELPV", found=False, detail="not installed", fix=fix)


def _find_root(dataset: Dataset, root: Path) -> Path:
    """Find the loader's folder of a public set below the data root.

    Raises:
        DataError: nothing that it should hold is there.
    """
    for folder in (root / dataset.name, root / dataset.name / dataset.source.folder):
        if any((folder / name).exists() for name in dataset.source.expects):
            return folder
    raise DataError(f"nothing of it in {root.name}/{dataset.name}")

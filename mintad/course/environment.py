"""What is on this machine of all that mintad can use: device, packages, weights, data; a cure beside what is missing.

Nothing is downloaded, drawn or trained, and no network is asked. Notebook 00 shows the result as a table.
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
import torch
from packaging.requirements import Requirement

from mintad.config import preset
from mintad.data import load
from mintad.data.mini import MiniParameters
from mintad.data.mini.factory import default_root
from mintad.data.sources import SOURCES, Source, source_of
from mintad.data.tree import absolute
from mintad.errors import DataError, MintadError
from mintad.features.backbone import timm_model
from mintad.features.cache import cache_root
from mintad.features.weights import LITE0_MODEL, lite0_file
from mintad.model.text import PACKAGE as MINILM
from mintad.runs.directory import Run
from mintad.runs.shared import runs_dir, shared_model_dir

EXTRAS = ("", "offline", "pages")
"""What the check looks at of the package's requirements: the necessary ones, and these extras, which are optional."""
LESSON_VARIANTS = ("mint_ad", "uniad")
"""Trained models that several notebooks share."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that was looked for."""

    part: str
    """device, package, weights, data, folder or model."""
    name: str
    found: bool
    detail: str
    """Version, number of images, or what it would be good for."""
    cure: str = ""
    """What to do, if it is missing."""
    needed: bool = False
    """Whether the notebook series cannot do without it."""

    @property
    def state(self) -> str:
        """✓ found, ✗ missing and needed, – missing and optional."""
        return "✓" if self.found else "✗" if self.needed else "–"


def check(data_root: str | Path | None = None) -> list[Item]:
    """Everything, in the order in which a run needs it.

    Args:
        data_root: folder with mvtec/, visa/, btad/ and cifar10/ inside; None for `default_data_root`.
    """
    root = default_data_root() if not data_root else absolute(data_root)
    return [*devices(), *packages(), *weights(), *data_sets(root), *folders(), *lessons()]


def table(items: Iterable[Item]) -> pd.DataFrame:
    """The items as a table: state, part, name, detail, cure."""
    rows = [(item.state, item.part, item.name, item.detail, "" if item.found else item.cure) for item in items]
    return pd.DataFrame(rows, columns=["", "part", "name", "detail", "cure"])


def verdict(items: Sequence[Item]) -> str:
    """One line if all that the series needs is there, else a line for each thing that is not, with its cure."""
    missing = [item for item in items if item.needed and not item.found]
    optional = [item.name for item in items if not item.needed and not item.found and item.part != "model"]
    if missing:
        return "\n".join(f"✗ {item.part} {item.name}: {item.detail}. Cure: {item.cure}" for item in missing)
    return "✓ all that the series needs is here" + (f"; not here, optional: {', '.join(optional)}" if optional else "")


def load_if_there(name: str, data_root: str | Path | None = None) -> pd.DataFrame | None:
    """The record table of a data set; None, and a line with the cure, where it is missing or damaged.

    Args:
        name: elpv or a key of `SOURCES`.
        data_root: see `check`.

    Raises:
        DataError: no such data set.
    """
    source = None if name == "elpv" else source_of(name)
    try:
        return load(name, source and _place(source, absolute(data_root or default_data_root())))
    except MintadError as error:
        print(f"{name} is skipped: {error}")
        return None


def default_data_root() -> Path:
    """data/ of the repository that the package lies in, else of the working directory, where `mintad data get` puts
    data sets."""
    repository = Path(__file__).resolve().parent.parent
    return (repository if (repository / "pyproject.toml").exists() else Path.cwd()) / "data"


def install(extra: str = "") -> str:
    """The command that installs the package, with an extra; it is on no index, so from its own folder."""
    return f"python -m pip install -e '.{f'[{extra}]' if extra else ''}' in the repository's folder"


def devices() -> list[Item]:
    """Processor and GPU."""
    cpu = f"{os.cpu_count()} cores, of which PyTorch uses {torch.get_num_threads()}, {platform.machine()}"
    found = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if found else "none that PyTorch can use; the notebooks need none"
    cure = "for the paper preset: a CUDA build of PyTorch, see pytorch.org"
    return [
        Item(part="device", name="CPU", found=True, detail=cpu, needed=True),
        Item(part="device", name="GPU", found=found, detail=gpu, cure=cure),
    ]


def packages(distribution: str = "mintad") -> list[Item]:
    """What the distribution requires: one line for all that fits, one for each that is missing or too old."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        cure = install()
        return [Item(part="package", name=distribution, found=False, detail="not installed", cure=cure, needed=True)]
    fitting, items = [], []
    for requirement in map(Requirement, lines):
        extra = next((name for name in EXTRAS if _applies(requirement, name)), None)
        if extra is None:
            continue
        version = _version(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            fitting.append(f"{requirement.name} {version}")
            continue
        name, wanted = requirement.name, str(requirement.specifier)
        detail = f"version {version}, wanted {wanted}" if version else "not installed"
        cure = install(extra) if extra else f"python -m pip install '{name}{wanted}'"
        items.append(Item(part="package", name=name, found=False, detail=detail, cure=cure, needed=not extra))
    shown = [text for text in fitting if text.split()[0] in ("torch", "timm", "numpy", "plotly", "papermill")]
    summary = f"Python {platform.python_version()}, {', '.join(shown)}"
    name = f"{len(fitting)} of {len(fitting) + len(items)}"
    return [Item(part="package", name=name, found=True, detail=summary, needed=True), *items]


def weights() -> list[Item]:
    """Backbones of the presets, and the text prompt's encoder."""
    lite0 = lite0_file() is not None
    items = [
        Item(
            part="weights",
            name="EfficientNet-Lite0",
            found=lite0 or in_hub_cache(LITE0_MODEL),
            detail="lesson and fast presets" + (", from its pip package" if lite0 else ""),
            cure=install("offline"),
            needed=True,
        )
    ]
    backbone = preset("paper").features.backbone
    cure = "comes from timm's hub on first use; without a network --set features.weights=PATH"
    found = in_hub_cache(timm_model(backbone))
    items.append(Item(part="weights", name=backbone, found=found, detail="paper preset", cure=cure))
    encoder = all(importlib.util.find_spec(name) is not None for name in (MINILM, "sentence_transformers"))
    cure = install("text")
    return [*items, Item(part="weights", name="MiniLM", found=encoder, detail="variant text_prompt", cure=cure)]


def in_hub_cache(timm_name: str) -> bool:
    """Whether timm's weights of this name lie in the hub's cache on this machine."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(timm_name)
    if cfg is None or not cfg.hf_hub_id:
        return False
    names = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    return any(isinstance(try_to_load_from_cache(cfg.hf_hub_id, name), str) for name in names)


def data_sets(root: Path) -> list[Item]:
    """mini, which is drawn on first use, ELPV from its package, and the public sets below `root`."""
    drawn = (default_root(_lesson_mini()) / "mini.json").exists()
    detail = "lesson set drawn" if drawn else "is drawn on first use, in about 10 s"
    items = [Item(part="data", name="mini", found=True, detail=detail, needed=True), _elpv()]
    for name, source in SOURCES.items():
        try:
            folder = _place(source, root)
            present = sum((folder / entry).exists() for entry in source.expects)
            detail = f"{present} of {len(source.expects)} expected folders and files"
            items.append(Item(part="data", name=source.title, found=True, detail=detail))
        except MintadError as error:
            cure = f"mintad data get {name}, or by hand: data/README.md"
            items.append(Item(part="data", name=source.title, found=False, detail=str(error), cure=cure))
    return items


def folders() -> list[Item]:
    """Where features and runs are kept, and whether they can be written."""
    items = []
    for name, folder, variable in (("features", cache_root(), "MINTAD_CACHE"), ("runs", runs_dir(), "MINTAD_RUNS")):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        found, detail = there.is_dir() and os.access(there, os.W_OK), str(folder).replace(str(Path.home()), "~", 1)
        cure = f"set {variable} to a folder that can be written"
        items.append(Item(part="folder", name=name, found=found, detail=detail, cure=cure, needed=True))
    return items


def lessons() -> list[Item]:
    """The trained models that notebooks share; a missing one is trained by the first notebook that needs it."""
    items = []
    for variant in LESSON_VARIANTS:
        found = Run(shared_model_dir(preset("lesson").override(**{"model.variant": variant}))).finished
        detail = "lesson model, trained" if found else "lesson model, not trained yet"
        cure = "none needed: the first notebook that uses it trains it, in about a minute on two cores"
        items.append(Item(part="model", name=variant, found=found, detail=detail, cure=cure))
    return items


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


def _elpv() -> Item:
    try:
        records = load("elpv")
        detail = f"{len(records):,} images in {records['category'].nunique()} categories"
        return Item(part="data", name="ELPV", found=True, detail=detail)
    except MintadError:
        cure = install("offline")
        return Item(part="data", name="ELPV", found=False, detail="not installed", cure=cure)


def _place(source: Source, root: Path) -> Path:
    """The loader's root of a public set below the data root.

    Raises:
        DataError: none of what it should hold is there.
    """
    for folder in (root / source.name, root / source.name / source.folder):
        if any((folder / name).exists() for name in source.expects):
            return folder
    raise DataError(f"nothing of it in {root.name}/{source.name}")

"""Check what mintad can use on this machine, without downloading, drawing or training anything; see notebook 00."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from packaging.requirements import Requirement

from mintad.config import preset
from mintad.data import DATASETS, Dataset, load
from mintad.data.mini import MiniParameters
from mintad.data.mini.factory import default_root
from mintad.data.tree import absolute
from mintad.disk import BESIDE_PACKAGE, IN_CLONE
from mintad.errors import MintadError
from mintad.features.backbone import timm_model
from mintad.features.cache import cache_root
from mintad.features.weights import LITE0_MODEL, cached_file, package_file
from mintad.model.text import PACKAGE as MINILM
from mintad.runs.directory import Run
from mintad.runs.shared import runs_dir, shared_model_dir

EXTRAS = ("", "offline", "pages")  # requirements that are checked: the necessary ones, and two optional extras


@dataclass(frozen=True)
class Check:
    """One thing that was looked for: what to do if it is missing, and whether the notebooks need it."""

    part: str
    """device, package, weights, data, folder or model."""
    name: str
    found: bool
    detail: str
    """Version, number of images, or what it would be good for."""
    fix: str = ""
    needed: bool = False

    @property
    def state(self) -> str:
        """✓ found, ✗ missing and needed, – missing and optional."""
        return "✓" if self.found else "✗" if self.needed else "–"


def check(data_root: str | Path | None = None) -> list[Check]:
    """Check everything, in the order in which a run needs it; `data_root` holds mvtec/, visa/, btad/ and cifar10/."""
    root = absolute(data_root or default_data_root())
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
    """Load the record table of a data set; print a line with the fix and return None if it is missing or damaged."""
    dataset, root = DATASETS[name], absolute(data_root or default_data_root())
    folder = (_find_root(dataset, root) or root / name) if dataset.source else None
    try:
        return load(name, folder)
    except MintadError as error:
        print(f"{name} is skipped: {error}")
        return None


def default_data_root() -> Path:
    """Return data/ of the repository that the package lies in, else of the working directory."""
    return (BESIDE_PACKAGE if IN_CLONE else Path.cwd()) / "data"


def install(extra: str = "") -> str:
    """Return the command that installs the package, with an extra; it is on no index, so from its own folder."""
    return f"python -m pip install -e '.{f'[{extra}]' if extra else ''}' in the repository's folder"


def devices() -> list[Check]:
    """Check processor and GPU."""
    cpu = f"{os.cpu_count()} cores, of which PyTorch uses {torch.get_num_threads()}, {platform.machine()}"
    usable = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if usable else "none that PyTorch can use; the notebooks need none"
    fix = "for the paper preset: a CUDA build of PyTorch, see pytorch.org"
    return [Check("device", "CPU", True, cpu, needed=True), Check("device", "GPU", usable, gpu, fix)]


def packages(distribution: str = "mintad") -> list[Check]:
    """Check what the distribution requires: one line for all that fits, one for each that is missing or too old."""
    try:
        requirements = map(Requirement, importlib.metadata.requires(distribution) or [])
    except importlib.metadata.PackageNotFoundError:
        return [Check("package", distribution, False, "not installed", install(), needed=True)]
    fitting, checks = {}, []
    for requirement in requirements:
        name, marker, specifier = requirement.name, requirement.marker, requirement.specifier
        extra = next((extra for extra in EXTRAS if marker is None or marker.evaluate({"extra": extra})), None)
        if extra is None:
            continue
        version = None
        with suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(name)
        if version is not None and specifier.contains(version, prereleases=True):
            fitting[name] = version
        else:
            detail = f"version {version}, required {specifier}" if version else "not installed"
            fix = install(extra) if extra else f"python -m pip install '{name}{specifier}'"
            checks.append(Check("package", name, False, detail, fix, needed=not extra))
    important = [f"{name} {fitting[name]}" for name in "torch timm numpy plotly papermill".split() if name in fitting]
    summary = f"Python {platform.python_version()}, {', '.join(important)}"
    number = f"{len(fitting)} of {len(fitting) + len(checks)}"
    return [Check("package", number, True, summary, needed=True), *checks]


def weights() -> list[Check]:
    """Check the backbones of the presets, and the text prompt's encoder."""
    package, backbone = package_file(LITE0_MODEL) is not None, preset("paper").features.backbone
    lite0 = package or cached_file(LITE0_MODEL) is not None
    detail = "lesson and fast presets" + (", from its pip package" if package else "")
    fix = "comes from timm's hub on first use; without a network --set features.weights=PATH"
    encoder = all(importlib.util.find_spec(name) is not None for name in (MINILM, "sentence_transformers"))
    return [
        Check("weights", "EfficientNet-Lite0", lite0, detail, install("offline"), needed=True),
        Check("weights", backbone, cached_file(timm_model(backbone)) is not None, "paper preset", fix),
        Check("weights", "MiniLM", encoder, "variant text_prompt", install("text")),
    ]


def data_sets(root: Path) -> list[Check]:
    """Check mini, which is drawn on first use, ELPV from its package, and the public sets below `root`."""
    options = preset("lesson").data.options
    lesson_mini = MiniParameters(**{**options, "categories": tuple(options["categories"])})
    drawn = (default_root(lesson_mini) / "mini.json").exists()
    detail = "drawn, lesson preset" if drawn else "is drawn on first use, in about 10 s"
    checks = [Check("data", "mini", True, detail, needed=True)]
    elpv, detail = False, "not installed"
    with suppress(MintadError):
        records = load("elpv")
        elpv, detail = True, f"{len(records):,} images in {records['category'].nunique()} categories"
    checks.append(Check("data", "ELPV", elpv, detail, install("offline")))
    for dataset in filter(lambda dataset: dataset.source, DATASETS.values()):
        folder, expected = _find_root(dataset, root), dataset.source.expects
        present = sum((folder / name).exists() for name in expected) if folder else 0
        detail = f"{present} of {len(expected)} expected folders and files in {root.name}/{dataset.name}"
        fix = f"mintad data get {dataset.name}, or by hand: data/README.md"
        checks.append(Check("data", dataset.title, folder is not None, detail, fix))
    return checks


def folders() -> list[Check]:
    """Check where features and runs are kept, and whether they can be written."""
    checks = []
    for name, folder, variable in (("features", cache_root(), "MINTAD_CACHE"), ("runs", runs_dir(), "MINTAD_RUNS")):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        writable = existing.is_dir() and os.access(existing, os.W_OK)
        detail = str(folder).replace(str(Path.home()), "~", 1)
        checks.append(Check("folder", name, writable, detail, f"set {variable} to a folder that can be written", True))
    return checks


def shared_models() -> list[Check]:
    """Check the trained models that notebooks share; a missing one is trained by the first notebook that needs it."""
    fix = "none needed: the first notebook that uses it trains it, in under a minute; or mintad course unpack"
    configs = {variant: preset("lesson").override(**{"model.variant": variant}) for variant in ("mint_ad", "uniad")}
    trained = {variant: Run(shared_model_dir(config)).finished for variant, config in configs.items()}
    detail = {True: "trained, lesson preset", False: "not trained yet, lesson preset"}
    return [Check("model", variant, done, detail[done], fix) for variant, done in trained.items()]


def _find_root(dataset: Dataset, root: Path) -> Path | None:
    """Find the loader's folder of a public set below the data root; None if nothing that it should hold is there."""
    folders = (root / dataset.name, root / dataset.name / dataset.source.folder)
    expected = dataset.source.expects
    return next((folder for folder in folders if any((folder / name).exists() for name in expected)), None)

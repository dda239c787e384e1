"""The shared models of a class as one archive, for `mintad course pack`; `mintad.course.unpack` reads it.

A zip with ``manifest.json``, which lists every other member with its size and SHA-256, the version and the fingerprint
of the code that trained the models, and their names. What no notebook reads is left out: the optimiser's moments, the
page and the log. Paths of test images are relative to the folder of the data, which lies elsewhere on every machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pandas as pd

import mintad
from mintad.config import Config
from mintad.course.lab.peeking import scores_file
from mintad.course.shared_models import SCORED_BY_STEP, configurations
from mintad.data.mini import MiniParameters
from mintad.data.mini.factory import default_root
from mintad.data.tree import absolute
from mintad.disk import digest, published
from mintad.errors import ConfigError, DataError
from mintad.runs.directory import Run
from mintad.runs.files import DIGESTS, RESULTS, SHARP_PRIOR
from mintad.runs.fingerprint import code_fingerprint
from mintad.runs.shared import shared_model_dir
from mintad.training.checkpoint import STATE, WEIGHTS

FORMAT, MANIFEST = "mintad shared models 1", "manifest.json"
SCORES = "scores.csv"
READ = ("config.json", "versions.json", "classes.json", "images.csv", "seconds.json", "history.csv", SHARP_PRIOR)
READ += (SCORES, "maps.npy", "threshold.json", DIGESTS, RESULTS)
"""The files of a run directory that are packed, beside those of the checkpoint."""
DATE = (1980, 1, 1, 0, 0, 0)  # of all members, so that the same models give the same archive
Packed = namedtuple("Packed", ["archive", "sha256", "models", "bytes"])
"""What `pack` has written: the path, its digest, the models' names, and the size."""


def pack(archive: str | Path, *, preset_name: str = "lesson") -> Packed:
    """Write the shared models that notebooks need into one archive, whole or not at all.

    Args:
        archive: file to write, usually ``NAME.zip``; one that is there is replaced.
        preset_name: the preset that they were trained with.

    Raises:
        ConfigError: unknown preset, or one on data that are not drawn.
        DataError: a model is not trained, or the archive cannot be written.
        MintadError: a file of a model is damaged.
    """
    archive, configs = Path(archive), configurations(preset_name=preset_name)
    missing = [name for name, config in configs.items() if not Run(shared_model_dir(config)).finished]
    if not missing and SCORED_BY_STEP in configs and not scores_file(configs[SCORED_BY_STEP]).exists():
        missing = [f"{SCORED_BY_STEP} step by step"]
    if missing:
        fix = f"mintad notebooks train --preset {preset_name} trains what is missing (make train), then pack again"
        raise DataError(f"not trained: {', '.join(missing)}", fix=fix)
    models: dict[str, str] = {}
    listed: dict[str, dict[str, int | str]] = {}
    try:
        with published(archive) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
                for name, config in configs.items():
                    models[name] = shared_model_dir(config).name
                    for member, content in _contents(name, config).items():
                        packed.writestr(zipfile.ZipInfo(member, DATE), content, zipfile.ZIP_DEFLATED)
                        listed[member] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                about = {"format": FORMAT, "mintad": mintad.__version__, "code": code_fingerprint()}
                about |= {"preset": preset_name, "models": models, "files": listed}
                packed.writestr(zipfile.ZipInfo(MANIFEST, DATE), json.dumps(about, indent=1), zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise DataError(
            f"cannot be written ({error})", path=archive, fix="free some space or choose a folder"
        ) from error
    return Packed(archive, digest(archive), list(models), archive.stat().st_size)


def _contents(name: str, config: Config) -> dict[str, bytes]:
    """Return member -> content of one model, after a look at whether all of it is as it was written."""
    run = Run(shared_model_dir(config))
    checkpoint = run.checkpoint()
    checkpoint.tensors(WEIGHTS)
    for read in (run.results, run.scores, run.maps, run.threshold):
        read()
    paths = [run.path / file for file in READ if (run.path / file).exists()]
    paths += [checkpoint.path / WEIGHTS, checkpoint.path / STATE]
    contents = {path.relative_to(run.path.parent).as_posix(): path.read_bytes() for path in paths}
    root = data_root(config)
    relocate(contents, run.path.name, lambda image: Path(image).relative_to(root).as_posix())
    if name == SCORED_BY_STEP:
        file = scores_file(config)
        contents[file.name] = file.read_bytes()
    return contents


def data_root(config: Config) -> Path:
    """Return the folder of a configuration's drawn pictures on this machine, drawn or not.

    Raises:
        ConfigError: the configuration has other data.
    """
    if config.data.name != "mini" or config.data.root:
        raise ConfigError(f"only models of drawn pictures (mini) can be packed, not of '{config.data.name}'")
    options = dict(config.data.options)
    if "categories" in options:
        options["categories"] = tuple(options["categories"])
    return absolute(default_root(MiniParameters(**options)))


def relocate(contents: dict[str, bytes], folder: str, change: Callable[[str], str]) -> None:
    """Change the paths of images and masks in a run's scores, and the digest of the scores with them."""
    scores, digests = f"{folder}/{SCORES}", f"{folder}/{DIGESTS}"
    table = pd.read_csv(io.BytesIO(contents[scores]), keep_default_na=False, dtype=str)
    masks = [json.loads(text) if text else [] for text in table["masks"]]
    table["image"] = [change(image) for image in table["image"]]
    table["masks"] = [json.dumps([change(mask) for mask in each]) if each else "" for each in masks]
    contents[scores] = table.to_csv(index=False).encode()
    if digests in contents:
        known = json.loads(contents[digests]) | {SCORES: hashlib.sha256(contents[scores]).hexdigest()}
        contents[digests] = json.dumps(known, indent=1).encode()


def inside(root: Path, relative: str) -> str:
    """Return the path of a picture on this machine, from what `pack` has written; ValueError if it leaves `root`."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\\" in relative or ":" in relative:
        raise ValueError(f"'{relative[:80]}' is not inside the data")
    return str(root / path)

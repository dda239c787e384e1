"""Shared models out of an archive of `mintad.course.pack` into the place where notebooks look for them.

Nothing of an archive is believed before it was compared with this installation: the models, their folders and their
configurations are those of the own code, and only files of a run directory are taken. All is verified in a folder of
its own; then each model gets its name by one rename. A second call keeps the finished models that are there, after the
same look at them, and does the rest.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import torch

from mintad.config import Config
from mintad.course.lab.peeking import scores_file
from mintad.course.pack import FORMAT, MANIFEST, READ, SCORES, data_root, inside, relocate
from mintad.course.shared_models import SCORED_BY_STEP, configurations
from mintad.disk import UNFINISHED, digest, open_file, remove, sync
from mintad.errors import ConfigError, DataError, MintadError
from mintad.lock import exclusive_lock
from mintad.model import build_model
from mintad.runs.directory import Run
from mintad.runs.files import DIGESTS, RESULTS
from mintad.runs.fingerprint import code_fingerprint
from mintad.runs.load import identity_of
from mintad.runs.prepare import configured_backbone, resolve_paths
from mintad.runs.shared import nobody_trains, runs_dir, shared_model_dir
from mintad.training import load_weights
from mintad.training.checkpoint import STATE, WEIGHTS

MAX_BYTES = 2_000_000_000  # of an archive, packed and unpacked; ten models of about 5 MB are usual
MAX_FILES = 1000
MAX_MANIFEST = 1_000_000
CHECKPOINT = re.compile(rf"checkpoints/step-\d{{8}}/({re.escape(WEIGHTS)}|{re.escape(STATE)})")
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)
DAMAGE += (OverflowError, MemoryError)  # sizes that no such file has
NEEDED = ("config.json", "classes.json", "images.csv", SCORES, "maps.npy", "threshold.json", DIGESTS, RESULTS)
PARTS, UNPACKING = f"{UNFINISHED}models-", ".unpack.lock"  # in the folder of the runs
BLOCK = 1 << 20
RETRIES, TIMEOUT = 2, 30  # further attempts if the connection fails, seconds without a byte
Unpacked = namedtuple("Unpacked", ["folder", "placed", "kept", "replaced"])
"""What `unpack` has done: the folder of the runs, names of the models placed there and of those that stay as they were.

`replaced` has, for those among the placed that had been finished but could not be used, what was wrong with them.
"""


def unpack(source: str | Path, *, sha256: str = "") -> Unpacked:
    """Verify an archive of shared models and put them where the notebooks look; finished ones are kept.

    Args:
        source: a file, or an address that begins with http:// or https://.
        sha256: digest of the archive that it must have, as `pack` says it; '' to go by the manifest inside.

    Raises:
        DataError: it cannot be had, is damaged, holds anything else than shared models, or models of other code.
    """
    runs = runs_dir()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(runs / UNPACKING), tempfile.TemporaryDirectory(dir=runs, prefix=PARTS) as folder:
            for left in runs.glob(f"{PARTS}*"):  # by processes that were killed
                if left != Path(folder):
                    remove(left)
            remote = str(source).startswith(("http://", "https://"))
            archive = _download(str(source), Path(folder)) if remote else Path(source)
            if sha256 and _digest(archive) != sha256.strip().lower():
                fix = "fetch it again, and compare the digest with the one that you were told"
                raise DataError("has another SHA-256 than the one given", path=source, fix=fix)
            models = Path(folder) / "models"
            names = _extract(archive, models, shown=str(source))
            wrong = {name: _place(models, name, config) for name, config in names.items()}
    except OSError as error:
        fix = "free some space or change the permissions, then run again"
        raise DataError(f"the models cannot be written ({error})", path=runs, fix=fix) from error
    placed, kept = ([name for name in wrong if (wrong[name] is not None) is new] for new in (True, False))
    return Unpacked(runs, placed, kept, {name: problem for name, problem in wrong.items() if problem})


def _digest(archive: Path) -> str:
    open_file(archive).close()
    return digest(archive)


def _download(url: str, folder: Path) -> Path:
    """Download an archive into `folder`, at most `MAX_BYTES`."""
    import requests

    target = folder / "archive"
    for attempt in range(RETRIES + 1):
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT) as answer, target.open("wb") as file:
                answer.raise_for_status()
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    if file.tell() > MAX_BYTES:
                        raise DataError(f"is larger than {MAX_BYTES:,} bytes", path=url)
            return target
        except requests.RequestException as error:
            fault = error
            if isinstance(error, requests.HTTPError):  # the server's answer, which would come again
                break
            time.sleep(attempt)
    raise DataError(f"cannot be downloaded ({fault})", path=url, fix="run again, or download it with a browser")


def _extract(archive: Path, folder: Path, *, shown: str) -> dict[str, Config]:
    """Extract and verify all models of an archive into `folder`; return name -> configuration."""
    fix = "fetch it again; if it stays so, ask for it to be packed anew (mintad course pack)"
    try:
        with open_file(archive) as file, zipfile.ZipFile(file) as packed:
            about = _manifest(packed)
            names = _models(about, shown)
            _require_members(packed, about["files"], names)
            free = shutil.disk_usage(folder.parent).free
            if free < (needed := sum(entry["bytes"] for entry in about["files"].values())):
                raise DataError(f"{needed:,} bytes are needed, {free:,} are free", path=folder.parent.parent)
            for member, entry in about["files"].items():
                _extract_member(packed, member, entry, folder)
        for name, config in names.items():
            _verify(folder, name, config)
    except DAMAGE as error:
        raise DataError(f"is not a sound archive of shared models ({error})", path=shown, fix=fix) from error
    return names


def _manifest(packed: zipfile.ZipFile) -> dict[str, Any]:
    if len(packed.infolist()) > MAX_FILES:
        raise ValueError(f"it has more than {MAX_FILES} members")
    with packed.open(MANIFEST) as file:
        text = file.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise ValueError(f"{MANIFEST} is too long")
    about = json.loads(text)
    if about["format"] != FORMAT:
        raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
    return about


def _models(about: dict[str, Any], shown: str) -> dict[str, Config]:
    """Return name -> configuration of the models, which must be those that this installation would look for."""
    if about["code"] != code_fingerprint():
        problem = (
            f"was packed by mintad {str(about['mintad'])[:20]} with other code, so notebooks would not find its models"
        )
        fix = (
            "install the version that packed it, with the same MINTAD_PLUGINS; or train here (mintad notebooks train), "
            "or ask for an archive packed with this version"
        )
        raise DataError(problem, path=shown, fix=fix)
    try:
        configs = configurations(list(about["models"]), preset_name=about["preset"])
    except ConfigError as error:
        raise ValueError(error) from error
    for name, config in configs.items():
        if about["models"][name] != shared_model_dir(config).name:
            raise ValueError(f"model {name}: its folder is {about['models'][name]!r}, notebooks look for another")
    return configs


def _require_members(packed: zipfile.ZipFile, files: dict[str, Any], configs: dict[str, Config]) -> None:
    """Refuse members that are not listed, listed ones that are missing, names that are no run's, and too many bytes."""
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in packed.infolist()):
        raise ValueError("a member is compressed otherwise than mintad does")
    members = [info.filename for info in packed.infolist()]
    if sorted(members) != sorted([*files, MANIFEST]):
        raise ValueError("its members are not those of its manifest")
    folders = {shared_model_dir(config).name for config in configs.values()}
    steps = {scores_file(config).name for name, config in configs.items() if name == SCORED_BY_STEP}
    for member in files:
        folder, _, file = member.partition("/")
        known = folder in folders and (file in READ or CHECKPOINT.fullmatch(file))
        if not (known or member in steps):
            raise ValueError(f"{member[:80]!r} is not a file of a shared model")
    sizes = [entry["bytes"] for entry in files.values()]
    if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) > MAX_BYTES:
        raise ValueError(f"it would unpack to more than {MAX_BYTES:,} bytes")


def _extract_member(packed: zipfile.ZipFile, member: str, entry: dict[str, Any], folder: Path) -> None:
    """Write one member, whose name was checked; never more than the size that the manifest says."""
    path, state, left = folder / member, hashlib.sha256(), entry["bytes"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as packed_file, path.open("xb") as file:
        while block := packed_file.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            state.update(block)
            file.write(block)
    if left or state.hexdigest() != entry["sha256"]:
        raise ValueError(f"{member} is not what was packed")


def _verify(folder: Path, name: str, config: Config) -> None:
    """Require a finished run that notebooks can use, and give its scores the paths of this machine."""
    path = folder / shared_model_dir(config).name
    root = data_root(config)
    scores = {f"{path.name}/{file}": path / file for file in (SCORES, DIGESTS) if (path / file).exists()}
    contents = {member: file.read_bytes() for member, file in scores.items()}
    relocate(contents, path.name, lambda image: inside(root, image))
    for member, content in contents.items():
        scores[member].write_bytes(content)
    try:
        _require_usable(Run(path), config)
    except (MintadError, OSError) as error:
        raise ValueError(f"model {name}: {error}") from error


def _require_usable(run: Run, config: Config) -> None:
    """Require a finished run of exactly this configuration, all its files, and weights that its model can load.

    The backbone's own weights are not compared: they may have to be fetched first.

    Raises:
        MintadError, OSError, ValueError, TypeError, KeyError: something is missing, damaged, or of another model.
    """
    if missing := [name for name in NEEDED if not (run.path / name).is_file()]:
        raise ValueError(f"{', '.join(missing)} missing")
    if run.config().to_dict() != resolve_paths(config).to_dict():
        raise ValueError("it has another configuration")
    checkpoint = run.checkpoint()
    state = checkpoint.state()
    if state["step"] != state["steps"]:
        raise ValueError("it is not trained to its end")
    backbone = configured_backbone(config.features, weights="random")
    identity = identity_of(config, run.read("classes"), backbone)
    del identity["backbone"]
    if not identity.keys() <= state["identity"].keys():
        raise ValueError(f"{STATE} does not say which run it belongs to")
    checkpoint.require(identity)
    sizes = {"channels": backbone.channels, "grid": backbone.grid, "classes": len(identity["classes"])}
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model, **sizes)
    load_weights(model, checkpoint)
    for read in (run.results, run.threshold):
        read()
    if len(run.scores()) != len(run.maps()):
        raise ValueError("it has not one map for each score")


def _place(folder: Path, name: str, config: Config) -> str | None:
    """Give a verified model its name; return None where a finished one is there, which stays if it can be used.

    Otherwise return what is wrong with the finished one that was replaced, '' where there was none.
    """
    target = shared_model_dir(config)
    run, packed = Run(target), Run(folder / target.name)
    with nobody_trains(run):
        wrong = _fault(run, config) if run.finished else ""
        kept = wrong is None
        if not kept:
            remove(target)  # of a training that was interrupted, or damaged
            for path in packed.path.rglob("*"):
                sync(path)
            packed.path.rename(target)
        steps = scores_file(config)
        new = folder / steps.name
        if name == SCORED_BY_STEP and new.exists() and not steps.exists():
            packed = packed if kept else run
            if run.checkpoint().state()["files"] == packed.checkpoint().state()["files"]:
                new.rename(steps)  # they end with the scores of these very weights
    return wrong


def _fault(run: Run, config: Config) -> str | None:
    """Return why a finished run on this machine cannot be used; None if it can."""
    try:
        _require_usable(run, config)
    except (MintadError, OSError, *DAMAGE) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None

"""The official CIFAR-10 batches: verified, read without trusting the pickle, written once as PNG files.

A pickle can run any code when it is read. So only bytes with the MD5 of the published file are unpickled, by an
unpickler that knows a few names of NumPy and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mintad.data.problems import Problem, error, raise_errors
from mintad.errors import DataError

log = logging.getLogger(__name__)

CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
MD5 = {
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""MD5 of the files inside cifar-10-python.tar.gz."""

_FIX = "unpack cifar-10-python.tar.gz again, or 'mintad data get cifar10'"
_RECONSTRUCT = np.empty(0).__reduce__()[0]  # taken this way because NumPy 2 renamed its module
_ALLOWED = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
_ALLOWED |= {(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")}
Images = tuple[np.ndarray, np.ndarray]
"""(N, 32, 32, 3) uint8 in the official order, and (N,) indices into `CLASSES`."""


def verify_batches(folder: Path, md5: Mapping[str, str] = MD5) -> tuple[dict[str, bytes], list[Problem]]:
    """Read every file whose MD5 is the published one; list a problem for each other file."""
    content: dict[str, bytes] = {}
    problems: list[Problem] = []
    for name, expected in sorted(md5.items()):
        try:
            data = (folder / name).read_bytes()
        except OSError as fault:
            problems.append(error(folder / name, f"cannot be read ({fault.strerror})", _FIX))
            continue
        actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if actual == expected:
            content[name] = data
        else:
            problem = f"not the published file (MD5 {actual}, published {expected}), so it was not opened"
            problems.append(error(folder / name, problem, _FIX))
    return content, problems


def read_batches(folder: Path, md5: Mapping[str, str] = MD5) -> dict[str, Images]:
    """Read the splits "train" and "test" of the official batches in `folder`, whose files must have these `md5`.

    Raises:
        DataError: a file is missing, is not the published one, or cannot be unpickled.
    """
    content, problems = verify_batches(folder, md5)
    raise_errors(problems, folder)

    def read(names: Sequence[str]) -> Images:
        batches = [_unpickle(content[name], folder / name) for name in names]
        pixels, labels = (np.concatenate([batch[key] for batch in batches]) for key in (b"data", b"labels"))
        return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels

    return {"train": read([f"data_batch_{number}" for number in range(1, 6)]), "test": read(["test_batch"])}


def write_images(splits: Mapping[str, Images], target: Path) -> None:
    """Write ``target/SPLIT/CLASS/NUMBER.png`` (lossless), everything or nothing.

    They are moved to `target` when complete. If another process is faster, its folder is kept.

    Raises:
        DataError: the folder cannot be written.
    """
    log.info("writing CIFAR-10 as PNG files to %s, once", target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as hidden:
            building = Path(hidden, target.name)
            for split, (images_NHWC, labels) in splits.items():
                for name in CLASSES:
                    (building / split / name).mkdir(parents=True)
                for number, (image_HWC, label) in enumerate(zip(images_NHWC, labels, strict=True)):
                    path = building / split / CLASSES[label] / f"{number:05d}.png"
                    Image.fromarray(image_HWC).save(path, compress_level=1)
            building.rename(target)
    except OSError as fault:
        if not target.is_dir():
            fix = "free some space (CIFAR-10 needs 300 MB), or set the option 'images' to another folder"
            raise DataError(f"cannot be written ({fault.strerror})", path=target, fix=fix) from fault


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"'{module}.{name}' does not belong in a CIFAR-10 batch")
        return _ALLOWED[module, name]


def _unpickle(data: bytes, path: Path) -> dict[bytes, Any]:
    try:
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as fault:  # unpickling damaged bytes may raise almost anything
        raise DataError(f"cannot be unpickled ({fault})", path=path, fix=_FIX) from fault

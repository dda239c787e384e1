"""Tensors in a safetensors file with a text that says what they are, and a digest of both."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mintad.disk import write
from mintad.errors import ConfigError, MintadError
from mintad.features.weights import fingerprint


def tensors_digest(tensors: Mapping[str, Tensor], about: str) -> str:
    """Return a hash of tensors and of what they are."""
    return hashlib.sha256(f"{about} {fingerprint(tensors)}".encode()).hexdigest()


def save_sealed(file: Path, tensors: Mapping[str, Tensor], about: str) -> None:
    """Write tensors, what they are, and the digest of both."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    write(file, save(tensors, metadata={"about": about, "digest": tensors_digest(tensors, about)}))


@contextlib.contextmanager
def opened_sealed(file: Path, what: str, default: str = "") -> Iterator[tuple[dict[str, Tensor], str]]:
    """Give the block the tensors of a file and what they are; `default` where the file does not say so.

    Raises:
        MintadError: the file is missing or was changed, or the block cannot use what it holds; `what` names it.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
        about = metadata.get("about", default)
        if metadata.get("digest") != tensors_digest(tensors, about):
            raise ValueError("the digest in it is another")
        yield tensors, about
    except (OSError, SafetensorError, ConfigError, KeyError, TypeError, ValueError) as error:
        fix = f"mintad evaluate {file.parent} writes it anew"
        raise MintadError(f"{what} cannot be read ({error})", path=file, fix=fix) from error

"""Features on disk: one folder per extractor, in it immutable shards of a few hundred images.

A shard is a NumPy file (n, L, F) and a JSON index that lists the hashes of the n image *files*. Both are written whole
or not at all, the index last; a shard counts only once its index exists. So a crash loses at most the shard being
written, and two processes that extract the same images only do the work twice. The index has a digest of the folder's
name, the hashes and the features. A shard is verified before a process uses it, and dropped if it is damaged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from platformdirs import user_cache_dir

from mintad.disk import UNFINISHED, digest, expanded, published, refuse_link, refuse_special, write
from mintad.errors import ConfigError, MintadError, nearest

if TYPE_CHECKING:
    from mintad.features.backbone import Backbone

STALE_SECONDS = 24 * 3600  # age at which an unfinished file cannot belong to a running process any more
_DAMAGE = (MintadError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""From reading a damaged file."""
_sound: dict[Path, tuple[int, ...]] = {}  # shards that this process has verified -> `_stamp`
log = logging.getLogger(__name__)


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of all caches: 'features' in the argument, else $MINTAD_CACHE, else the user's cache folder."""
    base = cache_dir or os.environ.get("MINTAD_CACHE") or user_cache_dir("mintad")
    return expanded(base) / "features"


def describe_key(backbone: Backbone, dtype: str) -> dict[str, object]:
    """Describe everything besides the image that determines its features; stored with them as key.json."""
    names = "weights_id image_size grid local_mean resize reductions channels mean std preprocessing".split()
    values = {name: getattr(backbone, name) for name in names}
    return {"backbone": backbone.name, "weights": backbone.source, "dtype": dtype, **values}


def key_name(description: dict[str, object]) -> str:
    """Return a readable folder name, unique to a key. The content of the weights counts, not where they came from."""
    identity = {name: value for name, value in description.items() if name not in ("backbone", "weights")}
    short = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=5).hexdigest()
    grid = "x".join(map(str, description["grid"]))
    return f"{description['backbone']}-{description['image_size']}px-{grid}-{description['dtype']}-{short}"


class StoredRow(NamedTuple):
    """The place of one image's features: a shard's file and the row in it."""

    shard: Path
    row: int


class FeatureCache:
    """The shards of one key (see `describe_key`), rows (L, F); a folder that cannot be written to is a ConfigError."""

    def __init__(self, root: Path, description: dict[str, object], row_shape: tuple[int, int], dtype: str) -> None:
        self.folder = root / key_name(description)
        self.row_shape, self.dtype = row_shape, np.dtype(dtype)
        self.stored_rows: dict[str, StoredRow] = {}
        """Image hash -> stored row; `add` and `refresh` extend it."""
        self._dropped: set[Path] = set()  # indices not to be read again, even if they could not be deleted
        refuse_link(self.folder)  # the cache as a whole may be a link
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").is_file():
                write(self.folder / "key.json", json.dumps(description, indent=2) + "\n")
            self._clean()
        self.refresh()

    def refresh(self) -> None:
        """Read the indices of all complete shards, including those that other processes wrote meanwhile."""
        self.stored_rows = {}
        for index in sorted(set(self.folder.glob("shard-*.json")) - self._dropped):
            with self._dropping_damaged(index):
                content, shard = _read_index(index), index.with_suffix(".npy")
                size = shard.stat().st_size if shard.is_file() else 0
                if size != content["bytes"]:
                    raise ValueError(f"{size} bytes of features instead of {content['bytes']}")
                if size < len(content["images"]) * np.prod(self.row_shape) * self.dtype.itemsize:
                    raise ValueError("fewer features than images")
                self._register(shard, content["images"])

    def verify(self, hashes: Iterable[str]) -> None:
        """Verify the shards that hold these images, once in a process; forget and delete those that are damaged."""
        shards = {self.stored_rows[name].shard for name in hashes if name in self.stored_rows}
        for shard in shards:
            index = shard.with_suffix(".json")
            with self._dropping_damaged(index):
                if _sound.get(shard) != _stamp(shard, index):
                    self._require_sound(index, shard)
                    _sound[shard] = _stamp(shard, index)
                continue
            self._dropped.add(index)
        if {shard.with_suffix(".json") for shard in shards} & self._dropped:
            self.refresh()
            self.verify(hashes)  # other shards may hold the same images

    def add(self, hashes: Sequence[str], features_nLF: np.ndarray) -> None:
        """Write one shard: the features (n, L, F), finite, of the n images with these file hashes."""
        if not np.isfinite(features_nLF).all():
            raise ValueError("features that are not finite are not stored")
        shard = self.folder / f"shard-{time.time_ns()}-{uuid.uuid4().hex[:8]}.npy"
        with _writing(self.folder):
            with published(shard) as file:
                np.save(file, features_nLF, allow_pickle=False)
            index = {"images": list(hashes), "bytes": shard.stat().st_size, "digest": self._digest(shard, hashes)}
            write(shard.with_suffix(".json"), json.dumps(index))
        self._register(shard, hashes)

    def _register(self, shard: Path, hashes: Sequence[str]) -> None:
        self.stored_rows.update({name: StoredRow(shard, row) for row, name in enumerate(hashes)})

    def _digest(self, shard: Path, hashes: Sequence[str]) -> str:
        return digest(shard, self.folder.name, *hashes)

    def _require_sound(self, index: Path, shard: Path) -> None:
        """Raise ValueError or the like if a shard is not what was written."""
        content = _read_index(index)
        if self._digest(shard, content["images"]) != content["digest"]:
            raise ValueError("its digest is another")

    @contextmanager
    def _dropping_damaged(self, index: Path) -> Iterator[None]:
        """Delete a shard that the block finds damaged, and say so; it may be cleared by another process meanwhile."""
        try:
            yield
        except FileNotFoundError:
            pass
        except ConfigError:  # a cache that cannot be written is not a damaged one
            raise
        except Exception as error:  # NumPy and JSON raise almost anything on damaged files
            log.warning("feature cache: dropping the damaged shard %s (%s) to compute it again", index, error)
            for path in (index, index.with_suffix(".npy")):
                with suppress(OSError):
                    path.unlink()

    def _clean(self) -> None:
        """Remove the files that crashed writers left: temporary files, and features whose index was never written."""
        shards = [shard for shard in self.folder.glob("shard-*.npy") if not shard.with_suffix(".json").exists()]
        for path in (*self.folder.glob(f"{UNFINISHED}*"), *shards):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()


def _stamp(*paths: Path) -> tuple[int, ...]:
    """Return what changes when somebody writes one of the files."""
    return tuple(n for each in map(Path.stat, paths) for n in (each.st_ino, each.st_size, each.st_mtime_ns))


def _read_index(index: Path) -> dict[str, Any]:
    """Read the index of a shard: images, bytes and digest; raise ValueError for anything else."""
    refuse_special(index)
    content = json.loads(index.read_text(encoding="utf-8"))
    if content.keys() != {"images", "bytes", "digest"} or not all(isinstance(name, str) for name in content["images"]):
        raise ValueError("the index is damaged")
    return content


def open_shard(path: Path, row_shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Open a shard as a memory map (n, L, F); a MintadError if it vanished or changed since its index was read."""
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        problem = f"cached features vanished or are damaged ({error})"
        raise MintadError(problem, path=path, fix="run again, then they are computed again") from error
    if shard.shape[1:] != row_shape or shard.dtype != dtype:
        problem = f"holds {shard.shape} {shard.dtype}, not (n, *{row_shape}) {dtype}"
        raise MintadError(problem, path=path, fix="clear the cache")
    return shard


@dataclass(frozen=True)
class CacheInfo:
    """One key's cache; `modified` is the local time of its newest file, `description` {} if key.json is damaged."""

    key: str
    path: Path
    images: int
    nbytes: int
    modified: datetime
    description: dict[str, object]

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return str(self.description.get("backbone", "?"))

    @property
    def grid(self) -> str:
        """Tokens of the grid, for example '14x14'."""
        return "x".join(str(n) for n in self.description.get("grid", "?"))


def list_caches(cache_dir: str | Path | None = None) -> list[CacheInfo]:
    """List all feature caches by name; folders without a key.json are not ours and are left out."""
    return [_look_at(marker) for marker in sorted(cache_root(cache_dir).glob("*/key.json"))]


def _look_at(marker: Path) -> CacheInfo:
    folder, images, nbytes, modified = marker.parent, set(), 0, 0.0
    for path in folder.iterdir():
        with suppress(*_DAMAGE):  # files may come and go meanwhile, or be damaged
            nbytes, modified = nbytes + path.stat().st_size, max(modified, path.stat().st_mtime)
            if path.suffix == ".json" and path != marker:
                images.update(_read_index(path)["images"])
    description: dict[str, object] = {}
    with suppress(*_DAMAGE):
        refuse_special(marker)
        description = dict(json.loads(marker.read_text(encoding="utf-8")))
    return CacheInfo(folder.name, folder, len(images), nbytes, datetime.fromtimestamp(modified), description)


def clear_caches(key: str | None = None, cache_dir: str | Path | None = None) -> int:
    """Delete the cache named `key` (ConfigError if there is none), or all; return the number of bytes freed."""
    caches = {cache.key: cache for cache in list_caches(cache_dir)}
    if key is not None and key not in caches:
        raise ConfigError(f"there is no feature cache '{key}' in {cache_root(cache_dir)}." + nearest(key, caches))
    chosen = [cache for cache in caches.values() if key in (None, cache.key)]
    for cache in chosen:
        with _writing(cache.path):
            shutil.rmtree(cache.path)
    return sum(cache.nbytes for cache in chosen)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fix = "free some space, or set MINTAD_CACHE to a folder that can be written"
        raise ConfigError(f"the feature cache cannot be written ({error})", path=folder, fix=fix) from error

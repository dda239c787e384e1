"""Extraction of the features of a record table: computed once, and read from the cache afterwards (§3.2).

The extractor is frozen and the images are not augmented, so their features never change.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mintad.disk import hash_file
from mintad.errors import ConfigError, DataError, message
from mintad.features.backbone import Backbone, read_pixels
from mintad.features.cache import FeatureCache, cache_root, describe_key
from mintad.features.table import FeatureTable
from mintad.progress import progress_bar
from mintad.threads import limit_threads

SHARD_IMAGES, SHARD_BYTES = 256, 128 << 20  # at most, in one shard; the first image may be larger
log = logging.getLogger(__name__)


def extract(
    records: pd.DataFrame,
    backbone: Backbone,
    *,
    cache_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: Literal["float16", "float32"] = "float16",
    batch_size: int = 32,
    progress: bool = True,
    workers: int | None = None,
) -> FeatureTable:
    """Extract the features of all images, row for row; only those that the cache lacks are computed.

    On a CPU, threads take one image each, so that the features of an image depend on nothing else: cached as float32
    they are the backbone's output bit for bit. On a GPU the batch may change the last digits. float16 keeps 11 bits;
    features beyond its range make the table float32.

    Args:
        records: a record table; only its column `image` is used.
        backbone: the extractor; moved to `device`.
        cache_dir: see `mintad.features.cache.cache_root`.
        device: where to compute.
        dtype: storage type.
        batch_size: images per forward pass on a GPU.
        progress: show a bar while computing, if stderr is a terminal.
        workers: threads; None for PyTorch's number on a CPU (OMP_NUM_THREADS sets it) and up to 8 for a GPU.

    Raises:
        DataError: all unreadable images, after the features of all others have been stored.
        ConfigError: the cache cannot be written.
    """
    if dtype not in ("float16", "float32"):
        raise ConfigError(f"features.dtype = {dtype!r}: allowed are float16 and float32.")
    paths = [str(path) for path in records["image"]]
    device = torch.device(device)
    workers = workers or (torch.get_num_threads() if device.type == "cpu" else min(8, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, initializer=None if _pays_off_in_batches(device) else limit_threads) as pool:
        hash_of, problems = _hash_all(paths, pool)
        run = _Extraction(backbone.to(device), device, batch_size, progress, pool, 2 * workers)
        try:
            cache = run.fill(hash_of, problems, cache_dir, dtype)
        except OverflowError:
            log.warning("%s: features beyond float16's range, storing float32 (features.dtype)", backbone.name)
            dtype = "float32"
            cache = run.fill(hash_of, problems, cache_dir, dtype)
    if problems:
        listed = "\n".join(f"  {message(error.problem, path, error.fix)}" for path, error in sorted(problems.items()))
        fix = f"repair or remove them (the features of the others are kept):\n{listed}"
        raise DataError(f"{len(problems)} of {len(set(paths))} images cannot be read", fix=fix)
    hashes = [hash_of[path] for path in paths]
    return FeatureTable([cache.stored_rows[name] for name in hashes], cache.row_shape, dtype, hashes)


def _hash_all(paths: Sequence[str], pool: ThreadPoolExecutor) -> tuple[dict[str, str], dict[str, DataError]]:
    """Hash the content of every distinct path; the second mapping has the error of each that cannot be read."""

    def attempt(path: str) -> str | DataError:
        try:
            return hash_file(path)
        except DataError as error:
            return error

    distinct = list(dict.fromkeys(paths))
    results = dict(zip(distinct, pool.map(attempt, distinct), strict=True))
    errors = {path: result for path, result in results.items() if isinstance(result, DataError)}
    return {path: result for path, result in results.items() if path not in errors}, errors


@dataclass
class _Extraction:
    """The settings of one extraction; images are named by the hash of their content."""

    backbone: Backbone
    device: torch.device
    batch_size: int
    progress: bool
    pool: ThreadPoolExecutor
    ahead: int  # images that the pool may work on before their turn

    def fill(
        self, hash_of: dict[str, str], problems: dict[str, DataError], cache_dir: str | Path | None, dtype: str
    ) -> FeatureCache:
        """Compute what the cache lacks. Unreadable images are added to `problems`."""
        shape = (self.backbone.grid[0] * self.backbone.grid[1], self.backbone.channels)
        cache = FeatureCache(cache_root(cache_dir), describe_key(self.backbone, dtype), shape, dtype)
        cache.verify(hash_of.values())
        path_of = {name: path for path, name in hash_of.items() if name not in cache.stored_rows}
        shard_images = max(1, min(SHARD_IMAGES, SHARD_BYTES // (shape[0] * shape[1] * cache.dtype.itemsize)))
        unreadable: dict[str, DataError] = {}
        done: dict[str, np.ndarray] = {}
        results = closing(self._compute(path_of, unreadable))
        with full_precision(), progress_bar("features", len(path_of), show=self.progress) as report, results as images:
            try:
                for number, (name, feat_LF) in enumerate(images, start=1):
                    if np.abs(feat_LF).max() > np.finfo(cache.dtype).max:
                        raise OverflowError(name)
                    done[name] = feat_LF.astype(cache.dtype)
                    report(number)
                    if len(done) == shard_images:
                        cache.add(list(done), np.stack(list(done.values())))
                        done = {}
            finally:  # keep what is done, whatever interrupts
                if done:
                    cache.add(list(done), np.stack(list(done.values())))
        problems.update({path: unreadable[name] for path, name in hash_of.items() if name in unreadable})
        return cache

    def _compute(self, path_of: dict[str, str], unreadable: dict[str, DataError]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield name and float32 features (L, F) of every image that can be read; the others go to `unreadable`."""
        batched = _pays_off_in_batches(self.device)

        def work(name: str) -> np.ndarray | DataError:
            try:
                pixels = read_pixels(path_of[name], self.backbone.image_size)
            except DataError as error:
                return error
            return pixels if batched else self._forward({name: pixels}, path_of)[0]

        batch: dict[str, np.ndarray] = {}
        with closing(self._look_ahead(work, path_of, self.ahead + self.batch_size * batched)) as results:
            for name, result in results:
                if isinstance(result, DataError):
                    unreadable[name] = result
                elif not batched:
                    yield name, result
                else:
                    batch[name] = result
                if len(batch) == self.batch_size:
                    yield from zip(batch, self._forward(batch, path_of), strict=True)
                    batch = {}
        if batch:
            yield from zip(batch, self._forward(batch, path_of), strict=True)

    def _look_ahead(
        self, work: Callable[[str], np.ndarray | DataError], names: Iterable[str], ahead: int
    ) -> Iterator[tuple[str, np.ndarray | DataError]]:
        """Yield the results of `work` in order; the pool runs a bounded number of names ahead."""
        todo = iter(names)
        futures = deque((name, self.pool.submit(work, name)) for name in islice(todo, ahead))
        try:
            while futures:
                name, future = futures.popleft()
                result = future.result()
                futures.extend((later, self.pool.submit(work, later)) for later in islice(todo, 1))
                yield name, result
        finally:
            for _, future in futures:
                future.cancel()

    def _forward(self, pixels: dict[str, np.ndarray], path_of: dict[str, str]) -> np.ndarray:
        images = self.backbone.normalise(np.stack(list(pixels.values()))).to(self.device)
        feat_BLF = self.backbone(images).cpu().numpy()
        for name, feat_LF in zip(pixels, feat_BLF, strict=True):
            if not np.isfinite(feat_LF).all():
                problem, fix = "gives features that are not finite", f"check the weights ({self.backbone.source})"
                raise DataError(f"{self.backbone.name} {problem}", path=path_of[name], fix=fix)
        return feat_BLF


def _pays_off_in_batches(device: torch.device) -> bool:
    return device.type != "cpu"  # on a CPU batches are half as fast: they do not fit into its caches


@torch.no_grad()
def features_of(backbone: Backbone, images: Sequence[np.ndarray], batch_size: int = 16) -> Tensor:
    """Compute the features (n, L, F) of images in memory, (S, S, 3) uint8 each, on the backbone's device."""
    device = next(backbone.parameters()).device
    batches = (np.stack(images[start : start + batch_size]) for start in range(0, len(images), batch_size))
    with full_precision():
        return torch.cat([backbone(backbone.normalise(batch_BSS3).to(device)) for batch_BSS3 in batches])


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch TF32 off in convolutions, so that features from a GPU can be used with a CPU and vice versa."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before

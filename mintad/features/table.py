"""The features of a record table: rows gathered from memory, from a GPU or from memory-mapped shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mintad.features.cache import Place, open_shard

MEMORY_SHARE = 0.5
"""A table up to this share of the free memory is loaded whole."""


class FeatureTable:
    """Features of n images, (L, F) each, in the order of the records they were extracted for.

    Images with the same content share one stored row. Nothing is read before the first `gather`; then the
    table is loaded whole into memory if it takes at most half of what is free, else each `gather` reads its
    rows from the disk. Values stay in the cache's type, only what is gathered becomes float32.
    """

    def __init__(
        self, places: Sequence[Place], row_shape: tuple[int, int], dtype: str, hashes: Sequence[str] = ()
    ) -> None:
        self.tokens, self.channels = row_shape
        self.hashes = list(hashes)
        """Content hash of each record's image file; empty for features that do not come from files."""
        self.dtype = np.dtype(dtype)
        stored = {place: n for n, place in enumerate(dict.fromkeys(places))}
        self._places = list(stored)
        self._row_of = np.array([stored[place] for place in places], dtype=np.int64)
        self._shards: dict[Path, np.ndarray] = {}
        self._values: Tensor | None = None
        self._too_large = False

    @classmethod
    def from_tensor(cls, values_nLF: Tensor) -> FeatureTable:
        """A table over a tensor (n, L, F), float16 or float32, not copied: generated features, tests."""
        table = cls([], tuple(values_nLF.shape[1:]), str(values_nLF.dtype).removeprefix("torch."))
        table._values, table._row_of = values_nLF, np.arange(len(values_nLF))
        return table

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored rows, in the cache's type."""
        rows = len(self._values) if self._values is not None else len(self._places)
        return rows * self.tokens * self.channels * self.dtype.itemsize

    @property
    def device(self) -> torch.device:
        """Where `gather` puts its result."""
        return self._values.device if self._values is not None else torch.device("cpu")

    def gather(self, indices: np.ndarray | Sequence[int] | Tensor) -> Tensor:
        """Features (B, L, F) in float32 of the records with these row numbers (repeats allowed).

        Raises:
            IndexError: a row number outside the table.
        """
        rows = self._row_of[np.asarray(indices, dtype=np.int64)]
        if self._values is None and not self._too_large:
            self._too_large = self.nbytes > MEMORY_SHARE * free_memory()
            self._values = None if self._too_large else self._load(torch.device("cpu"))
        if self._values is None:
            return self._read(rows)
        if self.device.type == "cpu":  # a copy this small is faster in one thread
            return torch.from_numpy(self._values.numpy()[rows]).float()
        return self._values.index_select(0, torch.from_numpy(rows).to(self.device)).float()

    def to(self, device: str | torch.device) -> FeatureTable:
        """This table with all values in the memory of `device`; the table itself stays as it is.

        On the CPU the rule of `gather` holds: a table too large for the memory stays on the disk.
        """
        if torch.device(device) == self.device:
            return self
        table = FeatureTable([], (self.tokens, self.channels), self.dtype.name, self.hashes)
        table._places, table._row_of = self._places, self._row_of
        table._values = self._values.to(device) if self._values is not None else self._load(torch.device(device))
        return table

    def _load(self, device: torch.device) -> Tensor:
        """All stored rows on `device`, shard by shard, so that no second copy of the whole ever exists."""
        values = torch.empty(
            (len(self._places), self.tokens, self.channels),
            dtype=getattr(torch, self.dtype.name),
            device=device,
        )
        rows_of: dict[Path, list[int]] = {}
        for n, place in enumerate(self._places):
            rows_of.setdefault(place.shard, []).append(n)
        for path, rows in rows_of.items():
            shard = open_shard(path, (self.tokens, self.channels), self.dtype)
            part = torch.from_numpy(shard[[self._places[n].row for n in rows]])
            values[torch.tensor(rows, device=device)] = part.to(device)
        self._shards.clear()
        return values

    def _read(self, rows: np.ndarray) -> Tensor:
        values = np.empty((len(rows), self.tokens, self.channels), dtype=self.dtype)
        for n, row in enumerate(rows):
            place = self._places[row]
            if place.shard not in self._shards:
                self._shards[place.shard] = open_shard(place.shard, (self.tokens, self.channels), self.dtype)
            values[n] = self._shards[place.shard][place.row]
        return torch.from_numpy(values).float()


def free_memory() -> int:
    """Bytes of memory free for use: what Linux says, within a container's limit; elsewhere half of all."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        names = getattr(os, "sysconf_names", {})
        known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if known else 4 << 30
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else min(free, max(0, int(limit) - int(used)))
    except (OSError, ValueError):
        return free

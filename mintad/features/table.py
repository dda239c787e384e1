"""The features of a record table: rows gathered from memory, from a GPU or from memory-mapped shards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from mintad.features.cache import StoredRow, open_shard

MEMORY_SHARE = 0.5  # a table up to this share of the free memory is loaded whole


class FeatureTable:
    """Features of n images, (L, F) each, in the order of the records they were extracted for.

    Images with the same content share one stored row. The first `gather` loads the table whole if it takes at most half
    of the free memory; else each reads its rows from the disk. Only what is gathered becomes float32.
    """

    def __init__(
        self, stored_rows: Sequence[StoredRow], row_shape: tuple[int, int], dtype: str, hashes: Sequence[str] = ()
    ) -> None:
        self.tokens, self.channels = row_shape
        self.dtype = np.dtype(dtype)
        self.hashes = list(hashes)
        """Content hash of each record's image file; empty for features that do not come from files."""
        number_of = {stored: n for n, stored in enumerate(dict.fromkeys(stored_rows))}
        self._stored_rows = list(number_of)
        self._row_of = np.array([number_of[stored] for stored in stored_rows], dtype=np.int64)
        self._shards: dict[Path, np.ndarray] = {}
        self._values: Tensor | None = None
        self._too_large = False

    @classmethod
    def from_tensor(cls, values_nLF: Tensor) -> FeatureTable:
        """Make a table of a tensor (n, L, F), float16 or float32, without a copy; for generated features and tests."""
        table = cls([], tuple(values_nLF.shape[1:]), str(values_nLF.dtype).removeprefix("torch."))
        table._values, table._row_of = values_nLF, np.arange(len(values_nLF))
        return table

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored rows, in the cache's type."""
        rows = len(self._values) if self._values is not None else len(self._stored_rows)
        return rows * self.tokens * self.channels * self.dtype.itemsize

    @property
    def device(self) -> torch.device:
        """The device on which `gather` puts its result."""
        return self._values.device if self._values is not None else torch.device("cpu")

    def gather(self, indices: np.ndarray | Sequence[int] | Tensor) -> Tensor:
        """Gather the features (B, L, F), float32, of row numbers (repeats allowed; IndexError outside the table)."""
        rows = self._row_of[np.asarray(indices, dtype=np.int64)]
        if self._values is None and not self._too_large:
            self._too_large = self.nbytes > MEMORY_SHARE * free_memory()
            self._values = None if self._too_large else self._read_all(torch.device("cpu"))
        if self._values is None:
            return self._read(rows, torch.device("cpu")).float()
        if self.device.type == "cpu":  # a copy this small is faster in one thread
            return torch.from_numpy(self._values.numpy()[rows]).float()
        return self._values.index_select(0, torch.from_numpy(rows).to(self.device)).float()

    def to(self, device: str | torch.device) -> FeatureTable:
        """Return a copy with all values in the memory of `device`; on the CPU the rule of `gather` holds."""
        if torch.device(device) == self.device:
            return self
        table = FeatureTable([], (self.tokens, self.channels), self.dtype.name, self.hashes)
        table._stored_rows, table._row_of = self._stored_rows, self._row_of
        table._values = self._values.to(device) if self._values is not None else self._read_all(torch.device(device))
        return table

    def _read(self, rows: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """Read stored rows in the cache's type, shard by shard, so that there is never a second copy of all of them."""
        shape, dtype = (len(rows), self.tokens, self.channels), getattr(torch, self.dtype.name)
        values = torch.empty(shape, dtype=dtype, device=device)
        positions_of: dict[Path, list[int]] = {}
        for position, row in enumerate(rows):
            positions_of.setdefault(self._stored_rows[row].shard, []).append(position)
        for path, positions in positions_of.items():
            if path not in self._shards:
                self._shards[path] = open_shard(path, (self.tokens, self.channels), self.dtype)
            part = self._shards[path][[self._stored_rows[rows[position]].row for position in positions]]
            values[torch.tensor(positions, device=device)] = torch.from_numpy(part).to(device)
        return values

    def _read_all(self, device: torch.device) -> Tensor:
        values = self._read(range(len(self._stored_rows)), device)
        self._shards.clear()
        return values


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Estimate the bytes of memory that are free, within the limit of the container, if its control group has one.

    Contents of files that nobody has asked for again stay in memory until it is needed. There they count as used, but
    they are free.
    """
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no control group of version 2; ValueError: no limit, "max"
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(free, max(0, limit - used + _inactive_files(group)))
    return free


def _inactive_files(group: Path) -> int:
    with suppress(OSError, ValueError):
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(counts.get("inactive_file", 0))
    return 0

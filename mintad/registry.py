"""Registries: metrics, baselines, data sets and model variants by name, open to modules outside the package.

A module outside the package adds its own entries with the same decorators that the package uses. Name the module in the
environment variable MINTAD_PLUGINS (several, separated by commas) and its folder in PYTHONPATH, and every command, run,
sweep and notebook knows it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from mintad.errors import ConfigError, MintadError, nearest

PLUGINS = "MINTAD_PLUGINS"
"""Environment variable: modules to import, separated by commas."""

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Map names to entries; modules that hold entries are imported when the first of them is asked for.

    Args:
        kind: what an entry is called in error messages, for example "baseline".
        modules: modules of the package that register entries when imported.
        error: raised for an unknown name.
    """

    def __init__(self, kind: str, *, modules: Sequence[str] = (), error: type[MintadError] = ConfigError) -> None:
        self.kind, self.modules, self.error = kind, tuple(modules), error
        self._entries: dict[str, T] = {}
        self._modules: dict[str, str | None] = {}
        self._loaded = False

    def add(self, name: str, entry: T, *, module: str | None = None) -> T:
        """Register an entry and return it.

        Args:
            name: what files and the command line call it.
            entry: the entry.
            module: where it is defined, a class's own module by default. A module may define its entry again, as a
                notebook's cell does that is run twice.

        Raises:
            ValueError: the name belongs to an entry of another module.
        """
        if module is None and isinstance(entry, type):
            module = entry.__module__
        same = self._entries.get(name, entry) is entry or (module is not None and self._modules[name] == module)
        if not same:
            raise ValueError(f"there is a {self.kind} '{name}' already")
        self._entries[name], self._modules[name] = entry, module
        return entry

    def names(self) -> list[str]:
        """List the names without importing the package's own modules: a module with one entry is named like it.

        For help texts, which must not wait for PyTorch.
        """
        load_plugins()
        own = [module.rpartition(".")[2] for module in self.modules]
        return list(dict.fromkeys([*own, *self._entries]))

    def require(self, names: Iterable[str]) -> None:
        """Refuse names that no entry has, before any work begins.

        Raises:
            MintadError: as for a look-up.
        """
        for name in names:
            self[name]

    def __getitem__(self, name: str) -> T:
        """Return an entry.

        Raises:
            MintadError: no entry has this name; the message names the nearest. (`error`, as the registry was made.)
        """
        self._load()
        if name not in self._entries:
            raise self.error(f"unknown {self.kind} '{name}'." + nearest(str(name), self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter([name for name in self.names() if name in self._entries])

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def get(self, name: str, default: T | None = None) -> T | None:
        """Return an entry, or `default` where there is none of this name."""
        return self._entries[name] if name in self else default

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True  # first, because a module may ask the registry while it is imported
            try:
                for module in self.modules:
                    importlib.import_module(module)
            except BaseException:
                self._loaded = False  # so that the next look-up says the cause again, not "unknown"
                raise
        load_plugins()


def plugin_names() -> list[str]:
    """Return the modules that MINTAD_PLUGINS names."""
    return [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]


def load_plugins() -> None:
    """Import the modules that MINTAD_PLUGINS names; a module that was imported before is not imported again.

    Raises:
        ConfigError: a module cannot be imported, whatever its code raises.
    """
    for name in plugin_names():
        try:
            importlib.import_module(name)
        except Exception as error:
            problem = f"{PLUGINS}: the module '{name}' cannot be imported ({type(error).__name__}: {error})"
            absent = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
            raise ConfigError(problem, fix="put its folder on PYTHONPATH" if absent else "") from error

"""A fingerprint of the code that makes a run, so that no weights and scores of older code are loaded by mistake."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mintad.errors import ConfigError
from mintad.registry import PLUGINS, plugin_names

PACKAGE = Path(__file__).resolve().parent.parent
WINGS = ("config", "data", "features", "model", "training", "scoring", "baselines")
_OWN = ("prepare", "train", "load", "evaluate", "calibrate", "made", "baselines", "separate", "region")
SOURCES = (*WINGS, *(f"runs/{name}.py" for name in _OWN))
"""Files and folders of the package that decide a run's images, weights and scores, those of its baselines included.

A wing counts as a whole, downloads and checks of data included. Editing a page, a plot, a report or a notebook's code
retrains nothing.
"""


def code_fingerprint(package: Path = PACKAGE) -> str:
    """Return a hash of `SOURCES` and of the plug-ins; comments, docstrings and layout do not count.

    `package` is the folder of `mintad`. Of a plug-in, which MINTAD_PLUGINS names (see `mintad.registry`), the module
    counts, or all modules of its package.

    Raises:
        ConfigError: a plug-in cannot be found.
    """
    return _fingerprint(package, tuple(plugin_names()))


@functools.cache  # also because a process keeps the plug-in that it has imported, whatever its file says later
def _fingerprint(package: Path, plugins: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        _add(digest, package / source, package)
    for name in plugins:
        digest.update(name.encode())
        for path in _places(name):
            _add(digest, path, path.parent)
    return digest.hexdigest()


def _places(plugin: str) -> Iterator[Path]:
    """Find the file of a plug-in, or the folder of the package that it is or belongs to."""
    try:
        spec = importlib.util.find_spec(plugin.partition(".")[0])
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{PLUGINS}: the module '{plugin}' cannot be found ({error})") from error
    if spec is None:
        raise ConfigError(f"{PLUGINS}: there is no module '{plugin}'", fix="put its folder on PYTHONPATH")
    if spec.submodule_search_locations is not None:
        yield from map(Path, spec.submodule_search_locations)
    elif spec.has_location:
        yield Path(spec.origin)


def _add(digest: hashlib._Hash, path: Path, root: Path) -> None:
    """Add a file, or all modules of a folder, to a hash, each with its name relative to `root`."""
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.relative_to(root).as_posix().encode())
        content = file.read_bytes()
        try:
            content = ast.dump(_WithoutDocstrings().visit(ast.parse(content))).encode()
        except (SyntaxError, ValueError):
            pass  # a compiled module, or a template that nobody imports: its bytes count
        digest.update(content)


class _WithoutDocstrings(ast.NodeTransformer):
    """Remove the docstrings of modules, classes, functions and attributes from a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

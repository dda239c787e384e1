"""A fingerprint of the code that makes a trained model, so that no model of older code is loaded by mistake."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = ("data/mini", "features", "model", "training", "scoring", "runs/prepare.py", "runs/train.py")
"""Files and folders of the package that decide a shared model's weights and scores."""


@functools.cache
def code_fingerprint(package: Path = PACKAGE, plugins: str = "") -> str:
    """Return a hash of `SOURCES` and of plug-in modules; comments, docstrings and layout do not count.

    `package` is the folder of `mintad`, `plugins` the text of MINTAD_PLUGINS (see `mintad.registry`).
    """
    files = []
    for path in (package / source for source in SOURCES):
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    specs = [importlib.util.find_spec(name.strip()) for name in plugins.split(",") if name.strip()]
    files += [Path(spec.origin) for spec in specs if spec and spec.has_location]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        tree = ast.parse(file.read_text(encoding="utf-8"))
        digest.update(ast.dump(_WithoutDocstrings().visit(tree)).encode())
    return digest.hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    """Remove the docstrings of modules, classes, functions and attributes from a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

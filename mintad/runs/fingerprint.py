"""A fingerprint of the code that makes a trained model, so that no model of older code is loaded by mistake."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = ("data/mini", "features", "model", "training", "scoring", "runs/prepare.py", "runs/train.py")
"""Files and folders of the package that decide a shared model's weights and scores."""


@functools.cache
def code_fingerprint(package: Path = PACKAGE) -> str:
    """Return a hash of `SOURCES`; comments, docstrings and the layout of the code do not count.

    The hash is computed once per process.

    Args:
        package: folder of the package `mintad`.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        path = package / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(_code(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def _code(source: str) -> str:
    """Return the syntax tree as text, without the docstrings of modules, classes, functions and attributes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_docstring(statement)]
    return ast.dump(tree)


def _is_docstring(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)

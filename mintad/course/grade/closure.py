"""What of a student's notebook an exercise needs: its function, and the imports and definitions that this one uses.

Nothing else is run: no training, no figure, no check.
"""

from __future__ import annotations

import ast
import json
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAGIC = re.compile(r"^(\s*)[%!?].*$|^(\s*)[\w.]+\?{1,2}$", re.MULTILINE)  # of IPython

DEFINES = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom


class Unusable(Exception):
    """Raised where a notebook has no function for an exercise; the message is for the student."""


@dataclass
class Statement:
    """A top-level statement of a notebook: its cell, the names that it binds or changes, and the global ones it uses.

    What it `replaces` does not depend on what these names were before.
    """

    node: ast.stmt
    cell: int
    binds: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    replaces: set[str] = field(default_factory=set)
    nothing: bool = False  # NAME = None


def needed(path: Path, name: str, check: str) -> list[Statement]:
    """Return the statements of a notebook that define `name`, in their order.

    Args:
        path: of the notebook.
        name: of the exercise's function.
        check: name of its check; cells below the one that calls it count only if there is no function above.

    Raises:
        Unusable: the notebook cannot be read, the cell has a syntax error, or there is no such function.
    """
    cells = _code_cells(path)
    statements, broken = [], {}
    for n, source in cells.items():
        try:
            statements += _statements(source, n)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            broken[n] = error
    last = max((n for n, source in cells.items() if f"check_{check}(" in source), default=len(cells))
    above = [statement for statement in statements if statement.cell <= last]
    statements, above = ([s for s in part if name not in s.binds or not s.nothing] for part in (statements, above))
    chosen = above if any(name in s.binds for s in above) else statements
    if not any(name in s.binds for s in chosen):
        for n, error in broken.items():
            if re.search(rf"\b{name}\b", cells[n]):
                line = getattr(error, "lineno", None)
                where = f" in line {line}" if line else ""
                raise Unusable(f"the cell that should define {name} cannot be read: {error.args[0]}{where}") from error
        raise Unusable("not solved")
    return _closure(chosen, name)


def _closure(statements: list[Statement], name: str) -> list[Statement]:
    wanted, todo, kept = set(), {name}, set()
    while todo:
        one = todo.pop()
        wanted.add(one)
        first = max((n for n, statement in enumerate(statements) if one in statement.replaces), default=0)
        for n, statement in enumerate(statements[first:], first):
            if one in statement.binds and n not in kept:
                kept.add(n)
                todo |= statement.uses - wanted
    return [statements[n] for n in sorted(kept)]


def _code_cells(path: Path) -> dict[int, str]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = {n: cell["source"] for n, cell in enumerate(cells) if cell["cell_type"] == "code"}
        return {n: source if isinstance(source, str) else "".join(source) for n, source in sources.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unusable(f"the notebook cannot be read ({type(error).__name__})") from error


def _statements(source: str, cell: int) -> Iterator[Statement]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        tree = ast.parse(MAGIC.sub(r"\1\2pass", source))
    imported = {name for node in tree.body for name in _bound(node) if isinstance(node, ast.Import | ast.ImportFrom)}
    for node in tree.body:
        binds = set(_bound(node))
        called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):  # table.append(…)
            binds |= {called.value.id} - imported
        nothing = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
        uses = _used(node)
        assigns = isinstance(node, ast.Assign | ast.AnnAssign)
        replaces = set(_bound(node)) - (uses if assigns else set()) if assigns or isinstance(node, DEFINES) else set()
        yield Statement(node, cell, binds, uses, replaces, nothing)


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds or changes in the notebook's own namespace."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
        yield node.value.id
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _used(node: ast.stmt) -> set[str]:
    """Return the global names that a statement uses, also inside functions; their local names are left out."""
    module = symtable.symtable(ast.unparse(node), "cell", "exec")
    names, tables = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}, [module]
    while tables:
        tables += (children := tables.pop().get_children())
        names |= {symbol.get_name() for child in children for symbol in child.get_symbols() if symbol.is_global()}
    return names


def execute(statements: list[Statement], name: str) -> Any:
    """Run the statements and return what they call `name`; whatever they raise goes through.

    Raises:
        Unusable: it is nothing that one can call.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for statement in statements:
        code = compile(ast.Module([statement.node], type_ignores=[]), f"cell {statement.cell}", "exec")
        exec(code, namespace)  # the student's own code, in its sandbox
    function = namespace.get(name)
    if function is None:
        raise Unusable("not solved")
    if not callable(function):
        raise Unusable(f"{name} is a {type(function).__name__}, not a function")
    return function

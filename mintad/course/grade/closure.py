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

CELL = "cell "  # how the names of the files begin that tracebacks show
DEFINES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
IMPORTS = ast.Import | ast.ImportFrom
COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}  # as symtable calls them
STAR = "*"  # what "from math import *" binds: nobody knows


class Unusable(Exception):
    """Raised where a notebook has no function for an exercise; the message is for the student."""


@dataclass
class Statement:
    """A top-level statement of a notebook, its cell, and the names of the notebook's own namespace in it.

    It `binds` or `changes` some; those that it `replaces` do not depend on what they were before. It reads names `now`,
    when it is run, and others `later`, when the function that it defines is called.
    """

    node: ast.stmt
    cell: int
    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    replaces: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
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
    """Return what the name needs at the end of the notebook, and each of these statements where it stands.

    A function reads its names where it is called: at the end, or where another statement that is kept calls it.
    """
    imported = {one for s in statements if isinstance(s.node, IMPORTS) for one in s.binds}
    imported -= {one for s in statements if not isinstance(s.node, IMPORTS) for one in s.binds}
    todo, seen, kept = {(name, len(statements)), (STAR, len(statements))}, set(), set()
    while todo:
        wanted, end = one = todo.pop()
        seen.add(one)
        first = max((n for n in range(end) if wanted in statements[n].replaces), default=0)
        for n in range(first, end):
            statement = statements[n]
            # np.save(…) changes no module: else it and all that it saves would belong to every function that uses np.
            if wanted in statement.binds or (wanted in statement.changes and wanted not in imported):
                kept.add(n)
                todo |= ({(used, n) for used in statement.now} | {(used, end) for used in statement.later}) - seen
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
    for node in tree.body:
        nothing = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
        binds, changes = set(_bound(node)), set(_changed(node))
        yield Statement(node, cell, binds, changes, set(_replaced(node)), *_used(node), nothing)


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in the notebook's own namespace."""
    if isinstance(node, DEFINES):
        yield node.name
    elif isinstance(node, IMPORTS):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    for child in _same_namespace(node):
        yield from _bound(child)


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the names whose objects a statement changes: a.k = 3, a.k[0] = 3, a.append(3) alone on its line."""
    changed = None
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        changed = node
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        changed = node.value.func
    while isinstance(changed, ast.Attribute | ast.Subscript):
        changed = changed.value
    if isinstance(changed, ast.Name):
        yield changed.id
    for child in _same_namespace(node):
        yield from _changed(child)


def _same_namespace(node: ast.AST) -> Iterator[ast.AST]:
    others = DEFINES | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    if not isinstance(node, others) and not (isinstance(node, ast.AnnAssign) and node.value is None):
        yield from ast.iter_child_nodes(node)


def _replaced(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement certainly binds."""
    if isinstance(node, DEFINES | IMPORTS):
        yield from _bound(node)
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        todo = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
        while todo:
            target = todo.pop()
            if isinstance(target, ast.Name):
                yield target.id
            elif isinstance(target, ast.Tuple | ast.List):
                todo += target.elts
            elif isinstance(target, ast.Starred):
                todo.append(target.value)


def _used(node: ast.stmt) -> tuple[set[str], set[str]]:
    """Return the global names that a statement reads when it is run, and those that functions in it read later.

    A function inside an expression or a block may be called there, too, so its names are in both.
    """
    module = symtable.symtable(ast.unparse(node), "cell", "exec")
    now, later = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}, set()
    defined = isinstance(node, DEFINES) or isinstance(getattr(node, "value", None), ast.Lambda)
    todo = [(child, False) for child in module.get_children()]
    while todo:
        table, inside = todo.pop()
        function = inside or (table.get_type() == "function" and table.get_name() not in COMPREHENSIONS)
        names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        later |= names if function else set()
        now |= names if not function or not defined else set()
        todo += [(child, function) for child in table.get_children()]
    return now, later


def execute(statements: list[Statement], name: str) -> Any:
    """Run the statements and return what they call `name`; whatever they raise goes through.

    Raises:
        Unusable: it is nothing that one can call.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for statement in statements:
        code = compile(ast.Module([statement.node], type_ignores=[]), f"{CELL}{statement.cell}", "exec")
        exec(code, namespace)  # the student's own code, in its sandbox
    function = namespace.get(name)
    if function is None:
        raise Unusable("not solved")
    if not callable(function):
        raise Unusable(f"{name} is a {type(function).__name__}, not a function")
    return function

"""Where the exercises of a notebook are: their cells, their checks, their stars."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

HEADING = re.compile(r"^### Exercise (?P<number>\d+) · (?P<title>.+) \((?P<stars>★{1,3}), \d+ min\)$", re.MULTILINE)
UNSOLVED = re.compile(r"^(?P<name>[A-Za-z_]\w*) = None  # replace by your \w+$", re.MULTILINE)
CHECKS = re.compile(r"from mintad\.course\.checks import (?P<module>\w+) as checks")


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook.

    Args:
        name: what the student defines, for example "fuse".
        check: module and name of its check, for example "features.fuse".
        title: of its heading.
        stars: 1 to 3, how hard it is.
        cell: index of the notebook's cell that asks for it.
    """

    name: str
    check: str
    title: str
    stars: int
    cell: int


def exercises_of(notebook: dict[str, Any]) -> list[Exercise]:
    """Return the exercises of a notebook of the series, in its order.

    An exercise is a cell with the line "NAME = None  # replace by your function" and a call of its check; the heading
    above says the title and the stars.

    Raises:
        ValueError: a cell asks for a function and checks none, or checks two.
    """
    found, module, heading = [], "", None
    for n, cell in enumerate(notebook["cells"]):
        source = source_of(cell)
        if cell["cell_type"] == "markdown":
            heading = [heading, *HEADING.finditer(source)][-1]
        elif cell["cell_type"] == "code":
            imported = CHECKS.search(source)
            module = imported["module"] if imported else module
            asked = UNSOLVED.search(source)
            if asked:
                called = [name for name, _ in check_calls(source)]
                if len(called) != 1 or heading is None:
                    raise ValueError(f"cell {n} asks for '{asked['name']}': it needs a heading above and one check")
                check, title = f"{module}.{called[0]}", heading["title"]
                found.append(Exercise(asked["name"], check, title, len(heading["stars"]), n))
    return found


def check_calls(source: str) -> list[tuple[str, ast.Call]]:
    """Return the calls of checks in a cell: what stands after "check_", and the call."""
    calls = []
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr.startswith("check_"):
            calls.append((called.attr.removeprefix("check_"), node))
    return calls


def source_of(cell: dict[str, Any]) -> str:
    """Return a cell's text; notebooks keep it as a string or as a list of lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])

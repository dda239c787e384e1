"""The package's structure: imports go one way, the root stays small, every wing says what it is."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import mintad

ROOT = Path(mintad.__file__).parent
LAYERS = (
    ("errors",),
    ("registry", "threads", "progress", "disk"),
    ("lock",),
    ("config", "data"),
    ("features",),
    ("model",),
    ("training",),
    ("scoring",),
    ("baselines",),
    ("plots",),
    ("runs",),
    ("export",),
    ("sweep",),
    ("report",),
    ("course",),
    ("cli",),
    ("__main__",),
)
"""The way of the data, then the three doors. A part imports from earlier layers and from itself alone."""
LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}


def part_of(file: Path) -> str:
    inside = file.relative_to(ROOT)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imports(file: Path):
    """Parts of mintad that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "mintad":
            path = node.module.split(".")[1:]
            yield from [path[0]] if path else [alias.name for alias in node.names if alias.name in LEVEL]
        elif isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
            yield from (path[1] for path in paths if path[0] == "mintad" and len(path) > 1)


FILES = sorted(file for file in ROOT.rglob("*.py") if file.parent != ROOT or file.stem != "__init__")


def test_every_part_has_its_layer():
    assert {part_of(file) for file in FILES} == set(LEVEL)


@pytest.mark.parametrize("part", LEVEL)
def test_imports_go_one_way(part):
    for file in FILES:
        if part_of(file) == part:
            for target in set(imports(file)) - {part}:
                assert LEVEL[target] < LEVEL[part], f"{file.relative_to(ROOT)} imports mintad.{target}"


def test_modules_import_each_other_without_a_circle():
    graph = {}
    for file in FILES:
        name = ".".join(["mintad", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        targets = set()
        for node in ast.parse(file.read_text(encoding="utf-8")).body:  # at the top of the module
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mintad"):
                targets.add(node.module)
                targets |= {f"{node.module}.{alias.name}" for alias in node.names}
        graph[name] = targets
    graph = {name: {target for target in targets if target in graph} for name, targets in graph.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' -> '.join((*above[above.index(name) :], name))}"
        if name not in done:
            for target in graph[name]:
                visit(target, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_fewer_than_ten_modules_lie_at_the_root():
    assert len(list(ROOT.glob("*.py"))) < 10


@pytest.mark.parametrize("wing", [info.name for info in pkgutil.iter_modules([str(ROOT)]) if info.ispkg])
def test_every_wing_says_what_it_is(wing):
    assert importlib.import_module(f"mintad.{wing}").__doc__


def test_one_module_opens_pictures():
    """Elsewhere the list of decoders, the bounds and the refusal of pipes would be forgotten."""
    assert [file for file in FILES if "Image.open(" in file.read_text(encoding="utf-8")] == [ROOT / "data/images.py"]

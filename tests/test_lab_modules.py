"""The lab's table of modules is what notebooks import."""

from __future__ import annotations

import re
from pathlib import Path

from mintad.course import lab

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
IMPORT = re.compile(r"from mintad\.course\.lab(?: import ([\w, ]+)|\.(\w+) import)")


def test_the_table_names_every_module_and_the_notebooks_that_import_it():
    table = {
        module: set(numbers.split(", ")) for module, numbers in re.findall(r"\| `(\w+)` \| ([\d, ]+) \|", lab.__doc__)
    }
    assert set(table) == {path.stem for path in Path(lab.__file__).parent.glob("*.py")} - {"__init__"}
    imported: dict[str, set[str]] = {module: set() for module in table}
    for path in NOTEBOOKS.glob("*.ipynb"):
        for names, module in IMPORT.findall(path.read_text(encoding="utf-8")):
            for name in (names or module).split(", "):
                imported[name].add(path.name[:2])
    assert table == imported

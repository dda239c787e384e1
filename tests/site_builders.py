"""A small made-up repository with a series of two notebooks, for the tests of the site."""

from __future__ import annotations

from pathlib import Path

import nbformat

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
DRAW = """def draw(width, shape, filled):
    state = f"width {width}, {shape}, {'full' if filled else 'empty'}"
    title = f"{state} & long enough to need a second line on a telephone"
    names = "a", "b, and the name of this row is wider than a telephone when it stands beside a bar"
    return plots.bars(dict(zip(names, (width, 3.0))), title=title, unit="metres along the longest side of the part")
"""
CELLS = (
    "from mintad import plots\nfrom mintad.course import notebook\nfrom mintad.course.widgets import panel",
    "notebook.setup()",
    DRAW + '\ndraw(8, "round", True)',
    'panel(draw, width=[8, 16, 32], shape=["round", "square"], filled=True)',
    "from pathlib import Path\nprint(Path('x.png').resolve(), Path.cwd().parent)",
    "panel(lambda times: draw(times, 'round', True) if times == 2 else '</script>' * times, times=[1, 2, 3])",
)
FIRST = """# 01 · First & foremost

Does a panel *move*?

| | |
|---|---|
| **Time** | reading 25 min |

[next](02_second.ipynb), [package](../README.md#b--c), [code](../tool.py), [its folder](../part),
[nothing](../missing.md), [hidden](../.secret.md), [outside](../../outside.md), [elsewhere](https://example.org/),
$\\hat{x}^2$
"""
SECOND = "# 02 · <i>slant</i>\n\nAnd `x < 1`?\n\n## Part"
README = """# Made up

## B & *c*

[first](notebooks/01_first.ipynb), [table](part/table.csv), [x](#made-up)

* a table in a list:

  | a | b |
  |---|---|
  | 1 | [x](#made-up) |

![here](part/dot.png) ![gone](gone.png)
"""


def repository(folder: Path) -> Path:
    """Write the repository and return its folder of notebooks."""
    notebooks = folder / "repository" / "notebooks"
    notebooks.mkdir(parents=True)
    root = notebooks.parent
    (root / "part").mkdir()
    (folder / "outside.md").write_text("# Outside")
    (root / ".secret.md").write_text("# Secret")
    (root / "README.md").write_text(README)
    (root / "part/dot.png").write_bytes(b"dot")
    (root / "tool.py").write_text("import this  # <b>\n")
    (root / "part/README.md").write_text("# Part\n\n[back](../README.md#b--c)")
    (root / "part/table.csv").write_text("a,b\n1,2\n")
    (notebooks / "SYMBOLS.md").write_text("# Symbols\n\n$x$ in [01](01_first.ipynb)")
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    first, second = [markdown(FIRST), *map(code, CELLS)], [markdown(SECOND), markdown("## Part")]
    for name, cells in (("01_first", first), ("02_second", second)):
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), notebooks / f"{name}.ipynb")
    return notebooks

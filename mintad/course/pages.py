"""The notebook series as HTML pages that need no network, for `mintad notebooks pages`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import nbformat
from latex2mathml.converter import convert as to_mathml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from plotly.offline import get_plotlyjs

from mintad.course.notebook import RENDERER
from mintad.disk import write
from mintad.errors import MintadError

FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?!\w)", re.DOTALL)
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
SYMBOLS = "SYMBOLS"  # the page beside the notebooks that they link to
WIDGET = "application/vnd.jupyter.widget-view+json"
HEAD = """<script src="plotly.min.js"></script>
<style>.jp-RenderedMarkdown pre{margin-bottom:1em}</style>
</head>"""
INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>mintad</title>
<style>body{{font:17px/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}</style>
<h1>mintad · the notebook series</h1>
<p>Executed notebooks with their figures. All but the sliders works without a network or a kernel.</p>
<ol start="0" style="list-style:none;padding:0">{items}</ol></html>"""


def build(source: Path, target: Path, *, names: Sequence[str] = (), timeout: int = 1800) -> list[Path]:
    """Execute the notebooks in a folder and write them as HTML pages with an index; return the pages.

    The page of symbols, where there is one, is written with them.

    `names` are beginnings of notebook names ('01', '07_inr'), all if empty; `timeout` is in seconds, for one cell.

    Raises:
        MintadError: there is no such notebook, or one fails; the message names it and its error.
    """
    notebooks = sorted(path for path in source.glob("*.ipynb") if not names or path.name.startswith(tuple(names)))
    if not notebooks:
        raise MintadError(f"no notebook in {source}" + (f" begins with {', '.join(names)}" if names else ""))
    target.mkdir(parents=True, exist_ok=True)
    write(target / "plotly.min.js", get_plotlyjs())
    pages = [target / f"{path.stem}.html" for path in notebooks]
    for path, page in zip(notebooks, pages, strict=True):
        began = time.perf_counter()
        write(page, render(path, timeout=timeout))
        print(f"{page}  {time.perf_counter() - began:.0f} s", flush=True)
    symbols = source / f"{SYMBOLS}.md"
    if symbols.exists():
        cell = nbformat.v4.new_markdown_cell(symbols.read_text(encoding="utf-8"))
        write(target / f"{SYMBOLS}.html", _page(nbformat.v4.new_notebook(cells=[cell]), "Symbols and equations"))
    series = [path for path in sorted(source.glob("[0-9][0-9]_*.ipynb")) if (target / f"{path.stem}.html").exists()]
    items = "".join(f'<li><a href="{quote(path.stem)}.html">{escape(_title(path))}</a></li>' for path in series)
    write(target / "index.html", INDEX.format(items=items))
    return pages


def render(path: Path, *, timeout: int = 1800) -> str:
    """Execute a notebook in its folder and return its page, which needs plotly.min.js beside it; see `build`."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute(env=os.environ | {RENDERER: "pages"})
    except CellExecutionError as error:
        raise MintadError(f"{path} fails: {error}") from error
    return _page(notebook, _title(path))


def _page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Return the page of a notebook with its outputs."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = formulas(cell.source).replace(".ipynb)", ".html)")
            cell.source = text.replace(f"({SYMBOLS}.md)", f"({SYMBOLS}.html)")
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", {}):  # it does nothing without a kernel
                output["data"] = {"text/html": "<em>Sliders work in the live notebook.</em>"}
    notebook.metadata.pop("widgets", None)
    no_scripts = {"require_js_url": "", "mathjax_url": "", "mermaid_js_url": ""}
    exporter = HTMLExporter(**no_scripts, exclude_input_prompt=True, exclude_output_prompt=True)
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return page.replace("</head>", HEAD, 1)


def formulas(markdown: str) -> str:
    """Replace LaTeX between dollars by MathML, which browsers draw themselves; code is left alone."""

    def mathml(match: re.Match[str]) -> str:
        return to_mathml(match[match.lastgroup].strip(), display=match.lastgroup)

    parts = CODE.split(markdown)  # every second part is code
    return "".join(part if n % 2 else FORMULA.sub(mathml, part) for n, part in enumerate(parts))


def _title(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].lstrip("# ")

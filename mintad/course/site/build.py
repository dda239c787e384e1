"""The whole site, for `mintad notebooks pages`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from plotly.offline import get_plotlyjs

from mintad.course.site.execute import executed
from mintad.course.site.links import Links
from mintad.course.site.page import chapter, document_page, index_page, notebook_page, style
from mintad.course.site.panels import META
from mintad.disk import write
from mintad.errors import MintadError
from mintad.plots.model_map import model_map

SCRIPT = Path(__file__).parent / "templates" / "site.js"
DOCUMENTS = (  # beside the series, in the index where they exist
    ("notebooks/SYMBOLS.md", "Symbols and equations"),
    ("README.md", "The package"),
    ("toy/README.md", "The toy in the plane"),
    ("data/results/README.md", "What was measured"),
    ("data/results/class_awareness.md", "Measured: does knowing the class help?"),
    ("data/results/sharing_one_model.md", "Measured: what does sharing one model cost?"),
    ("data/results/densities.md", "Measured: the sharp prior, recentred features, baselines"),
    ("data/results/decisions.md", "Measured: decisions"),
    ("data/results/class_token.md", "Measured: the class token"),
    ("data/README.md", "Data sets, and your own images"),
    ("notebooks/ENGINEER.md", "For the engineer: from your pictures to decisions"),
    ("notebooks/INSTRUCTOR.md", "For the instructor"),
)


def build(
    source: Path, target: Path, *, names: Sequence[str] = (), timeout: int = 1800, repository: str = ""
) -> list[Path]:
    """Execute the notebooks in a folder and write the site: their pages, an index, and the documents that they link to.

    `names` are beginnings of notebook names ('01', '07_inr'), all if empty; pages of others that are there stay.
    `timeout` is in seconds, for one cell. With the `repository` on GitHub, OWNER/NAME, each notebook's page links to
    Binder. Returns the pages of the executed notebooks.

    Raises:
        MintadError: the repository is no OWNER/NAME.
        MintadError: there is no such notebook, or one fails; the message names it and its error.
    """
    every = sorted(source.glob("*.ipynb"))
    chosen = [path for path in every if not names or path.name.startswith(tuple(names))]
    if not chosen:
        raise MintadError(f"no notebook in {source}" + (f" begins with {', '.join(names)}" if names else ""))
    target.mkdir(parents=True, exist_ok=True)
    made = [path for path in every if path in chosen or (target / f"{path.stem}.html").exists()]
    links = Links(source, [path.name for path in made], repository)
    chapters = [chapter(path, f"{path.stem}.html") for path in made]
    for name, content in (
        ("plotly.min.js", get_plotlyjs()),
        ("site.js", SCRIPT.read_text("utf-8")),
        ("style.css", style()),
    ):
        write(target / name, content)
    pages = [target / f"{path.stem}.html" for path in chosen]
    for path, page in zip(chosen, pages, strict=True):
        began = time.perf_counter()
        notebook = executed(path, timeout=timeout)
        seconds = time.perf_counter() - began
        write(page, notebook_page(notebook, path, links, chapters, made.index(path)))
        print(f"{page}  {seconds:.0f} s  {page.stat().st_size / 1e6:.1f} MB{_panels(notebook)}", flush=True)
    documents = [(links.address(links.root / name), title) for name, title in DOCUMENTS]
    written: set[Path] = set()
    while missing := [file for file in links.wanted if file not in written]:
        for file in missing:  # pages of documents may want further ones
            write(target / links.address(file), document_page(file, links))
            written.add(file)
    write(target / "index.html", index_page(chapters, [each for each in documents if each[0]], model_map()))
    return pages


def _panels(notebook: nbformat.NotebookNode) -> str:
    """Say what a notebook's panels cost."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    panels = [
        (output.metadata[META], output.data["text/html"]) for output in outputs if META in output.get("metadata", {})
    ]
    return "".join(
        f"; panel: {told['states']} of {told['combinations']} states, {told['seconds']:.1f} s, {len(html) / 1e3:.0f} kB"
        for told, html in panels
    )

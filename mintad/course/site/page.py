"""Notebooks, documents and source files as HTML pages, from templates/."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape, unescape
from pathlib import Path

import nbformat
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from mistune.plugins.table import table_in_list
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

from mintad.course.site.formulas import formulas
from mintad.course.site.links import Links

LONGEST_SHOWN = 15  # lines of a code cell that is open at first
HEADING = re.compile(r"<h([1-6]) id=\"[^\"]*\">(.*?)<a class=\"anchor-link\".*?</a></h\1>", re.DOTALL)
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
FORMULA_TAG = re.compile(r'</?m[a-z]+(?: (?!on|href)[a-z]+="[^"]*")*/?>')
"""A tag of MathML as `mintad.course.site.formulas` writes it, in which no script can stand."""


@dataclass(frozen=True)
class Chapter:
    """A notebook of the series, as the index shows it."""

    address: str
    title: str
    question: str
    minutes: str  # of reading; empty where the notebook gives none

    @property
    def number(self) -> str:
        """The title's part before the dot."""
        return self.title.partition(" · ")[0]


def chapter(path: Path, address: str) -> Chapter:
    """Read title, question and minutes from a notebook's first cell."""
    cells = nbformat.read(path, as_version=4).cells
    paragraphs = (cells[0].source if cells else path.stem).split("\n\n")
    minutes = re.search(r"reading (\d+) min", "\n".join(paragraphs))
    question = paragraphs[1].strip() if len(paragraphs) > 1 else ""
    return Chapter(address, paragraphs[0].splitlines()[0].lstrip("# "), question, minutes[1] if minutes else "")


def notebook_page(
    notebook: nbformat.NotebookNode, source: Path, links: Links, chapters: Sequence[Chapter], here: int
) -> str:
    """Return the page of an executed notebook, the chapter number `here` of the series."""
    anchors: Counter[str] = Counter()
    cells = [_cell(cell, source, links, anchors) for cell in notebook.cells if cell.cell_type != "raw"]
    neighbours = {"before": chapters[here - 1] if here else None, "after": (*chapters, None)[here + 1]}
    return _filled(cells, chapters[here].title, live=links.binder(source), **neighbours)


def document_page(file: Path, links: Links) -> str:
    """Return the page of a Markdown file, or of another text with its syntax in colour."""
    text = file.read_text(encoding="utf-8", errors="replace")
    name = str(file.relative_to(links.root))
    if file.suffix != ".md":
        try:
            lexer = get_lexer_for_filename(file.name)
        except ClassNotFound:
            lexer = TextLexer()
        body = f"<h1>{escape(name)}</h1>" + highlight(text, lexer, HtmlFormatter())
        return _filled([{"kind": "text", "html": Markup(body)}], name, before=None, after=None)
    title = re.search(r"^# +(.+)$", text, re.MULTILINE)
    cell = {"kind": "text", "html": Markup(_prose(text, file, links, Counter()))}
    return _filled([cell], title[1] if title else name, before=None, after=None)


def index_page(chapters: Sequence[Chapter], documents: Sequence[tuple[str, str]], picture: str) -> str:
    """Return the index: the series as a map, the model's picture (SVG), and other pages as (address, title)."""
    rows = [(each, Markup(_prose_inline(each.question))) for each in chapters]
    return _template("index.html.j2").render(rows=rows, documents=documents, picture=Markup(picture))


def style() -> str:
    """Return the site's style sheet."""
    return _template("style.css").render(syntax=Markup(HtmlFormatter().get_style_defs(".highlight")))


def _filled(cells: Sequence[dict], title: str, live: str = "", **neighbours: Chapter | None) -> str:
    headings = [
        (int(level), address, Markup(re.sub(r"</?a\b[^>]*>", "", text)))
        for cell in cells
        for level, address, text in re.findall(r'<h([23]) id="([^"]*)">(.*?)<a class="anchor"', cell.get("html", ""))
    ]
    return _template("page.html.j2").render(cells=cells, title=title, headings=headings, live=live, **neighbours)


def _cell(cell: nbformat.NotebookNode, source: Path, links: Links, anchors: Counter[str]) -> dict:
    if cell.cell_type == "markdown":
        return {"kind": "text", "html": Markup(_prose(cell.source, source, links, anchors))}
    lines = len(cell.source.splitlines())
    code = Markup(highlight(cell.source, PythonLexer(), HtmlFormatter()))
    outputs = [Markup(links.from_the_root(_output(output))) for output in cell.get("outputs", ())]
    return {"kind": "code", "code": code, "lines": lines, "open": lines <= LONGEST_SHOWN, "outputs": outputs}


def _output(output: nbformat.NotebookNode) -> str:
    """Return an output's HTML: the richest form that a browser shows by itself."""
    if output.output_type == "stream":
        return f"<pre>{ansi2html(output.text)}</pre>"
    data = output.get("data", {})
    if "text/html" in data:
        return data["text/html"]
    if WIDGET in data:
        return "<p><em>This works in the live notebook alone.</em></p>"
    for kind in PICTURES:
        if kind in data:
            inline = base64.b64encode(data[kind].encode()).decode() if kind == PICTURES[0] else data[kind].strip()
            return f'<img alt="" src="data:{kind};base64,{inline}">'
    return f"<pre>{escape(data.get('text/plain', ''))}</pre>"


def _prose(markdown: str, source: Path, links: Links, anchors: Counter[str]) -> str:
    """Return Markdown as HTML with formulas, links inside the site, headings with GitHub's anchors, and wide tables.

    `anchors` counts those of the page; it is changed.
    """

    def heading(match: re.Match[str]) -> str:
        name = _slug(match[2])
        anchors[name] += 1
        name += f"-{anchors[name] - 1}" if anchors[name] > 1 else ""
        anchor = f'<a class="anchor" href="#{name}" aria-label="link to this section">#</a>'
        return f'<h{match[1]} id="{name}">{match[2]}{anchor}</h{match[1]}>'

    html = HEADING.sub(heading, _html(formulas(markdown)))
    html = html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return links.inside(html, source)


class _TextAndFormulas(IPythonRenderer):
    """Shows HTML that stands in Markdown as text, but for formulas: the index is nobody's own page."""

    def inline_html(self, html: str) -> str:
        return html if FORMULA_TAG.fullmatch(html) else escape(html)

    def block_html(self, html: str) -> str:
        return escape(html)


def _prose_inline(markdown: str) -> str:
    return re.sub(r"</?(p|a)\b[^>]*>", "", _html(formulas(markdown), _TextAndFormulas(escape=False)))


def _html(markdown: str, renderer: IPythonRenderer | None = None) -> str:
    converter = MarkdownWithMath(renderer=renderer or IPythonRenderer(escape=False))
    table_in_list(converter)  # which nbconvert leaves out
    return converter.render(markdown)


def _slug(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    text = unescape(re.sub(r"<[^>]+>", "", heading)).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@lru_cache
def _template(name: str) -> Template:
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return Environment(loader=PackageLoader(__package__), autoescape=True, **options).get_template(name)

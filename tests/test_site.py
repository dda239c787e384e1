"""The site of the series: pages, links, and panels whose states were computed when the pages were made."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
import yaml
from grade_builders import FOLDER
from hypothesis import given
from hypothesis import strategies as st
from site_builders import DRAW, repository
from typer.testing import CliRunner

from mintad import plots
from mintad.cli import app
from mintad.course.site import build as building
from mintad.course.site.build import build
from mintad.course.site.formulas import formulas
from mintad.course.site.links import Links
from mintad.course.site.mode import RENDERER
from mintad.course.site.page import Chapter, chapter, index_page, notebook_page
from mintad.course.site.panels import MOST_STATES, still_panel, thinned
from mintad.course.widgets import panel
from mintad.errors import MintadError


class Reader(HTMLParser):
    """What a page points to, and the places that one can point to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.places = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get("id"))
        self.links += [(tag, attributes[key]) for key in ("href", "src") if key in attributes]


def dead_links(folder: Path) -> list[tuple[str, str]]:
    pages = {page.name: Reader(page) for page in folder.glob("*.html")}
    dead = []
    for name, page in pages.items():
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data" or (tag == "a" and parts.scheme in ("http", "https")):
                continue
            target = unquote(parts.path) or name
            if parts.scheme or not (folder / target).is_file():
                dead.append((name, link))
            elif parts.fragment and parts.fragment not in pages[target].places:
                dead.append((name, link))
    return dead


def test_no_link_is_dead_and_all_files_are_pages(site):
    assert not dead_links(site)
    assert {page.stem for page in site.glob("*.html")} == {
        *("index", "01_first", "02_second", "SYMBOLS"),
        *("README", "tool.py", "part-README", "part-table.csv"),
    }


def test_a_link_to_what_is_not_published_is_plain_text(site):
    links = [link for _, link in Reader(site / "01_first.html").links]
    assert "https://example.org/" in links and "README.html#b--c" in links and "part-README.html" in links
    text = (site / "01_first.html").read_text()
    assert all(f" {word}" in text.replace("\n", " ") for word in ("nothing", "hidden", "outside"))
    assert not re.search("missing|secret|outside.html", " ".join(links))


def test_a_page_holds_its_pictures(site):
    assert [link for tag, link in Reader(site / "README.html").links if tag == "img"] == [
        "data:image/png;base64,ZG90",
        "data:,",
    ]


@pytest.fixture(scope="module")
def whole_series(tmp_path_factory):
    """The site of the repository itself, its notebooks not executed."""
    folder = tmp_path_factory.mktemp("series")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "executed", lambda path, timeout: nbformat.read(path, as_version=4))
        build(FOLDER, folder)
    return folder


def test_no_link_of_the_series_is_dead(whole_series):
    assert not dead_links(whole_series)
    for source in FOLDER.glob("*.ipynb"):
        text = "".join(
            cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "markdown"
        )
        asked, found = re.findall(r"\]\(([^)]+)\)", text), Reader(whole_series / f"{source.stem}.html").links
        assert len([link for tag, link in found if tag == "a"]) >= len(asked), (
            f"{source.name}: a link became plain text"
        )


def test_the_index_is_a_map_of_the_series(whole_series):
    index = (whole_series / "index.html").read_text()
    for source in FOLDER.glob("*.ipynb"):
        first = nbformat.read(source, as_version=4).cells[0].source
        minutes = re.search(r"reading (\d+) min", first)[1]
        assert f'href="{source.stem}.html"' in index and f"{minutes} min" in index
    assert 'href="SYMBOLS.html"' in index and "<svg" in index and "README.html" in index


def test_the_page_of_symbols_has_its_formulas(whole_series):
    page = (whole_series / "SYMBOLS.html").read_text()
    assert page.count('display="block"') == 9 and 'href="06_class_tokens.html"' in page
    assert "\\" not in re.sub(r"<script.*?</script>", "", page.partition("<body")[2], flags=re.DOTALL)


def test_pages_are_chained_and_have_contents(site):
    first, second = ((site / f"{name}.html").read_text() for name in ("01_first", "02_second"))
    assert 'rel="next" href="02_second.html"' in first and 'rel="prev"' not in first
    assert 'rel="prev" href="01_first.html"' in second and 'rel="next"' not in second
    assert 'href="#part"' in second and 'href="#part-1"' in second, "two headings of the same name have two places"


def test_titles_and_outputs_are_shown_as_text(site):
    index, page = (site / "index.html").read_text(), (site / "01_first.html").read_text()
    assert "&lt;i&gt;slant" in index and "First &amp; foremost" in index and "25 min" in index
    assert "Does a panel <em>move</em>?" in index and "<code>x &lt; 1</code>" in index
    assert all(text in (site / "tool.py.html").read_text() for text in ('class="kn"', "&lt;b&gt;"))
    assert page.count("</script>") == page.count("<script"), "no text in a panel ends its script"


def test_the_index_runs_nothing_of_a_notebook(tmp_path):
    text = "# 01 · <img src=x onerror=run()>\n\nWhy <b onclick=run()> $a < b_1$?</b> <script>run()</script>"
    path = tmp_path / "01.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), path)
    blocks = Chapter("02.html", "02", '<script>run()</script>\n<marquee onstart="run()">', "")
    index = index_page([chapter(path, "01.html"), blocks], [], "")
    own = index[index.index('<ol class="map">') : index.index("</ol>")]
    assert not re.search(r"<(img|b |script|marquee)", own), own
    assert own.count("run()") == 5 and "<mo>&lt;</mo>" in own and "</msub></mrow></math>?" in own, "formulas are drawn"


def test_a_page_says_nothing_of_the_machine_that_made_it(site):
    page = (site / "01_first.html").read_text()
    assert "notebooks/x.png ." in page and str(site.parent) not in page


def test_a_table_in_a_list_is_a_table(site):
    assert re.search(r"<li>.*<table>.*</table>.*</li>", (site / "README.html").read_text(), re.DOTALL)


def test_pages_of_other_notebooks_stay_when_one_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "executed", lambda path, timeout: nbformat.read(path, as_version=4))
    notebooks = repository(tmp_path)
    build(notebooks, tmp_path / "site", names=["01"])
    first = (tmp_path / "site/01_first.html").read_text()
    assert "02_second.html" not in first and not dead_links(tmp_path / "site")
    assert build(notebooks, tmp_path / "site", names=["02"]) == [tmp_path / "site/02_second.html"]
    assert (tmp_path / "site/01_first.html").read_text() == first
    assert all(f"{name}.html" in (tmp_path / "site/index.html").read_text() for name in ("01_first", "02_second"))


@pytest.mark.parametrize("address", ["owner/some.name", ""])
def test_a_page_links_to_binder_where_the_repository_has_an_address(tmp_path, monkeypatch, address):
    monkeypatch.setattr(building, "executed", lambda path, timeout: nbformat.read(path, as_version=4))
    monkeypatch.setenv("GITHUB_REPOSITORY", address)
    result = CliRunner().invoke(app, ["notebooks", "pages", str(repository(tmp_path)), str(tmp_path / "site")])
    assert result.exit_code == 0, result.output
    found = {
        page.name: link
        for page in (tmp_path / "site").glob("*.html")
        for _, link in Reader(page).links
        if "binder" in link
    }
    expected = f"https://mybinder.org/v2/gh/{address}/HEAD?labpath=notebooks%2F"
    assert found == {f"{n}.html": f"{expected}{n}.ipynb" for n in ("01_first", "02_second") if address}


@pytest.mark.parametrize("address", ["https://github.com/a/b", "a", "a/b/c", "a/.."])
def test_an_address_that_is_none_is_refused(tmp_path, address):
    with pytest.raises(MintadError, match=f"'{re.escape(address)}' is not a repository.*OWNER/NAME"):
        build(repository(tmp_path), tmp_path / "site", repository=address)


def test_binder_finds_the_package_in_the_environment():
    """repo2docker installs environment.yml from the root, after it has copied the repository that "-e ." needs."""
    root = FOLDER.parent
    parts = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    (by_pip,) = [part["pip"] for part in parts if isinstance(part, dict)]
    assert by_pip == ["-e .[dev]"] and not [name for name in ("binder", ".binder") if (root / name).exists()]


def test_two_files_do_not_share_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "executed", lambda path, timeout: nbformat.read(path, as_version=4))
    notebooks = repository(tmp_path)
    (notebooks.parent / "part-README.md").write_text("# Another")
    with (notebooks.parent / "README.md").open("a") as file:
        file.write("[another](part-README.md)")
    with pytest.raises(MintadError, match="part-README.md and .*part/README.md"):
        build(notebooks, tmp_path / "site")


def test_a_widget_of_someone_else_says_where_it_works():
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox(children=())"}
    cell = nbformat.v4.new_code_cell("box", outputs=[nbformat.v4.new_output("display_data", view)])
    text = notebook_page(
        nbformat.v4.new_notebook(cells=[cell]),
        FOLDER / "x.ipynb",
        Links(FOLDER, []),
        [Chapter("x.html", "x", "", "")],
        0,
    )
    assert "live notebook" in text and "VBox" not in text


def test_a_failing_notebook_is_named(tmp_path):
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('raise ValueError("a broken cell")')])
    nbformat.write(broken, tmp_path / "02_second.ipynb")
    with pytest.raises(MintadError, match="02_second.ipynb.*"):
        build(tmp_path, tmp_path / "site", names=["02"])


def test_formulas_become_mathml_and_code_stays():
    text = formulas("The loss $x^2$ and `a$b$`, costs 5$ and $$\\frac{a}{b}$$ end")
    assert text.count("<math") == 2 and "`a$b$`" in text and "costs 5$ and" in text
    assert re.search(r'display="block".*<mfrac>', text)
    assert "&#x0005E;" not in formulas(r"$\hat f$"), "a caret floats far above its letter"
    assert re.search("<mspace[^>]*/><mi>log</mi><mspace", formulas(r"$2\log\pi$")) and "mspace" not in formulas(
        r"$\log(x)$"
    )


def content(html: str) -> dict:
    """What a panel's element holds, with all parts in their places."""
    held = json.loads(re.fullmatch(r"<\w+ [^>]*><script[^>]*>(.*)</script></\w+>", html, re.DOTALL)[1])

    def whole(value):
        if isinstance(value, dict):
            return whole(held["parts"][value["$part"]]) if "$part" in value else {k: whole(v) for k, v in value.items()}
        return [whole(item) for item in value] if isinstance(value, list) else value

    return held | {"states": whole(held["states"])}


def test_the_states_of_a_panel_are_what_the_live_panel_draws(site):
    space = {"plots": plots}
    exec(DRAW, space)
    html = next(
        h
        for h in re.findall(r'<section class="panel">.*?</section>', (site / "01_first.html").read_text())
        if "round" in h
    )
    held = content(html)
    values = itertools.product([8, 16, 32], ["round", "square"], [False, True])
    for state, (width, shape, filled) in zip(held["states"], values, strict=True):
        live = json.loads(space["draw"](width, shape, filled).to_json())
        live["layout"].pop("template"), state["figure"]["layout"].pop("template")
        assert state["figure"] == live
    assert [(c["kind"], c["values"], c["start"]) for c in held["controls"]] == [
        ("slider", ["8", "16", "32"], 0),
        ("menu", ["round", "square"], 0),
        ("check", ["False", "True"], 1),
    ]


def test_tables_and_text_are_states_too():
    class Shown:
        def _repr_html_(self):
            return "<b>table</b>"

    held = content(still_panel(lambda n: Shown() if n else "a < b", {"n": [0, 1]}).html)
    assert held["states"] == [{"text": "a < b"}, {"html": "<b>table</b>"}]


def test_what_states_share_is_stored_once():
    picture = np.random.default_rng(0).random((60, 60))
    few, many = (
        still_panel(lambda n: go.Figure(go.Heatmap(z=picture), {"title": f"{n}"}), {"n": range(k)}) for k in (2, 40)
    )
    assert len(many.html) < 1.2 * len(few.html)


SIZES = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=3)


@given(SIZES, st.integers(8, 100))
def test_a_panel_on_a_page_has_few_states_and_keeps_the_ends(sizes, most):
    offered = {f"c{n}": [f"{k}" if menu else k for k in range(size)] for n, (size, menu) in enumerate(sizes)}
    kept = thinned(offered, most)
    assert np.prod([len(values) for values in kept.values()]) <= most
    for name, values in kept.items():
        assert values == sorted(set(values), key=offered[name].index), "in order, none twice"
        assert len(offered[name]) < 2 or {values[0], values[-1]} == {offered[name][0], offered[name][-1]}
    if np.prod([size for size, _ in sizes]) <= most:
        assert kept == offered


def test_the_bound_holds_and_is_told():
    made = still_panel(lambda a, b: "x", {"a": range(30), "b": range(30)})
    assert made.states <= MOST_STATES and made.combinations == content(made.html)["combinations"] == 900


def test_a_panel_leaves_random_numbers_alone(monkeypatch):
    monkeypatch.setenv(RENDERER, "pages")

    def draw(seed):
        torch.manual_seed(seed)
        np.random.seed(seed)
        return f"{torch.rand(1)} {np.random.rand()}"

    torch.manual_seed(5), np.random.seed(5)
    expected = float(torch.rand(1)), np.random.rand()
    torch.manual_seed(5), np.random.seed(5)
    panel(draw, seed=[1, 2])
    assert (float(torch.rand(1)), np.random.rand()) == expected


def test_a_panel_that_fails_names_the_setting():
    with pytest.raises(ValueError, match="at noise = 0.*ZeroDivisionError"):
        still_panel(lambda noise: 1 / noise, {"noise": [1, 0]})


def test_the_workflow_publishes_what_make_makes():
    """It runs only on GitHub; here we see that its parts fit together."""
    workflow = yaml.safe_load((FOLDER.parent / ".github/workflows/pages.yml").read_text())
    makefile = (FOLDER.parent / "Makefile").read_text()
    steps = workflow["jobs"]["build"]["steps"]
    for target in next(step["run"] for step in steps if "run" in step).split()[1:]:
        assert re.search(f"^{target}: ", makefile, re.MULTILINE), target
    assert f"notebooks pages notebooks {steps[-1]['with']['path']}\n" in makefile
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.search(r"@v\d+$", action) for action in used) and used[-1].startswith("actions/deploy-pages@")
    assert workflow["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}

"""Pages of the site in a browser, from a disk and from a server: figures, panels that move, narrow windows."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import BROWSER, open_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
CAPTIONS = "[...document.querySelectorAll('figcaption')].map(title => title.textContent.split(' &')[0]).join('|')"
BARS = "[...document.querySelectorAll('#panel-0 .ytick')].map(tick => tick.textContent).join()"
DRAWN = "document.querySelectorAll('.js-plotly-plot').length === 2"
MENU = "document.querySelector('#panel-0 select')"
OTHER = "document.querySelector('#panel-1 input')"
SEEN = """[...document.querySelectorAll('#panel-0 .ytick text, #panel-0 .xtitle')].every(text => {
    const {left, right} = text.getBoundingClientRect();
    return left >= 0 && right <= innerWidth;
})"""
CAPTION = """fitted({data: [], layout: {width: 900, xaxis: {domain: [0, 0.4]}, xaxis2: {domain: [0.6, 1]},
    annotations: [{text: "a caption as long as four captions that are short"}]}}, %s).layout.annotations[0].text"""
LOADED = "performance.getEntriesByType('resource').map(entry => new URL(entry.name)).filter(url => url.host)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab for all tests; a browser takes seconds to start."""
    with open_page("about:blank", tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


def test_a_slider_moves_on_a_page_from_a_disk(tab, site):
    tab.call("Page.navigate", url=(site / "01_first.html").as_uri())
    tab.wait_for(DRAWN)
    assert tab.ask(CAPTIONS) == "width 8, round, full|width 8, round, full"
    tab.ask("document.querySelector('#panel-0 input[type=range]').focus()")
    tab.press("ArrowRight", 39)
    assert tab.ask(CAPTIONS).endswith("width 16, round, full")
    assert tab.ask("document.querySelector('#panel-0 output').textContent") == "16"
    tab.wait_for(f"{BARS}.includes('16')", 20)
    tab.ask(f"{MENU}.selectedIndex = 1; {MENU}.dispatchEvent(new Event('input'))")
    tab.ask("document.querySelector('#panel-0 input[type=checkbox]').click()")
    assert tab.ask(CAPTIONS) == "width 8, round, full|width 16, square, empty"
    for place, text, figures in (1, None, 1), (2, "</script>" * 3, 0), (0, "</script>", 0):  # figures and text in turn
        tab.ask(f"{OTHER}.value = {place}; {OTHER}.dispatchEvent(new Event('input'))")
        assert tab.ask("document.querySelector('#panel-1 pre')?.textContent ?? null") == text
        assert tab.ask("document.querySelectorAll('#panel-1 .js-plotly-plot').length") == figures
    assert not tab.ask("document.querySelector('.modebar-btn')"), "no toolbar over the figure"
    assert tab.ask(f"{LOADED}.length") == 0, "no network"


def test_a_state_has_an_address_on_a_server_and_a_telephone_shows_it(tab, site):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    tab.call("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/01_first.html?panel=0&state=10"
        tab.call("Page.navigate", url=address)
        tab.wait_for(f"location.protocol === 'http:' && {DRAWN}")
        assert tab.ask(CAPTIONS) == "width 8, round, full|width 32, square, empty"
        tab.ask("document.querySelector('#panel-0 input[type=checkbox]').click()")
        assert tab.ask("location.search") == "?panel=0&state=11"
        assert tab.ask("document.documentElement.scrollWidth <= 390"), "only boxes scroll sideways"
        assert tab.ask(SEEN), "names of rows and titles of axes are broken into lines"
        assert "<br>" in tab.ask(CAPTION % 300) and "<br>" not in tab.ask(CAPTION % 900)
        assert not tab.ask("document.querySelector('details.toc').open")
        assert tab.ask(f"{LOADED}.filter(url => url.host !== location.host).length") == 0
        server.shutdown()

"""A notebook as a person sees it: a slider moved in JupyterLab. For the pages of the site see test_site_browser."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from browser import BROWSER, free_port, open_page
from sweep_builders import quick_imports

CELLS = (
    "from mintad import plots\nfrom mintad.course import notebook\nnotebook.setup()",
    'def draw(width):\n    return plots.bars({"a": width}, title=f"width {width}", unit="m")\n\ndraw(8)',
    "from mintad.course.widgets import panel\npanel(draw, width=[8, 16, 32])",
)
FIGURES = "document.querySelectorAll('.js-plotly-plot').length"
TITLES = "[...document.querySelectorAll('.gtitle')].map(title => title.textContent).join('|')"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))
    cells = [
        nbformat.v4.new_markdown_cell("# 01 · Panel\n\n$x$ and [second](02_second.ipynb)"),
        *map(nbformat.v4.new_code_cell, CELLS),
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "01_panel.ipynb")
    return tmp_path


@pytest.fixture
def lab(folder):
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", "--allow-root"]
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=t", f"--ServerApp.root_dir={folder}"]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "s"),
    }
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token=t", timeout=5).close()
                    break
                assert time.monotonic() < end and server.poll() is None, (folder / "lab.log").read_text()[-2000:]
                time.sleep(0.3)
            yield f"http://127.0.0.1:{port}/lab/tree/01_panel.ipynb?token=t&reset"
        finally:
            server.terminate()
            server.wait(20)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_slider_moves_in_jupyterlab(lab, folder):
    with open_page(lab, folder / "profile") as page:
        page.wait_for("Boolean(window.jupyterapp && document.querySelector('.jp-Notebook .jp-CodeCell'))")
        kernel = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
        page.wait_for(f"{kernel}?.connectionStatus === 'connected' && {kernel}.status === 'idle'")
        page.ask("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for("Boolean(document.querySelector('.noUi-handle'))")
        page.wait_for(f"{FIGURES} === 1")
        page.ask("document.querySelector('.noUi-handle').focus()")
        page.press("ArrowRight", 39)
        page.wait_for(f"{TITLES}.includes('width 16')")
        assert page.ask(FIGURES) == 2, "the static figure stays above the panel's"
        page.picture(folder / "lab.png")
        assert (folder / "lab.png").stat().st_size > 10_000

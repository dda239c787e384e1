"""The pages beside the code: files, links, settings and commands that they name exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from mintad.cli import app
from mintad.runs.options import resolve_config

ROOT = Path(__file__).parents[1]
PAGES = [
    *("README.md", "data/README.md", "data/results/README.md", "toy/README.md"),
    *("notebooks/ENGINEER.md", "notebooks/INSTRUCTOR.md", "notebooks/SYMBOLS.md"),
    *("data/results/class_awareness.md", "data/results/sharing_one_model.md", "data/results/densities.md"),
    *("data/results/decisions.md", "data/results/class_token.md"),
]


@pytest.mark.parametrize("page", PAGES)
def test_named_and_linked_files_are_there(page):
    text, folder = (ROOT / page).read_text(encoding="utf-8"), (ROOT / page).parent
    named = re.findall(r"`((?:mintad|data/results|data/paper|tests|benchmarks|toy|notebooks)/[\w/.]+\w/?)`", text)
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    linked = [link for link in links if not link.startswith(("http", "../../deployments/"))]
    assert named or linked
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []
    assert [link for link in linked if not (folder / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_number_is_left_to_be_filled_in(page):
    assert not re.search(r"@@\w*@@", (ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_links_into_a_page_reach_a_heading(page):
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        target = (ROOT / page).parent / link if link else ROOT / page
        titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, (link, anchor)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_settings_are_those_of_the_package(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for line in re.findall(r"(?:^|`|\.venv/bin/)(mintad [a-z][^`#\n]*)", text, re.MULTILINE):
        command, words = get_command(app), shlex.split(line.replace("…", "x"))[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert not getattr(command, "commands", {}), line
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options | {"--help"}, line
    for setting in re.findall(r"--set ([a-z_.]+=[\w.]+)", text):
        resolve_config(settings=[setting])


def test_every_result_is_explained():
    results = ROOT / "data" / "results"
    named = re.findall(r"`([\w*]+\.csv)`", (results / "README.md").read_text())
    assert all(list(results.glob(name)) for name in named)
    assert {file.name for name in named for file in results.glob(name)} == {file.name for file in results.glob("*.csv")}

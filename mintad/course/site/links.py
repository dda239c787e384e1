"""Addresses of pages: every file of the repository that a page links to gets one, so that no link leaves the site."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mintad.errors import MintadError

IMAGE = re.compile(r'(<img\s[^>]*?src=")([^"]*)(")')
LINK = re.compile(r'<a\s[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
REPOSITORY = re.compile(r"[\w-]+/(?!\.+$)[\w.-]+", re.ASCII)
PICTURES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}
"""Endings of pictures that pages hold in themselves."""
TEXTS = {".ipynb", ".md", ".py", ".csv", ".yaml", ".yml", ".toml", ".cff", ".txt", ".json"}
"""Endings of files that become pages; nothing else of a repository is published."""


class Links:
    """The links between the pages of a repository's notebooks and documents.

    Attributes:
        wanted: documents that pages link to, in the order in which they are met.
    """

    def __init__(self, notebooks: Path, made: Collection[str], repository: str = "") -> None:
        """Take the folder of the notebooks, one below the repository's, and the names of those that have a page.

        Raises:
            MintadError: the `repository` is no OWNER/NAME.
        """
        if repository and not REPOSITORY.fullmatch(repository):
            raise MintadError(f"'{repository}' is not a repository on GitHub", fix="name it as OWNER/NAME")
        self.repository = repository
        self.notebooks, self.root, self.made = notebooks.resolve(), notebooks.resolve().parent, set(made)
        self.wanted: dict[Path, None] = {}
        self._files = {"index.html": self.root}  # address -> the file whose page it is

    def address(self, file: Path) -> str | None:
        """Return the name of a file's page, None where it gets none.

        Raises:
            MintadError: another file has a page of this name.
        """
        if file.is_dir():
            file /= "README.md"
        if not file.is_file() or not file.is_relative_to(self.root):
            return None
        place = file.relative_to(self.root)
        if any(part.startswith(".") for part in place.parts):
            return None
        if file.suffix == ".ipynb" and (file.parent != self.notebooks or file.name not in self.made):
            return None
        if file.suffix not in TEXTS:
            return None
        parts = place.parts[1:] if file.parent == self.notebooks and file.name != "README.md" else place.parts
        name = "-".join(parts).removesuffix(".md").removesuffix(".ipynb") + ".html"
        if self._files.setdefault(name, file) != file:
            raise MintadError(f"{file} and {self._files[name]} would be one page, {name}", fix="rename one of them")
        if file.suffix != ".ipynb":
            self.wanted.setdefault(file)
        return name

    def binder(self, notebook: Path) -> str:
        """Return the address at which Binder opens a notebook; empty where the repository has no address.

        Binder builds the environment from the repository's environment.yml. Colab would not: it has no mintad.
        """
        if not self.repository:
            return ""
        place = quote(notebook.resolve().relative_to(self.root).as_posix(), safe="")
        return f"https://mybinder.org/v2/gh/{self.repository}/HEAD?labpath={place}"

    def inside(self, html: str, source: Path) -> str:
        """Point the links in a page's HTML to pages of the site; a link to what has no page becomes plain text."""
        folder = source.resolve().parent
        return IMAGE.sub(
            lambda match: match[1] + self._picture(folder, match[2]) + match[3], self._linked(folder, html)
        )

    def from_the_root(self, text: str) -> str:
        """Name files from the repository's root on: a page says nothing of the machine that made it."""
        if self.root == Path(self.root.anchor):
            return text
        return re.sub(rf"{re.escape(str(self.root))}(/|(?![\w.-]))", lambda match: "" if match[1] else ".", text)

    def _linked(self, folder: Path, html: str) -> str:
        def replace(match: re.Match[str]) -> str:
            link = urlsplit(unescape(match[1]))
            if link.scheme or link.netloc or not link.path:
                return match[0]
            page = self.address((folder / unquote(link.path)).resolve())
            if page is None:
                return match[2]
            target = quote(page) + (f"#{link.fragment}" if link.fragment else "")
            return f'<a href="{escape(target)}">{match[2]}</a>'

        return LINK.sub(replace, html)

    def _picture(self, folder: Path, address: str) -> str:
        """Return a picture of the repository as a data address; no page loads one from elsewhere."""
        file = (folder / unquote(unescape(address))).resolve()
        if address.startswith("data:"):
            return address
        if file.suffix not in PICTURES or not file.is_relative_to(self.root) or not file.is_file():
            return "data:,"
        return f"data:{PICTURES[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"

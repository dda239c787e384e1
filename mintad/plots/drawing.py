"""Boxes, arrows and letters of the drawings of networks: SVG text for light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

INDEX = re.compile(r"(?P<letter>[^\W\d_])_(?P<index>\w+)")  # L_CE: a letter with an index


@dataclass(frozen=True)
class Box:
    """A part of a network: its place, its two lines of text, its hue."""

    x: int
    y: int
    width: int
    title: str
    note: str
    hue: str
    part: str = ""  # the name to light it by, where it is not that of the box
    height: int = 50


def drawing(content: str, title: str, size: tuple[int, int]) -> str:
    """Return the whole SVG: its content, its title for readers who do not see it, and its width and height."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" role="img" '
        'style="max-width:100%;height:auto;color:inherit" font-family="system-ui,sans-serif" font-size="14">'
        f"<title>{title}</title>{content}</svg>"
    )


def arrows(paths: Iterable[str]) -> str:
    """Return the strokes of SVG paths, each with an arrow at its end."""
    strokes = [f"M{stroke.strip()}" for path in paths for stroke in path.split("M")[1:]]
    lines = "".join(f'<path d="{stroke}" marker-end="url(#mintad-arrow)"/>' for stroke in strokes)
    return (
        '<defs><marker id="mintad-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
        f'<g fill="none" stroke="currentColor" opacity="0.6">{lines}</g>'
    )


def box(drawn: Box, lit: bool = True) -> str:
    """Return a box, in its hue or pale."""
    middle, hue = drawn.x + drawn.width / 2, drawn.hue if lit else "currentColor"
    fill, edge, seen, ink, weight = (0.22, 2, 1, 1, 600) if lit else (0.03, 1, 0.4, 0.6, 400)
    return (
        f'<rect x="{drawn.x}" y="{drawn.y}" width="{drawn.width}" height="{drawn.height}" rx="6" fill="{hue}" '
        f'fill-opacity="{fill}" stroke="{hue}" stroke-width="{edge}" stroke-opacity="{seen}"/><g opacity="{ink}">'
        f'<text x="{middle}" y="{drawn.y + 22}" font-size="13.5" font-weight="{weight}">{typeset(drawn.title)}</text>'
        f'<text x="{middle}" y="{drawn.y + 40}" font-size="12">{drawn.note}</text></g>'
    )


def symbol(x: int, y: int, text: str, shape: str = "", right: int = 0, down: int = 17) -> str:
    """Return the letter of what flows, and its shape so far from it; a word where there is no shape."""
    style = "" if not shape else ' font-style="italic" font-size="16"'
    below = f'<text x="{x + right}" y="{y + down}" font-size="11" opacity="0.75">{shape}</text>' if shape else ""
    return f'<text x="{x}" y="{y}"{style}>{typeset(text)}</text>{below}'


def typeset(text: str) -> str:
    """Write "L_CE" as an italic letter with an index below the line; what follows is on the line again."""
    written, end = "", 0
    for match in INDEX.finditer(text):
        before = text[end : match.start()]
        written += f'<tspan dy="-4">{before}</tspan>' if end and before else before
        written += f'<tspan font-style="italic">{match["letter"]}</tspan>'
        written += f'<tspan dy="4" font-size="75%" font-style="normal">{match["index"]}</tspan>'
        end = match.end()
    return written + (f'<tspan dy="-4">{text[end:]}</tspan>' if end else text)

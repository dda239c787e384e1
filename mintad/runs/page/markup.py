"""Pieces of HTML; every string that comes from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6672;--line:#d9dee3;--card:#f6f8fa;--page:#fff;--accent:#0072B2;
--bad:#b34700}
@media(prefers-color-scheme:dark){:root{
--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--card:#161b22;--page:#0d1117;--accent:#56B4E9;--bad:#ff9b57}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1180px;margin:0 auto;
padding:24px}
h1{font-size:1.7rem;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:40px 0 10px;border-bottom:1px solid var(--line);padding-bottom:4px}
h3{font-size:1rem;margin:22px 0 8px}
.note,caption,figcaption{color:var(--soft);font-size:.88rem}caption{text-align:left;padding-bottom:6px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:1.55rem;line-height:1.3;color:var(--accent)}
.tile span{display:block;font-size:.85rem}.tile small{color:var(--soft);font-size:.78rem}
.scroll{overflow-x:auto}.scroll>div{min-width:680px}table{border-collapse:collapse;margin:8px 0 16px;font-size:.86rem}
th,td{padding:4px 9px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
thead th{cursor:pointer;vertical-align:bottom}thead th:hover{color:var(--accent)}
th[aria-sort=ascending]::after{content:" \\2191"}th[aria-sort=descending]::after{content:" \\2193"}
tbody th,tfoot th{font-weight:400}tfoot tr:first-child>*{border-top:2px solid var(--soft)}
tbody tr:hover{background:var(--card)}.left{text-align:left}
.pair{display:flex;flex-wrap:wrap;gap:0 48px}.scroll+.scroll{margin-top:14px}.pair>.scroll{margin-top:0}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(350px,100%),1fr));gap:14px}
.cases figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px}
.panels{display:grid;grid-auto-flow:column;grid-auto-columns:1fr;gap:6px}
.panels img{width:100%;aspect-ratio:1;object-fit:contain;display:block;border-radius:4px}
.none{display:grid;place-items:center;border:1px dashed var(--line);border-radius:4px;color:var(--soft);font-size:.8rem}
figcaption{margin-top:6px;overflow-wrap:anywhere}.right,.wrong{font-weight:600;color:var(--accent)}.wrong{color:var(--bad)}
.scale{display:inline-block;width:120px;height:.8em;border-radius:3px;margin:0 6px;vertical-align:middle}
details{margin:8px 0}summary{cursor:pointer;color:var(--accent)}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow-x:auto;font-size:.82rem}
.infolayer text,[class$=tick] text,.bartext-outside{fill:var(--ink)!important}
@media print{.modebar,thead th::after{display:none}}
"""

SORT = """
for(const head of document.querySelectorAll("thead th")){head.addEventListener("click",()=>{
const table=head.closest("table"),column=head.cellIndex,up=head.getAttribute("aria-sort")!=="ascending";
const value=row=>{const cell=row.cells[column].textContent.replace(/,/g,""),number=parseFloat(cell);
return isNaN(number)?cell:number};
for(const other of table.querySelectorAll("thead th"))other.removeAttribute("aria-sort");
head.setAttribute("aria-sort",up?"ascending":"descending");
const rows=[...table.tBodies[0].rows].sort((a,b)=>{const x=value(a),y=value(b);
return (typeof x===typeof y?(x<y?-1:x>y?1:0):typeof x==="number"?-1:1)*(up?1:-1)});
table.tBodies[0].append(...rows)})}
"""
"""A click on a column's head sorts by it."""


def escape(value: object) -> str:
    """Any value as text that is no markup."""
    return html.escape(str(value))


def tag(name: str, content: str, **attributes: str) -> str:
    """An element around markup; attributes are escaped (`class_` stands for class)."""
    listed = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<{name}{listed}>{content}</{name}>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    caption: str,
    *,
    foot: Sequence[Sequence[object]] = (),
    texts: int = 1,
    best: bool = False,
) -> str:
    """A table with a caption; floats get four decimals, None a dash.

    Args:
        head: names of the columns.
        rows: cells of each row.
        caption: what the numbers are.
        foot: rows that stay below when the reader sorts.
        texts: leading columns that hold text, set to the left.
        best: print the highest number of each row in bold.
    """
    sides = [{"class_": "left"} if n < texts else {} for n in range(len(head))]
    cells = "".join(tag("th", escape(name), scope="col", **side) for name, side in zip(head, sides, strict=True))

    def line(row: Sequence[object]) -> str:
        numbers = [cell for cell in row if isinstance(cell, float) and np.isfinite(cell)]
        shown = []
        for n, (cell, side) in enumerate(zip(row, sides, strict=True)):
            content = escape(number(cell))
            if best and numbers and cell == max(numbers):
                content = tag("strong", content)
            shown.append(tag("th", content, scope="row", **side) if n == 0 else tag("td", content, **side))
        return tag("tr", "".join(shown))

    parts = tag("caption", escape(caption)) + tag("thead", tag("tr", cells))
    parts += tag("tbody", "".join(map(line, rows)))
    if foot:
        parts += tag("tfoot", "".join(map(line, foot)))
    return tag("div", tag("table", parts), class_="scroll")


def number(value: object) -> str:
    """A float with four decimals, None and NaN as a dash, anything else as it is."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def interactive(figure: go.Figure) -> str:
    """A plotly figure; the script itself stands once at the head of the page."""
    responsive = figure.layout.width is None
    config = {"displaylogo": False, "responsive": responsive, "modeBarButtons": [["toImage"]]}
    return tag("div", figure.to_html(full_html=False, include_plotlyjs=False, config=config), class_="scroll")

"""The INR's two paths in one picture (Table 13, drawn anew): amplitudes from the token, sines of the position."""

from __future__ import annotations

from mintad.plots.drawing import Box, arrows, box, drawing, symbol
from mintad.plots.theme import OKABE_ITO

BLUE, _, GREEN, *_ = OKABE_ITO
WIDTH, HEIGHT = 900, 320
BOXES = (
    Box(90, 56, 120, "linear, ReLU", "3 + T → 256", GREEN),
    Box(310, 56, 110, "linear, ReLU", "256 → 256", GREEN),
    Box(545, 56, 110, "linear, ReLU", "256 → 256", GREEN),
    Box(90, 206, 120, "sin(ω · linear)", "3 → 256", BLUE),
    Box(310, 206, 110, "sin(linear)", "256 → 256", BLUE),
    Box(545, 206, 110, "sin(linear)", "256 → 256", BLUE),
    Box(742, 206, 74, "linear", "256 → D", BLUE),
)
PRODUCTS = (240, 231), (460, 231), (695, 231)
"""Where the amplitudes meet the sines."""
LINES = (
    "M58 81H90 M52 165H70V96H90 M52 165H70V231H90",  # token and position
    "M210 81H310 M420 81H488 M522 81H545",
    "M210 231H227 M253 231H310 M420 231H447 M473 231H490 M524 231H545 M655 231H682 M708 231H742 M816 231H846",
    "M240 81V218 M460 81V218 M655 81H695V218",  # amplitudes
)
SYMBOLS = (
    (40, 86, "t_c", "T"),
    (40, 170, "z", "L × 3", -2),
    (260, 156, "α_1", "L × 256", 8),
    (480, 156, "α_2", "L × 256", 8),
    (715, 156, "α_5", "L × 256", 8),
    (281, 222, "h_1", "L × 256", 0, 24),
    (862, 236, "q", "L × D"),
    (505, 86, "…", ""),
    (507, 236, "…", ""),
)
NOTES = (
    (90, 40, "modulation network: how strong is each sine?"),
    (90, 284, "synthesis network: sines of the position, each multiplied (⊙) by its strength"),
    (90, 306, "Only the token depends on the image. All positions use the same layers."),
)


def inr_paths() -> str:
    """Return a picture of the INR as SVG text, 900 units wide, for light and dark pages."""
    boxes, symbols = "".join(map(box, BOXES)), "".join(symbol(*each) for each in SYMBOLS)
    notes = "".join(f'<text x="{x}" y="{y}" opacity="0.85">{text}</text>' for x, y, text in NOTES)
    products = "".join(
        f'<circle cx="{x}" cy="{y}" r="13" fill="none" stroke="currentColor"/><circle cx="{x}" cy="{y}" r="3"/>'
        for x, y in PRODUCTS
    )
    return drawing(
        f'{arrows(LINES)}<g fill="currentColor" text-anchor="middle">{boxes}{symbols}{products}</g>'
        f'<g fill="currentColor" font-size="13">{notes}</g>',
        "The INR: a modulation network scales the sines of a synthesis network",
        (WIDTH, HEIGHT),
    )

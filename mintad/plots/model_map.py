"""MINT-AD in one picture (Fig. 3, drawn anew), with the parts lit that a notebook treats."""

from __future__ import annotations

from collections.abc import Iterable

from mintad.errors import ConfigError, nearest
from mintad.plots.drawing import Box, arrows, box, drawing, symbol, typeset
from mintad.plots.theme import OKABE_ITO

BLUE, ORANGE, GREEN, VERMILION, _, _, _, GREY = OKABE_ITO
WIDTH, HEIGHT = 900, 500


BOXES = {
    "backbone": Box(108, 135, 92, "backbone", "frozen", GREY),
    "jitter": Box(274, 135, 92, "jitter", "in training", VERMILION),
    "adapter": Box(392, 135, 80, "adapter", "linear", BLUE),
    "encoder": Box(498, 135, 92, "encoder", "self-attention", BLUE),
    "decoder": Box(616, 135, 104, "decoder", "cross-attention", BLUE),
    "output": Box(746, 135, 66, "output", "linear", BLUE),
    "clean_adapter": Box(268, 265, 104, "adapter", "same weights", BLUE, "adapter"),
    "prompt_mapper": Box(418, 265, 134, "prompt mapper", "Table 12", GREEN),
    "inr": Box(616, 265, 104, "INR", "Eqs 8, 9", GREEN),
    "class_head": Box(422, 350, 126, "class head", "linear", GREEN),
    "distribution_decoder": Box(583, 350, 170, "distribution decoder", "Table 14", GREEN),
    "class_loss": Box(422, 426, 126, "L_CE", "Eq. 1", ORANGE, height=46),
    "prior_loss": Box(796, 350, 94, "L_Prior", "Eqs 2–4", ORANGE),
    "mse_loss": Box(690, 8, 94, "L_MSE", "Eq. 5", ORANGE),
    "score": Box(796, 8, 94, "score s", "Eq. 7", ORANGE),
}
PARTS = tuple(dict.fromkeys(box.part or name for name, box in BOXES.items()))
"""What can be lit."""
LINES = (
    "M70 160H108 M200 160H222 M250 160H274 M366 160H392 M472 160H498 M590 160H616 M720 160H746 M812 160H828",
    "M236 146V96H808",  # f' to the difference
    "M236 172V290H268 M372 290H386 M406 290H418 M552 290H564 M590 290H616",
    "M668 265V185",  # the query
    "M770 290H720",  # positions
    "M576 304V333H485V350 M485 400V426 M558 449H548",
    "M668 315V350 M753 375H796",
    "M396 302V486H843V400",  # f to the prior loss
    "M843 146V110 M843 82V58 M843 72H737V58",
)
SYMBOLS = (
    (40, 164, "image", ""),
    (578, 454, "label", ""),
    (236, 165, "f′", "L × F", 20, -19),
    (396, 295, "f", "L × D", -1, -19),
    (576, 295, "t_c", "T", 0, -19),
    (692, 228, "q", "L × D"),
    (785, 294, "z", "L × 3"),
    (843, 165, "f̂", "L × F"),
)
"""Place and text of what flows, its shape, and how far from it the shape stands."""
NOTES = (
    (10, 398, "in training: L_total = L_MSE"),
    (95, 424, "+ λ_a L_CE + λ_b L_Prior   (Eq. 6)"),
    (10, 456, "at test time: no label, no noise; the score is"),
    (10, 478, "the squared difference f′ − f̂, token by token"),
)


def model_map(lit: Iterable[str] = (), *, ground: str | None = None) -> str:
    """Return a picture of MINT-AD as SVG text, 900 units wide, for light and dark pages.

    Args:
        lit: names of `PARTS` to show in colour, the others stay pale; all are in colour if none is named.
        ground: colour behind the picture, for a file that a dark page shows as an image; None for no ground.

    Raises:
        ConfigError: there is no such part.
    """
    lit = tuple(lit)
    for name in lit:
        if name not in PARTS:
            raise ConfigError(f"the map has no part '{name}'." + nearest(name, PARTS))
    shown = set(lit or PARTS)
    boxes = "".join(box(each, (each.part or name) in shown) for name, each in BOXES.items())
    symbols = "".join(symbol(*each) for each in SYMBOLS)
    notes = "".join(f'<text x="{x}" y="{y}" opacity="0.85">{typeset(text)}</text>' for x, y, text in NOTES)
    behind = f'<path d="M0 0H{WIDTH}V{HEIGHT}H0z" fill="{ground}"/>' if ground else ""
    told = ", ".join(name.replace("_", " ") for name in lit) or "all"
    return drawing(
        f"{behind}{arrows(LINES)}"
        f'<g fill="currentColor" text-anchor="middle">{boxes}{symbols}'
        '<text x="843" y="101" font-style="italic">f′ − f̂</text></g>'
        f'<g fill="currentColor" font-size="13">{notes}</g>',
        f"MINT-AD; in colour: {told}",
        (WIDTH, HEIGHT),
    )

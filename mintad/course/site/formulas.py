"""LaTeX between dollars as MathML, which browsers draw themselves."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?!\w)", re.DOTALL)
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
NAME, THIN = "<m[io]>(?:log|exp|sin|cos)</m[io]>", '<mspace width="0.17em"/>'
CORRECTIONS = (  # what browsers draw badly of latex2mathml's output
    (re.compile(r"<mo[^>]*>&#x0005E;</mo>"), '<mo stretchy="false">&#x002C6;</mo>'),  # a hat as an accent, not a caret
    (re.compile(r"<mo[^>]*>&#x0007E;</mo>"), '<mo stretchy="false">&#x002DC;</mo>'),
    (re.compile(r"<mo>&#x02016;</mo>"), '<mo stretchy="false" fence="false" lspace="0" rspace="0">&#x02016;</mo>'),
    (re.compile(rf"({NAME})(?!<mo)"), rf"\1{THIN}"),
    (re.compile(rf"(</m(?:i|n|sub|sup|subsup|row|frac)>)(?={NAME})"), rf"\1{THIN}"),
)


def formulas(markdown: str) -> str:
    """Replace LaTeX between dollars by MathML; code is left alone."""

    def mathml(match: re.Match[str]) -> str:
        text = convert(match[match.lastgroup].strip(), display=match.lastgroup)
        for wrong, right in CORRECTIONS:
            text = wrong.sub(right, text)
        return text

    parts = CODE.split(markdown)  # every second part is code
    return "".join(part if n % 2 else FORMULA.sub(mathml, part) for n, part in enumerate(parts))

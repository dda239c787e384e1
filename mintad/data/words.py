"""Words for normal and anomalous, in the names of folders and in lists of images, and words that leave it open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

NORMAL = ("good", "ok", "normal", "pass", "passed", "io")
ABNORMAL = (
    *("bad", "ng", "nok", "not_ok", "ko", "nio", "fail", "failed", "reject", "rejected"),
    *("defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal"),
)
PERHAPS_NORMAL = (
    *("none", "no", "n", "nan", "null", "na", "n a", "nothing", "false", "neg", "negative", "o k", "i o", "clean"),
    *("no defect", "no defects", "no anomaly", "no fault", "without defect", "defect free", "fault free", "faultless"),
    *("anomaly free", "not defective", "non defective", "not anomalous", "undamaged", "unbroken", "intact", "flawless"),
    *("perfect", "nominal", "healthy", "fine", "accept", "accepted", "gut", "fehlerfrei", "regular", "typical"),
    *("okay", "correct", "conform"),
)
"""Words that hardly name a defect, in lower case with a space for every other sign; as one they are warned of."""


@dataclass(frozen=True)
class Words:
    """Names of the folders, or values of a list's column, that say normal and anomalous; any case."""

    normal: tuple[str, ...] = NORMAL
    abnormal: tuple[str, ...] = ABNORMAL

    def is_normal(self, name: str) -> bool:
        """Return whether the name says normal."""
        return name.lower() in self.normal

    def is_abnormal(self, name: str) -> bool:
        """Return whether the name says anomalous."""
        return name.lower() in self.abnormal

    def perhaps_normal(self, name: str) -> bool:
        """Return whether a name that is read as that of a defect may well say normal: 'none', '-1', 'goood', 'ok_1'."""
        if self.is_normal(name) or self.is_abnormal(name):
            return False
        words = re.sub(r"[\W_]+", " ", name.lower()).strip()
        number = re.fullmatch(r"-\d+(\.0*)?|0+(\.0*)?", name)  # 0 and 1 are read in lists; what else is not above 0
        if not words or words in PERHAPS_NORMAL or number:
            return True
        words = re.sub(r" ?\d+$", "", words)
        if self.is_abnormal(words):
            return False
        told = self.is_normal(words) or words.partition(" ")[0] in ("good", "ok", "okay", "normal")  # good_new
        numbered = len(words) > 2 and words in PERHAPS_NORMAL  # none_1, but not n1
        spelt = [word for word in self.normal if len(word) > 3]
        return bool(told or numbered or get_close_matches(words, spelt, 1, 0.8))

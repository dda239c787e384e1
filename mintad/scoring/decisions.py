"""What is decided about an image: anomalous or not, of a known product or not, each with a p-value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mintad.disk import sealed
from mintad.errors import ConfigError
from mintad.scoring.conformal import Calibration, ClassThreshold
from mintad.scoring.ranking import MetricError
from mintad.scoring.threshold import Threshold

UNKNOWN_QUANTILE = 0.99
"""Share of new images of known products that are not called unknown, at least; 99 held-out images reach it."""
COLUMNS = ("p_value", "anomalous", "product_p_value", "unknown_product")
"""p_value: of the score, by predicted class. anomalous: the score is above the class's threshold. product_p_value: of
the distance from the known products. unknown_product: farther than `UNKNOWN_QUANTILE` of the held-out images."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """The rules by which a trained run decides, fitted to held-out normal images."""

    calibration: Calibration | None
    """Scores of the held-out images; None where none were held out and `fixed` decides."""
    distances: Calibration | None
    """Their distances from the known products (`mintad.scoring.known_products`), all of the class ''."""
    classes: tuple[str, ...]
    """Classes that may be predicted; ('',) where none is."""
    quantile: float
    """Share of new normal images of a class that should pass, in (0, 1)."""
    products: str = ""
    """Digest of the `KnownProducts` that `distances` belong to."""
    fixed: float | None = None
    """A threshold for all classes that the user gave instead of the quantile."""

    def threshold(self, name: str) -> float:
        """Return the threshold of a predicted class; an image with a higher score is anomalous."""
        return self.calibration.threshold(name, self.quantile).value if self.fixed is None else self.fixed

    def thresholds(self) -> dict[str, ClassThreshold]:
        """Return the fitted threshold of every class that may be predicted."""
        return {name: self.calibration.threshold(name, self.quantile) for name in self.classes}

    def pooled(self) -> Threshold:
        """Return the one threshold that is fitted to the images of all classes."""
        return self.calibration.pooled(self.quantile)

    def unknown(self) -> Threshold:
        """Return the distance above which an image's product is unknown."""
        return self.distances.pooled(UNKNOWN_QUANTILE)

    def of(self, scores_B: Sequence[float], names_B: Sequence[str], distances_B: Sequence[float]) -> pd.DataFrame:
        """Decide about images with these scores, classes and distances from the known products.

        Returns:
            The columns `COLUMNS`; '' in all but the second where no images were held out.
        """
        table = pd.DataFrame(index=range(len(scores_B)), columns=list(COLUMNS), data="")
        table["anomalous"] = self.flags(scores_B, names_B)
        if self.calibration is not None:
            table["p_value"] = self.calibration.p_values(scores_B, names_B, self.quantile)
            unknown = [""] * len(distances_B)
            table["product_p_value"] = self.distances.p_values(distances_B, unknown, UNKNOWN_QUANTILE)
            table["unknown_product"] = np.asarray(distances_B) > self.unknown().value
        return table

    def flags(self, scores_B: Sequence[float], names_B: Sequence[str]) -> list[bool]:
        """Return which images are anomalous: those that score above the threshold of their predicted class."""
        limits = {name: self.threshold(name) for name in set(names_B)}
        return [bool(score > limits[name]) for score, name in zip(scores_B, names_B, strict=True)]

    def adjusted(self, *, quantile: float | None = None, threshold: float | None = None) -> Decisions:
        """Return the rules with another quantile, or with one threshold for all classes.

        Raises:
            ConfigError: both are given, a value out of its range, or a quantile where no images were held out.
        """
        if quantile is not None and threshold is not None:
            raise ConfigError("a quantile and a threshold are given, which exclude each other", fix="leave out one")
        if quantile is not None and not 0 < quantile < 1:
            raise ConfigError(f"the quantile must be above 0 and below 1, not {quantile}")
        if threshold is not None and not math.isfinite(threshold):
            raise ConfigError(f"the threshold must be a finite number, not {threshold}")
        if quantile is not None and self.calibration is None:
            problem = "no images were held out of this training, so that there is nothing to take a quantile of"
            raise ConfigError(problem, fix="give a threshold, or train with data.holdout=0.1")
        quantile = self.quantile if quantile is None else quantile
        return dataclasses.replace(self, quantile=quantile, fixed=threshold)

    def to_json(self) -> dict[str, Any]:
        """Return what ``threshold.json`` holds: for people the thresholds, then every held-out image, and a digest."""
        rows = zip(self.calibration.classes_n, self.calibration.scores_n, self.distances.scores_n, strict=True)
        content = {
            "quantile": self.quantile,
            "thresholds": {name: dataclasses.asdict(value) for name, value in self.thresholds().items()},
            "all classes together": dataclasses.asdict(self.pooled()),
            "unknown product": dataclasses.asdict(self.unknown()),
            "classes": list(self.classes),
            "products": self.products,
            "held out": [[name, float(score), float(distance)] for name, score, distance in rows],
        }
        return sealed(content)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Decisions:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is of an older version, was changed, or holds what no threshold can be fitted to.
        """
        if not isinstance(content, dict) or "held out" not in content:
            raise ValueError("it has one threshold for all classes and no scores, as older versions wrote it")
        if sealed(content)["digest"] != content.get("digest"):
            raise ValueError("the digest in it is another")
        names, scores, distances = zip(*content["held out"], strict=True)
        try:
            calibrations = Calibration(scores, names), Calibration(distances, [""] * len(names))
        except MetricError as error:
            raise ValueError(str(error)) from error
        return cls(*calibrations, tuple(content["classes"]), content["quantile"], content["products"])

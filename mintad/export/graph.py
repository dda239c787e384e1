"""What is exported: one module from pixels to map, score and class, made of the parts of a trained run.

Letters: B images, S pixels a side, L tokens of the (H, W) grid, F channels, N classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import ScoringConfig
from mintad.features.backbone import Backbone
from mintad.model.nearest_images import NearestImages
from mintad.model.reconstruction import ReconstructionModel
from mintad.scoring.conformal import fewest
from mintad.scoring.decisions import Decisions
from mintad.scoring.maps import interpolation_matrix, share_after_blur
from mintad.scoring.region_of_interest import share_of_cells
from mintad.scoring.sharp_prior import SMALL_WEIGHT, ModelDetector, SharpPrior, SharpPriorDetector, of_channels

INPUT, LABEL = "image", "label"
DECIDED, CLASSIFIED = ("p_value", "anomalous"), ("class", "probability")
OUTPUTS = ("anomaly_map", "score", *DECIDED, *CLASSIFIED)
"""Names of the outputs; `DECIDED` only where normal images were held out, `CLASSIFIED` where a class is predicted."""


class DetectorGraph(nn.Module):
    """A trained run's way from an image to its score, in evaluation mode, for the exporter.

    It takes the parts over: the model and the sharp prior are changed, and are not to be used afterwards.

    Args:
        backbone, detector: of the run, on the CPU.
        model: the same as `detector`, or what that uses.
        scoring: how maps are scored.
        decisions: how scores are judged; None where no normal images were held out.
        region: region of interest (S, S), see `mintad.scoring.region_of_interest`; None for the whole image.
    """

    def __init__(
        self,
        backbone: Backbone,
        model: ReconstructionModel,
        detector: ModelDetector,
        scoring: ScoringConfig,
        decisions: Decisions | None,
        region: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.model, self.scoring = backbone, model, scoring
        if model.recentre.active:
            model.recentre.nearest = SearchedImages.of(model.recentre.nearest)
        self.prior, self.detector, grid = None, None, model.grid
        if isinstance(detector, SharpPriorDetector):
            self.prior, grid = TracedPrior.of(detector.prior), detector.prior.classes[0].grid
            self.detector = SharpPriorDetector(model, self.prior, score=detector.score)
        self.rules = decisions and TracedRules(decisions)
        for name, value in zip(("mean_311", "std_311"), backbone.mean_and_std(), strict=True):
            self.register_buffer(name, value)
        for name, cells in zip(("rows_SH", "columns_SW"), grid, strict=True):
            blur = 0.0 if region is not None else scoring.blur  # with a region it comes after, see `full_maps`
            matrix = interpolation_matrix(backbone.image_size, cells, blur, scoring.align_corners)
            self.register_buffer(name, torch.from_numpy(matrix))
        self.region = region is not None
        if region is not None:
            self.register_buffer("region_SS", torch.from_numpy(region).float())
            if scoring.blur:
                blur_SS = interpolation_matrix(backbone.image_size, backbone.image_size, scoring.blur)
                self.register_buffer("blur_SS", torch.from_numpy(blur_SS))
                self.register_buffer("inside_SS", torch.from_numpy(share_after_blur(region, blur_SS)))
            self.register_buffer("share_HW", torch.from_numpy(share_of_cells(region, grid)))
        self.eval()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return (INPUT, LABEL) if self.model.needs_labels else (INPUT,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        left_out = (() if self.rules else DECIDED) + (() if self._predicts else CLASSIFIED)
        return tuple(name for name in OUTPUTS if name not in left_out)

    @property
    def _predicts(self) -> bool:
        return self.model.predicts_class and not self.model.needs_labels

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the map (B, S, S), the score (B,), and as `outputs` says p-values (B,), decisions (B,), class (B,) and
        probabilities (B, N).

        `image` is (B, 3, S, S), red, green and blue from 0 to 255; `label` (B,) for a model that must be given it.
        """
        feat_BLF = self.backbone((image / 255 - self.mean_311) / self.std_311)
        output = self.model(feat_BLF, labels_B=label)
        map_BHW = (self.detector or self.model).map_of(feat_BLF, output, label)
        if self.scoring.distance == "root":
            map_BHW = map_BHW.clamp(min=0).sqrt()
        map_BSS = self.rows_SH @ map_BHW @ self.columns_SW.T
        if self.region:
            map_BSS, map_BHW = map_BSS * self.region_SS, map_BHW * self.share_HW
            if self.scoring.blur:
                map_BSS = self.blur_SS @ map_BSS @ self.blur_SS.T * self.inside_SS
        score_B, class_B = self._score(map_BHW, map_BSS), label
        if self._predicts:
            class_B = output.class_logits.argmax(dim=-1)
        results = (map_BSS, score_B)
        if self.rules is not None:
            results += self.rules(score_B, class_B)
        if self._predicts:
            results += (class_B, output.class_logits.softmax(dim=-1))
        return results

    def _score(self, map_BHW: Tensor, map_BSS: Tensor) -> Tensor:
        """Return image scores (B,), as `mintad.scoring.maps.image_scores` does."""
        if self.scoring.image_score == "mean":
            return map_BHW.mean(dim=(1, 2))
        if self.scoring.image_score == "top_mean":
            values_BL = map_BHW.flatten(1)
            count = max(1, round(self.scoring.top_share * values_BL.shape[1]))
            return values_BL.topk(count).values.mean(dim=1)
        if self.scoring.image_score == "pooled_max":
            window = min(self.scoring.pool, map_BSS.shape[1])
            map_BSS = F.avg_pool2d(map_BSS[:, None], window, stride=1)[:, 0]
        return map_BSS.flatten(1).amax(dim=1)


class TracedRules(nn.Module):
    """The thresholds and p-values of `Decisions`, as tables of numbers.

    In float32, as scores are, so that an image that scores exactly a threshold is judged alike.
    """

    def __init__(self, decisions: Decisions) -> None:
        super().__init__()
        quantile, calibration = decisions.quantile, decisions.calibration
        own = [calibration.of_class(name) for name in decisions.classes]
        longest = max(1, *map(len, own))
        padded = [np.pad(scores, (0, longest - len(scores)), constant_values=-np.inf) for scores in own]
        limits = [decisions.threshold(name) for name in decisions.classes]
        few = [len(scores) < fewest(quantile) for scores in own]
        self.register_buffer("own_NM", torch.from_numpy(np.stack(padded)).float())
        self.register_buffer("count_N", torch.tensor([len(scores) for scores in own]))
        self.register_buffer("few_N", torch.tensor(few))
        self.register_buffer("all_M", torch.from_numpy(calibration.scores_n).float())
        self.register_buffer("limit_N", torch.tensor(limits, dtype=torch.float64).float())

    def forward(self, score_B: Tensor, class_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return p-values (B,) and whether each image is anomalous (B,), of scores (B,) and judged classes (B,)."""
        class_B = torch.zeros_like(score_B, dtype=torch.long) if class_B is None else class_B
        higher_B = (self.own_NM[class_B] >= score_B[:, None]).sum(dim=1)
        own_B = (1 + higher_B) / (1 + self.count_N[class_B])
        pooled_B = (1 + (self.all_M >= score_B[:, None]).sum(dim=1)) / (1 + len(self.all_M))
        few_B = torch.where(higher_B == 0, pooled_B, torch.maximum(pooled_B, own_B))
        return torch.where(self.few_N[class_B], few_B, own_B), score_B > self.limit_N[class_B]


class SearchedImages(NearestImages):
    """Nearest images that are searched for every image, because a graph has no branch for those that are known."""

    @classmethod
    def of(cls, nearest: NearestImages) -> SearchedImages:
        """Return the same images."""
        return cls(nearest.images_nLF, nearest.grid, nearest.neighbours)

    def _neighbours(self, compared_BD: Tensor) -> tuple[Tensor, Tensor]:
        return self._search(compared_BD)

    @staticmethod
    def _distance(first_BD: Tensor, second_nD: Tensor, square_n: Tensor) -> Tensor:
        """Do the same for every image, also for one that is far from the normal ones."""
        square_Bn = first_BD.square().sum(dim=1, keepdim=True) + square_n
        return (square_Bn - 2 * first_BD @ second_nD.T).clamp(min=0).sqrt() / first_BD.shape[1] ** 0.5


class TracedPrior(SharpPrior):
    """The Gaussians, asked without a branch: a class that no image needs is given none, and costs next to nothing."""

    @classmethod
    def of(cls, prior: SharpPrior) -> TracedPrior:
        """Return the same Gaussians."""
        for gaussians in prior.classes:
            gaussians.normal = SearchedImages.of(gaussians.normal)
        traced = cls(prior.classes, prior.channels_K)
        traced.typical_error.copy_(prior.typical_error)
        return traced

    def distance(self, feat_BLF: Tensor, weights_BN: Tensor) -> Tensor:
        """Return distances (B, L) of features (B, L, F), averaged over the classes with their weights (B, N)."""
        feat_BLF = of_channels(feat_BLF, self.channels_K)
        distance_BL = torch.zeros(feat_BLF.shape[:2])
        for gaussians, weight_B in zip(self.classes, weights_BN.T, strict=True):
            rows = (weight_B > SMALL_WEIGHT).nonzero()[:, 0]
            weighted = weight_B[rows, None] * gaussians.distance(feat_BLF[rows])
            distance_BL = distance_BL.index_add(0, rows, weighted)
        return distance_BL

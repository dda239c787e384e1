"""What is exported: one module from pixels to map, score and class, made of the parts of a trained run.

Letters: B images, S pixels a side, L tokens of the (H, W) grid, F channels, N classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import ScoringConfig
from mintad.features.backbone import Backbone
from mintad.model.nearest_images import NearestImages
from mintad.model.reconstruction import ReconstructionModel
from mintad.scoring.maps import interpolation_matrix
from mintad.scoring.sharp_prior import SMALL_WEIGHT, SharpPrior, SharpPriorDetector, of_channels

INPUT, LABEL = "image", "label"
OUTPUTS = ("anomaly_map", "score", "class", "probability")
"""Names of the outputs; the last two only where the model predicts the class."""


class DetectorGraph(nn.Module):
    """A trained run's way from an image to its score, in evaluation mode, for the exporter.

    It takes the parts over: the model and the sharp prior are changed, and are not to be used afterwards.

    Args:
        backbone, detector: of the run, on the CPU.
        model: the same as `detector`, or what that uses.
        scoring: how maps are scored.
    """

    def __init__(
        self,
        backbone: Backbone,
        model: ReconstructionModel,
        detector: ReconstructionModel | SharpPriorDetector,
        scoring: ScoringConfig,
    ) -> None:
        super().__init__()
        self.backbone, self.model, self.scoring = backbone, model, scoring
        if model.recentre.active:
            model.recentre.nearest = SearchedImages.of(model.recentre.nearest)
        self.prior, self.detector, grid = None, None, model.grid
        if isinstance(detector, SharpPriorDetector):
            self.prior, grid = TracedPrior.of(detector.prior), detector.prior.classes[0].grid
            self.detector = SharpPriorDetector(model, self.prior, score=detector.score)
        for name, value in zip(("mean_311", "std_311"), backbone.mean_and_std(), strict=True):
            self.register_buffer(name, value)
        for name, cells in zip(("rows_SH", "columns_SW"), grid, strict=True):
            matrix = interpolation_matrix(backbone.image_size, cells, scoring.blur, scoring.align_corners)
            self.register_buffer(name, torch.from_numpy(matrix))
        self.eval()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return (INPUT, LABEL) if self.model.needs_labels else (INPUT,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return OUTPUTS if self.model.predicts_class and not self.model.needs_labels else OUTPUTS[:2]

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the map (B, S, S), the score (B,), and the class (B,) and its probabilities (B, N) if predicted.

        `image` is (B, 3, S, S), red, green and blue from 0 to 255; `label` (B,) for a model that must be given it.
        """
        feat_BLF = self.backbone((image / 255 - self.mean_311) / self.std_311)
        output = self.model(feat_BLF, labels_B=label)
        if self.detector is None:
            map_BHW = output.token_error.unflatten(1, self.model.grid)
        else:
            map_BHW = self.detector.map_of(feat_BLF, output, label)
        if self.scoring.distance == "root":
            map_BHW = map_BHW.clamp(min=0).sqrt()
        map_BSS = self.rows_SH @ map_BHW @ self.columns_SW.T
        results = (map_BSS, self._score(map_BHW, map_BSS))
        if len(self.outputs) > len(results):
            results += (output.class_logits.argmax(dim=-1), output.class_logits.softmax(dim=-1))
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


class SearchedImages(NearestImages):
    """Nearest images that are searched for every image, because a graph has no branch for those that are known."""

    @classmethod
    def of(cls, nearest: NearestImages) -> SearchedImages:
        """Return the same images."""
        return cls(nearest.images_nLF, nearest.grid, nearest.neighbours)

    def _neighbours(self, compared_BD: Tensor) -> tuple[Tensor, Tensor]:
        return self._search(compared_BD)

    @staticmethod
    def _distance(first_BD: Tensor, second_nD: Tensor) -> Tensor:
        """Do what torch.cdist does for many images; ONNX has no such operation."""
        squares_Bn = first_BD.square().sum(dim=1, keepdim=True) + second_nD.square().sum(dim=1)
        return (squares_Bn - 2 * first_BD @ second_nD.T).clamp(min=0).sqrt() / first_BD.shape[1] ** 0.5


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

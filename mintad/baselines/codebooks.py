"""Codebooks: tokens are replaced by the nearest of a few codes, and the codes follow the tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Codebooks(nn.Module):
    """One codebook a class, of M codes with D channels each; moving averages of the tokens that chose a code.

    A class' codes begin at random tokens of the first batch that has the class.

    Args:
        classes, codes, width: N, M and D.
        decay: of the moving averages, a step.
    """

    def __init__(self, classes: int, codes: int, width: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes_NMD", torch.zeros(classes, codes, width))
        self.register_buffer("count_NM", torch.zeros(classes, codes))
        self.register_buffer("begun_N", torch.zeros(classes, dtype=torch.bool))

    def forward(self, x_BLD: Tensor, class_B: Tensor) -> tuple[Tensor, Tensor]:
        """Replace tokens by the nearest codes of their image's class.

        Returns:
            The codes (B, L, D), whose gradient goes to the tokens as if these had not been replaced, and the mean
            squared distance of the tokens to them, a scalar, whose gradient goes to the tokens alone.
        """
        if self.training:
            self._begin(x_BLD.detach(), class_B)
        codes_BMD = self.codes_NMD[class_B]
        chosen_BL = torch.cdist(x_BLD.detach(), codes_BMD).argmin(-1)
        code_BLD = torch.take_along_dim(codes_BMD, chosen_BL[..., None], dim=1)
        if self.training:
            self._follow(x_BLD.detach(), class_B, chosen_BL)
        return x_BLD + (code_BLD - x_BLD).detach(), (code_BLD - x_BLD).square().mean()

    def transport_cost(self, x_BLD: Tensor, class_B: Tensor) -> Tensor:
        """Return what it costs (B, L) to move each token to its class' codes.

        The plan gives a token to the codes c_m in the shares softmax_m(x . c_m / sqrt(D)); to move it to one costs
        1 - cos(x, c_m).
        """
        codes_BMD = self.codes_NMD[class_B]
        plan_BLM = (x_BLD @ codes_BMD.mT / x_BLD.shape[-1] ** 0.5).softmax(-1)
        cost_BLM = 1 - F.normalize(x_BLD, dim=-1) @ F.normalize(codes_BMD, dim=-1).mT
        return (plan_BLM * cost_BLM).sum(-1)

    def _begin(self, x_BLD: Tensor, class_B: Tensor) -> None:
        for k in class_B[~self.begun_N[class_B]].unique().tolist():
            tokens_nD = x_BLD[class_B == k].flatten(0, 1)
            order = torch.randint(len(tokens_nD), self.count_NM.shape[1:]).to(tokens_nD.device)
            self.codes_NMD[k], self.count_NM[k], self.begun_N[k] = tokens_nD[order], 1.0, True

    def _follow(self, x_BLD: Tensor, class_B: Tensor, chosen_BL: Tensor) -> None:
        """Move the codes of the batch's classes towards the means of the tokens that chose them."""
        codes = self.codes_NMD.shape[1]
        place_n = (class_B[:, None] * codes + chosen_BL).flatten()
        added_K = torch.bincount(place_n, minlength=self.count_NM.numel()).to(x_BLD.dtype)
        sum_KD = torch.zeros_like(self.codes_NMD).flatten(0, 1).index_add_(0, place_n, x_BLD.flatten(0, 1))
        present = class_B.unique()
        added_NM, sum_NMD = added_K.view_as(self.count_NM)[present], sum_KD.view_as(self.codes_NMD)[present]
        count_NM = self.decay * self.count_NM[present]
        total_NMD = count_NM[..., None] * self.codes_NMD[present] + (1 - self.decay) * sum_NMD
        count_NM += (1 - self.decay) * added_NM
        self.codes_NMD[present] = total_NMD / count_NM[..., None].clamp(min=1e-8)
        self.count_NM[present] = count_NM.clamp(min=1e-6)  # an unused code keeps its place

"""How much a reconstruction copies, measured on real features (notebook 04; §1's "identical shortcut").

On `mini` every defective picture has a twin without the defect. The change that a defect makes in the features is
therefore known, and so is how much of it a reconstruction repeats (`copied_share`). No threshold is needed.
`influence` shows where a reconstructed token takes its values from.

Letters: n images, L tokens, F channels, P probes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mintad.config import Config
from mintad.data.mini import DEFECTS, render_with_twin
from mintad.errors import ConfigError
from mintad.features.backbone import Backbone

Reconstruct = Callable[[Tensor], Tensor]
"""Function from tokens (n, L, F) to their reconstructions, same shape."""


@dataclass
class Twins:
    """Features of defective pictures and of the same pictures without the defect."""

    spoiled: Tensor  # (n, L, F) with the defect
    clean: Tensor  # (n, L, F) without it
    under: Tensor  # (n, L) bool, True for tokens whose cell the mask touches
    names: list[tuple[str, str]]  # category and defect of each pair

    def transformed(self, transform: Callable[[Tensor], Tensor]) -> Twins:
        """Apply a function to the features of both, such as a standardisation, and keep the masks and names."""
        return dataclasses.replace(self, spoiled=transform(self.spoiled), clean=transform(self.clean))


def make_twins(config: Config, backbone: Backbone) -> Twins:
    """Render one pair for each category and defect of the `mini` set of `config.data`; features are not standardised.

    Raises:
        ConfigError: another data set, whose pictures without defects are not known.
    """
    if config.data.name != "mini":
        raise ConfigError(f"only data.name=mini has pictures with and without their defects, not {config.data.name}")
    options = config.data.options
    drawing = {key: options[key] for key in ("size", "difficulty", "seed") if key in options}
    categories = config.data.categories or options["categories"]
    names = [(category, defect) for category in categories for defect in DEFECTS]
    drawn = [render_with_twin(category, "test", defect, 0, **drawing) for category, defect in names]
    spoiled, masks, clean = zip(*drawn, strict=True)
    masks_n1HW = torch.from_numpy(np.stack(masks)).float()[:, None]
    under_nL = F.adaptive_max_pool2d(masks_n1HW, backbone.grid).flatten(1) > 0
    return Twins(_features(backbone, spoiled), _features(backbone, clean), under_nL, names)


def _features(backbone: Backbone, pictures: tuple[np.ndarray, ...]) -> Tensor:
    device = next(backbone.parameters()).device
    return backbone(backbone.prepare([Image.fromarray(pixels) for pixels in pictures]).to(device)).cpu()


@torch.no_grad()
def copied_share(reconstruct: Reconstruct, twins: Twins) -> float:
    """Measure which part of the defects' change the reconstruction repeats: 1 for a copy, 0 for a projection on normal.

    With d = spoiled - clean and r the change of the reconstruction, ``<r, d> / <d, d>`` over the tokens under the
    defects. What a reconstruction changes in other directions than d does not count.
    """
    change_NF = (twins.spoiled - twins.clean)[twins.under]
    repeated_NF = (reconstruct(twins.spoiled) - reconstruct(twins.clean))[twins.under]
    return float((repeated_NF * change_NF).sum() / change_NF.square().sum())


@torch.no_grad()
def token_errors(reconstruct: Reconstruct, tokens_nLF: Tensor) -> Tensor:
    """Return the squared error (n, L) of every token (Eq. 7)."""
    return (reconstruct(tokens_nLF) - tokens_nLF).square().sum(dim=-1)


def influence(reconstruct: Reconstruct, tokens_LF: Tensor, at: int, *, probes: int = 32, seed: int = 0) -> Tensor:
    """Return the shares (L,) of an image's tokens in their influence on the reconstruction of the token at index `at`.

    The root mean square of the gradients in `probes` random directions estimates the Frobenius norm of the Jacobian.
    """
    generator = torch.Generator().manual_seed(seed)
    input_PLF = tokens_LF.expand(probes, -1, -1).clone().requires_grad_()
    directions_PF = torch.randn(probes, tokens_LF.shape[-1], generator=generator)
    (reconstruct(input_PLF)[:, at] * directions_PF).sum().backward()
    strength_L = input_PLF.grad.square().sum(dim=-1).mean(dim=0).sqrt()
    return strength_L / strength_L.sum()

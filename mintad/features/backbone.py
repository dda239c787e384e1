"""The frozen feature extractor (§3.2, Table 11): a timm backbone, cut off after the last stage that is used.

Letters: B images, L = H * W tokens of the grid, row by row, F channels of all stages together.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mintad.data.images import one_large_at_a_time, read_image
from mintad.errors import ConfigError, nearest
from mintad.features.weights import PACKAGES, assign, find_weights, fingerprint

REDUCTIONS = (2, 4, 8, 16)
RESIZES = ("bilinear", "half_pixel", "area")
PREPROCESSING = "pil-bilinear-1"  # what `Backbone.prepare` does; in the cache's key, so change it when pixels change


class Backbone(nn.Module):
    """Features of a frozen network: all stages resized to one grid, concatenated (§3.2; UniAD's extractor).

    For EfficientNet-b4 these are 24 + 32 + 56 + 160 = 272 channels; the stages up to reduction 16 have 3,635,984
    parameters and take 0.920 GMAC at 224 x 224 pixels. Always in eval mode, never differentiated.

    Not as in UniAD's code: there EfficientNet-b4 pads every layer as an image of 380 pixels would need it, also at 224,
    which shifts the input of the stage of reduction 8 by a pixel. Here, as in TensorFlow and timm, it pads for the
    image that it sees. With equal weights the stages of reduction 2 and 4 agree. With random ones, on noise and on
    smooth images, that of 8 differed by 8 to 20 % of its norm, that of 16 by 1 to 3 %, the features at 14x14 by 3 to
    6 %. We keep timm's padding: a key for the other would serve the comparison with one network's code alone.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        image_size: int,
        grid: int,
        mean: Sequence[float],
        std: Sequence[float],
        source: str,
        local_mean: int = 1,
        resize: str = "bilinear",
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # about half again as fast on CPUs
        self.name, self.source = name, source
        self.image_size, self.grid, self.local_mean, self.resize = image_size, (grid, grid), local_mean, resize
        self.reductions: tuple[int, ...] = tuple(network.feature_info.reduction())
        self.stage_channels: tuple[int, ...] = tuple(network.feature_info.channels())
        self.channels = sum(self.stage_channels)
        self.channels_last = str(getattr(network, "output_fmt", "")).endswith("NHWC")
        self.mean, self.std = tuple(mean), tuple(std)
        self.preprocessing = PREPROCESSING
        self.weights_id = fingerprint(network.state_dict())
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode whatever the caller asks, because the network's running statistics must not change."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute the features (B, L, F), float32, of normalised images (B, 3, H, W), as `prepare` returns them."""
        images = images.contiguous(memory_format=torch.channels_last)
        maps = [m.permute(0, 3, 1, 2) if self.channels_last else m for m in self.network(images)]
        return torch.cat([self._to_grid(m.float()) for m in maps], dim=1).flatten(2).transpose(1, 2).contiguous()

    def _to_grid(self, maps_BFHW: Tensor) -> Tensor:
        """Average a stage over `local_mean` and resize it to the grid."""
        if self.local_mean > 1:
            maps_BFHW = F.avg_pool2d(maps_BFHW, self.local_mean, stride=1, padding=self.local_mean // 2)
        if self.resize == "area":
            return F.adaptive_avg_pool2d(maps_BFHW, self.grid)
        return F.interpolate(maps_BFHW, self.grid, mode="bilinear", align_corners=self.resize == "bilinear")

    def prepare(self, images: Sequence[Image.Image]) -> Tensor:
        """Convert pictures to the network's input (B, 3, image_size, image_size), on the CPU."""
        return self.normalise(np.stack([to_pixels(image, self.image_size) for image in images]))

    def normalise(self, pixels_BHW3: np.ndarray) -> Tensor:
        """Convert 8-bit pixels (B, H, W, 3) to float32 (B, 3, H, W), scaled as the network was trained."""
        values = torch.from_numpy(pixels_BHW3).permute(0, 3, 1, 2).float().div_(255)
        mean_311, std_311 = self.mean_and_std()
        return values.sub_(mean_311).div_(std_311).contiguous()

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Return what is subtracted from pixels between 0 and 1, and what divides the rest; (3, 1, 1) each."""
        return torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)


def to_pixels(image: Image.Image, size: int) -> np.ndarray:
    """Resize an RGB picture to (size, size, 3) 8-bit pixels: bilinear as in UniAD, by Pillow, which does not alias."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # convert() would copy the whole picture
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR))


def read_pixels(path: str | Path, size: int) -> np.ndarray:
    """Read an image file as `to_pixels` gives it; at no time are two large pictures in memory, whatever the threads.

    Raises:
        DataError: see `mintad.data.images.read_image`.
    """
    with one_large_at_a_time(path):
        return to_pixels(read_image(path), size)


def build_backbone(
    name: str = "efficientnet_lite0",
    *,
    image_size: int = 224,
    grid: int = 14,
    weights: str = "auto",
    reductions: Sequence[int] = REDUCTIONS,
    local_mean: int = 1,
    resize: str = "bilinear",
    seed: int = 0,
) -> Backbone:
    """Build a frozen backbone with weights.

    Args:
        name: 'efficientnet_lite0', 1 or 2 (their weights come with pip packages), or any timm model with
            `features_only`. Without a tag, timm's first weights are taken, but for `tf_efficientnet_b*` those that saw
            ImageNet-1K alone ('aa_in1k'), not 300 million more images. UniAD's ResNets are 'resnet18.tv_in1k' and the
            like (torchvision's first weights), with the stages of reduction 4, 8 and 16.
        image_size, grid: sides of the square input, in pixels, and of the token grid.
        weights: 'auto' (pip package, else timm's hub), 'random' (for tests and counts), or a file's path.
        reductions: stages by their reduction. Of several stages with the same reduction the last is taken.
        local_mean: side of the square, odd, that every stage is first averaged over, in cells of its own resolution;
            zeros beyond the border count, as in PatchCore's published code. 1 for none.
        resize: how a stage comes to the grid: 'bilinear' with aligned corners, as UniAD does, 'half_pixel', bilinear
            with aligned cells, as PatchCore does, or 'area', the mean of each cell. Bilinear reads four values per
            cell, so on a coarse grid it skips most of a fine stage. `mintad.scoring.maps.upsample` says why maps go
            back without aligned corners.
        seed: of random weights.

    Raises:
        ConfigError: unknown backbone, one without these stages, an unknown `resize`, or an even `local_mean`.
        WeightsError: there are no weights, or they are of another model.
    """
    if resize not in RESIZES:
        raise ConfigError(f"features.resize = '{resize}':{nearest(resize, RESIZES)}")
    if local_mean < 1 or local_mean % 2 == 0:
        raise ConfigError(f"features.local_mean must be odd, not {local_mean}")
    import timm  # here, because it takes longer to import than all the rest together

    timm_name = timm_model(name)
    cfg = timm.get_pretrained_cfg(timm_name)
    options = {"img_size": image_size} if cfg is not None and cfg.fixed_input_size else {}
    stages = _stages(timm_name, reductions, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm.create_model(timm_name, features_only=True, out_indices=stages, **options)
    last = max(getattr(network, "_stage_out_idx", None) or (0,))
    if last and isinstance(getattr(network, "blocks", None), nn.Sequential):
        network.blocks = network.blocks[:last]  # of EfficientNets; timm cuts other networks itself
    source = f"random, seed {seed}"
    if weights != "random":
        tensors, source = find_weights(timm_name, weights)
        with torch.device("meta"):
            full_names = list(timm.create_model(timm_name, **options).state_dict()) if weights != "auto" else None
        assign(network, tensors, source, full_names)
    mean, std = (cfg.mean, cfg.std) if cfg is not None else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    settings = {"image_size": image_size, "grid": grid, "local_mean": local_mean, "resize": resize}
    return Backbone(network, name=name, mean=mean, std=std, source=source, **settings)


def timm_model(name: str) -> str:
    """Return timm's name, with a tag where timm's default weights are not the ones we mean; see `build_backbone`."""
    import timm

    name = f"tf_{name}" if f"tf_{name}" in PACKAGES else name
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)) or "none"
        raise ConfigError(f"unknown backbone '{name}'. Near: {near}. All names: timm.list_models().")
    published = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in published:
        raise ConfigError(f"timm has no weights '{name}'." + nearest(name, published))
    imagenet_only = f"{architecture}.aa_in1k"
    prefer = not tag and architecture.startswith("tf_efficientnet_b") and imagenet_only in published
    return imagenet_only if prefer else name


def _stages(timm_name: str, reductions: Sequence[int], options: dict[str, int]) -> tuple[int, ...]:
    """Return the indices of the stages with these reductions."""
    import timm

    try:
        with torch.device("meta"):  # shapes only: no memory, no initialisation
            info = timm.create_model(timm_name, features_only=True, **options).feature_info
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        problem = f"timm gives no intermediate features of '{timm_name}' ({error})"
        raise ConfigError(problem, fix="choose another backbone") from error
    index = {reduction: n for n, reduction in enumerate(info.reduction())}
    if not reductions or not set(reductions) <= set(index) or list(reductions) != sorted(set(reductions)):
        problem = f"features.reductions = {list(reductions)}: {timm_name} has stages of reduction {sorted(index)}"
        raise ConfigError(problem, fix="name some of them, in rising order")
    return tuple(index[reduction] for reduction in reductions)

"""Parameters and multiply-accumulates of every part (Table 6, and the counts a faithful build must give)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mintad.features.backbone import Backbone
from mintad.model.reconstruction import ReconstructionModel


def parameters(module: nn.Module) -> int:
    """Count the parameters of a module, without buffers."""
    return sum(p.numel() for p in module.parameters())


def describe(backbone: Backbone, model: ReconstructionModel) -> dict[str, Any]:
    """Count parameters and MACs of every part that has parameters, for one image.

    MACs count every matrix product and convolution, those inside attention included; additions, activations and
    normalisations are left out, as is usual. The keys are each part's name, `total` (without the backbone),
    `total_with_backbone`, and `macs` with the same keys.
    """
    parts = {name: part for name, part in model.named_children() if parameters(part)}
    parts |= {"encoder_layer": model.transformer.encoder[0], "decoder_layer": model.transformer.decoder[0]}
    sizes = {name: parameters(part) for name, part in parts.items()}
    counts = _with_totals(parameters(backbone), sizes, parameters(model))
    return {**counts, "macs": _macs(backbone, model, parts)}


def _macs(backbone: Backbone, model: ReconstructionModel, parts: dict[str, nn.Module]) -> dict[str, int]:
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, backbone.image_size, backbone.image_size, device=device)
    labels_B = torch.zeros(1, dtype=torch.long, device=device) if model.needs_labels else None
    was_training = model.training
    model.eval()
    # The math kernel spells attention out as matrix products, which the counter sees on every device.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as backbone_counter:
            feat_BLF = backbone(image)
        with FlopCounterMode(display=False) as counter:
            model(feat_BLF, labels_B=labels_B)
    model.train(was_training)
    names = {module: f"{type(model).__name__}.{name}" for name, module in model.named_modules()}
    per_module = {name: sum(flops.values()) // 2 for name, flops in counter.get_flop_counts().items()}
    macs = {name: per_module.get(names[part], 0) for name, part in parts.items()}
    return _with_totals(backbone_counter.get_total_flops() // 2, macs, counter.get_total_flops() // 2)


def _with_totals(backbone: int, parts: dict[str, int], total: int) -> dict[str, int]:
    return {"backbone": backbone, **parts, "total": total, "total_with_backbone": total + backbone}

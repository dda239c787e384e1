"""What makes the reconstruction (Eq. 7) a better detector? Ideas tried one at a time, without any test image.

    python benchmarks/reconstruction_ideas.py data/results/reconstruction_ideas.csv --data merged
    --set 'data.options={roots: {folder: ../shared/data/real, elpv: null}}'

A third of the normal training images is held out and scored without and with a synthetic defect
(`synthetic_defects.py`), once as it is there and once subtle. Compare the ideas with "no dropout"; where they come from
is said beside them. Ideas that helped are settings of the package, the others live here only. Finished ideas are not
repeated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import typer
from provenance import write
from torch import Tensor, nn

from mintad.config import Config
from mintad.data.images import read_image
from mintad.data.records import category_keys
from mintad.data.synthetic import add_defects
from mintad.features.backbone import to_pixels
from mintad.features.extract import features_of
from mintad.model.losses import Losses, compute_losses
from mintad.model.recentre import Recentre
from mintad.model.reconstruction import Output, ReconstructionModel
from mintad.model.transformer import Attention, FeedForward
from mintad.report.commented_csv import read_commented_csv
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model
from mintad.scoring import auroc
from mintad.scoring.maps import image_scores
from mintad.scoring.metrics import MEAN
from mintad.training.batches import Batches
from mintad.training.device import make_accelerator
from mintad.training.loop import train_step
from mintad.training.schedule import learning_rate


class ReferenceLayer(nn.Module):
    """Decoder layer whose keys and values are the class-aware query; nothing of the image is added to the output.

    The query is then a learned reference image, as in RLR (He et al., ECCV 2024).
    """

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.ffn = Attention(width, heads, 0.0), FeedForward(width, ffn_dim, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, query_BLD: Tensor, memory_BLD: Tensor, previous_BLD: Tensor, position_LD: Tensor, mask_LL: Any = None
    ) -> Tensor:
        """Return the tokens (B, L, D) of the next layer, see `mintad.model.transformer.DecoderLayer`."""
        x_BLD = self.norm1(self.attention(previous_BLD + position_LD, query_BLD + position_LD, query_BLD))
        return self.norm2(x_BLD + self.ffn(x_BLD))


class PrototypeLayer(nn.Module):
    """Decoder layer through six prototypes, after INP-Former (Luo et al., CVPR 2025).

    The prototypes look at the class-aware query and then at the image; each token of the query looks at them alone.
    """

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(6, width) / 2)
        self.to_query, self.to_image, self.to_prototypes = (Attention(width, heads, 0.0) for _ in range(3))
        self.ffn = FeedForward(width, ffn_dim, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, query_BLD: Tensor, memory_BLD: Tensor, previous_BLD: Tensor, position_LD: Tensor, mask_LL: Any = None
    ) -> Tensor:
        """Return the tokens (B, L, D) of the next layer, see `mintad.model.transformer.DecoderLayer`."""
        seen_BPD = self.prototypes.expand(len(memory_BLD), -1, -1)
        seen_BPD = self.norms[0](seen_BPD + self.to_query(seen_BPD, query_BLD + position_LD, query_BLD))
        seen_BPD = self.norms[1](seen_BPD + self.to_image(seen_BPD, memory_BLD + position_LD, memory_BLD))
        x_BLD = self.norms[2](query_BLD + self.to_prototypes(query_BLD + position_LD, seen_BPD, seen_BPD))
        return self.norms[3](x_BLD + self.ffn(x_BLD))


class Whiten(nn.Module):
    """In place of the standardisation: decorrelate the channels by their covariance within class and position."""

    def __init__(self, feat_nLF: Tensor, labels_n: np.ndarray) -> None:
        super().__init__()
        parts = [feat_nLF[labels_n == label] for label in np.unique(labels_n)]
        centred = [(part_nLF - part_nLF.mean(dim=0)).flatten(0, 1) for part_nLF in parts]
        covariance_FF = sum(part_NF.T @ part_NF / len(part_NF) for part_NF in centred) / len(parts)
        std_F = covariance_FF.diagonal().sqrt()
        correlation_FF = covariance_FF / std_F / std_F[:, None]
        variance_F, axes_FF = torch.linalg.eigh(0.99 * correlation_FF + 0.01 * torch.eye(len(std_F)))
        self.register_buffer("mean_F", feat_nLF.mean(dim=(0, 1)))
        self.register_buffer("matrix_FF", axes_FF * variance_F.rsqrt() @ axes_FF.T / std_F[:, None])

    def forward(self, feat_BLF: Tensor) -> Tensor:
        """Return whitened features, same shape."""
        return (feat_BLF - self.mean_F) @ self.matrix_FF


def training_tokens(model: ReconstructionModel, data: PreparedData) -> Tensor:
    """Return the pooled features (n, L, F) of the training images."""
    parts = np.array_split(data.train_rows, max(1, len(data.train_rows) // 256))
    return torch.cat([model.pooled(data.features.gather(part)) for part in parts])


def whiten(model: ReconstructionModel, data: PreparedData) -> None:
    """Whiten the targets by the covariance within class and position."""
    model.standardise = Whiten(training_tokens(model, data), data.train_labels)


def subtract_class_mean(model: ReconstructionModel, data: PreparedData) -> None:
    """Reconstruct what the nearest class's mean leaves."""
    feat_nLF, labels_n = model.standardise(training_tokens(model, data)), data.train_labels
    means_NLF = torch.stack([feat_nLF[labels_n == label].mean(dim=0) for label in np.unique(labels_n)])
    model.recentre = Recentre(model.channels, model.grid, 1)
    model.recentre.fit(feat_nLF)
    model.recentre.nearest.replace(means_NLF)
    with torch.no_grad():
        rest_nLF = torch.cat([part_BLF - model.recentre.nearest(part_BLF) for part_BLF in feat_nLF.split(64)])
        model.recentre.scale_F.copy_(rest_nLF.square().mean(dim=(0, 1)).sqrt())


def decode_by(layer: type[nn.Module]) -> Callable[[ReconstructionModel, PreparedData], None]:
    """Return a change of the model that replaces its decoder layers."""

    def change(model: ReconstructionModel, data: PreparedData) -> None:
        config = model.config
        layers = [
            layer(config.width, config.heads, config.ffn_dim, config.dropout) for _ in range(config.decoder_layers)
        ]
        for module in (module for new in layers for module in new.modules() if isinstance(module, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        model.transformer.decoder = nn.ModuleList(layers)

    return change


def squared(output: Output) -> Tensor:
    """Return the squared error of Eq. 5."""
    return output.token_error.mean()


def mined(output: Output) -> Tensor:
    """Return the squared error, tokens weighted by their share of it: soft mining of hard tokens, as INP-Former's."""
    weight_BL = (output.token_error / output.token_error.mean()).detach()
    return (weight_BL * output.token_error).mean() / weight_BL.mean()


def rooted(output: Output) -> Tensor:
    """Return the norm of the error, scaled to the gradient of the square where the error is that of training's end."""
    return 14 * (output.token_error + 1e-6).sqrt().mean()


def cosine(output: Output) -> Tensor:
    """Return one minus the cosine, as reverse distillation and ViTAD train."""
    return output.target.shape[2] * (1 - F.cosine_similarity(output.reconstruction, output.target, dim=2)).mean()


@dataclasses.dataclass(frozen=True)
class Idea:
    """One change of the training."""

    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: Callable[[ReconstructionModel, PreparedData], None] | None = None
    loss: Callable[[Output], Tensor] = squared

    def losses(self, output: Output, *others: Any) -> Losses:
        """Return the losses of Eq. 6 with the idea's own in the place of the squared error, see `compute_losses`."""
        losses, own = compute_losses(output, *others), self.loss(output)
        return dataclasses.replace(losses, mse=own, total=losses.total - losses.mse + own)


PLAIN = {"model.dropout": 0.0, "model.recentre.neighbours": 0}
SMALL_BATCHES = {"train.batch_size": 8, "train.steps": 6400}
IDEAS = {
    "dropout": Idea({**PLAIN, "model.dropout": 0.1}),
    "no dropout": Idea(PLAIN),
    "3 times the steps": Idea({**PLAIN, "train.steps": 4800}),
    "batches of 8, 4 times the steps": Idea({**PLAIN, **SMALL_BATCHES}),
    "width 256": Idea({**PLAIN, "model.width": 256}),
    "jitter 40": Idea({**PLAIN, "model.jitter.scale": 40.0}),
    "reference decoder": Idea(PLAIN, decode_by(ReferenceLayer)),
    "prototype decoder": Idea(PLAIN, decode_by(PrototypeLayer)),
    "hard tokens": Idea(PLAIN, loss=mined),
    "norm": Idea(PLAIN, loss=rooted),
    "cosine": Idea(PLAIN, loss=cosine),
    "whitened targets": Idea(PLAIN, whiten),
    "less the class mean": Idea(PLAIN, subtract_class_mean),
    "less the nearest image": Idea({**PLAIN, "model.recentre.neighbours": 1}),
    "less the 3 nearest images": Idea({**PLAIN, "model.recentre.neighbours": 3}),
    "less the 5 nearest images": Idea({**PLAIN, "model.recentre.neighbours": 5}),
    "less the 15 nearest images": Idea({**PLAIN, "model.recentre.neighbours": 15}),
    "less the 5 nearest images, dropout": Idea(),
    "less the 5 nearest images, batches of 8": Idea({**PLAIN, **SMALL_BATCHES, "model.recentre.neighbours": 5}),
}
"""Changes of the fast preset, which is 'less the 5 nearest images, dropout'."""


def trained(idea: Idea, data: PreparedData, config: Config) -> ReconstructionModel:
    """Train a model as the package does, with the idea's changes, without checkpoints or a fused optimizer.

    A fused one rounds differently: the table's last digits are those of the plain one.
    """
    config = config.override(**idea.settings)
    model = new_model(config, data)
    if idea.model is not None:
        idea.model(model, data)
    accelerator = make_accelerator(config.train)
    batches = Batches(data.features, data.train_rows, data.train_labels, model, config.train, accelerator)
    parameters = model.to(accelerator.device).train().parameters()
    optimizer = torch.optim.AdamW(parameters, lr=config.train.lr, weight_decay=config.train.weight_decay)
    wrapped, stepper = accelerator.prepare(model, optimizer)
    for step in range(batches.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, batches.steps, config.train)
        train_step(wrapped, batches[step], stepper, accelerator, config.train, idea.losses)
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    return model.eval()


@torch.no_grad()
def token_errors(model: ReconstructionModel, feat_nLF: Tensor) -> np.ndarray:
    """Return Eq. 7's maps (n, H, W)."""
    return torch.cat([model.anomaly_map(batch_BLF.float()).cpu() for batch_BLF in feat_nLF.split(64)]).numpy()


def development_set(data: PreparedData, size: int) -> dict[str, Tensor]:
    """Return the features (n, L, F) of the held-out normal images: as they are, with defects, with subtle ones."""
    keys = category_keys(data.records).to_numpy()[data.holdout_rows]
    images = [to_pixels(read_image(path), size) for path in data.records["image"].iloc[data.holdout_rows]]
    kinds = {"defects": False, "subtle defects": True}
    spoiled = {name: add_defects(images, keys, subtle=subtle)[0] for name, subtle in kinds.items()}
    return {"normal": data.features.gather(data.holdout_rows)} | {
        name: features_of(data.backbone, pictures).half() for name, pictures in spoiled.items()
    }


def main(
    csv: Annotated[Path, typer.Argument(help="Table to write.")],
    data: Annotated[str, typer.Option(help="Data set.")] = "elpv",
    root: Annotated[Path | None, typer.Option(help="Its folder.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    idea: Annotated[list[str] | None, typer.Option(help="Only this idea; may be given several times.")] = None,
) -> None:
    """Train with every idea and measure how well it tells the held-out images from those with a defect."""
    config = resolve_config("fast", None, ["data.holdout=0.33", *(set_ or [])], data, root)
    prepared = prepare_data(config, progress=False)
    tested = development_set(prepared, config.features.image_size)
    keys = category_keys(prepared.records).to_numpy()[prepared.holdout_rows]
    table = read_commented_csv(csv)[1] if csv.exists() else pd.DataFrame({"idea": []})
    for name in (name for name in IDEAS if name in (idea or IDEAS) and name not in set(table["idea"])):
        model = trained(IDEAS[name], prepared, config)
        scores = {
            kind: image_scores(token_errors(model, feat_nLF), config.features.image_size, config.scoring)
            for kind, feat_nLF in tested.items()
        }
        values = {
            (kind, key): auroc(
                np.concatenate([scores["normal"][keys == key], scores[kind][keys == key]]),
                np.repeat([0, 1], (keys == key).sum()),
            )
            for kind in ("defects", "subtle defects")
            for key in sorted(set(keys))
        }
        values |= {(kind, MEAN): mean for kind, mean in pd.Series(values).groupby(level=0).mean().items()}
        rows = [
            {"idea": name, "kind": kind, "category": key, "image_auroc": round(float(value), 5)}
            for (kind, key), value in values.items()
        ]
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        write(csv, table, config=config)
        print(f"{name}: {values['defects', MEAN]:.4f}, subtle {values['subtle defects', MEAN]:.4f}", flush=True)


if __name__ == "__main__":
    typer.run(main)

"""HVQ-Trans: a transformer that reconstructs features from codebooks (Lu et al., NeurIPS 2023, arXiv:2310.14228)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.codebooks import Codebooks
from mintad.baselines.training import CHUNK, TrainedBaseline
from mintad.config import ScoringConfig
from mintad.errors import DataError, nearest
from mintad.features.table import FeatureTable
from mintad.model.transformer import DecoderLayer, EncoderLayer, PositionEmbedding


class VectorQuantisedTransformer(nn.Module):
    """Reconstruct features (B, L, F) from codes alone; letters as in `HVQTrans`.

    Args:
        channels: F.
        grid: (H, W) with L = H * W.
        classes, codes: N, M.
        width, heads, layers, hidden, dropout: D and the rest of encoder and decoder.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        classes: int,
        *,
        codes: int,
        width: int,
        heads: int,
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.project, self.place = nn.Linear(channels, width), PositionEmbedding(grid, width)
        shape = (heads, hidden, dropout, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(width, *shape) for _ in range(layers))
        self.top = Codebooks(classes, codes, width)
        self.books = nn.ModuleList(Codebooks(classes, codes, 2 * width) for _ in range(layers))  # finest first
        self.decoder = nn.ModuleList(DecoderLayer(2 * width, *shape) for _ in range(layers))
        self.norm = nn.LayerNorm(2 * width)
        self.output_NEF = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * width, channels)).repeat(classes, 1, 1))
        self.bias_N1F = nn.Parameter(torch.zeros(classes, 1, channels))
        self.head = nn.Linear(width, classes)

    def encode(self, feat_BLF: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the tokens e_0 to e_n, (B, L, D) each, and the class logits (B, N)."""
        tokens = [self.project(feat_BLF)]
        for layer in self.encoder:
            tokens.append(layer(tokens[-1], self.place()))
        return tokens, self.head(tokens[-1].mean(1))

    def decode(self, tokens: list[Tensor], class_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (B, L, F), and the sum of all codebooks' distances, a scalar."""
        top_BLD, distance = self.top(tokens[-1], class_B)
        place_LE, levels = torch.cat([self.place()] * 2, dim=-1), []
        for book, finer_BLD in zip(self.books, tokens[:-1], strict=True):
            codes_BLE, further = book(torch.cat([finer_BLD, top_BLD], dim=-1), class_B)
            levels.append(codes_BLE)
            distance = distance + further
        x_BLE = levels[-1]
        for layer, codes_BLE in zip(self.decoder, reversed(levels), strict=True):
            x_BLE = layer(x_BLE, x_BLE, codes_BLE, place_LE)  # looks at itself, then at the codes
        return torch.baddbmm(self.bias_N1F[class_B], self.norm(x_BLE), self.output_NEF[class_B]), distance

    def transport_cost(self, tokens: list[Tensor], class_B: Tensor) -> Tensor:
        """Return what it costs (B, L) to move the finest tokens to their codes, see `Codebooks.transport_cost`."""
        joined_BLE = torch.cat([tokens[0], self.top(tokens[-1], class_B)[0]], dim=-1)
        return self.books[0].transport_cost(joined_BLE, class_B)


@baseline("hvq_trans")
class HVQTrans(TrainedBaseline):
    """Error of a reconstruction that sees nothing but codes of normal tokens, and the tokens' distance to the codes.

    An encoder makes tokens e_0 (the projected features) to e_n (its last layer). With Q the nearest code,

        z_n = Q_n(e_n),    z_i = Q_i([e_i, z_n]) for i < n,    x' = decoder(z_(n-1), ..., z_0),

    where the decoder's layers look at the z from coarse to fine, and

        loss = mean of (x' - x)^2 + beta * sum over i of mean of (y_i - z_i)^2,    y_n = e_n,  y_i = [e_i, z_n].

    Codes are moving averages of their tokens. What is no normal token has no code, and so cannot be copied. Every
    class has codebooks and an output layer of its own: an image is decoded with those of *one* class. The anomaly of a
    token is |x' - x| plus the cost to transport y_0 to the codes of the class (`Codebooks.transport_cost`).

    **Which class?** The authors' released code is told it, in training and test. Here a linear layer on the mean of e_n
    learns it (cross-entropy, added to the loss), and a test image has the class that it predicts: the method knows no
    more than MINT-AD. `hvq_trans_told` is told the class, as published.

    As published: the hierarchy, switch, decay of 0.99, beta = 0.25, the features (those of UniAD and of the run), and
    the maximum over means of 16 x 16 pixels. Not as published:

    * **Size and length.** The authors have D = 256, 4 + 4 layers and 512 codes, and train 1,000 epochs with a rate of
      1e-4. We take D = 64, 2 + 2 layers, 64 codes, 500 steps and a rate of 1e-3; gradients are not clipped.
    * **Codes begin at tokens**, the authors' at random values, of which many would never be chosen in so few steps.
    * **Transport.** The authors' code has softmax(x . c / M), almost uniform; we divide by sqrt(D), as attention does.
      They add 80 times the cost to the error. Here each part is in units of its mean over the training tokens, because
      features differ in scale between backbones, and both count alike.
    * **Scale.** Channels are standardised over the training tokens.

    Args:
        grid: (H, W) of the features.
        codes: M of every class and level.
        width, heads, layers, hidden, dropout: of the network; D is even and a multiple of `heads`.
        beta: weight of the tokens' distances to their codes.
        steps, images, rate: of the training, images in a step and learning rate.
        seed: of initial weights, batches, dropout and first codes.
    """

    title = "HVQ-Trans"
    cosine = True

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        codes: int = 64,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
        hidden: int = 256,
        dropout: float = 0.1,
        beta: float = 0.25,
        steps: int = 500,
        images: int = 16,
        rate: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, steps=steps, images=images, seed=seed)
        self.options = {"codes": codes, "width": width, "heads": heads, "layers": layers, "hidden": hidden}
        self.options["dropout"] = dropout
        self.beta, self.rate = beta, rate

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the published image score: the maximum over means of 16 x 16 pixels."""
        return dataclasses.replace(config, image_score="pooled_max", pool=16)

    def prepare(self, features: FeatureTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build the network for the classes of `rows`."""
        labels = self.labels_of(rows)
        self.classes = [""] if labels is None else sorted(set(labels))
        network = VectorQuantisedTransformer(features.channels, self.grid, len(self.classes), **self.options)
        self.network = network.to(features.device).train()
        return torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=1e-4)

    def loss(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of a batch of features of the classes `labels`."""
        target_BLF, class_B = self.standardise(feat_BLF), self._given(feat_BLF, labels)
        tokens, logits_BN = self.network.encode(target_BLF)
        restored_BLF, distance = self.network.decode(tokens, class_B)
        loss = (restored_BLF - target_BLF).square().mean() + self.beta * distance
        return loss if self.needs_labels else loss + F.cross_entropy(logits_BN, class_B)

    @torch.no_grad()
    def finish(self, features: FeatureTable, rows: np.ndarray) -> None:
        """Keep the codes, and measure both parts of the score on the training tokens."""
        self.network.eval()
        parts = [torch.zeros(2)]
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            error_BL, cost_BL = self._parts(features.gather(chunk), self.labels_of(chunk))
            parts.append(torch.stack([error_BL.mean(1).sum(), cost_BL.mean(1).sum()]).cpu())
        self.usual = (torch.stack(parts).sum(0) / len(rows)).clamp(min=1e-6).tolist()

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return error plus cost (B, H, W) of features (B, L, F), each in units of its mean over the training tokens.

        `labels` are used by `hvq_trans_told` alone.

        Raises:
            DataError: a class was not trained; or there are several, and it must be told but is not.
        """
        error_BL, cost_BL = self._parts(feat_BLF.to(self.mean_F.device), labels)
        return (error_BL / self.usual[0] + cost_BL / self.usual[1]).unflatten(1, self.grid)

    def _parts(self, feat_BLF: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
        """Return errors and transport costs (B, L) of features (B, L, F)."""
        target_BLF = self.standardise(feat_BLF)
        tokens, logits_BN = self.network.encode(target_BLF)
        class_B = self._given(feat_BLF, labels) if self.needs_labels else logits_BN.argmax(-1)
        error_BL = (self.network.decode(tokens, class_B)[0] - target_BLF).norm(dim=-1)
        return error_BL, self.network.transport_cost(tokens, class_B)

    def predicted(self, feat_BLF: Tensor) -> list[str]:
        """Return the class that the head gives each of some images' features (B, L, F)."""
        with torch.no_grad():
            logits_BN = self.network.encode(self.standardise(feat_BLF.to(self.mean_F.device)))[1]
        return [self.classes[k] for k in logits_BN.argmax(-1).tolist()]

    def _given(self, feat_BLF: Tensor, labels: Any) -> Tensor:
        """Return the index (B,) of the given classes; the only class where there is one."""
        if len(self.classes) == 1:
            return torch.zeros(len(feat_BLF), dtype=torch.long, device=feat_BLF.device)
        if labels is None:
            raise DataError(f"{self.title} needs the category of every image; give `labels`")
        for name in labels:
            if name not in self.classes:
                raise DataError(f"{self.title} was not trained on category '{name}'." + nearest(name, self.classes))
        return torch.tensor([self.classes.index(name) for name in labels], device=feat_BLF.device)

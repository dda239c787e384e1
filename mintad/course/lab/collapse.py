"""What the prior loss alone rewards, in the smallest model that has an adapter and a prior (notebook 08; §3.4).

Letters: n images, L tokens, F channels of the features, D of the adapted features, N classes.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from mintad.config import TrainConfig
from mintad.model.losses import compute_losses
from mintad.model.prior import DistributionDecoder
from mintad.model.reconstruction import Output


class AdapterAndPrior(nn.Module):
    """MINT-AD without everything between adapter and output.

    It has a linear adapter, a linear reconstruction of each token by itself, and the paper's distribution decoder over
    a query that is learned freely for each class and position.
    """

    def __init__(self, classes: int, tokens: int, channels: int, *, width: int = 32, min_log_variance: float = -10.0):
        super().__init__()
        self.adapter = nn.Linear(channels, width)
        self.query_NLD = nn.Parameter(torch.randn(classes, tokens, width))
        self.distribution_decoder = DistributionDecoder(width, min_log_variance=min_log_variance)
        self.output = nn.Linear(width, channels)

    def forward(self, feat_BLF: Tensor, labels_B: Tensor) -> Output:
        """Return reconstruction, adapted features and their predicted distribution, of features (B, L, F)."""
        adapted, (mean, log_variance) = self.adapter(feat_BLF), self.distribution_decoder(self.query_NLD[labels_B])
        return Output(
            target=feat_BLF, reconstruction=self.output(adapted), adapted=adapted, mean=mean, log_variance=log_variance
        )


def fit_prior(
    model: AdapterAndPrior,
    feat_nLF: Tensor,
    labels_n: Tensor,
    config: TrainConfig,
    *,
    reconstruct: bool = True,
    record_every: int = 20,
) -> pd.DataFrame:
    """Train a new model in place on standardised features of normal images; record how its adapted features change.

    Of `config` the steps, batch size, lr, weights, reductions, `clip_norm` and `seed` are used. Without `reconstruct`
    L_MSE is left out, so that only the prior counts.

    Returns:
        Columns step, variance_kept (variance of the adapted features between images of a class, divided by that at the
        start), mse (mean over elements), prior (mean NLL of an element), log_variance (mean).
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    with torch.no_grad():
        at_start, rows = spread_within(model.adapter(feat_nLF), labels_n), []
    for step in range(config.steps + 1):
        if step % record_every == 0 or step == config.steps:
            rows.append({"step": step, **_state(model, feat_nLF, labels_n, at_start)})
        if step == config.steps:
            break
        chosen = torch.randint(len(feat_nLF), (config.batch_size,), generator=generator)
        losses = compute_losses(model(feat_nLF[chosen], labels_n[chosen]), labels_n[chosen], config)
        optimiser.zero_grad()
        (losses.total if reconstruct else config.weight_prior * losses.prior).backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
    return pd.DataFrame(rows)


def spread_within(adapted_nLD: Tensor, labels_n: Tensor) -> float:
    """Return the variance of adapted features (n, L, D) between images of a class, averaged over all else.

    The prior rewards removing this variance. Differences between classes and between positions cost nothing, because
    the mean that it predicts depends on both.
    """
    return float(torch.stack([adapted_nLD[labels_n == k].var(dim=0).mean() for k in labels_n.unique()]).mean())


@torch.no_grad()
def _state(model: AdapterAndPrior, feat_nLF: Tensor, labels_n: Tensor, at_start: float) -> dict[str, float]:
    output = model(feat_nLF, labels_n)
    losses = compute_losses(output, labels_n, TrainConfig(mse_reduction="element", prior_reduction="element"))
    return {
        "variance_kept": spread_within(output.adapted, labels_n) / at_start,
        "mse": losses.mse.item(),
        "prior": losses.prior.item(),
        "log_variance": output.log_variance.mean().item(),
    }

"""The MLP that Tables 4 and 9 compare with the INR, and MINT-AD with it (App. B.6)."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from mintad.config import Count, ModelConfig, section
from mintad.model.mint_ad import MintAD
from mintad.model.precision import in_float32
from mintad.model.prompt_mapper import mlp
from mintad.model.variants import variant


class MLPQuery(nn.Module):
    """Class token -> hidden -> all L * D numbers of the query at once (App. B.6, Table 9).

    App. B.6 prints ``Repeat(MLP(t_c))``, one D-vector for all positions; such a query has neither the 383.5 M
    parameters of Table 9 nor the diagonal self-attention map of Fig. 4c. An output of L * D numbers has; we take it.
    The paper found its sizes by a grid search and does not give them: with one hidden layer of 7,637 units the count is
    383.5 M at L = 196, D = 256. `tokens`, `width` and `token_width` are L, D and T.
    """

    def __init__(self, tokens: int, width: int, *, token_width: int = 32, hidden: int = 256) -> None:
        super().__init__()
        self.tokens = tokens
        self.network = mlp((token_width, hidden, tokens * width), nn.ReLU)

    @in_float32
    def forward(self, token_BT: Tensor) -> Tensor:
        """Return the query (B, L, D) of class tokens (B, T)."""
        return self.network(token_BT).unflatten(1, (self.tokens, -1))


@variant("mlp_query")
class MLPQueryMintAD(MintAD):
    """MINT-AD with an MLP instead of the INR, and without the prior loss (App. B.6, Table 9)."""

    @section("model.options")
    class Options:
        hidden: Count = 256
        """Units of the MLP's hidden layer: 7,637 gives Table 9's 383.5 M parameters, 256 gives 12.9 M."""

    def __init__(self, config: ModelConfig, channels: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__(dataclasses.replace(config, prior_loss=False), channels, grid, classes)

    def make_query_network(self) -> None:
        """Make the MLP that takes the INR's place."""
        width, token_width = self.config.width, self.config.prompt_mapper.token_width
        self.mlp_query = MLPQuery(self.tokens, width, token_width=token_width, hidden=self.options.hidden)

    def class_aware_query(self, token_BT: Tensor) -> Tensor:
        """Return the query (B, L, D) of class tokens (B, T)."""
        return self.mlp_query(token_BT)

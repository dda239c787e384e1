"""The MLP that Tables 4 and 9 set against the INR."""

from __future__ import annotations

from torch import Tensor, nn

from mintad.model.precision import in_float32
from mintad.model.prompt_mapper import mlp


class MLPQuery(nn.Module):
    """Class token -> hidden -> all L * D numbers of the query at once (App. B.6, Table 9).

    App. B.6 writes ``Repeat(MLP(t_c))``, one D-vector for all positions; such a query has neither the 383.5 M
    parameters of Table 9 nor the diagonal self-attention map of Fig. 4c. An output of L * D numbers has; we take it.
    The paper found its sizes by a grid search and does not give them: with one hidden layer of 7,637 units the count is
    383.5 M at L = 196, D = 256.

    Args:
        tokens, width: L and D.
        token_width: T.
        hidden: units of the hidden layer.
    """

    def __init__(self, tokens: int, width: int, *, token_width: int = 32, hidden: int = 256) -> None:
        super().__init__()
        self.tokens = tokens
        self.network = mlp((token_width, hidden, tokens * width), nn.ReLU)

    @in_float32
    def forward(self, token_BT: Tensor) -> Tensor:
        """Query (B, L, D) of class tokens (B, T)."""
        return self.network(token_BT).unflatten(1, (self.tokens, -1))

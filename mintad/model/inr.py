"""The class-aware query, an implicit neural representation (§3.3, App. B.6, Eqs 8-9, Table 13)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mintad.model.precision import in_float32


class INR(nn.Module):
    """Dual-path network: a sine network maps positions to features, a ReLU network modulates it by class.

    ``h_0 = z,  h_i = alpha_i * sin(W_i h_{i-1} + b_i)`` (Eq. 8), ``alpha_i = ReLU(W'_i alpha_{i-1} + b'_i)`` with
    ``alpha_0 = [z, t_c]`` (Table 13), or ``alpha_i = ReLU(W'_i [alpha_{i-1}, t_c] + b'_i)`` with ``alpha_0 = z`` when
    `modulator_skip` (Eq. 9, whose t_z we read as t_c). At the paper's sizes the default has 602,368 parameters,
    Table 9's 0.602 M. §3.3 speaks of "amplitude, phase, and frequency"; Eq. 8 has the amplitude alone, and so have we.

    Args:
        width, token_width: D and T.
        hidden, layers: 256 and 4 in Table 13 (layers after the first).
        omega: frequency factor of the first layer. The paper does not give it; 30 is SIREN's.
        modulator_skip: Eq. 9 instead of Table 13.
    """

    def __init__(
        self,
        width: int = 256,
        *,
        token_width: int = 32,
        hidden: int = 256,
        layers: int = 4,
        omega: float = 30.0,
        modulator_skip: bool = False,
    ) -> None:
        super().__init__()
        self.omega, self.modulator_skip = omega, modulator_skip
        skip_width = token_width if modulator_skip else 0
        synthesis_widths = [3] + [hidden] * layers  # 3 channels of the position embedding z
        modulation_widths = [3 + token_width] + [hidden + skip_width] * layers
        self.synthesis_network = nn.ModuleList(nn.Linear(n_in, hidden) for n_in in synthesis_widths)
        self.modulation_network = nn.ModuleList(nn.Linear(n_in, hidden) for n_in in modulation_widths)
        self.output = nn.Linear(hidden, width)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Draw the sine layers by SIREN's scheme and start the modulation around 1, so that it hardly modulates.

        The paper gives no initialisation. With zero biases the amplitudes alpha start near 0.2, and their product over
        the layers shrinks the query to a standard deviation below 0.01, which the decoder hardly sees.
        """
        for n, layer in enumerate(self.synthesis_network):
            bound = 1 / layer.in_features if n == 0 else math.sqrt(6 / layer.in_features)
            layer.weight.uniform_(-bound, bound)
        for layer in self.modulation_network:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.ones_(layer.bias)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @in_float32
    def forward(self, position_LP: Tensor, token_BT: Tensor) -> Tensor:
        """Return the query (B, L, D) for positions (L, 3) and class tokens (B, T)."""
        B, L = token_BT.shape[0], position_LP.shape[0]
        position_BLP = position_LP.expand(B, -1, -1)
        token_BLT = token_BT[:, None, :].expand(-1, L, -1)
        h_BLH, alpha_BLH = position_BLP, position_BLP
        for n, (sine, modulation) in enumerate(zip(self.synthesis_network, self.modulation_network, strict=True)):
            if n == 0 or self.modulator_skip:
                alpha_BLH = torch.cat([alpha_BLH, token_BLT], dim=-1)
            alpha_BLH = modulation(alpha_BLH).relu()
            frequency = self.omega if n == 0 else 1.0
            h_BLH = alpha_BLH * torch.sin(frequency * sine(h_BLH))
        return self.output(h_BLH)

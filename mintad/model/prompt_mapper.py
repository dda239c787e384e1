"""The class encoder: from adapted features to a class token (§3.3, Eq. 1, Table 12)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mintad.model.precision import in_float32


def mlp(sizes: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    """Make linear layers of the given sizes with the activation between them (none at the end)."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


class PromptMapper(nn.Module):
    """Class token t_c of an image, and the class logits of the head that teaches it.

    The class encoder works along the *token* axis of the features, seen as (B, D, L): every channel's spatial
    pattern becomes `token_width` numbers. The channel encoder mixes all channels into the class token; the head is
    linear.

    Table 12 ends both encoders with a softmax. With PyTorch's default initialisation both are then almost uniform at
    the start and pass almost no gradient: the token stays the same for all images and the classifier stays near
    chance for thousands of steps. `gain` widens the initial weights of the layers next to a softmax, which keeps the
    printed form and lets it learn.

    Args:
        tokens, width, classes: L, D and N; no head for N = 0.
        hidden, token_width: 256 and 32 in Table 12.
        class_encoder_softmax, token_softmax: the two softmaxes of Table 12.
        head_input: 'token' (Table 12) or 'logits', the values before the token's softmax.
        gain: factor on the initial weights of both encoders' last layer and, if it reads a softmax, of the head.
    """

    def __init__(
        self,
        tokens: int,
        width: int,
        classes: int,
        *,
        hidden: int = 256,
        token_width: int = 32,
        class_encoder_softmax: bool = True,
        token_softmax: bool = True,
        head_input: str = "token",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.class_encoder = mlp((tokens, hidden, hidden, token_width), nn.ReLU)
        self.channel_encoder = mlp((width * token_width, hidden, hidden, token_width), nn.LeakyReLU)
        self.head = nn.Linear(token_width, classes) if classes else None
        self.class_encoder_softmax, self.token_softmax = class_encoder_softmax, token_softmax
        self.head_input = head_input
        with torch.no_grad():
            if class_encoder_softmax:
                self.class_encoder[-1].weight *= gain
            if token_softmax:
                self.channel_encoder[-1].weight *= gain
                if head_input == "token" and self.head is not None:
                    self.head.weight *= gain

    @in_float32
    def forward(self, adapted_BLD: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return class token (B, T) and class logits (B, N), None without a head, of adapted features (B, L, D)."""
        pattern_BDT = self.class_encoder(adapted_BLD.transpose(1, 2))
        if self.class_encoder_softmax:
            pattern_BDT = pattern_BDT.softmax(dim=-1)
        values_BT = self.channel_encoder(pattern_BDT.flatten(1))
        token_BT = values_BT.softmax(dim=-1) if self.token_softmax else values_BT
        if self.head is None:
            return token_BT, None
        return token_BT, self.head(token_BT if self.head_input == "token" else values_BT)

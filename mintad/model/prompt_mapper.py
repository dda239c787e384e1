"""The class encoder: from adapted features to a class token (§3.3, Eq. 1, Table 12)."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintad.config import PromptMapperConfig
from mintad.model.precision import in_float32

TABLE_12 = PromptMapperConfig()


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

    With the gain, tokens soon are one-hot, and a one-hot token passes no gradient either: two classes that share one by
    then share it for good. `token_std` s bounds the T values v before the outer softmax, ``s * (v - mean) / std``, so
    that no token is quite one-hot (a layer norm without parameters; not in the paper).

    `tokens`, `width` and `classes` are L, D (F without an adapter) and N; there is no head for N = 0.
    """

    def __init__(self, tokens: int, width: int, classes: int, config: PromptMapperConfig = TABLE_12) -> None:
        super().__init__()
        self.config, T, hidden = config, config.token_width, config.hidden
        self.class_encoder = mlp((tokens, hidden, hidden, T), nn.ReLU)
        self.channel_encoder = mlp((width * T, hidden, hidden, T), nn.LeakyReLU)
        self.head = nn.Linear(T, classes) if classes else None
        with torch.no_grad():
            if config.class_encoder_softmax:
                self.class_encoder[-1].weight *= config.gain
            if config.token_softmax:
                self.channel_encoder[-1].weight *= config.gain
                if config.head_input == "token" and self.head is not None:
                    self.head.weight *= config.gain

    @in_float32
    def forward(self, adapted_BLD: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return class token (B, T) and class logits (B, N), None without a head, of adapted features (B, L, D)."""
        pattern_BDT = self.class_encoder(adapted_BLD.transpose(1, 2))
        if self.config.class_encoder_softmax:
            pattern_BDT = pattern_BDT.softmax(dim=-1)
        values_BT = self.channel_encoder(pattern_BDT.flatten(1))
        if self.config.token_std is not None:
            values_BT = self.config.token_std * F.layer_norm(values_BT, values_BT.shape[-1:])
        token_BT = values_BT.softmax(dim=-1) if self.config.token_softmax else values_BT
        if self.head is None:
            return token_BT, None
        return token_BT, self.head(token_BT if self.config.head_input == "token" else values_BT)

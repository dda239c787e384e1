"""MINT-AD put together from functions: the weights by the paper's names, and the functions that students write.

Shapes: B images, L tokens, F feature channels, D width, T class-token width, N classes.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mintad.config import INRConfig, ModelConfig, PromptMapperConfig
from mintad.errors import ConfigError
from mintad.model import build_model
from mintad.model.mint_ad import MintAD
from mintad.model.transformer import DecoderLayer, EncoderLayer

Function = Callable[..., Any]


@dataclass(frozen=True)
class Functions:
    """The functions of notebooks 04, 06, 07 and 08 that a model is put together from, as their exercises say."""

    feature_jitter: Function
    decoder_layer: Function
    prompt_mapper: Function
    cross_entropy: Function
    modulated: Function
    gaussian_nll: Function
    reduce: Function


class Sine:
    """A linear layer of the synthesis network with its frequency: omega * (W x + b). The sine comes after it."""

    def __init__(self, linear: nn.Linear, omega: float) -> None:
        self.linear, self.omega = linear, omega

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sine's argument."""
        return self.omega * self.linear(x)


class PlacedEncoderLayer:
    """An encoder layer that knows where its tokens are: tokens (B, L, D) -> tokens (B, L, D)."""

    def __init__(self, layer: EncoderLayer, position_LD: Tensor, mask_LL: Tensor | None) -> None:
        self.layer, self.position_LD, self.mask_LL = layer, position_LD, mask_LL

    def __call__(self, tokens_BLD: Tensor) -> Tensor:
        """Return the tokens of the next layer."""
        return self.layer(tokens_BLD, self.position_LD, self.mask_LL)


class PlacedDecoderLayer:
    """A decoder layer's parts as notebook 04's `decoder_layer` calls them; its attentions know where the tokens are.

    Positions are added to what asks and what is asked, never to the values. Dropout is in the parts, too.
    """

    def __init__(self, layer: DecoderLayer, position_LD: Tensor, mask_LL: Tensor | None) -> None:
        self.layer, self.position_LD, self.mask_LL = layer, position_LD, mask_LL
        self.norm1, self.norm2, self.norm3 = layer.norm1, layer.norm2, layer.norm3

    def memory_attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what the query finds in the encoder's output, (B, L, D)."""
        return self._attended(self.layer.memory_attention, query, key, value)

    def previous_attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what the query finds in the layer before, (B, L, D)."""
        return self._attended(self.layer.previous_attention, query, key, value)

    def ffn(self, x: Tensor) -> Tensor:
        """Return the feed-forward network's output, (B, L, D)."""
        return self.layer.dropout(self.layer.ffn(x))

    def _attended(self, attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        at = self.position_LD
        return self.layer.dropout(attention(query + at, key + at, value, self.mask_LL))


class Net:
    """The weights of a MINT-AD, without the way through them.

    ``adapter`` F -> D, ``alpha`` of the jitter; ``class_encoder``, ``channel_encoder`` and ``head`` of the prompt
    mapper; ``z`` (L, 3), ``sines``, ``modulators`` and ``query_output`` of the INR; ``distribution_decoder`` (query ->
    mean, log-variance); ``encoder`` and ``decoder``, lists of layers; ``decoder_norm``, and ``output`` D -> F.

    Args:
        model: its weights are shared, not copied. Make the net anew after they have changed.

    Raises:
        ConfigError: the model has parts that these names leave out.
    """

    def __init__(self, model: MintAD) -> None:
        _require_plain(model)
        mapper, inr, transformer = model.prompt_mapper, model.inr, model.transformer
        self.adapter, self.output, self.alpha = model.adapter, model.output, model.jitter.scale
        self.class_encoder, self.channel_encoder, self.head = mapper.class_encoder, mapper.channel_encoder, mapper.head
        self.z, self.query_output, self.modulators = model.query_position, inr.output, list(inr.modulation_network)
        self.sines = [Sine(layer, 1.0 if n else inr.omega) for n, layer in enumerate(inr.synthesis_network)]
        self.distribution_decoder, self.decoder_norm = model.distribution_decoder, transformer.decoder_norm
        place = transformer.position(), transformer.mask_LL
        self.encoder = [PlacedEncoderLayer(layer, *place) for layer in transformer.encoder]
        self.decoder = [PlacedDecoderLayer(layer, *place) for layer in transformer.decoder]


def _require_plain(model: MintAD) -> None:
    """Refuse a model that is not Fig. 3's: a switch of Table 5, Eq. 9's modulation, another prompt mapper."""
    config, mapper = model.config, model.config.prompt_mapper
    plain = {
        "model.adapter": config.adapter == "learned",
        "model.class_loss, prior_loss, class_query": config.class_loss and config.prior_loss and config.class_query,
        "model.query_layers": config.query_layers == "all",
        "model.inr.modulator_skip": not config.inr.modulator_skip,
        "model.jitter.at": config.jitter.at == "feature",
        "model.recentre.neighbours": not model.recentre.active,
        "model.prompt_mapper": mapper.token_std is None
        and (mapper.class_encoder_softmax, mapper.token_softmax, mapper.head_input) == (True, True, "token"),
    }
    for key, right in plain.items():
        if not right:
            raise ConfigError(f"{key} is not as in Fig. 3, so these functions do not make this model; use its default")


class Assembled:
    """A MINT-AD's weights with a way of one's own through them.

    Args:
        model: the weights.
        forward: exercise 5 of notebook 10; ``forward(feat, noise, net, functions)`` returns reconstruction (B, L, F),
            adapted features (B, L, D), class logits (B, N), mean and log-variance (B, L, D).
        functions: that it is put together from.
    """

    returns_squared_error = True
    """See `mintad.scoring.maps.Detector`."""

    def __init__(self, model: MintAD, forward: Function, functions: Functions) -> None:
        self.model, self.forward, self.functions = model, forward, functions

    def target(self, feat_BLF: Tensor) -> Tensor:
        """Return what is reconstructed, f': the features, each channel in units of its standard deviation."""
        return self.model.standardise(self.model.pooled(feat_BLF))

    def __call__(self, feat_BLF: Tensor, noise: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what `forward` makes of the backbone's features (B, L, F); without noise nothing is jittered."""
        target_BLF = self.target(feat_BLF)
        noise = torch.zeros_like(target_BLF) if noise is None else noise
        return self.forward(target_BLF, noise, Net(self.model), self.functions)

    @torch.no_grad()
    def anomaly_map(self, feat_BLF: Tensor, labels: Any = None) -> Tensor:
        """Return the maps (B, H, W) of squared errors (Eq. 7); labels are not used."""
        feat_BLF = feat_BLF.to(self.model.output.weight.device)
        error_BLF = self.target(feat_BLF) - self(feat_BLF)[0]
        return error_BLF.square().sum(dim=-1).unflatten(1, self.model.grid)


def small_net(*, grid: tuple[int, int], channels: int, classes: int, layers: int = 2) -> Net:
    """Return a small net with random weights, all of them large enough to count, to try a function on."""
    config = ModelConfig(
        width=8,
        heads=2,
        ffn_dim=16,
        encoder_layers=layers,
        decoder_layers=layers,
        prompt_mapper=PromptMapperConfig(token_width=5, hidden=8, gain=8.0),
        inr=INRConfig(hidden=8, layers=1, omega=3.0),
    )
    model = build_model(config, channels=channels, grid=grid, classes=classes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms begin as zeros and ones
                parameter += 0.3 * torch.randn_like(parameter)
        return Net(model)


def show_source(function: Function) -> None:
    """Print a function of the package as it stands in its file, without its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    if function.__doc__:
        before, _, rest = source.partition('"""')
        source = before.rstrip() + "\n" + rest.partition('"""')[2].lstrip("\n")
    print(source.rstrip())

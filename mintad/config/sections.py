"""What can be configured: every key with its default, its limits and its reason."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf

from mintad.config.fields import (
    Bool,
    Count,
    Depth,
    Float,
    Int,
    List,
    Nullable,
    PathText,
    Size,
    Text,
    require,
    section,
)


@section("data")
class DataConfig:
    """The images."""

    name: Text = "elpv"
    """Data set: elpv, mini, mvtec, visa, btad, merged, cifar10 or folder."""
    root: Nullable[PathText] = None
    """Folder of the data set; null for sets that bring their own (elpv, mini)."""
    categories: List[Text] = ()
    """Categories to use; an empty list takes all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword options of the loader, for example {grades: anomalous} for elpv."""
    holdout: Annotated[Float, Ge(0), Lt(0.9)] = 0.1
    """Share of the normal training images kept out of training to fit the threshold (0: no threshold)."""


@section("features")
class FeatureConfig:
    """The backbone's features (§4.1)."""

    backbone: Text = "efficientnet_lite0"
    """'efficientnet_lite0' (or 1, 2; weights come with pip packages) or any timm model with `features_only`."""
    weights: PathText = "auto"
    """'auto' (pip package, else timm's hub), 'random', or the path of a local file."""
    image_size: Annotated[Int, Ge(32), Le(4096)] = 224
    """Side of the square network input, in pixels."""
    grid: Annotated[Int, Ge(1), Le(128)] = 14
    """Side of the token grid; L = grid * grid tokens."""
    reductions: Annotated[List[Size], MinLen(1)] = (2, 4, 8, 16)
    """Backbone stages by their reduction, in rising order: the paper's 'first to fourth' of EfficientNet-b4. UniAD has
    4, 8, 16 for ResNets, and adds 32 for CIFAR-10."""
    local_mean: Size = 1
    """Side of the square, in cells of each stage's own resolution, that a stage is averaged over; odd, 1 for none."""
    resize: Literal["bilinear", "area", "half_pixel"] = "bilinear"
    """How a stage is resized to the grid: 'bilinear' samples it with aligned corners (UniAD's recipe), 'half_pixel'
    with aligned cells (PatchCore's), 'area' averages each cell."""
    dtype: Literal["float16", "float32"] = "float16"
    """Storage type of the feature cache."""
    standardise: Bool = False
    """Scale each channel to zero mean and unit variance over the training tokens (not in the paper)."""

    def _check(self) -> None:
        rising = sorted(set(self.reductions)) == list(self.reductions)
        require(rising, f"features.reductions must be in rising order, not {list(self.reductions)}")
        require(self.local_mean % 2 == 1, f"features.local_mean must be odd, not {self.local_mean}")
        require(self.grid <= self.image_size, f"features.grid must be in 1..image_size, not {self.grid}")


@section("model.prompt_mapper")
class PromptMapperConfig:
    """The class encoder of the MINT-AD family (§3.3, Table 12)."""

    token_width: Size = 32
    """T, width of the class token (Table 12)."""
    hidden: Size = 256
    """Hidden width of the class and channel encoders (Table 12)."""
    class_encoder_softmax: Bool = True
    """Softmax at the end of the class encoder, as printed in Table 12."""
    token_softmax: Bool = True
    """Softmax at the end of the channel encoder (Table 12): the class token is then a distribution."""
    head_input: Literal["token", "logits"] = "token"
    """What the classification head reads: the token (Table 12) or its values before the softmax."""
    gain: Annotated[Float, Gt(0)] = 1.0
    """Gain on the initial weights next to a softmax. The paper is silent; 1 (PyTorch's) leaves both almost uniform."""
    token_std: Nullable[Annotated[Float, Gt(0)]] = None
    """Standard deviation to which each image's T values before the token's softmax are scaled; null leaves them. A
    one-hot token passes no gradient, and of 30 classes some then share one; with 2 it cannot become one-hot."""

    def _check(self) -> None:
        varies = self.token_width >= 2 or not (self.token_softmax or self.class_encoder_softmax)
        require(varies, "model.prompt_mapper.token_width must be at least 2: a softmax over one value is always 1")


@section("model.inr")
class INRConfig:
    """The implicit neural representation that makes the query (§3.3, Eqs 8-9, Table 13)."""

    hidden: Size = 256
    """Hidden width of both INR networks (Table 13)."""
    layers: Annotated[Int, Ge(0), Le(64)] = 4
    """Hidden layers after the first in both INR networks (Table 13)."""
    omega: Annotated[Float, Gt(0)] = 30.0
    """Frequency factor of the first sine layer. The paper does not give it; 30 is SIREN's."""
    modulator_skip: Bool = False
    """Feed the class token to every layer of the modulation network (Eq. 9) instead of the first only (Table 13)."""


@section("model.jitter")
class JitterConfig:
    """The feature jitter (§3.2, from UniAD)."""

    scale: Annotated[Float, Ge(0)] = 20.0
    """alpha of the feature jitter: standard deviation of the noise = |token| * alpha / channels (UniAD)."""
    probability: Annotated[Float, Ge(0), Le(1)] = 1.0
    """Probability that a training batch is jittered; one decision per batch, the same in all processes."""
    at: Literal["feature", "adapted"] = "feature"
    """Jitter the backbone's token (as UniAD) or the adapted one. The paper adds an adapter and does not say."""


@section("model.prior")
class PriorConfig:
    """The Gaussian prior over adapted features (§3.4, Table 14)."""

    min_log_variance: Float = -10.0
    """Floor of the predicted log-variance, because the prior's likelihood (Eq. 4) has no upper bound."""


@section("model.recentre")
class RecentreConfig:
    """What is reconstructed: the features, or what the most similar normal images leave of them (not in the paper)."""

    neighbours: Annotated[Int, Ge(0)] = 0
    """Normal training images of any class, the most similar ones, whose mean is subtracted first; 0: none. The model
    keeps the images: on 7 x 7 tokens of 192 channels 19 kB each."""
    images: Count = 4000
    """Images that are kept, at most; a random choice where there are more."""


@section("model")
class ModelConfig:
    """The model (§3), and which of its parts are switched on (Tables 4, 5)."""

    variant: Text = "mint_ad"
    """'mint_ad'; with another prompt (Fig. 3a, b), 'image_prompt', 'label_prompt'; with an MLP for the INR (Table 9),
    'mlp_query'; 'uniad' and its class-aware improvements (Fig. 2), 'query_pool', 'class_token', 'text_prompt'."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the variant alone: 'hidden' of mlp_query, 'encoder' of text_prompt."""
    adapter: Literal["learned", "projection", "random"] = "learned"
    """Table 5, 'Adapter'. On, 'learned': one linear layer makes the features that class encoder and prior read and the
    transformer reconstructs from. Off, which the paper leaves open, 'projection': UniAD's learned input projection, the
    same layer, for the transformer alone; class encoder and prior read the backbone's features. Where neither is used,
    and for variants outside the MINT-AD family, it is the same network as 'learned'. 'random', a weaker 'off': the
    layer keeps its random weights."""
    class_loss: Bool = True
    """Table 5, 'L_CE', of the MINT-AD family: a head on the class token learns the labels."""
    prior_loss: Bool = True
    """Table 5, 'L_Prior', of the MINT-AD family: the query also predicts the adapted features' distribution."""
    class_query: Bool = True
    """Table 5, 'Query', of the MINT-AD family: the class-aware query drives the decoder; off, a learned one does."""
    query_layers: Literal["all", "first"] = "all"
    """Decoder layers that the query enters, in the MINT-AD family: 'all' (§3.5, 'each decoder layer'), or the 'first'
    alone (§3.2, no 'layer-wise query'), after which the decoder is a plain one. The same with one layer."""
    width: Annotated[Int, Ge(2), Le(2**14), MultipleOf(2)] = 256
    """D, channels of a token inside the transformer and of the query; even, for row and column embeddings."""
    heads: Size = 8
    """Attention heads; must divide the width."""
    ffn_dim: Annotated[Int, Ge(1), Le(2**16)] = 1024
    """Hidden width of the feed-forward networks (Table 15)."""
    encoder_layers: Depth = 4
    """Encoder depth. Table 15 says 4, §3.2 says 6; 4 is UniAD's, 'same-size transformer'."""
    decoder_layers: Depth = 4
    """Decoder depth, as above."""
    dropout: Annotated[Float, Ge(0), Lt(1)] = 0.1
    """Dropout behind attention and feed-forward layers (Table 15)."""
    attention_dropout: Annotated[Float, Ge(0), Lt(1)] = 0.1
    """Dropout on attention weights, as in UniAD; it takes a quarter of a CPU step."""
    pool: Size = 1
    """Side of the squares of tokens that are averaged before the model (not in the paper). It saves time where other
    detectors need a finer grid: 2 makes 7 x 7 tokens of 14 x 14."""
    attention_init: Literal["separate", "stacked"] = "separate"
    """Xavier-uniform weights of an attention's query, key and value, on which the paper is silent: each matrix by
    itself, or the three stacked as in UniAD's code, whose standard deviation is smaller by the root of 2."""
    neighbour_mask: Nullable[Annotated[Int, Ge(0), Le(1023)]] = None
    """Side of the square that attention must not see: odd, 0 for none; null for the variant's own (UniAD: 7 of 14)."""
    jitter: JitterConfig = field(default_factory=JitterConfig)
    prompt_mapper: PromptMapperConfig = field(default_factory=PromptMapperConfig)
    inr: INRConfig = field(default_factory=INRConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    recentre: RecentreConfig = field(default_factory=RecentreConfig)

    def _check(self) -> None:
        multiple, odd = self.width % self.heads == 0, not self.neighbour_mask or self.neighbour_mask % 2 == 1
        require(multiple, f"model.width ({self.width}) must be a multiple of model.heads ({self.heads})")
        require(odd, f"model.neighbour_mask must be null, 0 or odd, not {self.neighbour_mask}")
        layers = self.encoder_layers + 2 * self.decoder_layers
        weights = layers * 4 * self.width**2 + (layers - self.decoder_layers) * 2 * self.width * self.ffn_dim
        problem = f"model.width, ffn_dim and the layers make {weights / 1e9:.1f} billion parameters; at most 2"
        require(weights <= 2e9, problem)


@section("train")
class TrainConfig:
    """The training (§3.5, §4.1)."""

    epochs: Nullable[Annotated[Float, Gt(0), Le(10**6)]] = 1000.0
    """Passes over the training set (§4.1). Give epochs or steps, not both."""
    steps: Nullable[Annotated[Int, Ge(1), Le(10**9)]] = None
    """Optimiser steps."""
    batch_size: Size = 32
    """Images per step over all processes together (§4.1: '32 on 4 GPUs', read as the total)."""
    sampling: Literal["uniform", "sqrt", "balanced"] = "uniform"
    """How often a class trains: 'uniform', as often as it has images; 'balanced', as often as the others; 'sqrt', in
    proportion to the root of its images. The paper is silent. Uniform, a small class can lose its token (see
    data/results/class_token.md). Where classes have the same size, the three are one."""
    lr: Annotated[Float, Gt(0)] = 1e-4
    """Peak learning rate of AdamW (§4.1)."""
    weight_decay: Annotated[Float, Ge(0)] = 1e-4
    """AdamW's weight decay (§4.1)."""
    schedule: Literal["step", "onecycle"] = "step"
    """'step': times 0.1 after 80 % (800 of 1000 epochs, §4.1); 'onecycle': warm-up over 10 %, then cosine to 0."""
    clip_norm: Annotated[Float, Ge(0)] = 0.1
    """Gradient norm limit, UniAD's recipe; 0 for none."""
    weight_ce: Annotated[Float, Ge(0)] = 1.0
    """lambda_a of Eq. 6 (§3.5: 1). With the MSE summed over channels ('token'), the class head forgot classes in long
    trainings on mini with 1, not with 10."""
    ce_weights: Literal["uniform", "sqrt", "balanced"] = "uniform"
    """Weight of an image in L_CE: the same for all, or falling with the size n of its class, by 1/n or its root."""
    weight_prior: Annotated[Float, Ge(0)] = 0.1
    """lambda_b of Eq. 6 (§3.5: 0.1)."""
    mse_reduction: Literal["element", "token"] = "token"
    """'token': sum over channels, mean over tokens (Eq. 5 to the letter); 'element': mean over elements (UniAD's code,
    whose loss §3.5 'maintains'). What lambda_a and lambda_b do depends on it: they count as many times less with
    'token' as there are channels. Whatever is said of L_CE and L_Prior holds for one reading."""
    prior_reduction: Literal["element", "token", "sum"] = "element"
    """'element' and 'token' as above, 'sum': over tokens and channels (Eq. 4 to the letter). The default is small,
    because a large prior pays the adapter to shrink its output to a point instead of describing the image."""
    seed: Annotated[Int, Ge(0), Lt(2**32)] = 0
    """Seed of initialisation, order, jitter and dropout."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """'auto' takes a GPU if there is one."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of adapter and transformer in training; everything else stays in float32."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    log_every: Count = 20
    """Steps between lines of the history, and between checks for non-finite losses."""

    def _check(self) -> None:
        single = (self.epochs is None) != (self.steps is None)
        require(single, "give train.epochs or train.steps, and null for the other")


@section("baselines")
class BaselinesConfig:
    """The baselines beside a run; which of them, `--baselines` says."""

    setting: Literal["lesson", "paper"] = "lesson"
    """Of the baselines that learn from images: 'lesson', minutes on two cores; 'paper', about the published size and
    length, for a GPU. Those on features have one size, and `baselines.options` changes it."""
    length: Annotated[Float, Gt(0), Le(10**3)] = 1.0
    """Times the steps of every baseline that trains. With 1/N, N models of a class each take as many steps together as
    one for all."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options of single baselines, for example {draem: {steps: 50}}; `baselines.options.draem.steps` is a key, too."""


@section("scoring.sharp_prior")
class SharpPriorConfig:
    """The sharp prior: a Gaussian for each class and position (not in the paper), see `mintad.scoring.sharp_prior`."""

    input: Literal["features", "residuals"] = "features"
    """What the Gaussians describe: the backbone's features, or what the reconstruction leaves of them (f' minus the
    reconstruction, on the model's own grid)."""
    neighbours: Annotated[Int, Ge(0)] = 5
    """Normal images of the class, the most similar ones, whose mean is what a token should be; 0: the class's mean."""
    scales: Annotated[List[Size], MinLen(1)] = (1, 2)
    """Sides of the squares of tokens that have Gaussians of their own; their distances are averaged."""
    ridge: Annotated[Float, Gt(0), Lt(1)] = 0.01
    """Share of a multiple of the identity in every covariance."""
    channels: Nullable[Count] = None
    """Channels that are used, a random choice, as in PaDiM; null for all. Memory grows with their square."""
    images: Count = 1000
    """Normal images of a class that are used and kept, at most; a random choice where there are more."""
    weighted: Bool = False
    """Weight the classes by the head's probabilities instead of taking the most probable one."""


@section("scoring")
class ScoringConfig:
    """From features to anomaly maps, scores and a threshold (§3.6)."""

    score: Literal["reconstruction", "gaussian", "both"] = "reconstruction"
    """What decides: the reconstruction error (Eq. 7, the paper's), the distance from the sharp prior (ours), or the
    mean of both. With the last two, all three are measured."""
    distance: Literal["squared", "root"] = "squared"
    """Per-token error of the model: squared norm (Eq. 7) or its root (UniAD's code). Baselines give distances."""
    image_score: Literal["max", "pooled_max", "mean", "top_mean"] = "max"
    """Image score from the anomaly map: maximum (§3.6), UniAD's maximum after average pooling, mean (CIFAR-10), or the
    mean of the highest tokens."""
    align_corners: Bool = False
    """Interpolate maps with aligned corners, as UniAD's code does; see `mintad.scoring.maps.upsample`."""
    pool: Size = 16
    """Window of 'pooled_max', in input pixels."""
    top_share: Annotated[Float, Gt(0), Le(1)] = 0.01
    """Share of the tokens that 'top_mean' averages, at least one."""
    sharp_prior: SharpPriorConfig = field(default_factory=SharpPriorConfig)
    blur: Annotated[Float, Ge(0), Le(4096)] = 0.0
    """Standard deviation of a Gaussian that blurs the full-size map before it is scored, in input pixels; 0: none."""
    threshold_quantile: Annotated[Float, Gt(0), Lt(1)] = 0.95
    """Share of new normal images that the threshold lets pass, at least; see `mintad.scoring.threshold`."""

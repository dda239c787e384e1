"""The frozen backbone: stages, shapes, counts, preprocessing, and that nothing can train it."""

import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from mintad.errors import ConfigError
from mintad.features.backbone import Backbone, build_backbone, timm_model, to_pixels
from mintad.features.weights import fingerprint

TABLE_8 = {
    "resnet18": (64, 64, 128, 256),
    "resnet34": (64, 64, 128, 256),
    "resnet50": (64, 256, 512, 1024),
    "resnet101": (64, 256, 512, 1024),
    "tf_efficientnet_b0": (16, 24, 40, 112),
    "tf_efficientnet_b2": (16, 24, 48, 120),
    "tf_efficientnet_b4": (24, 32, 56, 160),
    "tf_efficientnet_b6": (32, 40, 72, 200),
}


def random_backbone(name="resnet18", **options):
    return build_backbone(name, weights="random", **{"image_size": 64, "grid": 4, **options})


@pytest.mark.parametrize("name", TABLE_8)
def test_every_backbone_of_table_8_gives_its_stages(name):
    backbone = random_backbone(name)
    feat_BLF = backbone(torch.randn(2, 3, 64, 64))
    assert backbone.stage_channels == TABLE_8[name]
    assert backbone.reductions == (2, 4, 8, 16)
    assert feat_BLF.shape == (2, 16, sum(TABLE_8[name])) and feat_BLF.dtype == torch.float32
    assert backbone.channels == sum(TABLE_8[name])
    assert torch.isfinite(feat_BLF).all() and feat_BLF.std() > 0


def count_macs(backbone, image_size):
    macs = 0

    def count(module, inputs, output):
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    handles = [m.register_forward_hook(count) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    backbone(torch.zeros(1, 3, image_size, image_size))
    for handle in handles:
        handle.remove()
    return macs


def test_the_papers_backbone_has_the_counts_of_a_network_cut_at_reduction_16():
    backbone = build_backbone("tf_efficientnet_b4", weights="random")
    assert sum(p.numel() for p in backbone.parameters()) == 3_635_984
    assert backbone.channels == 272
    assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, 196, 272)
    assert count_macs(backbone, 224) / 1e9 == pytest.approx(0.920, abs=0.0005)


def test_five_stages_run_the_whole_network():
    four = random_backbone("tf_efficientnet_b0")
    five = random_backbone("tf_efficientnet_b0", reductions=(2, 4, 8, 16, 32))
    assert five.channels == 192 + 320
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(five(images)[..., :192], four(images))


def test_stages_of_a_resnet_are_its_stem_and_layers_1_to_3():
    backbone = random_backbone("resnet18", seed=3)
    full = timm.create_model("resnet18").eval()
    full.load_state_dict(backbone.network.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        stem = full.act1(full.bn1(full.conv1(images)))
        maps = [stem, full.layer1(full.maxpool(stem))]
        maps += [full.layer2(maps[-1])]
        maps += [full.layer3(maps[-1])]
    resized = [F.interpolate(m, size=(4, 4), mode="bilinear", align_corners=True) for m in maps]
    expected_BLF = torch.cat(resized, dim=1).permute(0, 2, 3, 1).reshape(2, 16, 512)
    torch.testing.assert_close(backbone(images), expected_BLF, rtol=1e-4, atol=1e-5)


class Known(nn.Module):
    """A network with two stages whose maps are known."""

    class feature_info:  # noqa: N801 (timm's name)
        reduction = staticmethod(lambda: [2, 4])
        channels = staticmethod(lambda: [1, 1])

    def forward(self, images):
        ramp = torch.tensor([[0.0, 1.0], [10.0, 11.0]]).expand(len(images), 1, 2, 2)
        return [ramp, 100 + ramp]


def test_tokens_are_row_major_and_corners_aligned():
    backbone = Backbone(Known(), name="known", image_size=4, grid=3, mean=(0,) * 3, std=(1,) * 3, source="test")
    feat_BLF = backbone(torch.zeros(1, 3, 4, 4))
    assert feat_BLF[0, :, 0].tolist() == [0, 0.5, 1, 5, 5.5, 6, 10, 10.5, 11]
    torch.testing.assert_close(feat_BLF[..., 1], feat_BLF[..., 0] + 100)


def test_networks_with_channels_last_output_are_turned():
    backbone = random_backbone("swin_tiny_patch4_window7_224", image_size=224, reductions=(4, 8, 16))
    assert backbone(torch.randn(1, 3, 224, 224)).shape == (1, 16, 96 + 192 + 384)


def test_nothing_trains_it():
    backbone = random_backbone()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    assert backbone.train() is backbone
    nn.Sequential(backbone).train()
    assert not any(m.training for m in backbone.modules())
    feat_BLF = backbone(torch.randn(4, 3, 64, 64).requires_grad_())
    assert not feat_BLF.requires_grad and not any(p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_random_weights_are_seeded_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = random_backbone(seed=1), random_backbone(seed=1), random_backbone(seed=2)
    assert torch.equal(torch.rand(3), expected)
    assert first.weights_id == again.weights_id != other.weights_id
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(first(images), again(images))


def test_the_fingerprint_sees_every_tensor():
    backbone = random_backbone()
    ids = {backbone.weights_id}
    for name in ("conv1.weight", "bn1.running_mean", "layer3.1.bn2.bias"):
        backbone.network.state_dict()[name][0] += 1e-3
        ids.add(fingerprint(backbone.network.state_dict()))
    assert len(ids) == 4


def test_pictures_are_scaled_as_the_network_was_trained():
    backbone = random_backbone()
    images = backbone.prepare([Image.new("RGB", (10, 7), "white"), Image.new("L", (90, 200), 0)])
    assert images.shape == (2, 3, 64, 64) and images.dtype == torch.float32
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    torch.testing.assert_close(images[0, :, 5, 5], (1 - mean) / std)
    torch.testing.assert_close(images[1, :, 60, 0], -mean / std)
    assert random_backbone("efficientnet_lite0").mean == (0.5, 0.5, 0.5)


def test_resizing_does_not_alias():
    stripes = Image.new("L", (512, 512))
    stripes.putdata([255 * (n % 2) for n in range(512 * 512)])
    pixels = to_pixels(stripes, 64)
    assert pixels.min() >= 120 and pixels.max() <= 135  # grey, not black and white stripes


def test_paper_weights_are_those_of_imagenet_1k_alone():
    assert timm_model("tf_efficientnet_b4") == "tf_efficientnet_b4.aa_in1k"
    assert timm_model("tf_efficientnet_b4.ns_jft_in1k") == "tf_efficientnet_b4.ns_jft_in1k"
    assert timm_model("resnet18") == "resnet18"
    assert timm_model("efficientnet_lite0") == "tf_efficientnet_lite0"
    assert timm_model("tf_efficientnet_b8") == "tf_efficientnet_b8"  # has no such weights


def test_wrong_names_and_stages_are_refused_with_the_cure():
    with pytest.raises(ConfigError, match="resnet18"):
        random_backbone("resnet19")
    with pytest.raises(ConfigError, match="Did you mean 'resnet18.a1_in1k'"):
        random_backbone("resnet18.a1_in1")
    with pytest.raises(ConfigError, match=r"stages of reduction \[2, 4, 8, 16, 32\]"):
        random_backbone("resnet18", reductions=(2, 64))
    with pytest.raises(ConfigError, match="rising"):
        random_backbone("resnet18", reductions=(4, 2))
    with pytest.raises(ConfigError, match=r"vit_tiny_patch16_224 has stages of reduction \[16\]"):
        random_backbone("vit_tiny_patch16_224")


def test_area_resizing_takes_the_mean_of_each_cell():
    backbone = Backbone(
        Known(), name="known", image_size=4, grid=1, mean=(0,) * 3, std=(1,) * 3, source="test", resize="area"
    )
    assert backbone(torch.zeros(1, 3, 4, 4)).tolist() == [[[5.5, 105.5]]]
    with pytest.raises(ConfigError, match="Did you mean 'area'"):
        random_backbone(resize="aera")


def test_a_local_mean_is_taken_at_each_stages_own_resolution():
    """PatchCore's features: 3 x 3 means with zeros beyond the border, then bilinear between the centres of cells."""
    settings = {"grid": 8, "reductions": (8, 16), "local_mean": 3, "resize": "half_pixel"}
    backbone, images = random_backbone(**settings), torch.randn(2, 3, 64, 64)
    means = []
    for stage in backbone.network(images):
        padded = F.pad(stage, (1, 1, 1, 1))
        side = stage.shape[-1]
        shifted = [padded[..., row : row + side, column : column + side] for row in range(3) for column in range(3)]
        means.append(torch.stack(shifted).mean(0))
    assert [stage.shape[-1] for stage in means] == [8, 4]
    coarse, between = means[1], torch.empty(2, 256, 8, 8)
    for row in range(8):
        for column in range(8):  # the centre of fine cell n lies at (n + 1/2) / 2 - 1/2 of the coarse cells
            y, x = (min(max((n + 0.5) / 2 - 0.5, 0), 3) for n in (row, column))
            top, left = min(int(y), 2), min(int(x), 2)
            weights = torch.tensor([[(1 - y + top) * (1 - x + left), (1 - y + top) * (x - left)],
                                    [(y - top) * (1 - x + left), (y - top) * (x - left)]])  # fmt: skip
            between[..., row, column] = (coarse[..., top : top + 2, left : left + 2] * weights).sum((-2, -1))
    expected_BLF = torch.cat([means[0], between], dim=1).flatten(2).transpose(1, 2)
    torch.testing.assert_close(backbone(images), expected_BLF, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="must be odd, not 2"):
        random_backbone(local_mean=2)

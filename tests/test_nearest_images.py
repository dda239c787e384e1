"""The most similar normal images against a naive loop, copies, and a model that reconstructs what they leave."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
from synthetic import CHANNELS, GRID, changed_model, fresh_model, small, two_categories

from mintad.config.sections import RecentreConfig
from mintad.data.images import read_image
from mintad.model import VARIANTS, build_model
from mintad.model.nearest_images import NearestImages
from mintad.model.pooling import pool_squares
from mintad.model.recentre import Recentre
from mintad.runs.load import trained_model
from mintad.runs.predict import Predictor
from mintad.runs.prepare import prepare_data
from mintad.runs.train import new_model, train_run


def images(n: int, tokens: int = 4, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale_F = torch.rand(channels, generator=generator) * 9 + 0.1
    return torch.randn(n, tokens, channels, generator=generator) * scale_F + torch.arange(channels)


def naive_mean(normal, image, neighbours):
    """Mean of the nearest images in units of the channels' deviations, on a grid of at most 7 x 7."""
    deviation_F = normal.reshape(-1, normal.shape[2]).std(axis=0)
    distances = [np.linalg.norm((image - other) / deviation_F) for other in normal]
    order = [n for n in np.argsort(distances) if distances[n] > 0.01 * image.size**0.5][:neighbours]
    return normal[order].mean(axis=0) if order else np.broadcast_to(image.mean(axis=0), image.shape)


@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_the_mean_is_that_of_the_nearest_images(neighbours):
    normal, new = images(12), images(5, seed=1)
    nearest = NearestImages(normal, (2, 2), neighbours)
    for batch in (new, normal):  # an image among the normal ones is not compared with itself
        for image_LF, mean_LF in zip(batch, nearest(batch), strict=True):
            expected = naive_mean(normal.numpy(), image_LF.numpy(), neighbours)
            np.testing.assert_allclose(mean_LF.numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0.37, 1e-4), (0.37, 0.0), (30.0, 1.0)])
def test_large_means_hide_no_copy(mean, std):
    """With more than 25 images PyTorch computes |x|^2 - 2 x.y + |y|^2."""
    normal = images(40, tokens=49, channels=8)
    normal[..., 0] = mean + std * torch.randn(40, 49, generator=torch.Generator().manual_seed(3))
    nearest = NearestImages(normal, (7, 7), 1)(normal)
    assert (nearest - normal).square().mean(dim=(1, 2)).min() > 0.1


@pytest.mark.parametrize("far", [1.0, 100.0, 1e4])
def test_the_neighbours_are_those_of_a_naive_loop_on_hostile_numbers(far):
    """A few images are far away and close together: |x|^2 - 2 x.y + |y|^2 takes others for copies, in a wrong order."""
    generator = torch.Generator().manual_seed(4)
    normal = torch.randn(1000, 49, 8, generator=generator)
    group = far * torch.randn(1, 49, 8, generator=generator) + 0.001 * far * torch.randn(6, 49, 8, generator=generator)
    normal[::200] = group[:5]
    normal[1] = normal[0]
    normal += 100
    nearest = NearestImages(normal, (7, 7), 3)
    for batch in (normal[:1], group[5:] + 100, torch.cat([normal[190:210], normal[800:801], group + 100])):
        for image_LF, mean_LF in zip(batch.double(), nearest(batch), strict=True):
            expected = naive_mean(normal.double().numpy(), image_LF.numpy(), 3)
            np.testing.assert_allclose(mean_LF.numpy(), expected, rtol=1e-6, atol=1e-3)


def test_copies_do_not_count_and_a_lonely_image_has_its_own_mean():
    normal = images(6)
    twins = torch.cat([normal, normal[:1], normal[:1] * 1.0001])
    torch.testing.assert_close(
        NearestImages(twins, (2, 2), 2)(normal[:1]), NearestImages(normal, (2, 2), 2)(normal[:1])
    )
    lonely = NearestImages(normal[:1], (2, 2), 5)
    assert torch.equal(lonely(normal[:1]), normal[:1].mean(dim=1, keepdim=True).expand(1, 4, 3))
    torch.testing.assert_close(lonely(normal[1:]), normal[:1].expand(5, 4, 3))


def test_images_are_compared_by_coarse_maps():
    """Two images that differ in fine detail alone are as near as copies are on a coarse grid."""
    generator = torch.Generator().manual_seed(0)
    normal, noise = torch.randn(5, 196, 3, generator=generator), torch.randn(1, 196, 3, generator=generator)
    fine = noise - pool_squares(noise, (14, 14), 2).unflatten(1, (7, 7)).repeat_interleave(2, 1).repeat_interleave(
        2, 2
    ).flatten(1, 2)
    nearest = NearestImages(normal, (14, 14), 1)
    torch.testing.assert_close(nearest(normal[:1] + fine), nearest(normal[:1]))


def test_what_is_kept_for_the_normal_images_is_what_a_search_finds():
    """The images come in groups of five, so that each one's neighbours are known."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(6, 20, 100, generator=generator).repeat_interleave(5, 0)
    normal = (groups + 0.3 * torch.randn(30, 20, 100, generator=generator)).half()
    nearest, images = NearestImages(normal, (4, 5), 4), normal.float()
    own_groups = torch.stack([(images[n // 5 * 5 : n // 5 * 5 + 5].sum(0) - images[n]) / 4 for n in range(30)])
    torch.testing.assert_close(nearest(images), own_groups)
    with_a_new_one = torch.cat([images, groups[:1]])  # then all are searched
    torch.testing.assert_close(nearest(with_a_new_one)[:30], own_groups)
    torch.testing.assert_close(nearest(groups[:1])[0], nearest(with_a_new_one)[30])


def test_recentred_features_have_unit_variance_and_survive_saving():
    normal, new = images(40), images(3, seed=1)
    recentre = Recentre(3, (2, 2), 5)
    recentre.fit(normal)
    rest_nLF = recentre(normal.half().float())
    torch.testing.assert_close(rest_nLF.flatten(0, 1).square().mean(0), torch.ones(3), rtol=1e-2, atol=0)
    recentre.fit(normal)
    torch.testing.assert_close(recentre(normal.half().float()), rest_nLF, rtol=1e-2, atol=1e-2)  # also fitted again
    loaded = Recentre(3, (2, 2), 5)
    loaded(new)  # fills what is remembered of the former images
    loaded.load_state_dict(recentre.state_dict())
    assert torch.equal(loaded(new), recentre(new))
    with pytest.raises(RuntimeError, match="size mismatch"):
        Recentre(2, (2, 2), 5).load_state_dict(recentre.state_dict())
    assert torch.equal(Recentre(3, (2, 2), 0)(new), new), "without neighbours nothing changes"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("adapter", ["learned", "projection"])
def test_a_model_reconstructs_what_the_nearest_images_leave(variant, adapter):
    table, labels = two_categories(n=6)
    config = dataclasses.replace(changed_model(variant=variant, adapter=adapter), recentre=RecentreConfig(neighbours=2))
    torch.manual_seed(0)
    model = build_model(config, channels=CHANNELS, grid=GRID, classes=2).eval()
    if variant == "text_prompt":
        model.learn_names(["gear", "leather"])
    model.recentre.fit(table.array)
    feat_BLF, labels_B = table.array[:3] + 0.5, torch.as_tensor(labels[:3])
    output = model(feat_BLF, labels_B=labels_B)
    torch.testing.assert_close(output.target, model.recentre(feat_BLF))
    read = feat_BLF if adapter == "projection" else model.adapter(feat_BLF)
    torch.testing.assert_close(output.adapted, read)  # class encoder and prior read the whole features
    moved = model(feat_BLF + 0.3, labels_B=labels_B)
    assert not torch.equal(moved.adapted, output.adapted)
    model.train()
    output = model(feat_BLF, labels_B=labels_B)
    output.token_error.mean().backward()
    assert model.adapter.weight.grad.abs().sum() > 0 or config.adapter == "random"


def test_a_run_recentres_and_predicts_alike(products, tmp_path):
    changes = {"model.recentre.neighbours": 3, "model.recentre.images": 10, "scoring.score": "reconstruction"}
    config = small(products, **changes)
    run = train_run(config, tmp_path / "run", progress=False)
    data = prepare_data(config, progress=False)
    model, fresh = trained_model(run, data.backbone, torch.device("cpu")), new_model(config, data)
    kept = model.recentre.nearest.images_nLF
    assert len(kept) == 10 and torch.equal(kept, fresh.recentre.nearest.images_nLF)
    plain = train_run(config.override(**{"model.recentre.neighbours": 0}), tmp_path / "plain", progress=False)
    assert not np.allclose(run.scores()["pred_score"], plain.scores()["pred_score"], rtol=0.05)
    predicted, _, _ = Predictor(run.path, device="cpu")([read_image(path) for path in run.scores()["image"]])
    np.testing.assert_allclose(predicted, run.scores()["pred_score"], rtol=2e-2)  # cached features are float16


def test_a_plain_model_keeps_no_images():
    assert not any("recentre" in name for name in fresh_model().state_dict())


def test_other_images_leave_nothing_that_was_computed_from_the_former():
    """Whatever is cached, in a subclass too."""

    class Counted(NearestImages):
        @functools.cached_property
        def count(self):
            return len(self.images_nLF)

    normal, cached = images(6), {"count", "_compared_images", "_of_the_images"}
    nearest = Counted(normal, (2, 2), 2)
    assert nearest.count == 6 and nearest(normal).shape == normal.shape
    assert vars(nearest).keys() >= cached
    nearest.replace(normal[:4])
    assert nearest.count == 4
    torch.testing.assert_close(nearest(normal[:4]), NearestImages(normal[:4], (2, 2), 2)(normal[:4]))
    assert vars(nearest).keys() >= cached and not vars(nearest.to("cpu")).keys() & cached

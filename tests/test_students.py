"""Uninformed Students: error, variance and map against naive loops, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import MemoryImages, fitted_on_images, quick_on_images, stripes

from mintad.baselines.images import normalised
from mintad.baselines.students import STUDENTS, Student, UninformedStudents, error_and_variance
from mintad.config import preset


def test_error_and_variance_are_those_of_a_naive_loop():
    torch.manual_seed(0)
    predicted, target = torch.randn(3, 2, 4, 5).double(), torch.randn(2, 4, 5).double()
    error, variance = error_and_variance(predicted, target)
    for b in range(2):
        for p in range(4):
            mean = sum(predicted[m, b, p] for m in range(3)) / 3
            squares = sum(float(predicted[m, b, p] @ predicted[m, b, p]) for m in range(3)) / 3
            assert error[b, p].item() == pytest.approx(float((mean - target[b, p]) @ (mean - target[b, p])))
            assert variance[b, p].item() == pytest.approx(squares - float(mean @ mean))
    assert error_and_variance(predicted[:1].expand(3, -1, -1, -1), target)[1].abs().max() < 1e-12


@pytest.mark.parametrize("side", [32, 40, 33])
def test_a_student_sees_a_patch_of_33_pixels_every_8_pixels(side):
    torch.manual_seed(0)
    student = Student(7, 4)
    image = torch.zeros(1, 3, side, side, requires_grad=True)
    answer = student(image)
    assert answer.shape == (1, 7, -(-side // 8), -(-side // 8))
    middle = 2
    answer[0, :, middle, middle].sum().backward()
    seen = image.grad.abs().sum((0, 1)).amax(0).nonzero()[:, 0]
    assert seen.max() - seen.min() + 1 <= 33


def test_the_teachers_channels_are_standardised_and_it_does_not_learn():
    images = stripes(7)
    baseline = fitted_on_images(quick_on_images("students"), images)
    feat = baseline.teacher(normalised(images, baseline.teacher)).flatten(0, 1)
    torch.testing.assert_close(baseline.teacher_mean_F, feat.mean(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(baseline.teacher_std_F, feat.std(0, correction=0), rtol=1e-3, atol=1e-4)
    baseline.loss(images).backward()
    assert not any(weight.requires_grad for weight in baseline.teacher.parameters())
    for name, weight in baseline.students.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, name


def test_loss_and_map_are_the_naive_ones():
    train, test = stripes(6), stripes(2, seed=1)
    baseline = fitted_on_images(quick_on_images("students"), train)

    def answers(images):
        inputs = normalised(images, baseline.teacher)
        target = (baseline.teacher(inputs) - baseline.teacher_mean_F) / baseline.teacher_std_F
        return torch.stack([s(inputs).flatten(2).mT for s in baseline.students]), target

    with torch.no_grad():
        predicted, target = answers(test)
        expected = sum((predicted[m] - target).square().sum(-1).mean() for m in range(STUDENTS))
        torch.testing.assert_close(baseline.loss(test), expected)
        usual, ours = error_and_variance(*answers(train)), error_and_variance(predicted, target)
        parts = [(our - train.mean()) / train.std(correction=0) for our, train in zip(ours, usual, strict=True)]
    maps = baseline.anomaly_map(test)
    assert maps.shape == (2, 4, 4)
    torch.testing.assert_close(maps.flatten(1), sum(parts), rtol=1e-3, atol=1e-3)
    assert abs(baseline.anomaly_map(train).mean()) < 1e-3


def test_a_texture_that_was_never_seen_is_found_where_it_is():
    train, test = stripes(30), stripes(10, seed=1)
    test[:5, :, 16:, 16:] = test[:5, :, 16:, 16:].mT  # the same stripes, turned
    baseline = fitted_on_images(quick_on_images("students", steps=120, images=6, width=16, rate=3e-3), train)
    maps = baseline.anomaly_map(test)
    assert maps[:5].flatten(1).amax(1).min() > maps[5:].flatten(1).amax(1).max()
    assert (maps[:5, 2:, 2:].amax((1, 2)) == maps[:5].amax((1, 2))).sum() >= 4


def test_equal_images_without_any_texture_are_finite():
    flat = torch.full((3, 3, 32, 32), 0.5)
    assert torch.isfinite(quick_on_images("students").fit(MemoryImages(flat), np.arange(3)).anomaly_map(flat)).all()


def test_published_settings():
    assert UninformedStudents.published_scoring(preset("fast").scoring).image_score == "max" and STUDENTS == 3
    assert UninformedStudents.settings["paper"].rate == 1e-4

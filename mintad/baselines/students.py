"""Uninformed Students: networks that imitate a teacher where images are normal (Bergmann et al., CVPR 2020)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mintad.baselines.base import baseline
from mintad.baselines.images import ImageBaseline, ImageTable, Setting, normalised
from mintad.config import ScoringConfig
from mintad.features.moments import RunningMoments

STUDENTS = 3
"""M, the paper's number."""
STAGES = (4, 8)
"""Reductions of the backbone's stages that the teacher's features come from, on the grid of the last."""


class Student(nn.Sequential):
    """Three convolutions of stride 2 and one of stride 1: features of patches of 33 x 33 pixels, every 8 pixels.

    Args:
        channels: F of the teacher.
        width: of the first two layers, and half that of the others.
    """

    def __init__(self, channels: int, width: int) -> None:
        layers: list[nn.Module] = []
        for sizes in ((3, width, 5, 2), (width, width, 3, 2), (width, 2 * width, 3, 2), (2 * width, 2 * width, 3, 1)):
            before, after, side, stride = sizes
            layers += [nn.Conv2d(before, after, side, stride, side // 2), nn.LeakyReLU(0.005)]
        super().__init__(*layers, nn.Conv2d(2 * width, channels, 1))


def error_and_variance(predicted_MBLF: Tensor, target_BLF: Tensor) -> tuple[Tensor, Tensor]:
    """Return the students' joint error and how much they differ, (B, L) each.

    With s_m what student m predicts and t the teacher's features, e = |mean of s_m - t|^2 and
    v = mean of |s_m|^2 - |mean of s_m|^2, which is the mean of |s_m - mean|^2.
    """
    mean_BLF = predicted_MBLF.mean(0)
    error_BL = (mean_BLF - target_BLF).square().sum(-1)
    return error_BL, (predicted_MBLF - mean_BLF).square().sum(-1).mean(0)


@baseline("students")
class UninformedStudents(ImageBaseline):
    """Where students, who saw normal images alone, fail to imitate a teacher, and where they disagree.

    The teacher t is frozen; its channels are standardised over the training images. M students with different initial
    weights learn, each for itself,

        loss = sum over m of the mean over positions of |s_m(x) - t(x)|^2.

    Elsewhere than on normal images nothing makes them agree with it or with each other. With e and v of
    `error_and_variance`, and means and deviations of both over the training images' positions,

        anomaly = (e - mean of e) / deviation of e + (v - mean of v) / deviation of v.

    As published: M = 3, loss, score, Adam with 1e-4 and weight decay 1e-5 (setting 'paper'). Not as published:

    * **Teacher.** The paper's is a patch network that is distilled from a ResNet-18 on ImageNet first. Ours is the
      run's backbone itself, stages 4 and 8 on the grid of stage 8. So it sees more of the image than the students.
    * **Scales.** The paper averages the maps of patches of 17, 33 and 65 pixels. We have 33 alone, every 8 pixels.
    * **Means and deviations** come from the training images, the paper's from normal images that were kept back.
    * **Length.** The lesson has 128 pixels, 32 channels and few steps, at ten times the rate.

    Args:
        features, setting, seed, changes: see `ImageBaseline`; 'width' is that of the students.
    """

    title = "US"
    cosine = True
    reductions = STAGES
    settings = {
        "lesson": Setting(image_size=128, width=32, steps=600, images=8, rate=1e-3),
        "paper": Setting(image_size=256, width=128, steps=24_000, images=1, rate=1e-4),
    }

    @classmethod
    def published_scoring(cls, config: ScoringConfig) -> ScoringConfig:
        """Return the published image score, the maximum of the map."""
        return dataclasses.replace(config, image_score="max")

    @torch.no_grad()
    def prepare(self, table: ImageTable, rows: np.ndarray) -> torch.optim.Optimizer:
        """Build teacher and students, and standardise the teacher's channels."""
        self.teacher = self.new_backbone().to(self.device)
        self.grid, channels = self.teacher.grid, self.teacher.channels
        moments = RunningMoments()
        for images_bSS in self.batches(table, rows):
            moments.add(self.teacher(normalised(images_bSS, self.teacher)).flatten(0, 1))
        self.teacher_mean_F, self.teacher_std_F = moments.mean_and_std()
        students = nn.ModuleList(Student(channels, self.setting.width) for _ in range(STUDENTS))
        self.students = students.to(self.device)
        return torch.optim.Adam(students.parameters(), lr=self.setting.rate, weight_decay=1e-5)

    def loss(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the students' loss of a batch of images."""
        predicted_MBLF, target_BLF = self._answers(images_B3SS)
        return (predicted_MBLF - target_BLF).square().sum(-1).mean((1, 2)).sum()

    @torch.no_grad()
    def finish(self, table: ImageTable, rows: np.ndarray) -> None:
        """Measure mean and deviation of e and v on the training images."""
        parts = [torch.stack(self._parts(images_bSS)).flatten(1) for images_bSS in self.batches(table, rows)]
        values_2N = torch.cat(parts, dim=1)
        self.usual_2, self.spread_2 = values_2N.mean(1), values_2N.std(1, correction=0).clamp(min=1e-12)

    @torch.no_grad()
    def anomaly_map(self, images_B3SS: Tensor, labels: Any = None) -> Tensor:
        """Return the anomaly (B, H, W) of every position of images (B, 3, S, S)."""
        parts_2BL = [torch.stack(self._parts(part)) for part in images_B3SS.to(self.device).split(self.images)]
        scaled_2BL = (torch.cat(parts_2BL, dim=1) - self.usual_2[:, None, None]) / self.spread_2[:, None, None]
        return scaled_2BL.sum(0).unflatten(1, self.grid)

    def _parts(self, images_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        return error_and_variance(*self._answers(images_B3SS))

    def _answers(self, images_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Return the students' features (M, B, L, F) and the teacher's (B, L, F), standardised."""
        inputs = normalised(images_B3SS, self.teacher)
        predicted = [student(inputs).flatten(2).transpose(1, 2) for student in self.students]
        return torch.stack(predicted), (self.teacher(inputs) - self.teacher_mean_F) / self.teacher_std_F

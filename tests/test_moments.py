"""Running moments against the moments of all tokens at once."""

from __future__ import annotations

import torch

from mintad.features.moments import RunningMoments


def test_they_are_the_moments_of_all_tokens_and_a_constant_channel_may_be_divided_by():
    tokens_NF = 100 + torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    tokens_NF[:, 2] = 7
    moments = RunningMoments()
    for part_nF in tokens_NF.split(8):
        moments.add(part_nF)
    mean_F, std_F = moments.mean_and_std()
    expected_F = tokens_NF.std(0, correction=0)
    expected_F[2] = 1
    torch.testing.assert_close(mean_F, tokens_NF.mean(0))
    torch.testing.assert_close(std_F, expected_F, rtol=1e-5, atol=0)

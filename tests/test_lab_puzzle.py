"""The puzzle of notebook 00."""

from __future__ import annotations

from mintad.course.lab.puzzle import puzzle


def test_two_of_six_pictures_have_a_defect_and_the_mask_shows_it():
    drawn, secret = puzzle(seed=3)
    assert len(drawn) == 6 and list(drawn) == list(secret)
    assert {name for name, (_, mask) in drawn.items() if mask.any()} == {n for n, d in secret.items() if d != "good"}
    assert sum(defect != "good" for defect in secret.values()) == 2

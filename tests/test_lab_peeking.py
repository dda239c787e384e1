"""Scoring the test images during training must not change the training, and must be done once."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mintad.config import preset
from mintad.course.lab.peeking import scores_by_step
from mintad.lock import exclusive_lock
from mintad.runs.shared import shared_model, shared_model_dir

DATA = {"categories": ["gear", "button"], "n_train": 6, "n_test_good": 2, "n_test_defect": 1, "size": 64}
SMALL = preset("lesson").override(
    **{
        "data.options": DATA,
        "features.image_size": 64,
        "features.grid": 4,
        "features.weights": "random",
        "model.width": 16,
        "model.heads": 2,
        "model.ffn_dim": 16,
        "model.prompt_mapper.hidden": 16,
        "model.inr.hidden": 16,
        "train.steps": 5,
        "train.batch_size": 4,
        "train.device": "cpu",
    }
)


@pytest.mark.parametrize(("variant", "trained_before"), [("mint_ad", False), ("mint_ad", True), ("label_prompt", True)])
def test_the_last_scores_are_those_of_the_shared_model(tmp_path, monkeypatch, capsys, variant, trained_before):
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "cache"))
    config = SMALL.override(**{"model.variant": variant})
    if trained_before:
        shared_model(config)
        capsys.readouterr()
    by_step = scores_by_step(config, every=2)
    assert by_step.steps.tolist() == [0, 2, 4, 5] and by_step.scores.shape == (4, 14)
    (file,) = (tmp_path / "runs").glob("*.npz")
    assert file.name in capsys.readouterr().out and file.name.startswith(shared_model_dir(config).name)
    scores = shared_model(config).run.scores()["pred_score"]
    assert capsys.readouterr().out == "", "trained once"
    np.testing.assert_allclose(by_step.scores[-1], scores, rtol=1e-5)
    assert not np.allclose(by_step.scores[0], by_step.scores[1])
    again = scores_by_step(config, every=2)
    assert np.array_equal(again.scores, by_step.scores) and capsys.readouterr().out == ""


def test_scores_by_step_wait_for_a_training_in_their_run_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path))
    trained = []

    def train(config, out, every):
        trained.append(out)
        return [0], [np.zeros(3)]

    monkeypatch.setattr("mintad.course.lab.peeking._train", train)
    folder = shared_model_dir(SMALL)
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(folder / ".lock"):  # as `mintad train --out` holds it
            future, waited = pool.submit(scores_by_step, SMALL), ""
            for _ in range(100):
                waited += capsys.readouterr().out
                if waited or future.done():
                    break
                time.sleep(0.1)
            assert "waiting" in waited and not trained
        assert future.result(10).steps.tolist() == [0] and trained == [folder]

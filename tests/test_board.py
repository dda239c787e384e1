"""The board of variants: what a run says, who wrote what, and what keeps a comparison from being fair."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from synthetic import small
from typer.testing import CliRunner

from mintad.cli import app
from mintad.course import board
from mintad.course.checks.training import reference_own_variant
from mintad.course.lab import own_variant
from mintad.data.mini import MiniParameters, make_mini
from mintad.errors import ConfigError, DataError
from mintad.model import VARIANTS, variants
from mintad.model.complexity import parameters
from mintad.model.reconstruction import ReconstructionModel
from mintad.runs.directory import Run

ROW = {
    "student": "ann", "variant": "mine", "seed": 0, "image_auroc": 0.8, "pixel_ap": 0.4, "parameters": 10, "steps": 300,
    "told_the_class": False, "recipe": "aa", "images": "bb",
}  # fmt: skip


def posted(*changes):
    return pd.DataFrame([ROW | change for change in changes])


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    for attribute in ("_entries", "_modules"):
        monkeypatch.setattr(VARIANTS, attribute, dict(getattr(VARIANTS, attribute)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The reference's run, trained twice under one name."""
    folder = tmp_path_factory.mktemp("board")
    drawn = MiniParameters(categories=("mesh", "bolt"), n_train=6, n_test_good=2, n_test_defect=1, size=64)
    make_mini(folder / "parts", drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAD_RUNS", str(folder / "runs"))
        patch.setenv("MINTAD_CACHE", str(folder / "cache"))
        for attribute in ("_entries", "_modules"):
            patch.setattr(VARIANTS, attribute, dict(getattr(VARIANTS, attribute)))
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        first = own_variant.train_variant(reference_own_variant, small(folder / "parts", **{"train.steps": 3}))
        assert first.config().train.steps == 3
        run = own_variant.train_variant(reference_own_variant, small(folder / "parts", **{"train.steps": 4}))
        assert torch.equal(torch.rand(1), expected), "PyTorch's random state must stay as it was"
    return run


def test_a_variant_is_trained_anew_under_its_name(run):
    assert run.finished and run.path.name == "own-own_variant-folder-seed0"
    assert run.config().train.steps == 4


def test_a_run_says_what_it_is(run):
    own_variant.name_of(reference_own_variant)
    found = board.entry(run, "ann")
    channels = run.checkpoint().tensors("model.safetensors")["adapter.weight"].shape[1]
    model = reference_own_variant(run.config().model, channels, (4, 4), 2)
    assert list(found) == list(board.COLUMNS) and found["parameters"] == parameters(model)
    assert (found["variant"], found["seed"], found["steps"], found["told_the_class"]) == ("own_variant", 0, 4, False)
    assert 0 <= found["image_auroc"] <= 1


def test_posted_runs_stay_and_the_packages_stand_once(run, tmp_path):
    own_variant.name_of(reference_own_variant)
    for _ in range(2):
        board.post(run, "ann", tmp_path)
        board.post(run, board.PACKAGE, tmp_path)
    table = board.read_board(tmp_path)
    assert table["student"].value_counts().to_dict() == {"ann": 2, board.PACKAGE: 1}
    (own,) = board.standings(table).query("student == 'ann'").to_dict("records")
    assert own["runs"] == 2 and own["fair"] == "one seed" and own["seeds"] == "0"


def test_the_default_folder_lies_below_all_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path))
    assert board.board_folder() == tmp_path / "board" and board.board_folder("x").name == "x"


def test_an_unfair_comparison_is_called_so_and_by_its_reason():
    package = {"student": board.PACKAGE, "variant": "uniad"}
    rows = posted(
        package,
        package | {"seed": 1},
        {},
        {"seed": 1},
        {"student": "bo"},
        {"student": "cy", "steps": 600, "recipe": "cc"},
        {"student": "di", "images": "dd", "seed": 1},
        {"student": "ed", "recipe": "ee"},
        {"student": "fi", "told_the_class": True},
    )
    table = board.standings(rows).set_index("student")["fair"]
    assert table["ann"] == "yes" and table[board.PACKAGE] == "yes"
    assert table["bo"] == "seed 1 missing" and "600 steps, not 300" in table["cy"] and "recipe" not in table["cy"]
    assert "other images" in table["di"] and "another recipe" in table["ed"] and "told the class" in table["fi"]


def test_the_last_run_of_a_seed_counts_and_all_are_counted():
    rows = posted({"image_auroc": 0.9}, {"image_auroc": 0.7}, {"seed": 1, "image_auroc": 0.8}, {"student": "bo"})
    own = board.standings(rows).set_index("student").loc["ann"]
    assert own["image AUROC"] == pytest.approx(0.75) and own["runs"] == 3 and own["seeds"] == "0, 1"
    assert own["std"] == pytest.approx(0.05 * 2**0.5)


def test_the_best_stands_first_and_without_the_package_the_largest_group_is_the_measure():
    rows = posted(
        {"image_auroc": 0.6}, {"student": "bo", "image_auroc": 0.9}, {"student": "cy", "steps": 9, "recipe": "cc"}
    )
    table = board.standings(rows)
    assert list(table["student"]) == ["bo", "cy", "ann"]
    assert list(table["fair"]) == ["one seed", "9 steps, not 300; one seed", "one seed"]


@pytest.mark.parametrize("name", ["", "../bo", "a/b", ".hidden", "x" * 80, "(somebody)"])
def test_a_name_that_is_no_file_is_refused(run, tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be a name"):
        board.post(run, name, tmp_path / "board")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "student\nann\n", "no,board\n1,2\n", "\0\0", posted({"image_auroc": 1.7}).to_csv(index=False),
             posted({"seed": "x"}).to_csv(index=False), posted({}).drop(columns="steps").to_csv(index=False)]
)  # fmt: skip
def test_a_damaged_file_is_named_and_takes_nobody_elses_runs_away(tmp_path, text, caplog):
    (tmp_path / "eve.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"eve\.csv"):
        board.read_board(tmp_path)
    posted({}).to_csv(tmp_path / "ann.csv", index=False)
    assert list(board.read_board(tmp_path)["student"]) == ["ann"] and "eve.csv" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    own_variant.name_of(reference_own_variant)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="board cannot be written"):
        board.post(run, "ann", tmp_path / "file")


def test_the_name_is_the_files(tmp_path):
    posted({"student": board.PACKAGE}).to_csv(tmp_path / "eve.csv", index=False)
    assert set(board.read_board(tmp_path)["student"]) == {"eve"}


def test_a_digest_that_looks_like_a_number_stays_a_text(tmp_path):
    posted({"recipe": "00123456", "images": "1234e567"}).to_csv(tmp_path / "ann.csv", index=False)
    (row,) = board.read_board(tmp_path)[["recipe", "images"]].to_numpy().tolist()
    assert row == ["00123456", "1234e567"]


def test_an_empty_board_says_how_to_post(tmp_path):
    with pytest.raises(DataError, match="nobody has posted"):
        board.read_board(tmp_path)


def test_a_decorated_class_has_its_name_and_the_packages_are_nobodys_own():
    @variants.variant("a_b")
    class Mine(ReconstructionModel):
        pass

    assert own_variant.name_of(Mine) == "a_b"
    with pytest.raises(ConfigError, match="cannot be called 'uniad'"):
        own_variant.name_of(VARIANTS["uniad"])
    VARIANTS.add("../x", type("Other", (Mine,), {}))
    with pytest.raises(ConfigError, match="cannot be called"):
        own_variant.name_of(VARIANTS["../x"])


def test_classes_without_a_name_may_follow_each_other():
    kinds = [type("Plain", (ReconstructionModel,), {}) for _ in range(2)]
    for kind in kinds:
        assert own_variant.name_of(kind) == own_variant.PLAIN_NAME and VARIANTS[own_variant.PLAIN_NAME] is kind


def test_a_run_of_a_variant_that_is_not_registered_is_not_posted(run, tmp_path):
    assert "own_variant" not in VARIANTS
    with pytest.raises(ConfigError, match="own_variant"):
        board.post(Run(run.path), "ann", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_every_variant_and_its_reason(tmp_path):
    posted({}, {"variant": "[bold]x", "image_auroc": 0.123}).to_csv(tmp_path / "ann.csv", index=False)
    done = CliRunner().invoke(app, ["course", "board", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == 0 and done.output.index("mine") < done.output.index("[bold]x")
    assert "0.123" in done.output and "one seed" in done.output

"""Progress of a student: kept in a kernel and on the machine, also when two notebooks write at once."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
import torch

from mintad.course import notebook, status
from mintad.course.checks import CheckFailed
from mintad.course.checks import features as checks
from mintad.course.points import load_points
from mintad.errors import ConfigError
from mintad.scoring import auroc

NOTEBOOKS = load_points().notebooks
ALL = sum(map(len, NOTEBOOKS.values()))


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel, and a function that restarts it; the file of the machine."""
    monkeypatch.setenv(status.FOLDER, str(tmp_path / "progress"))
    monkeypatch.setattr(status, "_in_kernel", lambda: True)
    monkeypatch.setattr(status, "_now", {})
    return tmp_path / "progress" / status.FILE


def right(tokens, memory):
    return (tokens[:, None] - memory).square().sum(-1).sqrt().amin(1)


def mean_and_pooled(scores, labels, categories):
    values = [auroc(scores[categories == name], labels[categories == name]) for name in set(categories)]
    return sum(values) / len(values), auroc(scores, labels)


def lines(capsys, *arguments, **named):
    capsys.readouterr()
    notebook.status(*arguments, **named)
    return capsys.readouterr().out.splitlines()


def test_open_tried_and_solved_survive_a_restart(kernel, capsys):
    with pytest.raises(CheckFailed):
        checks.check_fuse(lambda *_: 0)
    checks.check_nearest_score(right)
    with pytest.raises(CheckFailed):
        checks.check_mahalanobis(None)
    checks.check_mean_and_pooled(checks.reference_mean_and_pooled)
    checks.check_mean_and_pooled(mean_and_pooled, keep=False)  # as notebook 00 demonstrates a check
    now = ["✗ fuse: tried", "✓ nearest_score: solved", "○ mahalanobis: open", "○ mean_and_pooled: open"]
    found = lines(capsys, "03")
    assert found[0].startswith("03 data and features: 1 of 4") and [line.strip() for line in found[1:5]] == now
    assert found[5].startswith(f"all notebooks: 1 of {ALL}")
    status._now.clear()  # as a restart does
    found = [line.strip() for line in lines(capsys, "03")[1:5]]
    assert found == [f"{line}, earlier" if "open" not in line else line for line in now]


def test_what_was_solved_stays_solved(kernel, capsys):
    checks.check_nearest_score(right)
    with pytest.raises(CheckFailed):
        checks.check_nearest_score(lambda tokens, memory: torch.zeros(len(tokens)))
    found = lines(capsys, "03")
    assert "✓ nearest_score: solved" in found[2] and "1 of 4" in found[0]
    status._now.clear()
    assert "✓ nearest_score: solved, earlier" in lines(capsys, "03")[2]
    with pytest.raises(CheckFailed):
        checks.check_nearest_score(lambda tokens, memory: torch.zeros(len(tokens)))
    assert "✓ nearest_score: solved, earlier" in lines(capsys, "03")[2]


def test_a_notebook_is_begun_anew_alone(kernel, capsys):
    checks.check_nearest_score(right)
    status.record("queries.pull", status.SOLVED)
    found = lines(capsys, "03", anew=True)
    assert "0 of 4" in found[0] and f"1 of {ALL}" in found[-1] and all("open" in line for line in found[1:5])
    status._now.clear()
    assert "0 of 4" in lines(capsys, "03")[0] and "1 of 4" in lines(capsys, "05")[0]


def test_exercises_are_called_as_in_the_notebook_and_not_as_their_checks(kernel, capsys):
    status.record("scoring.average_precision", status.SOLVED)
    assert any("✓ mean_precision: solved" in line for line in lines(capsys, "09"))


def test_all_notebooks_are_listed_without_their_exercises(kernel, capsys):
    found = lines(capsys)
    assert len(found) == len(NOTEBOOKS) + 1 and found[-1] == f"all notebooks: 0 of {ALL} exercises solved"


@pytest.mark.parametrize("named", [("99", {}), ("", {"anew": True})])
def test_a_notebook_that_is_not_there_is_refused(kernel, named):
    with pytest.raises(ConfigError, match="notebook"):
        notebook.status(named[0], **named[1])


DEEP = '{"a":' * 100_000
DAMAGES = ["", "{", "[1]", '{"features.fuse": 3}', '{"features.fuse": ["solved"]}', "\0\xff", DEEP]


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_is_kept_aside_and_written_anew(kernel, capsys, caplog, damage):
    kernel.parent.mkdir()
    kernel.write_text(damage, encoding="latin-1")
    assert f"0 of {ALL}" in lines(capsys, "03")[-1]
    checks.check_nearest_score(right)
    assert json.loads(kernel.read_text()) == {"features.nearest_score": "solved"}
    assert kernel.with_suffix(".damaged").read_text(encoding="latin-1") == damage
    assert len(caplog.messages) == 1 and "\n" not in caplog.messages[0]


def test_no_place_of_the_file_makes_a_check_or_the_list_fail(kernel, capsys, caplog, monkeypatch):
    places = {"a folder": kernel, "no home": None}
    for place in places:
        if place == "a folder":
            kernel.mkdir(parents=True)
        else:
            monkeypatch.setenv(status.FOLDER, "~nobody_of_this_name/p")
        caplog.clear()
        checks.check_nearest_score(right)
        assert len(caplog.messages) == 1 and "\n" not in caplog.messages[0]
        assert "1 of 4" in lines(capsys, "03")[0]
        caplog.clear()
        assert "0 of 4" in lines(capsys, "03", anew=True)[0]
        assert len(caplog.messages) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_folder_without_permission_is_said(kernel, capsys, caplog):
    status.record("queries.pull", status.SOLVED)
    kernel.parent.chmod(0o500)
    try:
        lines(capsys, "05", anew=True)
    finally:
        kernel.parent.chmod(0o700)
    assert "not kept" in caplog.text


def test_a_run_for_the_pages_leaves_the_readers_progress_as_it_is(kernel, capsys, monkeypatch):
    status.record("queries.pull", status.SOLVED)
    before = kernel.read_bytes()
    monkeypatch.setenv(notebook.RENDERER, "pages")
    status.record("features.fuse", status.SOLVED)
    lines(capsys, "05", anew=True)
    assert kernel.read_bytes() == before


def test_a_folder_that_cannot_be_written_does_not_keep_a_check_from_passing(kernel, capsys, caplog):
    kernel.parent.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        checks.check_nearest_score(right)
    assert "✓" in capsys.readouterr().out and "not kept" in caplog.text
    assert "✓ nearest_score: solved" in lines(capsys, "03")[2]


def test_two_notebooks_write_at_once(kernel):
    code = (
        "import sys\nfrom mintad.course import status\nstatus._in_kernel = lambda: True\n"
        "for n in range(15):\n    status.record(f'{sys.argv[1]}.{n}', 'solved')\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b")]
    assert [process.wait(60) for process in running] == [0, 0]
    assert json.loads(kernel.read_text()) == {f"{name}.{n}": "solved" for name in "ab" for n in range(15)}
    assert not list(kernel.parent.glob(".writing-*"))


def test_nothing_is_kept_outside_a_kernel_and_pages_show_nobodys_progress(kernel, capsys, monkeypatch):
    status.record("features.fuse", status.SOLVED)
    status._now.clear()
    monkeypatch.setenv(notebook.RENDERER, "pages")
    assert f"0 of {ALL}" in lines(capsys, "03")[-1]
    monkeypatch.undo()
    assert not status._in_kernel()

"""benchmarks/robustness, short: random damage is refused by name or mended, never passed over."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks/robustness"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "script, what, trials",
    [
        ("damage", "images", 150),
        ("damage", "cache", 12),
        ("damage", "checkpoints", 20),
        ("damage", "errors", 8),
        ("run_folders", "runs", 15),
        ("run_folders", "configurations", 100),
        ("links", "links", 6),
        ("full_disks", "errors", 12),  # six commands, each with fsync and with rename
    ],
)
def test_random_damage_never_passes_in_silence(monkeypatch, capsys, tmp_path, script, what, trials):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module(script)
    assert module.main([f"--{what}", str(trials)]) == 0, capsys.readouterr().out
    assert f"{what}: {trials} tried" in capsys.readouterr().out

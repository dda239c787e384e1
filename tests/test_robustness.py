"""benchmarks/robustness, short: random damage is refused by name or mended, never passed over."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks/robustness"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what, trials", [("images", 150), ("cache", 12), ("checkpoints", 20), ("errors", 8)])
def test_random_damage_never_passes_in_silence(monkeypatch, capsys, what, trials):
    monkeypatch.syspath_prepend(FOLDER)
    import damage

    assert damage.main([f"--{what}", str(trials)]) == 0, capsys.readouterr().out
    assert f"{what}: {trials} tried" in capsys.readouterr().out

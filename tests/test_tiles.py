"""--tiles: a photograph is seen larger, by the same number of tokens in the transformer."""

import pytest
from PIL import Image
from synthetic import small

from mintad.config import preset
from mintad.config.tiles import tiled
from mintad.errors import ConfigError
from mintad.runs.options import resolve_config
from mintad.runs.predict import Predictor
from mintad.runs.train import train_run

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_the_input_is_larger_and_the_transformer_sees_as_many_tokens(tiles):
    before, now = preset("fast"), tiled(preset("fast"), tiles)
    assert now.features.image_size == 224 * tiles
    assert now.features.grid / now.model.pool == before.features.grid / before.model.pool
    highest = [round(config.scoring.top_share * config.features.grid**2, 6) for config in (before, now)]
    assert highest[0] == highest[1]
    changed = {key for key, value in now.flat().items() if value != before.flat()[key]}
    assert changed <= {"features.image_size", "features.grid", "model.pool", "scoring.top_share"}


def test_a_size_that_is_set_is_that_of_one_tile():
    """It used to replace what --tiles had made of it, which then did nothing."""
    one = ["features.image_size=320", "features.grid=10"]
    assert resolve_config(settings=one, tiles=2) == tiled(resolve_config(settings=one), 2)
    assert resolve_config(settings=one, tiles=2).features.image_size == 640


@pytest.mark.parametrize("tiles", [0, 1000])
def test_impossible_numbers_are_refused(tiles):
    with pytest.raises(ConfigError):
        tiled(preset("fast"), tiles)


def test_a_tiled_run_maps_a_photograph_finely(products, tmp_path):
    config = tiled(small(products, **{"train.steps": 2}), 2)
    run = train_run(config, tmp_path / "run", progress=False)
    photo = Image.open(products / "mesh/test/good/000.png").convert("RGB").resize((128, 128))
    photo.paste((255, 0, 0), (96, 96, 112, 112))
    photo.save(tmp_path / "photo.png")
    predictor = Predictor(run.path, device="cpu")
    found = predictor.judge(tmp_path / "photo.png")
    side = small(products).features.image_size * 2
    assert found.map_SS.shape == (side, side)
    assert predictor.model.grid == (config.features.grid // config.model.pool,) * 2

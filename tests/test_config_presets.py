"""The presets hold what they are said to hold, and the configuration is light to import."""

import json
import subprocess
import sys

import pytest

from mintad.config import PRESETS, Config, is_published_uniad, preset
from mintad.config.tree import UNIAD_RECIPE


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_json(name):
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_paper_preset_is_the_published_configuration():
    config = preset("paper")
    assert (config.train.epochs, config.train.lr, config.train.weight_decay) == (1000, 1e-4, 1e-4)
    assert (config.train.weight_ce, config.train.weight_prior, config.train.batch_size) == (1, 0.1, 32)
    features, model, mapper = config.features, config.model, config.model.prompt_mapper
    assert (features.backbone, features.grid, features.image_size) == ("tf_efficientnet_b4", 14, 224)
    assert (model.width, model.ffn_dim, model.heads, model.dropout) == (256, 1024, 8, 0.1)
    assert mapper.class_encoder_softmax and mapper.token_softmax and mapper.head_input == "token"
    assert not config.features.standardise and config.data.holdout == 0


def test_uniad_preset_is_uniad_as_published_and_no_other():
    uniad, paper = preset("uniad"), preset("paper")
    differing = {key for key, value in uniad.flat().items() if value != paper.flat()[key]}
    assert differing == set(UNIAD_RECIPE) - {"scoring.pool"}, "all else is the paper's, which adopts it from UniAD"
    assert (uniad.train.lr, uniad.train.clip_norm, uniad.train.batch_size) == (1e-4, 0.1, 8)
    assert (uniad.model.jitter.scale, uniad.model.attention_dropout, uniad.scoring.pool) == (20, 0.1, 16)
    assert is_published_uniad(uniad.override(**{"data.name": "visa", "train.seed": 2, "train.batch_size": 64}))
    for name in ("paper", "fast"):
        assert not is_published_uniad(preset(name).override(**{"model.variant": "uniad"}))
    for key in UNIAD_RECIPE:
        if key not in ("train.batch_size", "scoring.pool"):
            assert not is_published_uniad(uniad.override(**{key: paper.flat()[key]})), key
    assert not is_published_uniad(uniad.override(**{"train.epochs": 100}))


def test_the_paper_preset_has_the_papers_baselines_and_the_others_the_lessons():
    assert {name: config.baselines.setting for name, config in PRESETS.items()} == {
        "paper": "paper", "uniad": "paper", "small": "lesson", "fast": "lesson", "lesson": "lesson"
    }  # fmt: skip


def test_importing_the_configuration_is_light():
    code = "import sys, mintad.config; print([m for m in ('torch', 'pandas', 'numpy', 'timm') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

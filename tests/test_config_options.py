"""Options of a data set, a variant and baselines: they have dotted keys, and go with what they belong to."""

import json

import pytest

from mintad.config import Config, preset
from mintad.errors import ConfigError


def test_an_option_of_what_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match="data.options must be a mapping"):
        preset("fast").override(**{"data.options": "3", "data.options.a": "1"})


def test_a_single_option_has_a_dotted_key_too():
    config = preset("lesson").override(**{"data.options.n_train": "7", "model.options.hidden": "16"})
    assert config.data.options == {**preset("lesson").data.options, "n_train": 7}
    assert config.model.options == {"hidden": 16} and preset("lesson").data.options["n_train"] == 30


def test_options_of_single_baselines_have_dotted_keys_too():
    config = preset("fast").override(**{"baselines.options": "{draem: {width: 8}, cfa: {steps: 3}}"})
    config = config.override(**{"baselines.options.draem.steps": "50", "baselines.options.mkd": "{rate: 0.1}"})
    assert config.baselines.options == {"draem": {"width": 8, "steps": 50}, "cfa": {"steps": 3}, "mkd": {"rate": 0.1}}
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config and not Config().baselines.options


def test_a_mapping_of_the_caller_is_left_alone():
    given, other = {"draem": {"steps": 3}}, {"n_train": 3}
    changes = {"baselines.options": given, "baselines.options.draem.steps": 5, "data.options": other}
    config = preset("fast").override(**changes, **{"data.options.seed": 1})
    assert given == {"draem": {"steps": 3}} and other == {"n_train": 3}
    given["draem"]["steps"] = 7
    assert config.baselines.options == {"draem": {"steps": 5}} and config.data.options == {"n_train": 3, "seed": 1}


@pytest.mark.parametrize("key", ["baselines.options.draem.steps.x", "data.options.n_train.x", "model.options.a.b"])
def test_an_option_of_an_option_is_refused(key):
    with pytest.raises(ConfigError, match=key):
        preset("fast").override(**{key: 3})


def test_another_data_set_drops_what_belonged_to_the_former():
    lesson = preset("lesson")
    assert lesson.data.options["n_train"] == 30
    other = lesson.override(**{"data.name": "elpv"})
    assert other.data.options == {} and other.model == lesson.model
    assert lesson.override(**{"data.name": "mini"}).data == lesson.data
    assert lesson.override(**{"data.name": "folder", "data.root": "parts"}).data.root == "parts"


def test_another_variant_drops_the_options_of_the_former():
    config = preset("fast").override(**{"model.variant": "mlp_query", "model.options.hidden": 8})
    assert config.model.options == {"hidden": 8}
    assert config.override(**{"model.variant": "mlp_query"}).model.options == {"hidden": 8}
    assert config.override(**{"model.variant": "uniad"}).model.options == {}

"""Files of a run that are damaged, changed, lost or of another version: named, refused, or made anew."""

import shutil

import pandas as pd
import pytest
import torch

from mintad.disk import sealed
from mintad.errors import ConfigError, MintadError
from mintad.runs.evaluate import evaluate_run
from mintad.runs.files import PRODUCTS
from mintad.runs.opening import open_run
from mintad.runs.predict_files import predict_files
from mintad.runs.train import train_run
from mintad.scoring.known_products import KnownProducts

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("content", [b"[1]", b"null", b"{}", b"\xff"])
def test_a_changed_description_of_the_photographs_is_refused(copied, products, tmp_path, content):
    (copied.path / "photographs.json").write_bytes(content)
    with pytest.raises(MintadError, match="photographs.json"):
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)


def test_thresholds_that_are_gone_are_missed(copied):
    copied.write("threshold", None)
    with pytest.raises(MintadError, match="thresholds are gone.*|threshold.json.*gone"):
        copied.decisions()


@pytest.mark.parametrize("change", [{"ffn": 512}, {"adapter": True}, {"width": "wide"}])
def test_a_configuration_of_another_version_is_refused_by_that_version(copied, change):
    tree = copied.read("config")
    copied.write("config", tree | {"model": tree["model"] | change})
    copied.write("versions", copied.read("versions") | {"mintad": "9.8.7"})
    for use in (lambda: evaluate_run(copied.path, progress=False), copied.config):
        with pytest.raises(ConfigError, match=rf"of mintad 9\.8\.7: .*model.{next(iter(change))}") as caught:
            use()
        assert "train anew" in caught.value.fix


@pytest.mark.parametrize("content", [None, "", "step,lo"])
def test_a_run_whose_history_is_lost_can_still_be_evaluated(copied, finished, content):
    history = copied.path / "history.csv"
    history.unlink() if content is None else history.write_text(content)
    copied.discard_results()
    pd.testing.assert_frame_equal(
        train_run(finished.config(), copied.path, baseline_names=("padim",), progress=False).results(),
        finished.results(),
    )


def test_a_baseline_that_is_not_registered_any_more_is_not_dropped(copied):
    results = copied.results()
    (copied.path / "digests.json").unlink()
    copied.write_table("results", results.replace({"method": {"padim": "from_a_plug_in"}}))
    with pytest.raises(ConfigError, match="unknown baseline 'from_a_plug_in'"):
        evaluate_run(copied.path, progress=False)
    assert copied.baselines() == ["from_a_plug_in"]


@pytest.mark.parametrize("name, read", [("results.csv", "results"), ("scores.csv", "scores"), ("maps.npy", "maps")])
def test_one_changed_bit_in_a_result_is_refused_by_name(copied, name, read):
    content = bytearray((copied.path / name).read_bytes())
    content[-2] ^= 1
    (copied.path / name).write_bytes(content)
    with pytest.raises(MintadError, match=f"{name}: is damaged.*mintad evaluate"):
        getattr(copied, read)()


def test_damaged_results_of_an_older_version_are_refused_by_name(copied):
    (copied.path / "digests.json").unlink()
    (copied.path / "results.csv").write_text("method,setting\n")
    with pytest.raises(MintadError, match="results.csv is damaged"):
        copied.results()
    evaluate_run(copied.path, progress=False)
    assert copied.baselines() == [], "which baselines there were stood in the damaged file"


def test_a_changed_way_of_scoring_decides_nothing_until_it_is_evaluated(copied, products, tmp_path):
    config = copied.read("config")
    copied.write("config", config | {"scoring": config["scoring"] | {"top_share": 0.5}})
    images = [products / "mesh/test/good"]
    with pytest.raises(MintadError, match="config.json: scoring.*mintad evaluate"):
        predict_files(copied.path, images, tmp_path / "out", progress=False)
    evaluate_run(copied.path, progress=False)
    predict_files(copied.path, images, tmp_path / "out", progress=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "twelve"])
def test_a_threshold_that_is_no_finite_number_decides_nothing(copied, products, tmp_path, value):
    content = copied.read("threshold")
    content["held out"][0][1] = value
    copied.write("threshold", sealed(content))
    with pytest.raises(MintadError, match="threshold.json: cannot be used") as caught:
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    assert caught.value.fix and not (tmp_path / "out").exists()


def test_thresholds_that_were_changed_or_are_older_decide_nothing(copied):
    content, older = copied.read("threshold"), {"value": 3.0, "quantile": 0.95, "n": 9, "rank": 9, "reached": False}
    for changed, said in (
        (content | {"quantile": 0.5}, "digest"),
        (content | {"held out": content["held out"][1:]}, "digest"),
        (older, "older versions"),
        (sealed(content | {"held out": []}), "threshold.json"),
    ):
        copied.write("threshold", changed)
        with pytest.raises(MintadError, match=said) as caught:
            copied.decisions()
        assert caught.value.fix == f"mintad evaluate {copied.path} fits it anew"


def test_features_of_other_products_are_refused(copied, products, tmp_path):
    decisions = copied.decisions()
    KnownProducts(torch.zeros(3, 4)).save(copied.path / PRODUCTS)
    with pytest.raises(MintadError, match="does not belong to threshold.json"):
        copied.known_products(decisions)
    content = bytearray((copied.path / PRODUCTS).read_bytes())
    content[-1] ^= 1
    (copied.path / PRODUCTS).write_bytes(content)
    with pytest.raises(MintadError, match="the digest in it is another"):
        predict_files(copied.path, [products / "mesh/test/good"], tmp_path / "out", progress=False)
    assert evaluate_run(copied.path, progress=False).decisions().products == decisions.products


def test_lost_digests_are_named(copied, caplog):
    file = copied.path / "digests.json"
    file.unlink()
    copied.scores(), copied.results()
    assert [str(file) in record.getMessage() for record in caplog.records] == [True]  # once
    caplog.clear()
    evaluate_run(copied.path, device="cpu", progress=False)
    assert file.exists()


@pytest.mark.parametrize("content", [b"precious\n", b"", b"\xff\xfe", None])
def test_a_damaged_list_of_training_images_is_named(copied, content):
    file = copied.path / "images.csv"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(MintadError, match=r"images\.csv.*train anew"):
        copied.training_images()


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_damaged_seconds_can_be_removed(copied, products, content):
    file = copied.path / "seconds.json"
    file.write_bytes(content)
    with pytest.raises(MintadError, match=r"seconds\.json.*remove it") as caught:
        copied.seconds()
    assert "train" not in caught.value.fix
    file.unlink()
    assert evaluate_run(copied.path, device="cpu", progress=False).seconds()


@pytest.mark.parametrize(
    ("name", "content"),
    [("threshold.json", None), *((name, bad) for name in ("threshold.json", "digests.json") for bad in (b"{", b"[]"))],
)
def test_what_the_refusal_of_a_damaged_file_advises_helps(copied, products, tmp_path, name, content):
    file, photos = copied.path / name, [products / "mesh/test/good"]
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(MintadError, match=f"{name}.*mintad evaluate {copied.path} writes it anew") as caught:
        predict_files(copied.path, photos, tmp_path / "out", device="cpu", progress=False)
    if "remove it" in caught.value.fix:
        file.unlink()
    evaluate_run(copied.path, device="cpu", progress=False)
    predict_files(copied.path, photos, tmp_path / "out", device="cpu", progress=False)


def test_a_finished_run_without_its_checkpoint_is_not_said_to_be_unfinished(copied, products):
    """The same training command would find it finished, and train nothing."""
    shutil.rmtree(copied.path / "checkpoints")
    with pytest.raises(MintadError, match="no checkpoint.*--overwrite"):
        copied.checkpoint()


def test_data_that_have_moved_are_no_reason_to_train_anew(copied):
    config = copied.config().override(**{"data.root": "/elsewhere"})
    with pytest.raises(MintadError, match=f"data.root.*mintad evaluate {copied.path} --root"):
        with open_run(copied.path, config):
            pass
    with pytest.raises(MintadError) as caught, open_run(copied.path, config.override(**{"train.seed": 9})):
        pass
    assert "evaluate" not in caught.value.fix

"""benchmarks/anomalib_baselines.py: its arguments to anomalib, its results in `mintad report`, and, where anomalib is
installed, the six models themselves."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mintad.config import preset
from mintad.data.images import read_image
from mintad.data.mini import MiniParameters, make_mini
from mintad.features.backbone import to_pixels
from mintad.features.weights import fingerprint
from mintad.report.layout import render_table
from mintad.report.methods import ANOMALIB, reason
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.table_values import table_values
from mintad.runs.prepare import load_records, split_holdout
from mintad.scoring.metrics import MEAN, RESULT_COLUMNS

KEYS = ("mini/mesh", "mini/weave")
INPUT = {"cflow": 96, "supersimplenet": 96, "draem": 32}
"""Side of the input, 64 for the others. CFLOW's coarsest maps must fill one of its batches, SuperSimpleNet's must be
large enough for its finest noise, and DRAEM is slow."""


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    parameters = MiniParameters(categories=("mesh", "weave"), n_train=10, n_test_good=2, n_test_defect=1, size=64)
    return make_mini(tmp_path_factory.mktemp("products") / "set", parameters)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("anomalib_baselines")


def configured(products, size):
    data = {"data.name": "folder", "data.root": str(products), "data.options": {"dataset": "mini"}, "data.holdout": 0.2}
    features = {"features.weights": "random", "features.image_size": size}
    return preset("fast").override(**data, **features, **{"train.batch_size": 8, "train.steps": 2})


def values_of(results):
    return results.set_index(["metric", "category"])["value"]


class StandIn(SimpleNamespace):
    """Replaces anomalib_models and records its arguments; a score is the image's mean, a map its first channel."""

    def __init__(self):
        super().__init__(fitted=[], lengths=[], built=[])

    def to_input(self, name, features):
        return None

    def build(self, name, features, textures):
        self.built.append((name, textures))

    def fit(self, model, pixels, to_input, **length):
        self.fitted.append(pixels)
        self.lengths.append(length)

    def score(self, model, pixels, to_input, *, device):
        return pixels.mean(axis=(1, 2, 3)), pixels[..., 0]


def images(records, rows, size):
    return np.stack([to_pixels(read_image(path), size) for path in records["image"].iloc[rows]])


@pytest.mark.parametrize("separate", [False, True])
def test_a_model_learns_the_training_rows_alone_and_every_test_image_is_scored(products, script, monkeypatch, separate):
    models = StandIn()
    monkeypatch.setitem(sys.modules, "anomalib_models", models)
    config = configured(products, 64)
    records = load_records(config)
    results = script.run("cfa", records, config, separate=separate, epochs=3)
    train_rows, holdout_rows = split_holdout(records, 0.2, config.train.seed)
    assert len(models.fitted) == (2 if separate else 1) and len(holdout_rows) == 4
    assert np.array_equal(np.concatenate(models.fitted), images(records, train_rows, 64))
    assert all(length["epochs"] == 3 and length["batch"] == 8 and length["steps"] == 2 for length in models.lengths)
    assert tuple(results.columns) == RESULT_COLUMNS
    assert set(results["method"]) == {"anomalib_cfa"} and set(results["seed"]) == {config.train.seed}
    assert set(results["setting"]) == {"separate" if separate else "unified"}
    values, tested = values_of(results), records[records["split"] == "test"]
    for key in KEYS:
        of_category = tested[tested["category"] == key.partition("/")[2]]
        brightness = images(of_category, np.arange(len(of_category)), 64).mean(axis=(1, 2, 3))
        good, bad = (brightness[of_category["label"] == label] for label in (0, 1))
        won = np.greater.outer(bad, good) + 0.5 * np.equal.outer(bad, good)
        assert values["image_auroc", key] == pytest.approx(won.mean(), abs=1e-5)
        assert 0 <= values["pixel_ap", key] <= 1
    assert {("seconds_training", "all"), ("seconds_evaluation", "all"), ("image_auroc_swap", MEAN)} <= set(values.index)


def test_the_tables_show_the_rows_apart_from_our_own_baselines(tmp_path):
    methods = [("padim", "unified"), *((name, "unified") for name in ANOMALIB), ("anomalib_padim", "separate")]
    methods.append(("simplenet", "unified"))
    rows = [
        dict(zip(RESULT_COLUMNS, (method, setting, 0, category, metric, value / 10), strict=True))
        for value, (method, setting) in enumerate(methods, start=1)
        for category in (*KEYS, MEAN)
        for metric in ("image_auroc", "pixel_ap")
    ]
    file = tmp_path / "baselines.csv"
    file.write_text("# command: x\n" + pd.DataFrame(rows).to_csv(index=False))
    runs = read_runs([file])
    table_runs = select_runs(runs, 1)
    table = table_values(table_runs)
    table = table[table["category"] == MEAN].set_index(["method", "setting"])
    measured = table["measured"].dropna().to_dict()
    theirs = (f"{name} (anomalib)" for name in ("PaDiM", "PatchCore", "CFA", "CFLOW", "DRAEM"))
    names = ("PaDiM", *theirs, "SuperSimpleNet")
    unified = {(name, "unified"): value / 10 for value, name in enumerate(names, start=1)}
    others = {("PaDiM (anomalib)", "separate"): 0.8, ("SimpleNet", "unified"): 0.9}
    assert measured == pytest.approx(unified | others)
    assert table.loc[("DRAEM", "unified"), "paper"] == 0.887 and ("DRAEM", "unified") not in measured
    assert np.isnan(table.loc[("SuperSimpleNet", "unified"), "paper"])
    notes = render_table(table_runs, table_values(table_runs)).notes
    assert [note.partition(":")[0] for note in notes if "short training" in note] == ["SimpleNet"]
    (note,) = [note for note in notes if "anomalib" in note]
    assert "CFA" in note and "PatchCore (anomalib)" in note
    assert reason("SimpleNet") == "not run (mintad train --baselines simplenet)"
    assert "anomalib_baselines.py" in reason("DRAEM (anomalib)")
    assert reason("DRAEM") == "not run (mintad train --baselines draem)"
    assert table_values(select_runs(runs, 10))["measured"].notna().any()
    six = table_values(select_runs(runs, 6)).groupby("method")["status"].first()
    assert six["DRAEM"].startswith("not timed") and six["PaDiM"] == "not run (benchmarks/complexity.py)"


def call(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["anomalib_baselines.py", *map(str, arguments)])
    script.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "padin"], "unknown model 'padin'. Did you mean 'padim'?"),
        (["--textures", "nowhere"], "there is no folder nowhere"),
        (["--steps", 3, "--epochs", 2], "not allowed with"),
        (["--set", "train.step=3"], "unknown configuration key"),
    ],
)
def test_what_cannot_be_run_is_refused(script, monkeypatch, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit):
        call(script, monkeypatch, tmp_path / "x.csv", *arguments)
    assert message in capsys.readouterr().err


def test_without_anomalib_the_error_says_what_to_install(products, script, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "anomalib", None)
    monkeypatch.delitem(sys.modules, "anomalib.data", raising=False)
    monkeypatch.delitem(sys.modules, "anomalib_models", raising=False)
    with pytest.raises(SystemExit):
        call(script, monkeypatch, tmp_path / "x.csv", "--data", "folder", "--root", products)
    assert 'pip install "mintad[anomalib]"' in capsys.readouterr().err


@pytest.fixture
def models(script):
    pytest.importorskip("anomalib")
    return importlib.import_module("anomalib_models")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [method.removeprefix("anomalib_") for method in ANOMALIB])
def test_each_model_is_fitted_and_scores_every_image(products, script, models, monkeypatch, name):
    size = INPUT.get(name, 64)
    config, recorded, score = configured(products, size), [], models.score

    def recording_score(model, *arguments, **options):
        recorded.extend((model, *score(model, *arguments, **options)))
        return recorded[1:]

    monkeypatch.setattr(models, "score", recording_score)
    records = load_records(config)
    values = values_of(script.run(name, records, config, epochs=1))
    tested = int((records["split"] == "test").sum())
    model, scores, maps = recorded
    assert scores.shape == (tested,) and maps.shape == (tested, size, size)
    assert np.isfinite(maps).all() and np.ptp(scores) > 0
    for metric in ("image_auroc", "pixel_auroc", "pixel_ap"):
        assert all(0 <= values[metric, key] <= 1 for key in (*KEYS, MEAN))
    stages = [module for module in model.modules() if isinstance(module, models.Stages)]
    assert len(stages) == (name != "draem")
    for module in stages:  # frozen, running statistics included
        ours = models.Stages(config.features, module.layers)
        assert fingerprint(module.state_dict()) == fingerprint(ours.state_dict())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["cflow", "patchcore"])
def test_a_score_does_not_depend_on_the_other_images_of_a_batch(products, models, monkeypatch, name):
    config = configured(products, 96)
    records = load_records(config)
    normal, tested = (images(records, np.flatnonzero(records["split"] == split), 96) for split in ("train", "test"))
    prepare, model = models.to_input(name, config.features), models.build(name, config.features)
    models.fit(model, normal[:8], prepare, batch=8, steps=1)
    in_one_batch = models.score(model, tested, prepare)
    monkeypatch.setattr(models, "TEST_BATCH", 3)
    for expected, actual in zip(in_one_batch, models.score(model, tested, prepare), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_draem_takes_its_anomalies_from_a_folder_of_textures(products, models):
    features = configured(products, 32).features
    assert models.build("draem", features).augmenter.anomaly_source_paths == []
    paths = models.build("draem", features, products / "mesh" / "train").augmenter.anomaly_source_paths
    assert len(paths) == 10

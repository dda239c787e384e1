"""Extraction: cached features are exact, nothing good is lost, and nothing is computed twice."""

import os
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mintad.data import images as images_module
from mintad.data.images import read_image
from mintad.errors import ConfigError, DataError, MintadError
from mintad.features import extract as module
from mintad.features import table as table_module
from mintad.features.backbone import Backbone, build_backbone
from mintad.features.cache import list_caches
from mintad.features.extract import extract
from mintad.features.table import FeatureTable, free_memory

N = 11


def save_images(folder, count=N):
    generator = np.random.default_rng(0)
    for n in range(count):
        pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return pd.DataFrame({"image": [str(folder / f"{n:02}.png") for n in range(count)]})


@pytest.fixture
def records(tmp_path):
    (tmp_path / "images").mkdir()
    return save_images(tmp_path / "images")


@pytest.fixture(scope="module")
def backbone():
    return build_backbone("efficientnet_lite0", weights="random", image_size=64, grid=4, reductions=(2, 4, 8))


@pytest.fixture
def get(tmp_path, backbone):
    def call(records, **options):
        return extract(records, backbone, **{"cache_dir": tmp_path / "cache", "dtype": "float32", **options})

    return call


def direct(backbone, records):
    return torch.cat([backbone(backbone.prepare([read_image(path)])) for path in records["image"]])


@pytest.fixture
def frozen(monkeypatch):
    """A switch: from its call on, computing features fails."""

    def freeze():
        monkeypatch.setattr(Backbone, "forward", lambda *args: pytest.fail("computed again"))

    return freeze


def test_float32_features_are_exact_and_rows_follow_the_records(get, backbone, records):
    records = records.sample(frac=1, random_state=1)  # an index that is not 0..n-1, too
    table = get(records)
    assert (len(table), table.tokens, table.channels) == (N, 16, 16 + 24 + 40)
    assert torch.equal(table.gather(range(N)), direct(backbone, records))


def test_float16_features_are_the_nearest_and_gather_gives_float32(get, backbone, records):
    feat = get(records, dtype="float16").gather(range(N))
    expected = direct(backbone, records)
    assert feat.dtype == torch.float32
    assert torch.equal(feat, expected.half().float())
    assert ((feat - expected).abs() <= expected.abs() * 2**-11 + 2**-25).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_and_what_is_cached_already_do_not_change_a_bit(get, backbone, records, workers):
    get(records.iloc[3:5])
    threads = torch.get_num_threads()
    assert torch.equal(get(records, workers=workers).gather(range(N)), direct(backbone, records))
    assert torch.get_num_threads() == threads


def test_batches_differ_in_the_last_digits_at_most(backbone, records):
    whole = backbone(backbone.prepare([read_image(path) for path in records["image"]]))
    torch.testing.assert_close(whole, direct(backbone, records), rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_devices_that_want_batches_get_them(get, backbone, records, monkeypatch, batch_size):
    monkeypatch.setattr(module, "_pays_off_in_batches", lambda device: True)
    sizes = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    with open(records["image"][5], "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError, match="05.png"):
        get(records, batch_size=batch_size)
    assert sum(sizes) == N - 1 and max(sizes) == min(batch_size, N - 1) and len(sizes) <= 10 // batch_size + 1
    records = records.drop(index=5)
    feat, expected = get(records).gather(range(N - 1)), direct(backbone, records)
    torch.testing.assert_close(feat, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert torch.backends.cudnn.allow_tf32  # full precision was for the extraction only


def test_the_second_time_nothing_is_computed_even_for_moved_files(get, records, frozen, tmp_path):
    before = get(records).gather(range(N))
    (tmp_path / "images").rename(tmp_path / "moved")
    frozen()
    moved = records["image"].str.replace("images", "moved")
    assert torch.equal(get(pd.DataFrame({"image": moved})).gather(range(N)), before)


def test_a_changed_file_is_computed_again(get, backbone, records):
    get(records)
    Image.new("RGB", (9, 9), "red").save(records["image"][4])
    table = get(records)
    assert torch.equal(table.gather([4]), direct(backbone, records.iloc[[4]]))


def test_equal_files_share_a_row(get, backbone, records, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(open(records["image"][2], "rb").read())
    table = get(pd.DataFrame({"image": [*records["image"], str(copy), records["image"][2]]}))
    assert len(table) == N + 2 and table.nbytes == N * 16 * 80 * 4
    feat = table.gather([2, N, N + 1])
    assert torch.equal(feat[0], feat[1]) and torch.equal(feat[0], feat[2])


def test_all_unreadable_images_are_named_at_once_and_the_good_ones_kept(get, records, frozen):
    for n, content in ((1, b"no image"), (7, b"no image either")):
        with open(records["image"][n], "wb") as file:
            file.write(content)
    os.unlink(records["image"][9])
    with pytest.raises(DataError) as caught:
        get(records)
    message = str(caught.value)
    assert message.startswith("3 of 11 images")
    assert all(message.count(f"  {records['image'][n]}: ") == (n in (1, 7, 9)) for n in range(N))
    frozen()
    get(records.drop(index=[1, 7, 9]))


def test_pipes_and_devices_among_the_images_are_named(get, records, tmp_path, make_pipe):
    make_pipe(tmp_path / "images/pipe.png")
    (tmp_path / "images/null.png").symlink_to("/dev/null")
    more = [str(tmp_path / "images" / name) for name in ("pipe.png", "null.png")]
    with pytest.raises(DataError, match=r"null\.png: .*device[^$]*pipe\.png: .*named pipe"):
        get(pd.DataFrame({"image": [*records["image"], *more]}))


def test_threads_hold_one_large_picture_at_a_time(get, records, monkeypatch):
    monkeypatch.setattr(images_module, "LARGE", 0)
    pictures, alive = [], []

    def spy(path):
        alive.append(sum(picture() is not None for picture in pictures))
        picture = open_image(path)
        pictures.append(weakref.ref(picture))
        time.sleep(0.01)  # another thread has the time to come in
        return picture

    open_image = images_module.open_image
    monkeypatch.setattr(images_module, "open_image", spy)
    get(records, workers=4)
    assert len(alive) == N and max(alive) == 0


def test_an_interruption_loses_nothing_that_was_computed(get, records, monkeypatch, backbone, tmp_path):
    monkeypatch.setattr(module, "SHARD_IMAGES", 3)
    calls = []
    forward = Backbone.forward

    def interrupted(self, images):
        nonlocal calls
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(records, workers=1)
    assert list_caches(tmp_path / "cache")[0].images == 8
    calls = [None] * 9  # past the interruption
    feat = get(records, workers=1).gather(range(N))
    assert len(calls) - 9 == N - 8
    assert torch.equal(feat, direct(backbone, records))
    assert torch.get_num_threads() >= 1


def test_shards_hold_a_bounded_number_of_images(get, records, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SHARD_IMAGES", 4)
    table = get(records)
    folder = list_caches(tmp_path / "cache")[0].path
    assert sorted(len(np.load(path)) for path in folder.glob("*.npy")) == [3, 4, 4]
    assert torch.equal(table.gather([0, 10]), get(records).gather([0, 10]))


SLOW = """
import os, sys, time
sys.path.insert(0, {tests!r})
import pandas as pd
import mintad.features.extract as module
from mintad.features.backbone import Backbone, build_backbone
module.SHARD_IMAGES = 2
doomed = os.fork()  # importing PyTorch a second time takes longer than all that is done here
forward = Backbone.forward
def slow(self, images):
    time.sleep(0.02 if doomed else 0.1)
    return forward(self, images)
Backbone.forward = slow
if doomed:
    print(doomed, flush=True)
backbone = build_backbone("efficientnet_lite0", weights="random", image_size=64, grid=4, reductions=(2, 4, 8))
records = pd.DataFrame({{"image": {images!r}}})
module.extract(records, backbone, cache_dir={cache!r}, dtype="float32", workers=1)
if not doomed:
    os._exit(0)
ended = os.waitstatus_to_exitcode(os.waitpid(doomed, 0)[1])
sys.exit(f"the other process ended with {{ended}}" if ended != -9 else 0)
"""


def test_two_processes_at_once_and_kill_9(get, records, tmp_path, backbone):
    """The first starts the second, which is killed, and looks how it ended."""
    names = {"tests": os.path.dirname(__file__), "images": list(records["image"]), "cache": str(tmp_path / "cache")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", SLOW.format(**names)]
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE)
    doomed, deadline = int(process.stdout.readline()), time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if sum(cache.images for cache in list_caches(tmp_path / "cache")) >= 2:
            break
        time.sleep(0.02)
    os.kill(doomed, signal.SIGKILL)
    assert process.wait(60) == 0
    assert torch.equal(get(records).gather(range(N)), direct(backbone, records))


def test_a_damaged_shard_is_computed_again(get, records, tmp_path, backbone, caplog):
    get(records)
    shard = next(list_caches(tmp_path / "cache")[0].path.glob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:1000])
    assert torch.equal(get(records).gather(range(N)), direct(backbone, records))
    assert "damaged" in caplog.text


@pytest.mark.parametrize("place", [20, -100])
def test_one_flipped_bit_in_the_cache_is_said_and_computed_again(get, records, tmp_path, backbone, caplog, place):
    get(records)
    shard = next(list_caches(tmp_path / "cache")[0].path.glob("*.npy"))
    content = bytearray(shard.read_bytes())
    content[place] ^= 1
    shard.write_bytes(content)
    assert torch.equal(get(records).gather(range(N)), direct(backbone, records))
    assert caplog.text.count("dropping the damaged shard") == 1


def test_features_beyond_float16_are_stored_as_float32(get, records, backbone, monkeypatch, caplog):
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, images: forward(self, images) * 1e6)
    table = get(records, dtype="float16")
    assert table.dtype == np.float32 and "float16" in caplog.text
    assert torch.equal(table.gather(range(N)), direct(backbone, records))


def test_features_that_are_not_finite_name_image_and_weights(get, records, monkeypatch):
    monkeypatch.setattr(Backbone, "forward", lambda self, images: torch.full((len(images), 16, 80), torch.nan))
    with pytest.raises(DataError, match=r"0\d\.png.*not finite.*random, seed 0"):
        get(records)


def test_an_unknown_storage_type_is_refused(get, records):
    with pytest.raises(ConfigError, match="float16 and float32"):
        get(records, dtype="bfloat16")


def test_no_bar_outside_terminals(get, records, capfd):
    get(records)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_a_bar_in_a_terminal(get, records, monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    get(records)
    assert "11/11" in capfd.readouterr().err
    get(records)
    assert capfd.readouterr().err == ""  # nothing to compute, nothing to show


def test_tables_too_large_for_the_memory_are_read_from_disk(get, records, monkeypatch):
    table = get(records)
    assert table._values is None  # nothing is read before it is needed
    expected = table.gather([3, 0, 3, 10])
    assert table._values is not None
    monkeypatch.setattr(table_module, "free_memory", lambda: 2 * table.nbytes - 1)
    mapped = get(records)
    assert torch.equal(mapped.gather([3, 0, 3, 10]), expected)
    assert mapped._values is None and mapped.to("cpu").device.type == "cpu"
    assert torch.equal(mapped.to("cpu").gather([3, 0, 3, 10]), expected)


def test_a_table_on_another_device_holds_all_rows(get, records):
    table = get(records, dtype="float16")
    moved = table.to("meta")
    assert moved.device.type == "meta" and len(moved) == N and moved.nbytes == table.nbytes
    assert moved.gather([1, 2]).shape == (2, 16, 80) and table.device.type == "cpu"


def test_a_vanished_shard_is_a_clear_error(get, records, tmp_path):
    table = get(records)
    for shard in list_caches(tmp_path / "cache")[0].path.glob("*.npy"):
        shard.unlink()
    with pytest.raises(MintadError) as caught:
        table.gather([0])
    assert caught.value.path.endswith(".npy") and caught.value.fix


@settings(max_examples=50, deadline=None)
@given(indices=st.lists(st.integers(-5, 4), max_size=20), half=st.booleans())
def test_gather_is_numpy_indexing(indices, half):
    values = torch.arange(5 * 2 * 3).reshape(5, 2, 3).to(torch.float16 if half else torch.float32)
    table = FeatureTable.from_tensor(values)
    expected = values.numpy()[np.array(indices, dtype=int)]
    for form in (indices, np.array(indices, dtype=int), torch.tensor(indices, dtype=torch.long)):
        feat = table.gather(form)
        assert feat.dtype == torch.float32 and np.array_equal(feat.numpy(), expected)


def test_gathered_rows_are_copies_and_bounds_are_checked():
    table = FeatureTable.from_tensor(torch.zeros(3, 2, 2))
    table.gather([0, 1, 2]).add_(1)
    assert table.gather([0, 1, 2]).sum() == 0
    with pytest.raises(IndexError):
        table.gather([3])
    assert table.nbytes == 3 * 2 * 2 * 4 and len(table) == 3


STAT = "anon 500000\ninactive_anon 7\nactive_file 1\ninactive_file 100000"


@pytest.mark.parametrize(
    "limit, stat, expected",
    [
        ("1000000", STAT, 600_000),
        ("1000000", None, 500_000),
        ("300000", STAT, 0),
        ("max", STAT, None),
        (None, STAT, None),
    ],
)
def test_free_memory_is_what_a_container_may_still_use(tmp_path, limit, stat, expected):
    for name, text in {"memory.max": limit, "memory.current": "500000", "memory.stat": stat}.items():
        if text:
            (tmp_path / name).write_text(text + "\n")
    free = free_memory(tmp_path)
    assert free == expected if expected is not None else 1 << 20 < free < 1 << 50

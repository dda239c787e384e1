"""Shards on disk: whole or absent, whatever happens to the writer, the disk or a second process."""

import json
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mintad.disk import digest, hash_file
from mintad.errors import ConfigError
from mintad.features import cache as module
from mintad.features.cache import FeatureCache, cache_root, clear_caches, list_caches, open_shard

DESCRIPTION = {
    "backbone": "tiny",
    "weights": "random, seed 0",
    "weights_id": "00ff",
    "image_size": 64,
    "grid": [2, 2],
    "reductions": [2, 4],
    "local_mean": 1,
    "resize": "bilinear",
    "channels": 3,
    "mean": [0.5],
    "std": [0.5],
    "dtype": "float16",
    "preprocessing": "p-1",
}
SHAPE = (4, 3)


def open_cache(root, **changes):
    return FeatureCache(root / "features", {**DESCRIPTION, **changes}, SHAPE, "float16")


def rows(*values):
    return np.stack([np.full(SHAPE, value, dtype=np.float16) for value in values])


def value(cache, name):
    stored = cache.stored_rows[name]
    return open_shard(stored.shard, SHAPE, np.dtype("float16"))[stored.row, 0, 0]


def test_what_one_cache_writes_another_reads(tmp_path):
    first = open_cache(tmp_path)
    first.add(["a", "b"], rows(1, 2))
    first.add(["c"], rows(3))
    second = open_cache(tmp_path)
    assert (
        {name: value(second, name) for name in "abc"}
        == {"a": 1, "b": 2, "c": 3}
        == {name: value(first, name) for name in "abc"}
    )


OTHER_KEYS = [
    *(
        ("backbone", "huge"),
        ("weights_id", "1234"),
        ("image_size", 128),
        ("grid", [3, 3]),
        ("dtype", "float32"),
    ),
    *(("reductions", [2, 8]), ("mean", [0.4]), ("std", [0.4]), ("preprocessing", "p-2")),
    *(("resize", "area"), ("local_mean", 3)),
]


@pytest.mark.parametrize("field, other", OTHER_KEYS)
def test_everything_that_changes_features_changes_the_key(tmp_path, field, other):
    open_cache(tmp_path).add(["a"], rows(1))
    assert open_cache(tmp_path, **{field: other}).stored_rows == {}


def test_the_way_the_weights_came_does_not_change_the_key(tmp_path):
    open_cache(tmp_path).add(["a"], rows(1))
    assert set(open_cache(tmp_path, weights="/elsewhere/file.safetensors").stored_rows) == {"a"}


def test_a_shard_counts_only_with_its_index(tmp_path):
    cache = open_cache(tmp_path)
    cache.add(["a"], rows(1))
    index = cache.stored_rows["a"].shard.with_suffix(".json")
    index.unlink()
    assert open_cache(tmp_path).stored_rows == {}
    assert cache.stored_rows["a"].shard.exists()  # young: its writer may be about to write the index


@pytest.mark.parametrize("name", ["shard-1-aa.npy", ".writing-abc"])
def test_remains_of_crashed_writers_go_once_they_are_old(tmp_path, name):
    path = open_cache(tmp_path).folder / name
    path.write_bytes(b"half a shard")
    open_cache(tmp_path)
    assert path.exists()
    old = time.time() - module.STALE_SECONDS - 60
    os.utime(path, (old, old))
    open_cache(tmp_path)
    assert not path.exists()


def damage_truncate(shard):
    shard.write_bytes(shard.read_bytes()[:-1])


def damage_grow(shard):
    shard.write_bytes(shard.read_bytes() + b"\0")


def damage_index(shard):
    shard.with_suffix(".json").write_text('{"images": ["a"')


def damage_index_type(shard):
    shard.with_suffix(".json").write_text('["a"]')


def damage_count(shard):
    content = json.loads(shard.with_suffix(".json").read_text())
    shard.with_suffix(".json").write_text(json.dumps({**content, "images": [str(n) for n in range(99)]}))


def damage_gone(shard):
    shard.unlink()


@pytest.mark.parametrize(
    "damage", [damage_truncate, damage_grow, damage_index, damage_index_type, damage_count, damage_gone]
)
def test_a_damaged_shard_counts_as_missing_and_can_be_written_again(tmp_path, caplog, damage):
    cache = open_cache(tmp_path)
    cache.add(["a"], rows(1))
    cache.add(["b"], rows(2))
    damage(cache.stored_rows["a"].shard)
    with caplog.at_level(logging.WARNING):
        again = open_cache(tmp_path)
    assert "damaged shard" in caplog.text
    assert set(again.stored_rows) == {"b"} and value(again, "b") == 2
    again.add(["a"], rows(1))
    caplog.clear()
    assert value(open_cache(tmp_path), "a") == 1 and not caplog.records


def flip(file, byte, bit=0):
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)


def rewrite(change):
    def damage(shard):
        np.save(shard, change(np.load(shard)))

    return damage


def swap_images(shard):
    index = shard.with_suffix(".json")
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"images": content["images"][::-1]}))


def forget_digest(shard):
    index = shard.with_suffix(".json")
    content = json.loads(index.read_text())
    index.write_text(json.dumps({name: content[name] for name in ("images", "bytes")}))


QUIET_DAMAGE = {
    "bit in the data": lambda shard: flip(shard, -1, 5),
    "bit in the header": lambda shard: flip(shard, 12),
    "bit in the shape": lambda shard: flip(shard, shard.read_bytes().index(b"(2, 4") + 1),
    "bit in a hash": lambda shard: flip(shard.with_suffix(".json"), 13),
    "bit in the digest": lambda shard: flip(shard.with_suffix(".json"), -3),
    "bit in the digest's name": lambda shard: flip(
        shard.with_suffix(".json"), shard.with_suffix(".json").read_bytes().index(b"digest")
    ),
    "rows reversed": rewrite(lambda values: values[::-1]),
    "not a number": rewrite(lambda values: values * np.nan),
    "images swapped": swap_images,
    "no digest": forget_digest,
}


@pytest.mark.parametrize("name", QUIET_DAMAGE)
def test_quiet_damage_is_noticed_before_the_features_are_used(tmp_path, caplog, name):
    cache = open_cache(tmp_path)
    cache.add(["a", "b"], rows(1, 2))
    cache.add(["c"], rows(3))
    QUIET_DAMAGE[name](cache.stored_rows["a"].shard)
    again = open_cache(tmp_path)
    with caplog.at_level(logging.WARNING):
        again.verify("abc")
    assert set(again.stored_rows) - {"`"} == {"c"} and value(again, "c") == 3  # "`" is a hash with a bit flipped
    assert len(caplog.records) == 1 and "dropping the damaged shard" in caplog.text
    again.add(["a", "b"], rows(1, 2))
    assert {image: value(open_cache(tmp_path), image) for image in "abc"} == {"a": 1, "b": 2, "c": 3}


def test_another_shard_with_the_same_images_stands_in_for_a_damaged_one(tmp_path):
    for _ in range(2):
        open_cache(tmp_path).add(["a"], rows(1))
    cache = open_cache(tmp_path)
    flip(cache.stored_rows["a"].shard, -1)
    cache.verify(["a"])
    assert value(cache, "a") == 1


def test_features_in_the_folder_of_another_extractor_are_not_used(tmp_path):
    ours, theirs = open_cache(tmp_path), open_cache(tmp_path, weights_id="1234")
    ours.add(["a"], rows(1))
    for file in ours.folder.glob("shard-*"):
        file.rename(theirs.folder / file.name)
    theirs.refresh()
    theirs.verify(["a"])
    assert theirs.stored_rows == {}


def test_a_process_verifies_a_shard_once(tmp_path, monkeypatch):
    open_cache(tmp_path).add(["a"], rows(1))
    count = []
    monkeypatch.setattr(module, "digest", lambda *parts: count.append(parts) or digest(*parts))
    for _ in range(3):
        open_cache(tmp_path).verify(["a"])
    assert len(count) == 1


def test_features_that_are_not_finite_are_not_stored(tmp_path):
    cache = open_cache(tmp_path)
    with pytest.raises(ValueError, match="not finite"):
        cache.add(["a"], rows(np.nan))
    assert cache.stored_rows == {} and not list(cache.folder.glob("shard-*"))


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    cache = open_cache(tmp_path)

    def full(file, *rest, **options):
        file.write(b"some bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ConfigError, match="No space left.*MINTAD_CACHE"):
        cache.add(["a"], rows(1))
    assert [path.name for path in cache.folder.iterdir()] == ["key.json"] and cache.stored_rows == {}


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "features").write_text("a file in the way")
    with pytest.raises(ConfigError, match="MINTAD_CACHE"):
        open_cache(tmp_path)


def test_two_caches_at_once_leave_two_whole_shards(tmp_path):
    one, two = open_cache(tmp_path), open_cache(tmp_path)
    one.add(["a", "b"], rows(1, 2))
    two.add(["b", "a"], rows(2, 1))
    both = open_cache(tmp_path)
    assert len(list(both.folder.glob("*.npy"))) == 2
    assert (value(both, "a"), value(both, "b")) == (1, 2)
    one.refresh()
    assert set(one.stored_rows) == {"a", "b"}
    assert list_caches(tmp_path)[0].images == 2


KILLED = """
import os, signal, sys
import numpy as np
sys.path.insert(0, {tests!r})
from test_features_cache import open_cache, rows
from pathlib import Path
cache = open_cache(Path({root!r}))
cache.add(["a"], rows(1))
replace = os.replace
calls = 0
def die(source, target):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die
cache.add(["b"], rows(2))
"""


@pytest.mark.parametrize("at", [1, 2])
def test_kill_9_while_writing_loses_only_that_shard(tmp_path, at):
    code = KILLED.format(tests=os.path.dirname(__file__), root=str(tmp_path), at=at)
    run = subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(os.path.dirname(__file__)))
    assert run.returncode == -9
    cache = open_cache(tmp_path)
    assert set(cache.stored_rows) == {"a"} and value(cache, "a") == 1
    cache.add(["b"], rows(2))
    assert value(open_cache(tmp_path), "b") == 2


def test_list_and_clear(tmp_path):
    assert list_caches(tmp_path) == [] and clear_caches(cache_dir=tmp_path) == 0
    open_cache(tmp_path).add(["a", "b"], rows(1, 2))
    open_cache(tmp_path, backbone="huge")
    strange = tmp_path / "features" / "somebody-elses"
    strange.mkdir()
    huge, tiny = list_caches(tmp_path)
    assert (tiny.backbone, tiny.grid, tiny.images, huge.images) == ("tiny", "2x2", 2, 0)
    assert tiny.nbytes == sum(path.stat().st_size for path in tiny.path.iterdir())
    assert abs(tiny.modified.timestamp() - time.time()) < 60
    with pytest.raises(ConfigError, match=f"Did you mean '{tiny.key}'"):
        clear_caches(tiny.key[:-1], tmp_path)
    assert clear_caches(tiny.key, tmp_path) == tiny.nbytes
    assert [cache.key for cache in list_caches(tmp_path)] == [huge.key]
    clear_caches(cache_dir=tmp_path)
    assert list_caches(tmp_path) == [] and strange.is_dir()


def test_key_json_can_be_read_by_people(tmp_path):
    cache = open_cache(tmp_path)
    text = (cache.folder / "key.json").read_text()
    assert json.loads(text) == DESCRIPTION and "\n" in text
    assert cache.folder.name.startswith("tiny-64px-2x2-float16-")


def test_where_caches_are(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_CACHE", str(tmp_path / "env"))
    assert cache_root() == tmp_path / "env" / "features"
    assert cache_root(tmp_path / "arg") == tmp_path / "arg" / "features"
    monkeypatch.delenv("MINTAD_CACHE")
    assert "mintad" in str(cache_root())


def test_hash_is_of_the_content(tmp_path):
    for name, content in (("a", b"x" * 3_000_000), ("b", b"x" * 3_000_000), ("c", b"x" * 2_999_999 + b"y")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (hash_file(tmp_path / name) for name in "abc")
    assert a == b != c and len(a) == 32

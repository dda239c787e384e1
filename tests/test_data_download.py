"""mintad.data.download on a loopback server: the command `get`, its licence, its folders, wrong contents, crashes."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import stat
import warnings
from collections import namedtuple
from pathlib import Path

import pytest
from download_builders import (
    Server,
    files_of,
    get,
    leftovers,
    source_for,
    start_part,
    tar_of,
    tree,
    zip_of,
)

from mintad.data import download
from mintad.data.sources import SOURCES, Source
from mintad.errors import DataError
from mintad.lock import exclusive_lock

# ---------------------------------------------------------------- the good case


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_downloaded_verified_and_unpacked(server, tmp_path, mode):
    source = source_for(server, tar_of(files_of(), mode))
    folder = get(source, tmp_path)
    assert folder == tmp_path / "toy"
    assert tree(folder) == files_of()
    assert leftovers(tmp_path) == {f"toy/{name}" for name in files_of()} | {f"toy/{download.MARKER}"}


def test_a_zip_is_unpacked_and_the_inner_folder_returned(server, tmp_path):
    files = {f"Outer/{name}": data for name, data in files_of("01").items()}
    source = source_for(server, zip_of(files), folder="Outer", expects=("01",), filename="toy.zip")
    folder = get(source, tmp_path)
    assert folder == tmp_path / "toy" / "Outer"
    assert tree(folder) == files_of("01")
    assert get(source, tmp_path) == folder  # the marker remembers the inner folder


def test_an_outer_folder_that_was_not_documented_is_found(server, tmp_path):
    source = source_for(server, tar_of({f"surprise/{name}": data for name, data in files_of().items()}))
    assert get(source, tmp_path) == tmp_path / "toy" / "surprise"


def test_second_call_does_nothing(server, toy, tmp_path):
    first = get(toy, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    server.requests.clear()
    # No licence question either: nothing is fetched.
    assert get(toy, tmp_path, accept_licence=False) == first
    assert server.requests == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_unpacked_files_carry_no_special_modes(server, toy, tmp_path):
    folder = get(toy, tmp_path)  # the archive says 6777
    for path in folder.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o7111 == 0


def test_the_archive_is_kept_on_request_and_serves_without_network(server, toy, tmp_path):
    folder = get(toy, tmp_path, keep_archive=True)
    shutil.rmtree(folder)
    server.requests.clear()
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == []


def test_progress_bar_and_licence_go_to_standard_error(server, toy, tmp_path, capsys):
    get(toy, tmp_path, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "CC TEST 1.0" in err and "downloading Toy set" in err and "unpacking Toy set" in err


# ---------------------------------------------------------------- licence, names, folders, disk


def test_without_acceptance_nothing_is_requested(server, toy, tmp_path):
    with pytest.raises(DataError, match="licence was not accepted") as caught:
        get(toy, tmp_path, accept_licence=False)
    assert "CC TEST 1.0" in str(caught.value) and "https://owner.invalid/toy" in str(caught.value)
    assert server.requests == [] and list(tmp_path.iterdir()) == []


def test_the_user_is_asked_after_seeing_the_licence(server, toy, tmp_path, capsys):
    seen = []

    def ask() -> bool:
        seen.append(capsys.readouterr().err)
        return len(seen) > 1

    with pytest.raises(DataError, match="licence"):
        get(toy, tmp_path, accept_licence=ask, progress=True)
    assert "CC TEST 1.0" in seen[0]
    assert get(toy, tmp_path, accept_licence=ask, progress=True).is_dir()


def test_unknown_name_gets_the_nearest():
    with pytest.raises(DataError, match="'mvtek'.*Did you mean 'mvtec'"):
        download.get("mvtek", ".", accept_licence=True)


def test_a_folder_of_the_user_is_left_alone(server, toy, tmp_path):
    own = tmp_path / "toy" / "mine.txt"
    own.parent.mkdir()
    own.write_text("precious")
    with pytest.raises(DataError, match="not made by this command"):
        get(toy, tmp_path)
    assert own.read_text() == "precious" and server.requests == []


def test_an_empty_folder_is_no_obstacle(server, toy, tmp_path):
    (tmp_path / "toy").mkdir()
    assert tree(get(toy, tmp_path)) == files_of()


@pytest.mark.parametrize("harm", ["other hash", "broken marker", "lost part"])
def test_a_damaged_installation_is_named(server, toy, tmp_path, harm):
    folder = get(toy, tmp_path)
    if harm == "other hash":
        toy = dataclasses.replace(toy, hashes=("sha256:" + "0" * 64,))
    elif harm == "broken marker":
        (folder / download.MARKER).write_text("{")
    else:
        shutil.rmtree(folder / "screw")
    message = {"other hash": "another archive", "broken marker": "damaged", "lost part": "lacks screw"}[harm]
    with pytest.raises(DataError, match=message):
        get(toy, tmp_path)


def test_disk_space_is_checked_before_the_first_request(server, toy, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, toy.unpacked + toy.size - 1))
    with pytest.raises(DataError, match="free disk space"):
        get(toy, tmp_path)
    assert server.requests == []
    start_part(tmp_path / "other", toy, have=1000)  # bytes already here need no further room
    assert get(toy, tmp_path / "other").is_dir()


def test_a_disk_that_fills_up_while_downloading_is_not_the_servers_fault(server, toy, tmp_path, monkeypatch):
    def full(path, *args, **options):
        if path.suffix == ".part":
            raise OSError(28, "No space left on device")
        return original(path, *args, **options)

    original = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match=r"toy\.tar\.part cannot be written.*No space left"):
        get(dataclasses.replace(toy, urls=(server.url("a"), server.url("b"))), tmp_path)
    assert [path for path, *_ in server.requests] == ["a"]


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(server, toy, tmp_path, monkeypatch):
    opened = []

    def full(path, flags, *args, **options):
        if flags & os.O_CREAT and "unpacking" in str(path):
            opened.append(path)
            if len(opened) > 1:
                raise OSError(28, "No space left on device")
        return original(path, flags, *args, **options)

    original = os.open
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DataError, match="No space left"):
        get(toy, tmp_path)
    assert leftovers(tmp_path) == {".download/toy.tar"}  # the verified archive stays for the next try
    monkeypatch.undo()
    server.requests.clear()
    assert tree(get(toy, tmp_path)) == files_of() and server.requests == []


def _hold_lock(path: Path, source: Source, ready, release) -> None:
    with exclusive_lock(path, DataError(source.title)):
        ready.set()
        release.wait(20)


@pytest.mark.skipif(os.name == "nt", reason="uses fork")
def test_two_processes_do_not_write_one_file(server, toy, tmp_path):
    (tmp_path / ".download").mkdir()
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    arguments = (tmp_path / ".download/toy.lock", toy, ready, release)
    other = context.Process(target=_hold_lock, args=arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the server's thread
        other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(DataError, match="another process"):
            get(toy, tmp_path)
    finally:
        release.set()
        other.join(20)
    assert get(toy, tmp_path).is_dir()


# ---------------------------------------------------------------- wrong contents


def test_a_tampered_archive_is_deleted_and_both_hashes_named(server, toy, tmp_path):
    server.content = server.content[:1000] + b"!" + server.content[1001:]
    with pytest.raises(DataError) as caught:
        get(toy, tmp_path)
    message, got = str(caught.value), hashlib.sha256(server.content).hexdigest()
    assert toy.hashes[0] in message and f"sha256:{got}" in message and "The file was deleted" in message
    assert leftovers(tmp_path) == set() and not (tmp_path / "toy").exists()


def test_every_hash_must_match(server, toy, tmp_path):
    source = dataclasses.replace(toy, hashes=(toy.hashes[0], "md5:" + "0" * 32))
    with pytest.raises(DataError, match="expected md5:0000"):
        get(source, tmp_path)


def test_a_tampered_first_address_does_not_stop_the_second(server, toy, tmp_path):
    other = Server()
    try:
        other.content = bytes(toy.size)
        assert tree(get(dataclasses.replace(toy, urls=(other.url(), server.url())), tmp_path)) == files_of()
    finally:
        other.close()


def test_a_truncated_file_of_uncertain_size_fails_by_its_hash(server, toy, tmp_path):
    server.content = server.content[:-20_000]
    with pytest.raises(DataError, match="not the published file"):
        get(dataclasses.replace(toy, exact_size=False), tmp_path)
    assert leftovers(tmp_path) == set()


def test_a_wrong_archive_placed_by_hand_is_not_deleted(server, toy, tmp_path):
    archive = tmp_path / ".download" / "toy.tar"
    archive.parent.mkdir()
    archive.write_bytes(b"something else")
    with pytest.raises(DataError, match="14 bytes instead of .* Delete .*toy.tar and run again"):
        get(toy, tmp_path)
    assert archive.read_bytes() == b"something else" and server.requests == []


def test_an_unexpected_layout_says_what_was_found(server, tmp_path):
    source = source_for(server, tar_of({"elsewhere/x.png": b"x"}))
    with pytest.raises(DataError, match="expected screw; found elsewhere"):
        get(source, tmp_path)
    assert leftovers(tmp_path) == {".download/toy.tar"} and not (tmp_path / "toy").exists()


# ---------------------------------------------------------------- crashes


def test_a_crash_while_unpacking_is_cleared_up_by_the_next_call(server, toy, tmp_path):
    half = tmp_path / ".download" / "toy.unpacking" / "screw" / "half.png"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")  # what kill -9 leaves
    assert download.installed(toy, tmp_path) is None
    assert tree(get(toy, tmp_path)) == files_of()
    assert not half.exists()


def _get_and_die(source: Source, root: Path) -> None:
    os.sync = lambda: os.kill(os.getpid(), signal.SIGKILL)  # everything unpacked, not yet renamed
    get(source, root)


@pytest.mark.skipif(os.name == "nt", reason="uses fork")
def test_kill_9_leaves_nothing_that_looks_finished(server, toy, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the server's thread
        child = multiprocessing.get_context("fork").Process(target=_get_and_die, args=(toy, tmp_path))
        child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / ".download/toy.unpacking/screw").is_dir() and not (tmp_path / "toy").exists()
    server.requests.clear()
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == []  # the verified archive was still there
    assert leftovers(tmp_path) == {f"toy/{name}" for name in files_of()} | {f"toy/{download.MARKER}"}


def test_contents_reach_the_disk_before_the_name(server, toy, tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(os, "sync", lambda: events.append("sync"))
    rename = os.rename

    def note(old, new):
        events.append(("rename", Path(new).name, (Path(old) / download.MARKER).exists()))
        rename(old, new)

    monkeypatch.setattr(os, "rename", note)
    get(toy, tmp_path)
    assert events == ["sync", ("rename", "toy", True)]


# ---------------------------------------------------------------- the real entries


@pytest.mark.parametrize("name", SOURCES)
def test_the_entries_are_well_formed(name):
    source = SOURCES[name]
    assert source.name == name and source.urls and source.expects
    assert all(url.startswith("https://") and url.endswith(source.filename) for url in source.urls)
    assert len(set(source.urls)) == len(source.urls)
    for entry in source.hashes:
        algorithm, _, digest = entry.partition(":")
        assert re.fullmatch(r"[0-9a-f]+", digest) and len(digest) == {"sha256": 64, "md5": 32}[algorithm]
    assert source.size > 100_000_000 and source.unpacked > source.size
    assert source.licence.name in source.notice() and source.homepage in source.notice()


def test_the_owner_published_md5_of_cifar10_agrees_with_torchvision():
    from torchvision.datasets import CIFAR10

    assert f"md5:{CIFAR10.tgz_md5}" in SOURCES["cifar10"].hashes
    assert SOURCES["cifar10"].urls == (CIFAR10.url,)

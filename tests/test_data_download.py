"""mintad.data.download on a loopback server: good and hostile archives, broken servers, crashes."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import warnings
from collections import namedtuple
from pathlib import Path

import pytest
from download_builders import Server, files_of, tar_member, tar_of, toy_set, tree, zip_of

from mintad.data import DATASETS, download
from mintad.errors import DataError
from mintad.lock import exclusive_lock

INSTALLED = {f"toy/{name}": data for name, data in files_of().items()}
"""All that lies below the data root afterwards."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two attempts
    running = Server()
    yield running
    running.close()


@pytest.fixture
def register(server, monkeypatch):
    """Make "toy" a known data set, with this archive."""

    def enter(content: bytes | None = None, **changes):
        dataset = toy_set(server, tar_of(files_of()) if content is None else content, **changes)
        monkeypatch.setitem(DATASETS._entries, "toy", dataset)
        return dataset.source

    return enter


def get(root: Path, **options) -> Path:
    return download.get("toy", root, **{"accept_licence": True, "progress": False, **options})


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_downloaded_verified_and_unpacked(register, tmp_path, mode):
    register(tar_of(files_of(), mode))
    assert get(tmp_path) == tmp_path / "toy"
    assert tree(tmp_path) == INSTALLED
    assert all(path.stat().st_mode & 0o7000 == 0 for path in tmp_path.rglob("*.png"))  # the archive says 6777


@pytest.mark.parametrize("documented", ["Outer", ""])
def test_a_zip_is_unpacked_and_the_inner_folder_returned(register, tmp_path, documented):
    files = {f"Outer/{name}": data for name, data in files_of("01").items()}
    register(zip_of(files), folder=documented, expects=("01",))
    folder = get(tmp_path)
    assert folder == tmp_path / "toy" / "Outer" and tree(folder) == files_of("01")
    assert get(tmp_path) == folder  # found again


def test_the_second_call_does_nothing(server, register, tmp_path):
    register()
    folder = get(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    server.requests.clear()
    assert get(tmp_path, accept_licence=False) == folder  # nothing is fetched, so nothing is to be accepted
    assert server.requests == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_nothing_is_requested_before_the_licence_was_shown_and_accepted(server, register, tmp_path, capsys):
    register()
    with pytest.raises(DataError) as caught:
        get(tmp_path, accept_licence=False)
    assert "CC TEST 1.0" in caught.value.fix and server.requests == [] and list(tmp_path.iterdir()) == []
    shown = []
    assert get(tmp_path, progress=True, accept_licence=lambda: shown.append(capsys.readouterr().err) or True).is_dir()
    assert "CC TEST 1.0" in shown[0] and "https://owner.invalid/toy" in shown[0]


def test_names_without_an_archive_are_refused(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'mvtec'"):
        download.get("mvtek", tmp_path, accept_licence=True)
    with pytest.raises(DataError, match="elpv.*Allowed: btad, cifar10, mvtec, visa"):
        download.get("elpv", tmp_path, accept_licence=True)


def test_a_data_set_unpacked_by_hand_is_used_and_anything_else_left_alone(server, register, tmp_path):
    register()
    own = tmp_path / "toy" / "screw"
    own.mkdir(parents=True)
    assert get(tmp_path, accept_licence=False) == tmp_path / "toy" and server.requests == []
    own.rename(own.with_name("mine"))
    with pytest.raises(DataError, match="screw") as caught:
        get(tmp_path)
    assert caught.value.path == str(tmp_path / "toy") and caught.value.fix
    assert (tmp_path / "toy/mine").is_dir() and server.requests == []
    (tmp_path / "toy/mine").rmdir()  # an empty folder is no obstacle
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED


def test_a_python_that_cannot_unpack_safely_is_refused_first(server, register, tmp_path, monkeypatch):
    register()
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(DataError) as caught:
        get(tmp_path)
    assert "3.10.12" in caught.value.fix and server.requests == []


def test_disk_space_is_checked_before_the_first_request(server, register, tmp_path, monkeypatch):
    source = register()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, source.unpacked + source.size - 1))
    with pytest.raises(DataError, match="disk space"):
        get(tmp_path)
    assert server.requests == []


def test_a_full_disk_leaves_the_verified_archive_alone(server, register, tmp_path, monkeypatch):
    unpack = download.unpack

    def full(archive, folder):
        unpack(archive, folder)
        raise OSError(28, "No space left on device")

    register()
    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left"):
        patch.setattr(download, "unpack", full)
        get(tmp_path)
    assert tree(tmp_path) == {".download/toy.archive": server.content}
    server.requests.clear()
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED and server.requests == []


def test_two_processes_do_not_write_one_folder(register, tmp_path):
    register()
    (tmp_path / ".download").mkdir()
    with exclusive_lock(tmp_path / ".download/toy.lock", DataError("busy")), pytest.raises(DataError, match="another"):
        get(tmp_path)
    assert get(tmp_path).is_dir()


def _get_and_die(root: Path) -> None:
    os.sync = lambda: os.kill(os.getpid(), signal.SIGKILL)  # everything unpacked, not yet renamed
    get(root)


@pytest.mark.skipif(os.name == "nt", reason="uses fork")
def test_kill_9_leaves_nothing_that_looks_finished(server, register, tmp_path):
    register()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the server's thread
        child = multiprocessing.get_context("fork").Process(target=_get_and_die, args=(tmp_path,))
        child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / ".download/toy.partial/unpacked/screw").is_dir() and not (tmp_path / "toy").exists()
    server.requests.clear()
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED and server.requests == []  # the verified archive was still there


def test_an_archive_placed_by_hand_is_verified_and_used_without_network(server, register, tmp_path):
    source = register()
    archive = tmp_path / ".download" / source.filename
    archive.parent.mkdir()
    archive.write_bytes(b"something else")
    with pytest.raises(DataError) as caught:
        get(tmp_path)
    assert caught.value.path == str(archive) and archive.read_bytes() == b"something else"  # it is not ours to delete
    archive.write_bytes(server.content)
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED and server.requests == []


def test_a_tampered_archive_is_not_kept_and_the_next_address_is_tried(server, register, tmp_path):
    source = register()
    server.contents = {"bad": server.content[:1000] + b"!" + server.content[1001:]}
    register(urls=(server.url("bad"),))
    with pytest.raises(DataError, match=source.hashes[0].partition(":")[2]):
        get(tmp_path)
    assert server.requests == [("bad", 200)]  # another file stays another file, and may have gigabytes
    assert tree(tmp_path) == {} and not (tmp_path / "toy").exists()
    register(urls=(server.url("bad"), server.url("good")))
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED


def test_every_hash_must_match(register, tmp_path):
    source = register()
    register(hashes=(source.hashes[0], "md5:" + "0" * 32))
    with pytest.raises(DataError, match="md5:0000"):
        get(tmp_path)
    assert tree(tmp_path) == {}


def test_a_dropped_connection_and_a_busy_server_are_tried_again(server, register, tmp_path):
    register()
    server.cut, server.status = [100_000], {"archive": [200, 503]}
    get(tmp_path)
    assert tree(tmp_path) == INSTALLED
    assert server.requests == [("archive", 200), ("archive", 503), ("archive", 200)]


def test_all_addresses_that_fail_are_named_with_the_way_by_hand(server, register, tmp_path):
    unused = Server()
    unused.close()
    register(urls=(server.url("gone"), unused.url(), server.url("shut")))
    server.status = {"gone": [404] * 9, "shut": [403] * 9}
    with pytest.raises(DataError) as caught:
        get(tmp_path)
    assert all(part in caught.value.problem for part in ("404", "403", unused.url()))
    assert "https://owner.invalid/toy" in caught.value.fix
    assert str(tmp_path / ".download" / "toy.archive") in caught.value.fix


def test_an_unexpected_layout_says_what_was_found_and_keeps_the_archive(register, tmp_path):
    register(tar_of({"elsewhere/x.png": b"x"}))
    with pytest.raises(DataError, match="screw.*elsewhere"):
        get(tmp_path)
    assert list(tree(tmp_path)) == [".download/toy.archive"] and not (tmp_path / "toy").exists()


HOSTILE = {
    "parent in tar": tar_member(name="../evil.png", data=b"x"),
    "parent deep in tar": tar_member(name="screw/../../evil.png", data=b"x"),
    "symbolic link": tar_member(name="link", type=tarfile.SYMTYPE, linkname="/etc"),
    "hard link": tar_member(name="link", type=tarfile.LNKTYPE, linkname="../../../evil.png"),
    "device": tar_member(name="dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "named pipe": tar_member(name="pipe", type=tarfile.FIFOTYPE),
    "truncated tar.gz": tar_of(files_of(), "w:gz")[:90_000],
    "truncated tar.xz": tar_of(files_of(), "w:xz")[:90_000],
    "no archive": b"<html>Please log in</html>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_damaged_archive_is_refused_whole_even_with_the_right_hash(register, tmp_path, kind):
    register(HOSTILE[kind])
    with pytest.raises(DataError) as caught:
        get(tmp_path / "root")
    archive = tmp_path / "root/.download/toy.archive"
    assert caught.value.path == str(archive)
    assert {path for path in tmp_path.rglob("*") if not path.is_dir() and path.suffix != ".lock"} == {archive}
    assert not Path("/tmp/evil.png").exists()


HARMLESS = {
    "absolute in tar": tar_member(name="/tmp/evil.png", data=b"x"),
    "parent in zip": zip_of({"screw/good.png": b"good", "../evil.png": b"x"}),
    "absolute in zip": zip_of({"screw/good.png": b"good", "/tmp/evil.png": b"x"}),
    "backslash in zip": zip_of({"screw/good.png": b"good", "..\\evil.png": b"x"}),
    "drive in zip": zip_of({"screw/good.png": b"good", "C:/evil.png": b"x"}),
    "symbolic link in zip": zip_of({"screw/good.png": b"good", "link": b"/etc"}, mode=0o120777),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_members_with_names_from_outside_stay_in_the_folder(register, tmp_path, kind):
    register(HARMLESS[kind])
    folder = get(tmp_path / "root")
    outside = {path for path in tmp_path.rglob("*") if not path.is_dir()} - set(folder.rglob("*"))
    assert {path.name for path in outside} <= {"toy.lock"}
    assert not any(path.is_symlink() for path in folder.rglob("*")) and not Path("/tmp/evil.png").exists()


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].source])
def test_the_published_sources_are_well_formed(name):
    source = DATASETS[name].source
    assert source.expects and all(url.startswith("https://") and url.endswith(source.filename) for url in source.urls)
    assert len(set(source.urls)) == len(source.urls) > 0
    for entry in source.hashes:
        algorithm, _, digest = entry.partition(":")
        assert re.fullmatch(r"[0-9a-f]+", digest) and len(digest) == {"sha256": 64, "md5": 32}[algorithm]
    assert any(entry.startswith("sha256:") for entry in source.hashes)
    assert source.size > 100_000_000 and source.unpacked > source.size
    notice = DATASETS[name].notice()
    assert source.licence in notice and source.homepage in notice and source.citation in notice


def test_the_owner_published_md5_of_cifar10_agrees_with_torchvision():
    from torchvision.datasets import CIFAR10

    assert f"md5:{CIFAR10.tgz_md5}" in DATASETS["cifar10"].source.hashes
    assert DATASETS["cifar10"].source.urls == (CIFAR10.url,)


def test_importing_the_data_sets_loads_neither_torch_nor_pooch():
    code = "import sys; from mintad.data import DATASETS, download; len(DATASETS); "
    code += "print({'torch', 'pooch'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"

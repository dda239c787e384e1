"""mintad.data.archives: hostile, truncated and damaged archives are refused whole."""

from __future__ import annotations

import contextlib
import os
import random
import re
import tarfile
from pathlib import Path

import pytest
from download_builders import (
    LIMITS,
    files_of,
    get,
    source_for,
    tar_member,
    tar_of,
    tree,
    zip_member,
    zip_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.data import download
from mintad.data.archives import ArchiveError, safe_parts, unpack
from mintad.errors import DataError


def test_several_xz_streams_in_a_row_are_one_archive(tmp_path):
    import lzma

    content = tar_of(files_of())
    archive = tmp_path / "toy.tar.xz"
    archive.write_bytes(lzma.compress(content[:70_000]) + lzma.compress(content[70_000:]))
    unpack(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path / "out") == files_of()


# ---------------------------------------------------------------- hostile archives


HOSTILE = {
    "parent in tar": (tar_member(name="../evil.png", data=b"x"), "would leave the folder"),
    "parent deep in tar": (tar_member(name="screw/../../evil.png", data=b"x"), "would leave the folder"),
    "absolute in tar": (tar_member(name="/evil.png", data=b"x"), "absolute path"),
    "backslash in tar": (tar_member(name="..\\evil.png", data=b"x"), "backslash"),
    "drive in tar": (tar_member(name="C:evil.png", data=b"x"), "drive letter"),
    "control character": (tar_member(name="screw/a\nb.png", data=b"x"), "not allowed"),
    "not text": (tar_member(name="screw/\udcff.png", data=b"x"), "not valid text"),
    "device name": (tar_member(name="screw/NUL.png", data=b"x"), "reserves"),
    "trailing dot": (tar_member(name="screw/good.png.", data=b"x"), "reserves or changes"),
    "long name": (tar_member(name="screw/" + "n" * 300, data=b"x"), "too long"),
    "deep name": (tar_member(name="d/" * 40 + "x", data=b"x"), "too long"),
    "symbolic link": (tar_member(name="link", type=tarfile.SYMTYPE, linkname="/etc"), "symbolic link"),
    "hard link": (tar_member(name="link", type=tarfile.LNKTYPE, linkname="screw/good.png"), "hard link"),
    "device": (tar_member(name="dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "device"),
    "block device": (tar_member(name="dev", type=tarfile.BLKTYPE), "device"),
    "named pipe": (tar_member(name="pipe", type=tarfile.FIFOTYPE), "named pipe"),
    "unknown kind": (tar_member(name="odd", type=b"Z", data=b"x"), "special file"),
    "sparse": (tar_member(name="x", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}), "spec"),
    "twice in tar": (tar_member(name="screw/good.png", data=b"evil"), "occurs twice"),
    "only case differs": (tar_member(name="Screw/GOOD.png", data=b"evil"), "only in the case"),
    "file as folder": (tar_member(name="screw/good.png/x", data=b"x"), "a file and a folder"),
    "folder as file": (tar_member(name="screw", data=b"x"), "a file and a folder"),
    "file without name": (tar_member(name="./.", data=b"x"), "has no name"),
    "huge header": (tar_member(name="x", data=b"x", pax_headers={"comment": "c" * (2 << 20)}), "oversized"),
    "parent in zip": (zip_member("../evil.png"), "would leave the folder"),
    "absolute in zip": (zip_member("/evil.png"), "absolute path"),
    "backslash in zip": (zip_member("..\\evil.png"), "backslash"),
    "drive in zip": (zip_member("C:/evil.png"), "drive letter"),
    "nul in zip": (zip_member("screw/evil.exe\0.png"), "not allowed"),
    "symbolic link in zip": (zip_member("link", b"/etc", mode=0o120777), "symbolic link"),
    "device in zip": (zip_member("dev", mode=0o020666), "special file"),
    "twice in zip": (zip_member("screw/good.png", b"evil"), "occurs twice"),
    "bomb in zip": (zip_member("bomb", bytes(10_000_000)), "limit per file"),
    "many in zip": (zip_of({f"{number}": b"" for number in range(101)}), "limit of 100 members"),
    "large in all": (zip_of({f"{number}": bytes(150_000) for number in range(8)}), "limit in all"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_whole(tmp_path, kind):
    content, message = HOSTILE[kind]
    archive = tmp_path / "in" / "archive"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=message) as caught:
        unpack(archive, tmp_path / "in" / "out", LIMITS)
    assert str(archive) in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]
    assert not (tmp_path / "in" / "out").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_bomb_stops_at_the_bound(tmp_path, mode):
    archive = tmp_path / "archive"
    archive.write_bytes(tar_of({"bomb": bytes(20_000_000)}, mode))
    assert archive.stat().st_size < 40_000
    with pytest.raises(ArchiveError, match="200,000 bytes, the limit per file"):
        unpack(archive, tmp_path / "out", LIMITS)


def test_get_refuses_a_hostile_archive_even_with_the_right_hash(server, tmp_path):
    content, _ = HOSTILE["parent deep in tar"]
    with pytest.raises(ArchiveError, match="would leave the folder"):
        get(source_for(server, content), tmp_path / "root")
    assert not (tmp_path / "root/toy").exists() and not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "root/.download/toy.unpacking").exists()


def test_an_archive_cannot_bring_its_own_marker(server, tmp_path):
    content = tar_of(files_of() | {download.MARKER: b'{"hashes": [], "folder": "../../etc"}'})
    with pytest.raises(DataError, match="cannot be made"):
        get(source_for(server, content), tmp_path)
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_a_truncated_archive_is_refused_whole(tmp_path, mode, keep):
    content = zip_of(files_of()) if mode == "zip" else tar_of(files_of(), mode)
    archive = tmp_path / "archive"
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ArchiveError, match=re.escape(str(archive))):
        unpack(archive, tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    content = tar_of({"screw/a.png": b"a" * 512, "screw/b.png": b"b" * 512})
    archive = tmp_path / "archive"
    archive.write_bytes(content[:1024])  # header and content of the first member, nothing else
    with pytest.raises(ArchiveError, match="cut off"):
        unpack(archive, tmp_path / "out", LIMITS)


def test_a_damaged_header_in_the_middle_is_refused(tmp_path):
    content = bytearray(tar_of({"screw/a.png": b"a" * 512, "screw/b.png": b"b" * 512}))
    content[1024 + 150] ^= 1  # the second header's checksum: tarfile alone would stop here in silence
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "out", LIMITS)


def test_a_wrong_checksum_in_a_zip_is_refused(tmp_path):
    content = bytearray(zip_of({"screw/a.png": random.Random(3).randbytes(5000)}))
    content[2000] ^= 1
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_never_unpacked_into(tmp_path):
    (tmp_path / "archive").write_bytes(tar_of(files_of()))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "archive", tmp_path / "out", LIMITS)
    assert (tmp_path / "out" / "mine").read_text() == "precious"


SMALL = {mode: tar_of({"a/b.png": b"hello" * 50}, mode) for mode in ("w", "w:gz", "w:xz")}
SMALL["zip"] = zip_of({"a/b.png": b"hello" * 50})


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(sorted(SMALL)),
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
)
def test_damaged_bytes_end_in_an_archive_error_or_in_a_safe_folder(tmp_path_factory, mode, changes):
    root = tmp_path_factory.mktemp("fuzz")
    content = bytearray(SMALL[mode])
    for place, value in changes:
        content[place % min(len(content), 2048)] = value
    (root / "archive").write_bytes(content)
    with contextlib.suppress(ArchiveError):
        unpack(root / "archive", root / "out", LIMITS)
    assert {path.name for path in root.iterdir()} <= {"archive", "out"}


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab./\\:~ \0éA"), max_size=12))
def test_accepted_names_stay_below_the_folder(name):
    parts, fault = safe_parts(name)
    if fault:
        assert parts == ()
    else:
        target = Path("/data/folder").joinpath(*parts)
        assert Path(os.path.normpath(target)) == target and target.is_relative_to("/data/folder")
        assert not any(character in name for character in "\\:\0") and not name.startswith("/")

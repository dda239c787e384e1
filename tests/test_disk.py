"""Files that are whole or absent, and digests: links, disks that report errors, interruptions."""

import errno
import os

import pytest

from mintad.disk import UNFINISHED, digest, naming, own_file, published, refuse_link, refuse_special, write
from mintad.errors import MintadError
from mintad.features import cache


def test_a_link_is_replaced_and_never_followed(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "folder/link"
    victim.write_text("precious")
    link.parent.mkdir()
    link.symlink_to(victim)
    write(link, "new")
    assert victim.read_text() == "precious" and link.read_text() == "new" and not link.is_symlink()


def test_an_interruption_leaves_what_was_there(tmp_path):
    file = tmp_path / "file"
    write(file, "old")
    with pytest.raises(KeyboardInterrupt), published(file) as writing:
        writing.write(b"half")
        raise KeyboardInterrupt
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("failing", [1, 2])  # of the content, of the folder
def test_an_error_that_the_disk_reports_is_not_passed_over(tmp_path, monkeypatch, failing):
    calls = []

    def broken(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output") as caught:
        write(tmp_path / "file", "text")
    assert failing == 2 or caught.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.glob(f"{UNFINISHED}*"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_file_systems_without_fsync_are_used(tmp_path, monkeypatch, number):
    def missing(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", missing)
    write(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_a_digest_tells_content_and_texts_apart(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    digests = [digest(file), digest(file, "a", "bc"), digest(file, "ab", "c"), digest(file, "abc")]
    file.write_bytes(b"contenu")
    assert len({*digests, digest(file)}) == 5


def test_what_is_appended_to_has_one_name(tmp_path, make_pipe):
    outside, own = tmp_path / "outside", tmp_path / "own"
    outside.write_text("precious")
    os.link(outside, own)
    own_file(own)
    with open(own, "a") as file:
        file.write("!")
    assert (own.read_text(), outside.read_text()) == ("precious!", "precious")
    own.unlink()
    make_pipe(own)
    for refused in (own_file, refuse_special, refuse_link):
        with pytest.raises(MintadError, match="named pipe"):
            refused(own)
    with pytest.raises(OSError, match="not a file"):
        digest(own)
    refuse_special(outside, tmp_path, tmp_path / "nowhere")


def test_an_error_of_an_open_file_gets_its_name(tmp_path):
    with pytest.raises(OSError) as raised, naming(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "file")
    with pytest.raises(OSError) as raised, naming(tmp_path / "file"):
        open(tmp_path / "nowhere")
    assert raised.value.filename == str(tmp_path / "nowhere")


def test_features_are_not_written_through_a_link(tmp_path):
    outside, description = tmp_path / "outside", {"backbone": "x", "image_size": 8, "grid": (1, 1)}
    outside.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "key_name", lambda description: "key")
        (tmp_path / "key").symlink_to(outside)
        with pytest.raises(MintadError, match="is a link"):
            cache.FeatureCache(tmp_path, description, (1, 1), "float16")
    assert not list(outside.iterdir())

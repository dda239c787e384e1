"""mintad.data.download on a loopback server: good, resumed, cut off, tampered and hostile archives."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import stat
import tarfile
import threading
import warnings
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.data import download, transfer
from mintad.data.archives import ArchiveError, Limits, safe_parts, unpack
from mintad.data.sources import SOURCES, Licence, Source
from mintad.errors import DataError

FAST = transfer.Policy(timeout=5.0, attempts=3, backoff=0.001)
LIMITS = Limits(total_bytes=1_000_000, file_bytes=200_000, members=100)


# ---------------------------------------------------------------- a small web server with faults to switch on


class Server:
    """Serves one file at any path. `requests` holds (path, Range header, status, body bytes sent)."""

    def __init__(self) -> None:
        self.content = b""
        self.etag = '"one"'
        self.ranges = True
        self.honour_if_range = True
        self.status: dict[str, list[int]] = {}  # path -> statuses that its first requests get instead
        self.cut: list[int] = []  # body bytes after which the first connections are dropped
        self.length = True
        self.chunked = False
        self.requests: list[tuple[str, str, int, int]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args) -> None:
                pass

            def do_GET(self) -> None:
                owner.serve(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def url(self, path: str = "archive") -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{path}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range", "")
        path = handler.path.lstrip("/")
        handler.close_connection = True
        if self.status.get(path):
            code = self.status[path].pop(0)
            self.requests.append((path, wanted, code, 0))
            handler.send_response(code)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        content, start = self.content, 0
        same = not self.honour_if_range or handler.headers.get("If-Range", self.etag) == self.etag
        if wanted and self.ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                self.requests.append((path, wanted, 416, 0))
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            code = 206
        else:
            handler.send_response(200)
            code = 200
        body = content[start:]
        cut = self.cut.pop(0) if self.cut else len(body)
        if self.etag:
            handler.send_header("ETag", self.etag)
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif self.length:
            handler.send_header("Content-Length", str(len(body)))
        sent = body[:cut]
        self.requests.append((path, wanted, code, len(sent)))
        handler.end_headers()
        if self.chunked:
            end = b"\r\n0\r\n\r\n" if cut >= len(body) else b""
            handler.wfile.write(b"%x\r\n" % len(body) + sent + end)
        else:
            handler.wfile.write(sent)

    def statuses(self) -> list[int]:
        return [status for _, _, status, _ in self.requests]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


# ---------------------------------------------------------------- archives


def files_of(name: str = "screw") -> dict[str, bytes]:
    noise = random.Random(0)
    return {
        f"{name}/train/good/000.png": noise.randbytes(120_000),
        f"{name}/test/scratch/000.png": noise.randbytes(80_000),
        "readme.txt": b"terms",
    }


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o6777
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


def tar_member(**fields) -> bytes:
    """A tar with an innocent file and then one member with the given fields; `data` is its content."""
    out, data = io.BytesIO(), fields.pop("data", b"")
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        good = tarfile.TarInfo("screw/good.png")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        info = tarfile.TarInfo(fields.pop("name"))
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_member(name: str, data: bytes = b"x", mode: int = 0o100644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names
        packed.writestr("screw/good.png", b"good")
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.create_system, info.external_attr = 3, mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        packed.writestr(info, data)
    return out.getvalue()


def source_for(server: Server, content: bytes, **changes) -> Source:
    server.content = content
    fields = dict(
        name="toy",
        title="Toy set",
        urls=(server.url(),),
        filename="toy.tar",
        size=len(content),
        hashes=("sha256:" + hashlib.sha256(content).hexdigest(), "md5:" + hashlib.md5(content).hexdigest()),
        unpacked=1_000_000,
        licence=Licence(name="CC TEST 1.0", url="https://licence.invalid/", summary="Be kind."),
        homepage="https://owner.invalid/toy",
        citation="A. Author. Toy. 2020.",
        expects=("screw",),
    )
    return Source(**(fields | changes))


def get(source: Source, root: Path, **options) -> Path:
    options = dict(accept_licence=True, progress=False, policy=FAST) | options
    return download.get(source.name, root, source=source, **options)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != download.MARKER
    }


def leftovers(root: Path) -> set[str]:
    """All files below the root apart from the empty lock file."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(root).as_posix() for path in files}


def start_part(root: Path, source: Source, have: int, etag: str = '"one"', url: str | None = None) -> Path:
    """What a download that was killed after `have` bytes leaves behind."""
    part = root / ".download" / (source.filename + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(get_content(source)[:have])
    note = {"url": url or source.urls[0], "validator": etag, "total": source.size}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    return part


CONTENT: dict[tuple[str, ...], bytes] = {}


def get_content(source: Source) -> bytes:
    return CONTENT[source.hashes]


@pytest.fixture
def toy(server):
    content = tar_of(files_of())
    source = source_for(server, content)
    CONTENT[source.hashes] = content
    return source


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


def test_several_xz_streams_in_a_row_are_one_archive(tmp_path):
    import lzma

    content = tar_of(files_of())
    archive = tmp_path / "toy.tar.xz"
    archive.write_bytes(lzma.compress(content[:70_000]) + lzma.compress(content[70_000:]))
    unpack(archive, tmp_path / "out", LIMITS)
    assert tree(tmp_path / "out") == files_of()


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
    with download._only_one(path, source):
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


# ---------------------------------------------------------------- resuming


def test_only_the_missing_bytes_are_sent(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000)
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == [("archive", "bytes=150000-", 206, toy.size - 150_000)]


def test_a_dropped_connection_is_continued(server, toy, tmp_path):
    server.cut = [100_000, 50_000]
    assert tree(get(toy, tmp_path)) == files_of()
    # The client may lose what was on its way when the connection broke, but asks for nothing else twice.
    starts = [int(wanted[6:-1] or 0) if wanted else 0 for _, wanted, _, _ in server.requests]
    assert len(starts) == 3 and server.statuses() == [200, 206, 206]
    assert 0 < starts[1] <= 100_000 and starts[1] < starts[2] <= starts[1] + 50_000
    assert server.requests[-1][3] == toy.size - starts[2]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_cut_off_answer_without_length_is_continued(server, toy, tmp_path, chunked):
    server.chunked, server.length, server.cut = chunked, False, [100_000]
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.statuses() == [200, 206]


def test_a_lasting_fault_gives_up_and_keeps_the_part(server, toy, tmp_path):
    server.cut = [60_000, 1000, 1000]
    with pytest.raises(DataError, match="tries: 3; .* bytes are kept and will be continued") as caught:
        get(toy, tmp_path)
    assert "Run the same command again" in str(caught.value)
    assert "https://owner.invalid/toy" in str(caught.value)
    part = tmp_path / ".download/toy.tar.part"
    have = part.stat().st_size
    assert 0 < have <= 62_000 and part.read_bytes() == server.content[:have]
    server.requests.clear()
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == [("archive", f"bytes={have}-", 206, toy.size - have)]


def test_tries_that_bring_much_do_not_count_as_failures(server, tmp_path):
    files = {"screw/big.bin": random.Random(1).randbytes(6 << 20)}
    source = source_for(server, tar_of(files), unpacked=10 << 20)
    server.cut = [(1 << 20) + (1 << 19)] * 4  # more drops than the policy allows in a row
    assert tree(get(source, tmp_path)) == files
    assert len(server.requests) == 5


def test_a_server_without_ranges_starts_again(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000)
    server.ranges = False
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == [("archive", "bytes=150000-", 200, toy.size)]


def test_a_changed_file_starts_again(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000, etag='"older"').write_bytes(b"old" * 50_000)
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.statuses() == [200]  # If-Range did not match, so the whole file came


def test_a_changed_file_starts_again_also_if_the_server_ignores_if_range(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000, etag='"older"').write_bytes(b"old" * 50_000)
    server.honour_if_range = False
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.statuses() == [206, 200]


def test_a_part_without_its_note_starts_again(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000).with_name("toy.tar.part.json").write_text("{}")
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == [("archive", "", 200, toy.size)]


def test_a_complete_part_is_not_requested_again(server, toy, tmp_path):
    start_part(tmp_path, toy, have=toy.size)
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == []


def test_416_means_complete_where_the_size_is_not_certain(server, toy, tmp_path):
    start_part(tmp_path, toy, have=toy.size)
    assert tree(get(dataclasses.replace(toy, exact_size=False), tmp_path)) == files_of()
    assert server.statuses() == [416]


def test_416_on_a_shorter_file_starts_again(server, toy, tmp_path):
    start_part(tmp_path, toy, have=toy.size).write_bytes(b"?" * (toy.size + 10))
    assert tree(get(dataclasses.replace(toy, exact_size=False), tmp_path)) == files_of()
    assert server.statuses() == [416, 200]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=2), have=st.integers(0, 3000), ranges=st.booleans())
def test_any_pattern_of_drops_ends_in_the_same_bytes(tmp_path_factory, cuts, have, ranges):
    root, running = tmp_path_factory.mktemp("drops"), Server()
    try:
        running.content, running.cut, running.ranges = random.Random(2).randbytes(3000), list(cuts), ranges
        part = root / "file.part"
        part.write_bytes(running.content[:have])
        note = {"url": running.url(), "validator": '"one"', "total": 3000}
        part.with_name("file.part.json").write_text(json.dumps(note))
        transfer.fetch(running.url(), part, size=3000, limit=3000, policy=FAST)
        assert part.read_bytes() == running.content
    finally:
        running.close()


# ---------------------------------------------------------------- addresses that fail


def test_the_second_address_is_tried(server, toy, tmp_path):
    source = dataclasses.replace(toy, urls=(server.url("gone"), server.url("there")))
    server.status = {"gone": [404]}
    assert tree(get(source, tmp_path)) == files_of()
    assert [(path, status) for path, _, status, _ in server.requests] == [("gone", 404), ("there", 200)]


def test_the_second_address_goes_on_where_the_first_stopped(server, toy, tmp_path):
    source = dataclasses.replace(toy, urls=(server.url("gone"), server.url("there")))
    start_part(tmp_path, source, have=150_000, url=server.url("gone"))
    server.status = {"gone": [404]}
    assert tree(get(source, tmp_path)) == files_of()
    assert server.requests[-1] == ("there", "bytes=150000-", 206, toy.size - 150_000)


def test_another_address_starts_again_where_the_size_is_not_certain(server, toy, tmp_path):
    start_part(tmp_path, toy, have=150_000, url=server.url("elsewhere"))
    assert tree(get(dataclasses.replace(toy, exact_size=False), tmp_path)) == files_of()
    assert server.requests == [("archive", "", 200, toy.size)]


def test_all_addresses_failing_are_all_named(server, toy, tmp_path):
    source = dataclasses.replace(toy, urls=(server.url("gone"), server.url("shut"), "ftp://x.invalid/y"))
    server.status = {"gone": [404], "shut": [403]}
    with pytest.raises(DataError) as caught:
        get(source, tmp_path)
    message = str(caught.value)
    assert "gone: the server answered 404" in message and "shut: the server answered 403" in message
    assert "only http and https" in message and str(tmp_path / ".download" / "toy.tar") in message
    assert server.statuses() == [404, 403]  # a refusal is not tried twice


def test_a_busy_server_is_tried_again(server, toy, tmp_path):
    server.status = {"archive": [503, 429]}
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.statuses() == [503, 429, 200]


def test_nobody_listening_is_an_error_not_a_crash(server, toy, tmp_path):
    unused = Server()
    unused.close()
    with pytest.raises(DataError, match="no connection"):
        get(dataclasses.replace(toy, urls=(unused.url(),)), tmp_path)


def test_a_silent_server_times_out(server, toy, tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(server, "serve", lambda handler: release.wait(10))
    try:
        with pytest.raises(DataError, match="timed out"):
            get(toy, tmp_path, policy=transfer.Policy(timeout=0.1, attempts=2, backoff=0.001))
    finally:
        release.set()


@pytest.mark.parametrize("change", [1000, -1000])
def test_another_size_is_refused_before_a_byte_is_kept(server, toy, tmp_path, change):
    server.content = bytes(toy.size + change)
    with pytest.raises(DataError, match=r"offers [\d,]+ bytes instead of [\d,]+: it is not the published"):
        get(toy, tmp_path)
    assert leftovers(tmp_path) == set()


def test_a_page_in_place_of_the_archive_does_not_cost_what_was_received(server, toy, tmp_path):
    part = start_part(tmp_path, toy, have=150_000)
    archive, server.content, server.ranges = server.content, b"<html>Please log in</html>", False
    with pytest.raises(DataError, match="not the published archive"):
        get(toy, tmp_path)
    assert part.read_bytes() == archive[:150_000]
    server.content, server.ranges = archive, True
    server.requests.clear()
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests == [("archive", "bytes=150000-", 206, toy.size - 150_000)]


def test_a_server_that_never_stops_is_stopped(server, toy, tmp_path):
    server.content, server.chunked = bytes(5 * toy.size), True
    with pytest.raises(DataError, match="sends more than"):
        get(toy, tmp_path)
    assert leftovers(tmp_path) == set()


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


def test_an_interrupted_download_keeps_its_part(server, toy, tmp_path, monkeypatch):
    read = transfer._read
    blocks = iter([True])

    def interrupted(response):
        if next(blocks, None):
            return response.read1(70_000)
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(toy, tmp_path)
    monkeypatch.setattr(transfer, "_read", read)
    have = (tmp_path / ".download/toy.tar.part").stat().st_size
    assert have > 0
    assert tree(get(toy, tmp_path)) == files_of()
    assert server.requests[-1] == ("archive", f"bytes={have}-", 206, toy.size - have)


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

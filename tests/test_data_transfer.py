"""mintad.data.transfer, seen through `get`, on a loopback server: resumed, cut off, busy, lying and silent
servers."""

from __future__ import annotations

import dataclasses
import json
import random
import threading

import pytest
from download_builders import (
    FAST,
    Server,
    files_of,
    get,
    leftovers,
    source_for,
    start_part,
    tar_of,
    tree,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mintad.data import transfer
from mintad.errors import DataError

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


# ---------------------------------------------------------------- interruption


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

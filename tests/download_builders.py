"""A web server with faults to switch on, and archives good and hostile, for the tests of downloading."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import tarfile
import threading
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mintad.data import download, transfer
from mintad.data.archives import Limits
from mintad.data.sources import Licence, Source

FAST = transfer.Policy(timeout=5.0, attempts=3, backoff=0.001)
LIMITS = Limits(total_bytes=1_000_000, file_bytes=200_000, members=100)


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

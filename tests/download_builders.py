"""A web server with faults to switch on, and archives good and hostile, for the tests of downloading."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mintad.data import Dataset
from mintad.data.dataset import Source


class Server:
    """Serves one file at any path. `requests` holds (path, status)."""

    def __init__(self) -> None:
        self.content = b""
        self.contents: dict[str, bytes] = {}  # path -> other content
        self.status: dict[str, list[int]] = {}  # path -> statuses that its first requests get instead
        self.cut: list[int] = []  # body bytes after which the first connections are dropped
        self.requests: list[tuple[str, int]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
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
        path = handler.path.lstrip("/")
        code = self.status[path].pop(0) if self.status.get(path) else 200
        body = self.contents.get(path, self.content) if code == 200 else b""
        self.requests.append((path, code))
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cut.pop(0)] if self.cut else body)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


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


def tar_member(**fields) -> bytes:
    """A tar with an innocent file and then one member with the given fields; `data` is its content."""
    out, data = io.BytesIO(tar_of({"screw/good.png": b"good"})), fields.pop("data", b"")
    with tarfile.open(fileobj=out, mode="a") as tar:
        info = tarfile.TarInfo(fields.pop("name"))
        info.size = len(data)
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: dict[str, bytes], mode: int = 0o100644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.create_system, info.external_attr = 3, mode << 16
            packed.writestr(info, data)
    return out.getvalue()


def toy_set(server: Server, content: bytes, **changes) -> Dataset:
    """A data set "toy" whose archive the server has."""
    server.content = content
    fields = dict(
        urls=(server.url(),),
        filename="toy.archive",
        size=len(content),
        hashes=("sha256:" + hashlib.sha256(content).hexdigest(), "md5:" + hashlib.md5(content).hexdigest()),
        unpacked=1_000_000,
        licence="CC TEST 1.0, https://licence.invalid/: be kind.",
        homepage="https://owner.invalid/toy",
        citation="A. Author. Toy. 2020.",
        expects=("screw",),
    )
    return Dataset(name="toy", title="Toy set", load=lambda root: None, source=Source(**(fields | changes)))


def tree(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, apart from the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

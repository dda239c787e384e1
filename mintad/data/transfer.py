"""One file over HTTP into a ``.part`` file, going on where an earlier try stopped.

Standard library only: pooch, the usual choice, always starts again from the first byte, which hurts at 5 GB.
What arrived is not trusted here; `download.get` checks size and hash of the complete file.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mintad.errors import DataError

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_BLOCK = 1 << 18
_REAL_PROGRESS = 1 << 20  # a try that brought this many bytes does not count as a failure


class TransferError(DataError):
    """An address does not deliver the file; another address may."""


class _Dropped(Exception):
    """A passing fault: worth another try at the same address."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient a download is."""

    timeout: float = 30.0
    """Seconds without a byte before a connection counts as dropped."""
    attempts: int = 5
    """Tries in a row that bring less than 1 MiB each before the address is given up."""
    backoff: float = 1.0
    """Seconds before the second try; doubles with each further one, up to 60."""


DEFAULT_POLICY = Policy()


def fetch(
    url: str,
    part: Path,
    *,
    size: int | None,
    limit: int,
    policy: Policy = DEFAULT_POLICY,
    on_bytes: Callable[[int, int | None], object] = lambda done, total: None,
    on_retry: Callable[[str], object] = lambda message: None,
) -> None:
    """Bring `part` to completion from `url`. ``<part>.json`` beside it notes which file of the server it is.

    Args:
        url: http or https address.
        part: partial file; kept when the transfer fails, so that a later call goes on from it.
        size: the file's size where it is certain, else None. A server that offers another size is refused.
        limit: most bytes accepted.
        policy: time-out, number of tries and back-off.
        on_bytes: called with the bytes on disk and the announced total.
        on_retry: called with a sentence before each wait.

    Raises:
        TransferError: this address does not deliver the file.
        DataError: the disk cannot be written.
    """
    if not url.startswith(("https://", "http://")):
        raise TransferError(f"{url}: only http and https addresses are downloaded")
    transfer = _Transfer(url, part, size, limit, policy.timeout, on_bytes)
    failures, moved = 0, False
    while True:
        before = _length(part)
        try:
            return transfer.run()
        except _Dropped as problem:
            gained = _length(part) - before
            moved = moved or gained > 0
            failures = 1 if gained >= _REAL_PROGRESS else failures + 1
            # A name that does not resolve means "offline", unless bytes were flowing a moment ago.
            offline = not moved and isinstance(getattr(problem.__cause__, "reason", None), socket.gaierror)
            if offline or failures >= policy.attempts:
                kept = f"; {_length(part):,} bytes are kept and will be continued" if _length(part) else ""
                raise TransferError(f"{url}: {problem} (tries: {failures}{kept})") from problem
            wait = min(60.0, policy.backoff * 2 ** (failures - 1))
            on_retry(f"{problem}; trying again in {wait:.0f} s ({failures} of {policy.attempts - 1})")
            time.sleep(wait)


def discard(part: Path) -> None:
    """Remove a partial file and its note."""
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


@dataclass
class _Transfer:
    url: str
    part: Path
    size: int | None
    limit: int
    timeout: float
    on_bytes: Callable[[int, int | None], object]

    def run(self) -> None:
        """One request; returns when the part is complete."""
        have, note = _length(self.part), _read_note(self.part)
        if have and have == self.size:
            return
        same_url = note.get("url") == self.url
        # Another address may go on with the part only where the exact size, and so the file, is pinned.
        if have and (have >= self.limit or not note or (not same_url and self.size is None)):
            discard(self.part)
            have = 0
        headers = {"User-Agent": "mintad", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if same_url and note["validator"]:
                headers["If-Range"] = note["validator"]
        response = self._open(headers, have)
        if response is None:
            return
        with response:
            total, validator = _announced(response), _validator(response)
            if response.status == 206:
                other_total = total and note["total"] and total != note["total"]
                other_file = validator and note["validator"] and validator != note["validator"]
                if _content_range(response)[0] != have or (same_url and (other_total or other_file)):
                    discard(self.part)
                    raise _Dropped("the file on the server changed during the download")
            else:  # 200: the server ignores ranges, or the file changed (If-Range)
                have = 0
            if total is not None and (total > self.limit or self.size not in (None, total)):
                wanted = f"at most {self.limit:,}" if self.size is None else f"{self.size:,}"
                raise TransferError(
                    f"{self.url}: the server offers {total:,} bytes instead of {wanted}: "
                    "it is not the published archive"
                )
            note = {"url": self.url, "validator": validator, "total": total or self.size}
            self._receive(response, have, note)

    def _open(self, headers: dict[str, str], have: int) -> Any:
        """The response, or None where the server says that nothing is left to send."""
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as problem:
            with problem:
                if problem.code == 416 and have:
                    if _content_range(problem)[1] == have:
                        return None
                    discard(self.part)
                    raise _Dropped("the server refused to continue the download") from problem
                message = f"the server answered {problem.code} {problem.reason}"
                if problem.code in _RETRY_STATUS:
                    raise _Dropped(message) from problem
                raise TransferError(f"{self.url}: {message}") from problem
        except (OSError, HTTPException) as problem:  # URLError and time-outs are OSErrors
            reason = getattr(problem, "reason", problem)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise TransferError(f"{self.url}: the certificate is not valid: {reason}") from problem
            raise _Dropped(f"no connection: {reason}") from problem

    def _receive(self, response: Any, have: int, note: dict[str, Any]) -> None:
        total = note["total"]
        try:
            with self.part.open("r+b" if have else "wb") as file:
                file.seek(have)
                _note_path(self.part).write_text(json.dumps(note), encoding="utf-8")
                self.on_bytes(have, total)
                while block := _read(response):
                    have += len(block)
                    if have > self.limit:
                        raise TransferError(f"{self.url}: the server sends more than {self.limit:,} bytes")
                    file.write(block)
                    self.on_bytes(have, total)
        except TransferError:
            discard(self.part)
            raise
        except OSError as problem:
            raise DataError(
                f"{self.part} cannot be written: {problem}. Free some space, or choose another folder."
            ) from problem
        if total is not None and have < total:
            raise _Dropped(f"the connection closed at {have:,} of {total:,} bytes")


def _read(response: Any) -> bytes:
    try:
        return response.read1(_BLOCK)
    except (OSError, HTTPException) as problem:
        raise _Dropped(f"the connection broke: {problem or type(problem).__name__}") from problem


def _announced(response: Any) -> int | None:
    if response.status == 206:
        return _content_range(response)[1]
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _content_range(response: Any) -> tuple[int | None, int | None]:
    """First byte and total of ``Content-Range: bytes 10-99/100`` (``bytes */100`` with status 416)."""
    header = response.headers.get("Content-Range", "").strip()
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header)
    start, total = found.groups() if found else (None, None)
    return (int(start) if start else None, int(total) if total and total != "*" else None)


def _validator(response: Any) -> str:
    """A strong ETag, else the date of change; "" where the server gives neither."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note_path(part).read_text(encoding="utf-8"))
        return note if isinstance(note, dict) and {"url", "validator", "total"} <= note.keys() else {}
    except (OSError, ValueError):
        return {}

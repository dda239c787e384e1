"""Fixtures shared by the tests of downloading."""

from __future__ import annotations

import pytest
from download_builders import (
    CONTENT,
    Server,
    files_of,
    source_for,
    tar_of,
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


@pytest.fixture
def toy(server):
    content = tar_of(files_of())
    source = source_for(server, content)
    CONTENT[source.hashes] = content
    return source

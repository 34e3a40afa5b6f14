"""What the server hands to an app, judged by others: asgiref's types and asgion's rules. Real processes and clients."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgiref.typing import HTTPScope

from tests.support.server import PATIENCE_S, Program, command, program, until
from tests.support.typed_dicts import faults

FORMS = {
    "one process": "--no-reload --port 0",
    "reload": "--reload --port 0",
    "asyncio": "--no-reload --port 0 --loop asyncio",
    "root path": "--no-reload --port 0 --root-path /api",
    "Unix socket": "--no-reload --uds app.sock",
}
APPS = {"asgiref": "tests.support.judged:app"}
# asgion runs on Python 3.12 and newer only.
if sys.version_info >= (3, 12):
    APPS["asgion"] = "tests.support.judged:inspected()"

GOOD = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.5"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"a")],
    "client": ("127.0.0.1", 4711),
    "server": ("/a.sock", None),
    "extensions": {"http.response.pathsend": {}},
}

PROGRAM = """
import devserver
from tests.support.judged import app

if __name__ == "__main__":
    devserver.run(app, port=0)
"""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"state": {}}, ""),
        ({"type": "https"}, "http.type is 'https'"),
        ({"client": ("127.0.0.1", "4711")}, "http.client is ('127.0.0.1', '4711')"),
        ({"client": ["127.0.0.1", 4711]}, "http.client is ['127.0.0.1', 4711]"),
        ({"server": ("127.0.0.1", True)}, "http.server is ('127.0.0.1', True)"),
        ({"headers": [("host", b"a")]}, "http.headers[0][0] is 'host'"),
        ({"asgi": {"version": "3.0"}}, "http.asgi.spec_version is missing"),
        ({"raw_path": bytearray(b"/")}, "http.raw_path is bytearray(b'/')"),
        ({"extensions": {"tls": None}}, "http.extensions is {'tls': None}"),
        ({"subprotocols": []}, "http.subprotocols is unknown"),
    ],
)
def test_judge_finds_what_is_wrong(change: dict[str, object], fault: str) -> None:
    found = faults({**GOOD, **change}, HTTPScope, "http")
    assert len(found) == bool(fault)
    assert "".join(found).startswith(fault)


class Judged:
    """A served app, and what it has written down."""

    def __init__(self, child: Program, file: Path, uds: Path | None) -> None:
        self.child = child
        # Asked for once: targets that clients send turn up in the access log, and look like an address.
        self.port = 80 if uds else child.port
        self._file, self._uds = file, uds

    def notes(self, kind: str) -> list[str]:
        """What was noted so far."""
        lines = [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []
        return [text for noted, text in lines if noted == kind]

    def client(self) -> httpx.Client:
        """A client of its server."""
        transport = httpx.HTTPTransport(uds=str(self._uds) if self._uds else None)
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", transport=transport, timeout=PATIENCE_S)

    def connect(self) -> socket.socket:
        """A connection to its server."""
        if not self._uds:
            return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE_S)
        client.connect(str(self._uds))
        return client


def exercise(judged: Judged) -> None:
    """Everything that a client may do."""
    body = bytes(range(256)) * 1000

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    with judged.client() as client:
        told = client.get("/caf%C3%A9%2Fau%20lait?milk=%20&milk=2").json()
        assert [told[0], told[1].removeprefix("/api"), told[2]] == ["GET", "/café/au lait", "milk=%20&milk=2"]
        assert client.head("/").content == b""
        headers = [(b"X-A", b"1"), (b"x-a", b"2"), (b"x-b", b"\xe4")]
        for method in ("DELETE", "OPTIONS", "PATCH", "POST", "PUT"):
            assert client.request(method, "/", headers=headers).json()[0] == method
        assert client.post("/upload", content=b"").content == b""
        assert client.post("/upload", content=body).content == body
        assert client.post("/upload", content=pieces()).content == body
        assert client.post("/upload", content=body, headers={"expect": "100-continue"}).content == body
        assert client.get("/file").text.startswith('"""An app whose dealings')
        assert client.get("/hinted").text == "hinted"
    for request in (
        b"GET http://shop.example:81/a?b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET //a/../b HTTP/1.1\r\nHost: [::1]:80\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with judged.connect() as sock:
            sock.sendall(request)
            assert sock.recv(65536).startswith(b"HTTP/1.")


def leave_early(judged: Judged) -> None:
    """What clients do that give up."""
    with judged.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(65536)
    with judged.connect() as sock:
        sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert sock.recv(65536)
    until(lambda: set(judged.notes("done")) == {"left while it read: http.disconnect", "left while it sent"})


def check(judged: Judged) -> None:
    """Asks for everything, stops the server, and looks at what was noted."""
    exercise(judged)
    leave_early(judged)
    judged.child.process.send_signal(signal.SIGTERM)
    judged.child.wait()
    assert "Traceback" not in judged.child.whole_text()
    assert judged.notes("fault") == []
    assert judged.notes("error") == []
    assert set(judged.notes("scope")) == {"lifespan", "http"}
    assert set(judged.notes("event")) == {"lifespan.startup", "lifespan.shutdown", "http.request", "http.disconnect"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("judge", APPS)
def test_scopes_and_events_are_as_they_should_be(tmp_path: Path, judge: str, form: str) -> None:
    words = [*FORMS[form].split(), "--ui", "plain", "--lifespan", "on", "--extensions", "pathsend,early-hints,trailers"]
    file = tmp_path / "notes.jsonl"
    with command(tmp_path, "run", APPS[judge], *words, env={"JUDGED": str(file)}) as child:
        child.wait_text("➜ ")
        check(Judged(child, file, tmp_path / "app.sock" if "--uds" in words else None))


def test_a_program_is_given_the_same(tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    with program(tmp_path, PROGRAM, env={"JUDGED": str(file)}) as child:
        check(Judged(child, file, None))

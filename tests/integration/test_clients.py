"""Clients of other makers against one ``dev run``: curl, httpx, http.client, node's undici and Java's HttpClient."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import mirror
from tests.support.clients import curl, java, node
from tests.support.server import PATIENCE_S, command

BODY = bytes(range(256)) * 2000
SUM = hashlib.sha256(BODY).hexdigest()
LINES = b"".join(b"line %d\n" % line for line in range(500))


@dataclass(frozen=True)
class Address:
    """Where the server of this module is."""

    port: int
    uds: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The mirror behind a port and a Unix socket; it must end well after all that was done to it."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copy(mirror.__file__, folder / "main.py")
    uds = folder / "app.sock"
    words = ["run", "--no-reload", "--ui", "plain", "--bind", "127.0.0.1:0", "--bind", f"unix:{uds}"]
    with command(folder, *words) as child:
        yield Address(child.port, uds)
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
        assert "Traceback" not in child.text


def seen(text: str | bytes) -> dict[str, Any]:
    """What the mirror saw."""
    told: dict[str, Any] = json.loads(text)
    return told


def header(told: dict[str, Any], name: str) -> list[str]:
    """The values of one header of the request."""
    return [value for key, value in told["headers"] if key == name]


# curl


def test_curl_keeps_its_connection(server: Address) -> None:
    written = curl("--write-out", "\n%{num_connects}\n", *[f"{server.url}/{number}" for number in range(5)])
    answers, opened = written.splitlines()[::2], written.splitlines()[1::2]
    assert [seen(answer)["path"] for answer in answers] == ["/0", "/1", "/2", "/3", "/4"]
    assert opened == ["1", "0", "0", "0", "0"]


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "X-With: a length"])
def test_curl_uploads_after_100_continue(server: Address, tmp_path: Path, framing: str) -> None:
    log = tmp_path / "log"
    written = curl(
        *("--data-binary", "@-", "--header", "Expect: 100-continue", "--header", framing, "--expect100-timeout", "60"),
        *("--trace-ascii", str(log), server.url),
        data=BODY,
    )
    told = seen(written)
    assert (told["method"], told["body_bytes"], told["body_sha256"]) == ("POST", len(BODY), SUM)
    # curl sends nothing of the body before the interim response, as it would wait a minute for it.
    steps = re.findall(r"^(?:<= Recv header.*\n0000: (HTTP/1.1 \d+)|=> (Send data))", log.read_text(), re.MULTILINE)
    order = ["".join(step) for step in steps]
    assert order[:2] == ["HTTP/1.1 100", "Send data"]
    assert order[-1] == "HTTP/1.1 200"


def test_curl_is_told_no_100_continue_when_the_body_is_not_wanted(server: Address) -> None:
    arguments = ("--data-binary", "@-", "--header", "Expect: 100-continue", "--expect100-timeout", "60")
    written = curl(*arguments, "--dump-header", "-", f"{server.url}/early", data=BODY)
    assert "100 Continue" not in written
    assert written.startswith("HTTP/1.1 200 OK")
    assert written.endswith("early")


def test_curl_asks_for_heads(server: Address) -> None:
    # One connection: a body that is sent after all would be taken for the next response.
    written = curl("--head", "--write-out", "%{num_connects} %{size_download}\n", server.url, f"{server.url}/stream/3")
    first, second = re.findall(r"HTTP/1\.1 200 OK.*?\r\n\r\n(\d \d+)\n", written, re.DOTALL)
    assert (first, second) == ("1 0", "0 0")
    assert re.search(r"^content-length: [1-9]\d+\r$", written, re.MULTILINE)


def test_curl_speaks_http_1_0(server: Address) -> None:
    told = seen(curl("--http1.0", server.url))
    assert told["http_version"] == "1.0"
    written = curl("--http1.0", "--include", f"{server.url}/stream/500")
    head, _, body = written.partition("\r\n\r\n")
    assert "transfer-encoding" not in head
    assert body == LINES.decode()
    kept = curl("--http1.0", "--header", "Connection: keep-alive", "--write-out", "%{num_connects}", *[server.url] * 2)
    assert re.findall(r"\}(\d)", kept) == ["1", "0"]


def test_curl_uses_a_unix_socket(server: Address) -> None:
    told = seen(curl("--unix-socket", str(server.uds), "--data-binary", "@-", "http://shop.example/a?b=c", data=BODY))
    assert (told["path"], told["query"], told["body_sha256"]) == ("/a", "b=c", SUM)
    assert told["server"] == [str(server.uds), None]
    assert header(told, "host") == ["shop.example"]


def test_curl_asks_for_the_server_as_a_whole_and_through_an_absolute_target(server: Address) -> None:
    told = seen(curl("--request", "OPTIONS", "--request-target", "*", server.url))
    assert (told["method"], told["path"]) == ("OPTIONS", "*")
    told = seen(curl("--noproxy", "", "--proxy", server.url, "http://shop.example/a?b=c"))
    assert (told["path"], told["query"], header(told, "host")) == ("/a", "b=c", ["shop.example"])


def test_curl_that_offers_h2c_is_answered_in_http_1_1(server: Address) -> None:
    told = seen(curl("--http2", "--data-binary", "@-", server.url, data=BODY))
    assert (told["http_version"], told["body_sha256"]) == ("1.1", SUM)


# httpx


def test_httpx_uses_few_connections_for_many_requests(server: Address) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        clients = set()
        for number in range(20):
            told = client.post(f"/{number}", content=BODY).json()
            assert (told["path"], told["body_sha256"]) == (f"/{number}", SUM)
            clients.add(tuple(told["client"]))
        assert len(clients) == 1
        with client.stream("GET", "/stream/500") as response:
            assert response.headers["transfer-encoding"] == "chunked"
            assert b"".join(response.iter_bytes()) == LINES


def test_httpx_asks_for_many_things_at_once(server: Address) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 30_000):
            yield BODY[start : start + 30_000]

    async def ask() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as client:
            answers = await asyncio.gather(*(client.put(f"/{number}", content=pieces()) for number in range(40)))
            return [answer.json() for answer in answers]

    for number, told in enumerate(asyncio.run(ask())):
        assert (told["path"], told["body_sha256"]) == (f"/{number}", SUM)
        assert header(told, "transfer-encoding") == ["chunked"]


# http.client


def test_http_client_reuses_its_connection_after_every_kind_of_answer(server: Address) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.connect()
        own = list(connection.sock.getsockname())
        for method, path, body in (
            ("GET", "/stream/500", None),
            ("HEAD", "/stream/500", None),
            ("POST", "/", BODY),
            ("POST", "/early", b"not read"),
            ("PUT", "/", iter([b"a", BODY, b"z"])),
            ("DELETE", "/", None),
        ):
            connection.request(method, path, body=body, encode_chunked=body is not None and not isinstance(body, bytes))
            response = connection.getresponse()
            read = response.read()
            assert response.status == 200
            assert not response.will_close
            if path == "/stream/500":
                assert read == (LINES if method == "GET" else b"")
            elif path == "/":
                told = seen(read)
                assert told["client"] == own
                assert told["body_bytes"] == {"POST": len(BODY), "PUT": len(BODY) + 2, "DELETE": 0}[method]


# Clients that leave

LEAVING = """
import asyncio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()

async def events():
    while True:
        yield b"data: tick\\n\\n"
        await asyncio.sleep(0.01)

@app.get("/events")
async def stream():
    return StreamingResponse(events(), media_type="text/event-stream")

async def early(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"data: tick", "more_body": True})
    # An app that hears of the loss may stop.
    assert (await receive())["type"] == "http.disconnect"
"""


@pytest.mark.parametrize("app", ["app", "early"])
def test_client_that_leaves_a_stream_is_no_error_of_the_app(tmp_path: Path, app: str) -> None:
    (tmp_path / "main.py").write_text(LEAVING)
    with command(tmp_path, "run", f"main:{app}", "--no-reload", "--port", "0", "--ui", "plain") as child:
        with socket.create_connection(("127.0.0.1", child.port), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while b"data: tick" not in received:
                received += client.recv(65536)
        child.wait_text("GET /events HTTP/1.1")
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
        assert "error:" not in child.whole_text()


# undici

PIPELINING = """
import diagnostics_channel from 'node:diagnostics_channel';
import { Client } from 'undici';
let connections = 0, written = 0, answered = 0, deepest = 0;
diagnostics_channel.subscribe('undici:client:connected', () => { connections += 1; });
diagnostics_channel.subscribe('undici:client:sendHeaders', () => {
  written += 1;
  deepest = Math.max(deepest, written - answered);
});
diagnostics_channel.subscribe('undici:request:headers', () => { answered += 1; });
const client = new Client(process.argv[1], { pipelining: 10 });
const order = [];
async function ask(number) {
  // Every seventh answer is a stream, every fifth request has a body. HEAD is left out: undici reconnects after it.
  const path = number % 7 === 6 ? `/stream/${number}` : `/${number}`;
  const put = { method: 'PUT', body: 'x'.repeat(number * 100), idempotent: true };
  const how = number % 5 === 4 ? put : { method: 'GET' };
  const { statusCode, body } = await client.request({ path, ...how });
  order.push(number);
  return [statusCode, path, await body.text()];
}
const answers = await Promise.all(Array.from({ length: 300 }, (_, number) => ask(number)));
await client.close();
console.log(JSON.stringify({ answers, order, connections, deepest }));
"""


def test_undici_pipelines_and_gets_its_answers_in_order(server: Address) -> None:
    told = node(PIPELINING, server.url)
    assert told["connections"] == 1
    assert told["deepest"] == 10
    assert told["order"] == list(range(300))
    handled, clients = [], set()
    for number, (status, path, text) in enumerate(told["answers"]):
        assert status == 200
        if path.startswith("/stream/"):
            assert text == "".join(f"line {line}\n" for line in range(number))
        else:
            each = seen(text)
            assert each["path"] == path
            assert each["body_bytes"] == (number * 100 if each["method"] == "PUT" else 0)
            handled.append(each["number"])
            clients.add(tuple(each["client"]))
    assert handled == sorted(handled)
    assert len(clients) == 1


# Java

JAVA = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;

class Ask {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        byte[] body = new byte[512000];
        for (int at = 0; at < body.length; at++) body[at] = (byte) at;
        List<String> answers = new ArrayList<>();
        for (int round = 0; round < 3; round++) {
            HttpRequest get = HttpRequest.newBuilder(URI.create(arguments[0] + "/get")).build();
            HttpRequest post = HttpRequest.newBuilder(URI.create(arguments[0] + "/post"))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
            HttpRequest streamed = HttpRequest.newBuilder(URI.create(arguments[0] + "/put"))
                .PUT(HttpRequest.BodyPublishers.fromPublisher(HttpRequest.BodyPublishers.ofByteArray(body))).build();
            for (HttpRequest request : List.of(get, post, streamed))
                answers.add(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        }
        System.out.println("[" + String.join(",", answers) + "]");
    }
}
"""


def test_javas_client_that_offers_h2c_is_served_and_its_bodies_arrive_once_and_whole(
    server: Address, tmp_path: Path
) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    before = seen(curl(server.url))["number"]
    told = java(source, server.url)
    assert [(each["method"], each["path"]) for each in told] == [
        ("GET", "/get"),
        ("POST", "/post"),
        ("PUT", "/put"),
    ] * 3
    # Nothing of a body was taken for a request, and nothing was sent again.
    assert [each["number"] for each in told] == list(range(before + 1, before + 10))
    for each in told:
        assert each["http_version"] == "1.1"
        assert header(each, "upgrade") == ["h2c"]
        if each["method"] == "GET":
            assert each["body_bytes"] == 0
        else:
            assert (each["body_bytes"], each["body_sha256"]) == (len(BODY), SUM)
    assert [header(each, "transfer-encoding") for each in told[:3]] == [[], [], ["chunked"]]

"""WebSocket clients of other makers against one ``dev run``: websockets, wsproto, aiohttp, two of Node.js, and Java's.

A case is one connection. A client takes the cases that it can play and says what it saw in each; what it must have seen
follows from the case.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import secrets
import shutil
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets.asyncio.client
import websockets.exceptions
import websockets.sync.client
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.support import echo
from tests.support.certificates import make_signed_certificate
from tests.support.clients import java, node
from tests.support.ports import free_port
from tests.support.server import PATIENCE_S, Program, command
from tests.support.websocket_proxies import haproxy, nginx

Saw = dict[str, Any]
"""What a client saw in one case; see :attr:`Case.due`."""


@dataclass(frozen=True)
class Where:
    """Where the server is.

    :ivar ca: who has signed its certificate, if the URL begins with ``wss``.
    :ivar uds: its Unix socket, if that is to be used.
    """

    url: str
    ca: Path | None = None
    uds: Path | None = None

    def trust(self) -> ssl.SSLContext | None:
        """What a client needs to believe the certificate."""
        return ssl.create_default_context(cafile=str(self.ca)) if self.ca else None


# The cases


@dataclass(frozen=True)
class Step:
    """Something that a client sends, and waits for the echo of.

    :ivar parts: more than one when a message is sent in so many frames.
    """

    kind: str
    parts: tuple[bytes, ...]

    @property
    def payload(self) -> bytes:
        return b"".join(self.parts)

    @property
    def message(self) -> str | bytes | list[str] | list[bytes]:
        """What websockets takes: a message, or a list when it is to be sent in so many frames."""
        if self.kind == "text":
            texts = [part.decode() for part in self.parts]
            return texts if len(texts) > 1 else texts[0]
        return [*self.parts] if len(self.parts) > 1 else self.parts[0]

    @property
    def needs(self) -> str:
        if self.kind == "ping":
            return "ping"
        return "fragments" if len(self.parts) > 1 else "messages"


def text(*parts: str) -> Step:
    return Step("text", tuple(part.encode() for part in parts))


def binary(*parts: bytes) -> Step:
    return Step("binary", parts)


def ping(payload: bytes) -> Step:
    return Step("ping", (payload,))


def heard(kind: str, data: str | bytes | bytearray | memoryview) -> str:
    """How a message or a pong that has come is written down."""
    raw = data.encode() if isinstance(data, str) else bytes(data)
    return f"{kind} {len(raw)} {hashlib.sha256(raw).hexdigest()[:16]}"


@dataclass(frozen=True)
class Case:
    """One connection.

    :ivar steps: what the client sends when it is open.
    :ivar close: code and reason with which the client closes then; None: it asks the app to close, with a text.
    :ivar deflate: whether the client offers permessage-deflate.
    :ivar query: by which the app's word of the end is recognized.
    """

    path: str = "/echo"
    steps: tuple[Step, ...] = ()
    close: tuple[int, str] | None = (1000, "")
    subprotocols: tuple[str, ...] = ()
    deflate: bool = False
    query: str = ""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}"

    @property
    def subprotocol(self) -> str:
        """The one that the app chooses."""
        return "superchat" if "superchat" in self.subprotocols else ""

    @property
    def needs(self) -> set[str]:
        """What a client must be able to do."""
        needs = {step.needs for step in self.steps} | {"deflate" if self.deflate else "plain"}
        # WHATWG's WebSocket takes it for a failure when none of the subprotocols is chosen; RFC 6455 does not.
        return needs | {"unchosen"} if self.subprotocols and not self.subprotocol else needs

    @property
    def due(self) -> Saw:
        """What a client that can see everything sees."""
        if self.path == "/denied":
            return {"status": 429, "extra": "no entry", "body": "not today"}
        if self.path == "/refused":
            return {"status": 403, "extra": "", "body": ""}
        saw: Saw = {
            "status": 101,
            "extra": "one, two",
            "subprotocol": self.subprotocol,
            "deflate": self.deflate,
            "heard": [heard("pong" if step.kind == "ping" else step.kind, step.payload) for step in self.steps],
        }
        if self.close is None:
            return {**saw, "closed": [4002, "Genug für heute"]}
        return {**saw, "answered": self.close[0]}


_LONG = "".join(f"Zeile {number}: größer 🎈\n" for number in range(4000))
_NOISE = random.Random(6455).randbytes(1_000_000)
CASES = {
    "text": Case(steps=(text("hello"), text("and again"), text("hello"))),
    "text beyond ASCII": Case(steps=(text("Grüße 🎈 日本語 \x00 \U0010ffff"),)),
    "binary": Case(steps=(binary(bytes(range(256))),)),
    "empty": Case(steps=(text(""), binary(b""), text(""))),
    # The lengths around which the head of a frame has another form (RFC 6455 §5.2).
    "heads": Case(steps=tuple(binary(b"x" * size) for size in (125, 126, 127, 65535, 65536))),
    "100 kB": Case(steps=(text(_LONG[:80_000]), binary(_NOISE[:100_000]))),
    "1 MB": Case(steps=(text(_LONG * 10), binary(_NOISE))),
    "fragments": Case(
        steps=(text("Grü", "", "ße 🎈"), binary(b"a", _NOISE[:70_000], b"z"), text(_LONG, _LONG), text("whole"))
    ),
    "ping": Case(steps=(ping(b"are you there?"), ping(b""), text("yes"), ping(b"x" * 125))),
    "subprotocol": Case(subprotocols=("chat", "superchat"), steps=(text("hello"),)),
    "subprotocol that the app does not speak": Case(subprotocols=("chat",), steps=(text("hello"),)),
    "closed by the client": Case(steps=(text("hello"),), close=(4001, "Schönen Tag noch")),
    "closed by the app": Case(steps=(text("hello"),), close=None),
    "closed by the app at once": Case(close=None),
    "denied": Case(path="/denied"),
    "refused": Case(path="/refused"),
}


CASES |= {f"{name}, compressed": replace(case, deflate=True) for name, case in CASES.items()}


# websockets


async def websockets_asyncio_case(where: Where, case: Case) -> Saw:
    target = f"{where.url}{case.target}"
    options: dict[str, Any] = {
        "subprotocols": case.subprotocols or None,
        "compression": "deflate" if case.deflate else None,
        "max_size": None,
        "ssl": where.trust(),
    }
    if where.uds:
        connecting = websockets.asyncio.client.unix_connect(str(where.uds), target, **options)
    else:
        connecting = websockets.asyncio.client.connect(target, proxy=None, **options)
    try:
        async with connecting as client:
            saw = seen_by_websockets(client)
            for step in case.steps:
                if step.kind == "ping":
                    await (await client.ping(step.payload))
                    saw["heard"].append(heard("pong", step.payload))
                else:
                    await client.send(step.message)
                    saw["heard"].append(heard_by_websockets(await client.recv()))
            if case.close:
                await client.close(*case.close)
                return {**saw, "answered": client.close_code}
            await client.send("close")
            await client.wait_closed()
            return {**saw, "closed": [client.close_code, client.close_reason]}
    except websockets.exceptions.InvalidStatus as exc:
        return refused_for_websockets(exc)


def websockets_asyncio(where: Where, cases: Sequence[Case]) -> list[Saw]:
    async def play() -> list[Saw]:
        async with asyncio.timeout(PATIENCE_S):
            return [await websockets_asyncio_case(where, case) for case in cases]

    return asyncio.run(play())


def websockets_sync_case(where: Where, case: Case) -> Saw:
    try:
        with websockets.sync.client.connect(
            f"{where.url}{case.target}",
            proxy=None,
            subprotocols=[*map(websockets.Subprotocol, case.subprotocols)] or None,
            compression="deflate" if case.deflate else None,
            max_size=None,
        ) as client:
            saw = seen_by_websockets(client)
            for step in case.steps:
                if step.kind == "ping":
                    assert client.ping(step.payload).wait(PATIENCE_S)
                    saw["heard"].append(heard("pong", step.payload))
                else:
                    client.send(step.message)
                    saw["heard"].append(heard_by_websockets(client.recv(PATIENCE_S)))
            if case.close:
                client.close(*case.close)
                return {**saw, "answered": client.close_code}
            client.send("close")
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):
                client.recv(PATIENCE_S)
            return {**saw, "closed": [client.close_code, client.close_reason]}
    except websockets.exceptions.InvalidStatus as exc:
        return refused_for_websockets(exc)


def websockets_sync(where: Where, cases: Sequence[Case]) -> list[Saw]:
    return [websockets_sync_case(where, case) for case in cases]


def seen_by_websockets(
    client: websockets.asyncio.client.ClientConnection | websockets.sync.client.ClientConnection,
) -> Saw:
    assert client.response is not None
    return {
        "status": client.response.status_code,
        "extra": ", ".join(client.response.headers.get_all("x-extra")),
        "subprotocol": client.subprotocol or "",
        "deflate": bool(client.protocol.extensions),
        "heard": [],
    }


def heard_by_websockets(message: str | bytes) -> str:
    return heard("text" if isinstance(message, str) else "binary", message)


def refused_for_websockets(exc: websockets.exceptions.InvalidStatus) -> Saw:
    response = exc.response
    return {
        "status": response.status_code,
        "extra": ", ".join(response.headers.get_all("x-extra")),
        "body": bytes(response.body or b"").decode(),
    }


# wsproto


class WsprotoClient:
    """wsproto, which does no I/O, on a socket."""

    def __init__(self, sock: socket.socket, host: str, case: Case) -> None:
        self.sock = sock
        self.bytes_received = 0
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self._events: Iterator[Event] = iter(())
        offers = [PerMessageDeflate()] if case.deflate else []
        self.send(Request(host=host, target=case.target, extensions=offers, subprotocols=[*case.subprotocols]))

    def send(self, event: Event) -> None:
        self.sock.sendall(self.protocol.send(event))

    def send_message(self, step: Step) -> None:
        for number, part in enumerate(step.parts, 1):
            last = number == len(step.parts)
            if step.kind == "text":
                self.send(TextMessage(data=part.decode(), message_finished=last))
            else:
                self.send(BytesMessage(data=part, message_finished=last))

    def next_event(self) -> Event:
        while (event := next(self._events, None)) is None:
            data = self.sock.recv(65536)
            self.bytes_received += len(data)
            self.protocol.receive_data(data or None)
            self._events = self.protocol.events()
        return event

    def next_heard(self) -> str:
        """The next message or pong."""
        parts: list[bytes] = []
        while True:
            event = self.next_event()
            if isinstance(event, Pong):
                return heard("pong", event.payload)
            assert isinstance(event, (TextMessage, BytesMessage)), event
            parts.append(event.data.encode() if isinstance(event, TextMessage) else bytes(event.data))
            if event.message_finished:
                return heard("text" if isinstance(event, TextMessage) else "binary", b"".join(parts))


@contextlib.contextmanager
def wsproto_client(where: Where, case: Case) -> Iterator[WsprotoClient]:
    host, _, port = where.url.removeprefix("ws://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as sock:
        yield WsprotoClient(sock, f"{host}:{port}", case)


def wsproto_case(where: Where, case: Case) -> Saw:
    with wsproto_client(where, case) as client:
        opened = client.next_event()
        if isinstance(opened, RejectConnection):
            body = b""
            while isinstance(event := client.next_event(), RejectData):
                body += event.data
                if event.body_finished:
                    break
            return {"status": opened.status_code, "extra": extra_of(opened.headers), "body": body.decode()}
        assert isinstance(opened, AcceptConnection)
        saw: Saw = {
            "status": 101,
            "extra": extra_of(opened.extra_headers),
            "subprotocol": opened.subprotocol or "",
            "deflate": bool(opened.extensions),
            "heard": [],
        }
        for step in case.steps:
            if step.kind == "ping":
                client.send(Ping(payload=step.payload))
            else:
                client.send_message(step)
            saw["heard"].append(client.next_heard())
        client.send(CloseConnection(*case.close) if case.close else TextMessage(data="close"))
        closed = client.next_event()
        assert isinstance(closed, CloseConnection)
        if not case.close:
            client.send(closed.response())
        # It is the server that ends the connection (RFC 6455 §7.1.1).
        assert client.sock.recv(1) == b""
        return {**saw, "answered": closed.code} if case.close else {**saw, "closed": [closed.code, closed.reason]}


def wsproto(where: Where, cases: Sequence[Case]) -> list[Saw]:
    return [wsproto_case(where, case) for case in cases]


def extra_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return ", ".join(value.decode() for name, value in headers if name.lower() == b"x-extra")


# aiohttp


async def aiohttp_case(session: aiohttp.ClientSession, where: Where, case: Case, extra: list[str]) -> Saw:
    try:
        async with session.ws_connect(
            f"{where.url}{case.target}",
            protocols=case.subprotocols,
            compress=15 if case.deflate else 0,
            autoping=False,
            max_msg_size=0,
        ) as client:
            saw: Saw = {
                "status": 101,
                "extra": extra[-1],
                "subprotocol": client.protocol or "",
                "deflate": bool(client.compress),
                "heard": [],
            }
            for step in case.steps:
                if step.kind == "ping":
                    await client.ping(step.payload)
                elif step.kind == "text":
                    await client.send_str(step.payload.decode())
                else:
                    await client.send_bytes(step.payload)
                answer = await client.receive()
                saw["heard"].append(heard(answer.type.name.lower(), answer.data))
            if case.close:
                await client.close(code=case.close[0], message=case.close[1].encode())
                return {**saw, "answered": client.close_code}
            await client.send_str("close")
            closed = await client.receive()
            return {**saw, "closed": [closed.data, closed.extra]}
    except aiohttp.WSServerHandshakeError as exc:
        return {"status": exc.status, "extra": extra[-1]}


def aiohttp_client(where: Where, cases: Sequence[Case]) -> list[Saw]:
    extra: list[str] = []

    async def note(_session: Any, _context: Any, ended: aiohttp.TraceRequestEndParams) -> None:
        extra.append(", ".join(ended.response.headers.getall("x-extra", [])))

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)

    async def play() -> list[Saw]:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession(trace_configs=[trace]) as session:
            return [await aiohttp_case(session, where, case, extra) for case in cases]

    return asyncio.run(play())


# Node.js. Both scripts read the cases from lines of words, so that Java's can do the same.


def lines(cases: Sequence[Case]) -> str:
    """A line for each case: target, 1 with deflate, subprotocols, code and reason of the close, steps; tabs between.

    A step is its kind and its parts in base64: ``text:R3LD,vMOfZQ==``. The reason is in base64 too. The code is 0 when
    the app is to close.
    """

    def words(case: Case) -> Iterator[str]:
        code, reason = case.close or (0, "")
        yield from (case.target, str(int(case.deflate)), ",".join(case.subprotocols), str(code))
        yield base64.b64encode(reason.encode()).decode()
        for step in case.steps:
            yield f"{step.kind}:{','.join(base64.b64encode(part).decode() for part in step.parts)}"

    return "".join("\t".join(words(case)) + "\n" for case in cases)


NODE = """
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [file, url, ca] = process.argv.slice(1);

function heard(kind, data) {
  const bytes = typeof data === 'string' ? Buffer.from(data) : Buffer.from(data);
  return `${kind} ${bytes.length} ${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`;
}

function read(line) {
  const [target, deflate, subprotocols, code, reason, ...steps] = line.split('\\t');
  return {
    url: url + target,
    deflate: deflate === '1',
    subprotocols: subprotocols ? subprotocols.split(',') : [],
    code: Number(code),
    reason: Buffer.from(reason, 'base64').toString(),
    steps: steps.map((step) => {
      const [kind, parts] = step.split(':');
      return { kind, parts: parts.split(',').map((part) => Buffer.from(part, 'base64')) };
    }),
  };
}

const saw = [];
for (const line of readFileSync(file, 'utf8').split('\\n').slice(0, -1)) {
  saw.push(await play(read(line)));
}
console.log(JSON.stringify(saw));
"""

NODE_WS = (
    """
import WebSocket from 'ws';
"""
    + NODE
    + """
function play(given) {
  return new Promise((resolve, reject) => {
    const options = { perMessageDeflate: given.deflate, maxPayload: 0 };
    if (ca) options.ca = readFileSync(ca);
    const client = new WebSocket(given.url, given.subprotocols, options);
    const saw = { heard: [] };
    let at = 0;
    function next() {
      if (at === given.steps.length) {
        if (given.code) client.close(given.code, given.reason);
        else client.send('close');
        at += 1;
        return;
      }
      const { kind, parts } = given.steps[at++];
      if (kind === 'ping') client.ping(parts[0]);
      else for (const [index, part] of parts.entries()) {
        client.send(part, { binary: kind === 'binary', fin: index === parts.length - 1 });
      }
    }
    client.on('upgrade', (response) => {
      saw.status = response.statusCode;
      saw.extra = response.headers['x-extra'] ?? '';
    });
    client.on('open', () => {
      saw.subprotocol = client.protocol;
      saw.deflate = client.extensions.includes('permessage-deflate');
      next();
    });
    client.on('message', (data, isBinary) => { saw.heard.push(heard(isBinary ? 'binary' : 'text', data)); next(); });
    client.on('pong', (data) => { saw.heard.push(heard('pong', data)); next(); });
    client.on('unexpected-response', async (request, response) => {
      const { socket } = response;
      let body = '';
      for await (const chunk of response) body += chunk;
      // Kept open by a proxy, it would keep this process.
      socket.destroy();
      resolve({ status: response.statusCode, extra: response.headers['x-extra'] ?? '', body });
    });
    client.on('error', reject);
    client.on('close', (code, reason) => {
      resolve(given.code ? { ...saw, answered: code } : { ...saw, closed: [code, reason.toString()] });
    });
  });
}
"""
)

# The WebSocket of browsers, which Node.js has built in since version 22. It shows neither the response nor a ping.
NODE_GLOBAL = (
    """
const WebSocket = globalThis.WebSocket ?? (await import('undici')).WebSocket;
"""
    + NODE
    + """
function play(given) {
  return new Promise((resolve) => {
    const client = new WebSocket(given.url, given.subprotocols);
    client.binaryType = 'arraybuffer';
    const saw = { heard: [] };
    let opened = false;
    let at = 0;
    function next() {
      const step = given.steps[at++];
      if (step) client.send(step.kind === 'binary' ? step.parts[0] : step.parts[0].toString());
      else if (given.code) client.close(given.code, given.reason);
      else client.send('close');
    }
    client.addEventListener('open', () => {
      opened = true;
      saw.subprotocol = client.protocol;
      saw.deflate = client.extensions.includes('permessage-deflate');
      next();
    });
    client.addEventListener('message', ({ data }) => {
      saw.heard.push(heard(typeof data === 'string' ? 'text' : 'binary', data));
      next();
    });
    client.addEventListener('error', () => { if (!opened) resolve({}); });
    client.addEventListener('close', ({ code, reason }) => {
      resolve(given.code ? { ...saw, answered: code } : { ...saw, closed: [code, reason] });
    });
  });
}
"""
)


def node_client(source: str) -> Callable[[Where, Sequence[Case], Path], list[Saw]]:
    def play(where: Where, cases: Sequence[Case], folder: Path) -> list[Saw]:
        file = folder / "cases"
        file.write_text(lines(cases))
        saw: list[Saw] = node(source, str(file), where.url, *([str(where.ca)] if where.ca else []))
        return saw

    return play


# Java

JAVA = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.function.Function;

class Talk implements WebSocket.Listener {
    private final String[] words;
    private final List<String> heard = new ArrayList<>();
    private final CompletableFuture<String> closed = new CompletableFuture<>();
    private final StringBuilder text = new StringBuilder();
    private ByteBuffer binary = ByteBuffer.allocate(2_000_000);
    private int at = 5;
    // One after the other: an answer may be here before the sending of its question is over.
    private CompletableFuture<WebSocket> sent = new CompletableFuture<>();

    Talk(String[] words) { this.words = words; }

    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        List<String> saw = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(arguments[0])))
            saw.add(new Talk(line.split("\\t", -1)).play(client, arguments[1]));
        System.out.println("[" + String.join(",", saw) + "]");
    }

    String play(HttpClient client, String url) throws Exception {
        WebSocket.Builder builder = client.newWebSocketBuilder();
        if (!words[2].isEmpty()) {
            String[] names = words[2].split(",");
            builder.subprotocols(names[0], Arrays.copyOfRange(names, 1, names.length));
        }
        try {
            WebSocket socket = builder.buildAsync(URI.create(url + words[0]), this).join();
            return "{\\"subprotocol\\":\\"" + socket.getSubprotocol() + "\\",\\"deflate\\":false,\\"heard\\":["
                + closed.join() + "}";
        } catch (CompletionException exception) {
            if (!(exception.getCause() instanceof WebSocketHandshakeException)) throw exception;
            var response = ((WebSocketHandshakeException) exception.getCause()).getResponse();
            return "{\\"status\\":" + response.statusCode() + ",\\"extra\\":\\""
                + String.join(", ", response.headers().allValues("x-extra")) + "\\"}";
        }
    }

    private void next() {
        int code = Integer.parseInt(words[3]);
        if (at == words.length) {
            at += 1;
            String reason = new String(decode(words[4]), StandardCharsets.UTF_8);
            send(each -> code == 0 ? each.sendText("close", true) : each.sendClose(code, reason));
            return;
        }
        String[] step = words[at++].split(":", -1);
        String[] parts = step[1].split(",", -1);
        for (int index = 0; index < parts.length; index++) {
            byte[] part = decode(parts[index]);
            boolean last = index == parts.length - 1;
            send(each -> switch (step[0]) {
                case "ping" -> each.sendPing(ByteBuffer.wrap(part));
                case "text" -> each.sendText(new String(part, StandardCharsets.UTF_8), last);
                default -> each.sendBinary(ByteBuffer.wrap(part), last);
            });
        }
    }

    private void send(Function<WebSocket, CompletableFuture<WebSocket>> what) {
        sent = sent.thenCompose(what);
        sent.exceptionally(error -> { closed.completeExceptionally(error); return null; });
    }

    private void hear(String kind, byte[] data) {
        try {
            StringBuilder digest = new StringBuilder();
            for (byte each : Arrays.copyOf(MessageDigest.getInstance("SHA-256").digest(data), 8))
                digest.append(String.format("%02x", each));
            heard.add("\\"" + kind + " " + data.length + " " + digest + "\\"");
        } catch (java.security.NoSuchAlgorithmException exception) {
            throw new IllegalStateException(exception);
        }
        next();
    }

    private static byte[] decode(String word) { return Base64.getDecoder().decode(word); }

    private static byte[] taken(ByteBuffer buffer) {
        byte[] data = new byte[buffer.remaining()];
        buffer.get(data);
        return data;
    }

    @Override public void onOpen(WebSocket socket) {
        sent.complete(socket);
        next();
        socket.request(Long.MAX_VALUE);
    }

    @Override public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
        text.append(data);
        if (last) {
            byte[] whole = text.toString().getBytes(StandardCharsets.UTF_8);
            text.setLength(0);
            hear("text", whole);
        }
        return null;
    }

    @Override public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean last) {
        binary.put(data);
        if (last) {
            byte[] whole = taken(binary.flip());
            binary.clear();
            hear("binary", whole);
        }
        return null;
    }

    @Override public CompletionStage<?> onPong(WebSocket socket, ByteBuffer data) {
        hear("pong", taken(data));
        return null;
    }

    @Override public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        String all = String.join(",", heard) + "],";
        if (words[3].equals("0")) closed.complete(all + "\\"closed\\":[" + code + ",\\"" + reason + "\\"]");
        else closed.complete(all + "\\"answered\\":" + code);
        return null;
    }

    @Override public void onError(WebSocket socket, Throwable error) { closed.completeExceptionally(error); }
}
"""


def java_client(where: Where, cases: Sequence[Case], folder: Path) -> list[Saw]:
    source, file = folder / "Talk.java", folder / "cases"
    source.write_text(JAVA)
    file.write_text(lines(cases))
    saw: list[Saw] = java(source, str(file), where.url)
    return saw


# The clients


@dataclass(frozen=True)
class Client:
    """A client, and what it cannot do.

    :ivar play: plays cases and says what it saw in each.
    :ivar cannot: see :attr:`Case.needs`.
    :ivar blind: what it does not show of an open connection; see :attr:`Case.due`.
    :ivar blind_refused: what it does not show of a handshake that was refused.
    """

    play: Callable[[Where, Sequence[Case], Path], list[Saw]]
    cannot: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()
    blind_refused: frozenset[str] = frozenset()

    def due(self, case: Case) -> Saw:
        """What it must see."""
        blind = self.blind if case.due["status"] == 101 else self.blind_refused
        return {name: value for name, value in case.due.items() if name not in blind}


def python(play: Callable[[Where, Sequence[Case]], list[Saw]]) -> Callable[[Where, Sequence[Case], Path], list[Saw]]:
    return lambda where, cases, _: play(where, cases)


CLIENTS = {
    "websockets asyncio": Client(python(websockets_asyncio)),
    "websockets sync": Client(python(websockets_sync)),
    "wsproto": Client(python(wsproto)),
    "aiohttp": Client(python(aiohttp_client), frozenset({"fragments"}), blind_refused=frozenset({"body"})),
    "ws": Client(node_client(NODE_WS), frozenset({"unchosen"})),
    "WebSocket of Node.js": Client(
        node_client(NODE_GLOBAL),
        # It always offers compression.
        frozenset({"fragments", "ping", "plain", "unchosen"}),
        frozenset({"status", "extra"}),
        frozenset({"status", "extra", "body"}),
    ),
    "Java": Client(java_client, frozenset({"deflate"}), frozenset({"status", "extra"}), frozenset({"body"})),
}


def converse(client: Client, where: Where, app: Program, folder: Path) -> None:
    """Plays all cases that a client can, and compares what it saw, and what the app saw of its closes."""
    cases = {
        name: replace(case, query=secrets.token_hex(8))
        for name, case in CASES.items()
        if not case.needs & client.cannot
    }
    saw = client.play(where, [*cases.values()], folder)
    assert dict(zip(cases, saw, strict=True)) == {name: client.due(case) for name, case in cases.items()}
    for case in cases.values():
        if case.path == "/echo" and case.close:
            app.wait_text(rf"ended {case.query} {case.close[0]} {case.close[1]}\n")


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[Program]:
    """The app in a process of its own, which must end well after all that was done to it."""
    shutil.copy(echo.__file__, folder / "main.py")
    with command(folder, "run", "--no-reload", "--ui", "plain", "--no-access-log", *words) as child:
        child.wait_text("ready in")
        yield child
        child.process.send_signal(signal.SIGTERM)
        assert child.wait() == 0
        assert "error" not in child.text
        assert "Traceback" not in child.text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, int, Path]]:
    """The app behind a port and a Unix socket."""
    folder = tmp_path_factory.mktemp("websocket")
    port, uds = free_port(), folder / "app.sock"
    with serving(folder, "--bind", f"127.0.0.1:{port}", "--bind", f"unix:{uds}") as child:
        yield child, port, uds


@pytest.mark.parametrize("name", CLIENTS)
def test_client_converses(server: tuple[Program, int, Path], tmp_path: Path, name: str) -> None:
    app, port, _ = server
    converse(CLIENTS[name], Where(f"ws://127.0.0.1:{port}"), app, tmp_path)


def test_client_converses_over_a_unix_socket(server: tuple[Program, int, Path], tmp_path: Path) -> None:
    app, _, uds = server
    converse(CLIENTS["websockets asyncio"], Where("ws://shop.example", uds=uds), app, tmp_path)


@pytest.mark.parametrize("name", ["websockets asyncio", "ws"])
def test_client_converses_over_tls(tmp_path: Path, name: str) -> None:
    certificate, key, ca = make_signed_certificate(tmp_path)
    port = free_port()
    with serving(tmp_path, "--port", str(port), "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as app:
        converse(CLIENTS[name], Where(f"wss://localhost:{port}", ca=ca), app, tmp_path)


@pytest.mark.parametrize("name", ["websockets asyncio", "ws"])
@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_client_converses_through_a_proxy(
    server: tuple[Program, int, Path],
    tmp_path: Path,
    proxy: Callable[[Path, int], contextlib.AbstractContextManager[int]],
    name: str,
) -> None:
    app, port, _ = server
    with proxy(tmp_path, port) as front:
        converse(CLIENTS[name], Where(f"ws://127.0.0.1:{front}"), app, tmp_path)


def test_compressed_messages_are_short_on_the_wire(server: tuple[Program, int, Path]) -> None:
    _, port, _ = server
    sizes = []
    message = text(_LONG)
    for case in (Case(steps=(message,)), Case(steps=(message,), deflate=True)):
        with wsproto_client(Where(f"ws://127.0.0.1:{port}"), case) as client:
            assert isinstance(client.next_event(), AcceptConnection)
            client.send_message(message)
            assert client.next_heard() == heard("text", _LONG)
            sizes.append(client.bytes_received)
    assert sizes[0] > len(message.payload)
    assert sizes[1] < len(message.payload) / 4

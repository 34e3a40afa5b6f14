"""Speaks WebSocket over a socket behind the interface of Starlette's ``WebSocketTestSession``."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, Literal, Self

from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from .watched import EXCHANGE_HEADER

if TYPE_CHECKING:
    import httpx2

    from .client import SocketClient
    from .watched import Exchange

__all__ = ["WebSocketSession"]

MESSAGE_S = 10.0
"""Timeout of one message from the server, in seconds; a test whose app never sends would hang."""

_OWN_HEADERS = {
    "host",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
}
"""Names of the headers that the handshake makes itself."""


class WebSocketSession:
    """A WebSocket of a test; connects when it is entered, as the original does.

    :param client: the client that makes it; knows the server.
    :param request: the request as the client would send it, with the test's headers and cookies.
    :param exchange: the account of this connection.
    """

    def __init__(self, client: SocketClient, request: httpx2.Request, exchange: Exchange) -> None:
        self._client = client
        self._request = request
        self._exchange = exchange
        self._fragments: list[bytes] = []
        self._fragmented: Opcode | None = None
        self._frames: list[Frame] = []
        self.accepted_subprotocol: str | None = None
        self.extra_headers: list[tuple[bytes, bytes]] | None = None

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(("127.0.0.1", self._client.server().port), MESSAGE_S)
        try:
            self._connect()
        except BaseException:
            self._socket.close()
            self._client.settle(self._exchange, always_raise=True)
            raise
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                self.close(1000)
                # Until the server has answered the close, or said goodbye.
                while self._protocol.state is not State.CLOSED and self._read():
                    pass
        finally:
            self._socket.close()
        self._client.settle(self._exchange, always_raise=True)

    def send(self, message: dict[str, Any]) -> None:
        """Sends what the app shall receive, given as the ASGI message that it becomes."""
        if message["type"] == "websocket.disconnect":
            self.close(message.get("code", 1000), message.get("reason"))
        elif message["type"] == "websocket.receive":
            if message.get("text") is not None:
                self._protocol.send_text(message["text"].encode())
            else:
                self._protocol.send_binary(message["bytes"])
            self._flush()
        elif message["type"] != "websocket.connect":
            raise ValueError(f"a client cannot send {message['type']}")

    def send_text(self, data: str) -> None:
        """Sends a text message."""
        self.send({"type": "websocket.receive", "text": data})

    def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Sends JSON as a text or a binary message."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if mode == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Starts the closing handshake; does nothing when it has begun."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason or "")
            self._flush()

    def receive(self) -> dict[str, Any]:
        """Waits for what the app sends, and returns it as the ASGI message that it was.

        :raises TimeoutError: nothing came.
        """
        while True:
            if self._frames:
                message = self._message(self._frames.pop(0))
                if message is not None:
                    return message
            elif not self._read():
                return {"type": "websocket.close", "code": 1006, "reason": ""}

    def receive_text(self) -> str:
        """Waits for a text message.

        :raises WebSocketDisconnect: the server closed instead.
        """
        message = self.receive()
        _raise_on_close(message)
        return str(message["text"])

    def receive_bytes(self) -> bytes:
        """Waits for a binary message.

        :raises WebSocketDisconnect: the server closed instead.
        """
        message = self.receive()
        _raise_on_close(message)
        return bytes(message["bytes"])

    def receive_json(self, mode: Literal["text", "binary"] = "text") -> Any:
        """Waits for a message of JSON.

        :raises WebSocketDisconnect: the server closed instead.
        """
        message = self.receive()
        _raise_on_close(message)
        return json.loads(message["text"] if mode == "text" else message["bytes"])

    def _connect(self) -> None:
        headers = self._request.headers
        asked = headers.get("sec-websocket-protocol")
        subprotocols = None if asked is None else [Subprotocol(name.strip()) for name in asked.split(",")]
        self._protocol = ClientProtocol(
            parse_uri(f"ws://{self._request.headers['host']}/"),
            subprotocols=subprotocols,
            extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
        )
        handshake = self._protocol.connect()
        handshake.path = self._client.target(self._request.url).decode()
        for name, value in headers.multi_items():
            if name.lower() not in _OWN_HEADERS:
                handshake.headers[name] = value
        handshake.headers[EXCHANGE_HEADER] = self._exchange.number
        self._protocol.send_request(handshake)
        self._flush()
        response = None
        while response is None:
            # Stay behind the response: frames may arrive with it.
            more = self._read()
            response = next((event for event in self._events if isinstance(event, Response)), None)
            if response is None and not more:
                raise WebSocketDisconnect(1006)
        if self._protocol.handshake_exc is not None:
            self._refused(response)
        self.accepted_subprotocol = self._protocol.subprotocol
        own = {"upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol"}
        self.extra_headers = [
            (name.encode(), value.encode()) for name, value in response.headers.raw_items() if name.lower() not in own
        ]

    def _refused(self, response: Response) -> None:
        closed = self._exchange.closed_before_accept
        if closed is not None and response.status_code == 403:
            raise WebSocketDisconnect(*closed)
        if response.status_code == 101:
            raise AssertionError(f"invalid handshake: {self._protocol.handshake_exc}")
        raise WebSocketDenialResponse(
            status_code=response.status_code,
            headers=list(response.headers.raw_items()),
            content=bytes(response.body or b""),
        )

    def _message(self, frame: Frame) -> dict[str, Any] | None:
        if frame.opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            code, reason = (1005, "") if close is None else (close.code, close.reason)
            return {"type": "websocket.close", "code": int(code), "reason": reason}
        if frame.opcode not in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            return None
        if self._fragmented is None:
            self._fragmented = frame.opcode
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return None
        data, opcode = b"".join(self._fragments), self._fragmented
        self._fragments, self._fragmented = [], None
        if opcode is Opcode.TEXT:
            return {"type": "websocket.send", "text": data.decode()}
        return {"type": "websocket.send", "bytes": data}

    def _read(self) -> bool:
        """Reads once from the socket; False at its end. What was read is in ``_events`` and ``_frames``."""
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        elif self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        self._events = self._protocol.events_received()
        self._frames += [event for event in self._events if isinstance(event, Frame)]
        with contextlib.suppress(OSError):
            self._flush()
        return bool(data)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)
            else:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)


def _raise_on_close(message: dict[str, Any]) -> None:
    if message["type"] == "websocket.close":
        raise WebSocketDisconnect(code=message["code"], reason=message["reason"])

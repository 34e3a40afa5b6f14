"""The socket on which ``dev ctl`` speaks to a master: one JSON object a line each way, one question a connection.

It is a Unix socket that only its owner may use. Nothing here waits: whoever connects and says nothing costs a
descriptor for ten seconds, and of those there are few.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from devserver.errors import BindError, UsageError

Answer: TypeAlias = dict[str, Any]

CLIENTS_MAX = 16
LINE_BYTES_MAX = 4_096
PATIENCE_S = 10.0
PAUSE_S = 1.0
"""How long nobody is let in when there is no descriptor for a client, who would wake the master for ever."""
MODE = 0o600


class Control:
    """The master's side.

    :param path: of the socket.
    :param answer: does what is asked; its answer is sent.
    :raises BindError: the socket cannot be made, or another master has it.
    """

    def __init__(self, path: str, answer: Callable[[Answer], Answer]) -> None:
        self.path = os.path.abspath(path)
        self._answer = answer
        self._selector: selectors.BaseSelector | None = None
        self._clients: dict[socket.socket, tuple[bytearray, float]] = {}
        self._paused_until = 0.0
        self._remove_stale()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        before = os.umask(0o777 & ~MODE)
        try:
            self._socket.bind(self.path)
            self._socket.listen(CLIENTS_MAX)
        except OSError as exc:
            self._socket.close()
            raise BindError(f"--control: cannot make {self.path} ({exc.strerror or exc}).") from exc
        finally:
            os.umask(before)
        self._pid = os.getpid()

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Waits there for questions."""
        self._selector = selector
        selector.register(self._socket, selectors.EVENT_READ, self._on_client)

    def tidy(self, now: float) -> None:
        """Lets go of clients that have said nothing, and lets others in again."""
        if self._paused_until and now >= self._paused_until and self._selector is not None:
            self._paused_until = 0.0
            self._selector.register(self._socket, selectors.EVENT_READ, self._on_client)
        for client in [client for client, (_, since) in self._clients.items() if now - since > PATIENCE_S]:
            self._drop(client)

    def leave_to_child(self) -> None:
        """In a forked child: closes everything."""
        self._socket.close()
        for client in self._clients:
            client.close()

    def close(self) -> None:
        """Ends it, and removes the socket."""
        for client in [*self._clients]:
            self._drop(client)
        self._socket.close()
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def _remove_stale(self) -> None:
        with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)
            except FileNotFoundError:
                raise
            except OSError as exc:
                raise BindError(f"--control: {self.path} is no socket of ours ({exc.strerror or exc}).") from exc
            else:
                raise BindError(f"--control: another master listens on {self.path}.", hint="Choose another path.")

    def _on_client(self) -> None:
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            if self._selector is not None:
                self._selector.unregister(self._socket)
                self._paused_until = time.monotonic() + PAUSE_S
            return
        if len(self._clients) >= CLIENTS_MAX or self._selector is None:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = (bytearray(), time.monotonic())
        self._selector.register(client, selectors.EVENT_READ, lambda: self._on_line(client))

    def _on_line(self, client: socket.socket) -> None:
        line, _ = self._clients[client]
        try:
            data = client.recv(LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        line += data
        if not data or len(line) > LINE_BYTES_MAX:
            self._drop(client)
        elif line.endswith(b"\n"):
            try:
                asked = json.loads(line)
                answer = self._answer(asked if isinstance(asked, dict) else {})
            except ValueError:
                answer = {"error": "That is no JSON object."}
            # An answer fits into the socket's buffer; a client that has stopped reading gets less of it.
            with contextlib.suppress(OSError):
                client.send(json.dumps(answer).encode() + b"\n")
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._clients.pop(client, None)
        if self._selector is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(client)
        client.close()


def ask(path: str, question: Answer) -> Answer:
    """Asks the master whose socket is at ``path``.

    :raises UsageError: there is none, it does not answer, or it says no.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.ExitStack() as stack:
            sock.settimeout(PATIENCE_S)
            sock.connect(path)
            sock.sendall(json.dumps(question).encode() + b"\n")
            file = stack.enter_context(sock.makefile("rb"))
            answer = json.loads(file.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise UsageError(
            f"No master listens on {path}.", hint="It does when it is started as dev prod --control PATH."
        ) from None
    except (OSError, ValueError) as exc:
        raise UsageError(f"The master at {path} does not answer ({exc}).") from exc
    if "error" in answer:
        raise UsageError(str(answer["error"]))
    found: Answer = answer
    return found

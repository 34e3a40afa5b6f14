"""Where other commands find a running ``dev run``: a Unix socket in a folder of the user's own.

It is not in the project: not every file system takes sockets, and what copies a project, such as the building of an
image, fails on one. Its name says which project it is for, and holds the pid, so that several may run in a project and
what a dead one has left is known for what it is. Only
processes of the same user are listened to, and only a socket of the same user's is believed. A question is a message
with a ``do`` member; descriptors may come before it. Whoever asks is bounded in number and in what it sends, and nobody
waits for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from devserver.app.source_loader import content_hash
from devserver.supervisor.channel import Inbox, SupervisorChannel, encode, receive_first
from devserver.supervisor.pidfile import is_alive

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message

ASKERS_MAX = 16
ANSWER_S = 1.0
DESCRIPTORS_MAX = 3
LINE_BYTES_MAX = 8 * 1024 * 1024
"""Arguments and variables of a process together: what the kernel takes is 2 MiB by default."""
_NAME = re.compile(r"([0-9a-f]{32})-(\d+)\.sock")


def socket_path(root: str | Path, pid: int) -> Path:
    """Where the ``dev run`` that is process ``pid`` listens.

    :param root: the project's root folder.
    """
    return _folder() / f"{_digest(root)}-{pid}.sock"


class Asker:
    """Somebody who has connected.

    :ivar on_message: called with what comes after the question.
    :ivar on_gone: called when it has gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.channel = SupervisorChannel(sock, Inbox(LINE_BYTES_MAX, DESCRIPTORS_MAX))
        self.on_message: Callable[[Message], None] = lambda _: None
        self.on_gone: Callable[[], None] = lambda: None
        self.asked = False
        self._descriptors: list[int] = []

    def answer(self, message: Message) -> None:
        """Tells it something; nothing happens when it has gone."""
        self.channel.send(message)

    def keep(self, fd: object) -> bool:
        """Keeps a descriptor that came; whether there was room, and one."""
        if not isinstance(fd, int):
            return False
        self._descriptors.append(fd)
        return len(self._descriptors) <= DESCRIPTORS_MAX

    def take_descriptors(self) -> list[int]:
        """Those that came, which are the caller's from now on."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def close(self) -> None:
        """Ends the conversation."""
        for fd in self.take_descriptors():
            os.close(fd)
        self.channel.close()


Question: TypeAlias = "Callable[[Asker, Message], None]"


class Rendezvous:
    """The listening side.

    :param root: the project's root folder.
    :param questions: what ``do`` may be → who answers.
    """

    def __init__(self, root: str, questions: Mapping[str, Question]) -> None:
        self._path = socket_path(root, os.getpid())
        self._questions = questions
        self._selector: selectors.BaseSelector | None = None
        self._socket: socket.socket | None = None
        self._askers: list[Asker] = []

    def open(self, selector: selectors.BaseSelector) -> str:
        """Begins to listen; why that is impossible, or an empty string."""
        if not hasattr(socket, "SO_PEERCRED"):
            return "this platform does not say who connects to a socket"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(folder):
                sock.close()
                return f"{folder} is not this user's alone"
            _sweep(folder)
            self._path.unlink(missing_ok=True)
            sock.bind(str(self._path))
            sock.listen(ASKERS_MAX)
        except OSError as exc:
            sock.close()
            return f"{folder} takes no socket ({exc.strerror})"
        sock.setblocking(False)
        self._socket, self._selector = sock, selector
        selector.register(sock, selectors.EVENT_READ, self._accept)
        return ""

    def close(self) -> None:
        """Ends all conversations, and takes the socket's file away."""
        for asker in [*self._askers]:
            self._drop(asker)
        if self._socket is not None and self._selector is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _accept(self) -> None:
        if self._socket is None:
            return
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        if not _is_ours(sock) or not self._make_room():
            sock.close()
            return
        asker = Asker(sock)
        self._askers.append(asker)
        if self._selector is not None:
            self._selector.register(asker.channel, selectors.EVENT_READ, lambda: self._on_readable(asker))

    def _make_room(self) -> bool:
        """Whoever says nothing goes first."""
        if len(self._askers) >= ASKERS_MAX:
            silent = next((asker for asker in self._askers if not asker.asked), None)
            if silent is None:
                return False
            self._drop(silent)
        return True

    def _on_readable(self, asker: Asker) -> None:
        asker.channel.flush()
        messages = asker.channel.receive()
        if messages is None:
            self._drop(asker)
            return
        for message in messages:
            if asker.asked:
                asker.on_message(message)
            elif message.get("do") == "keep":
                if not asker.keep(message.get("fd")):
                    self._drop(asker)
                    return
            else:
                self._ask(asker, message)

    def _ask(self, asker: Asker, message: Message) -> None:
        asker.asked = True
        what = message.get("do")
        answer = self._questions.get(what) if isinstance(what, str) else None
        if answer is None:
            asker.answer({"is": "unknown", "known": sorted(self._questions)})
        else:
            answer(asker, message)

    def _drop(self, asker: Asker) -> None:
        if asker in self._askers:
            self._askers.remove(asker)
            if self._selector is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(asker.channel)
            asker.close()
            asker.on_gone()


def connect(root: str | Path) -> socket.socket | None:
    """A connection to the ``dev run`` in this project that was started last; None when there is none.

    What dead ones have left is removed.

    :param root: the project's root folder.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    folder, digest = _folder(), _digest(root)
    with contextlib.suppress(OSError):
        for path in _sweep(folder) if _is_private(folder) else ():
            if not path.name.startswith(digest):
                continue
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(path))
                if _is_ours(sock):
                    return sock
            except OSError:
                # Its pid may be another process's by now.
                pass
            sock.close()
    return None


def ask(root: str | Path, what: str, *, timeout_s: float = ANSWER_S) -> Message | None:
    """What the ``dev run`` in this project answers; None when there is none, or it says nothing in that time.

    :param root: the project's root folder.
    :param what: the question.
    """
    sock = connect(root)
    if sock is None:
        return None
    with sock:
        sock.settimeout(timeout_s)
        try:
            sock.sendall(encode({"do": what}))
            return receive_first(sock).message
        except (OSError, EOFError, ValueError):
            return None


def _folder() -> Path:
    """The folder for all projects of this user: that of the session, or else in ``/tmp``.

    Not where a variable says: the commands that are to find each other need not have the same ones.
    """
    uid = os.geteuid()
    base = Path(f"/run/user/{uid}")
    return (base if _is_private(base) else Path("/tmp")) / f"devserver-{uid}"


def _digest(root: str | Path) -> str:
    return content_hash(os.fsencode(os.path.realpath(root)))


def _is_private(folder: Path) -> bool:
    """Whether it is a folder that nobody else can write to, or put in its place."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _sweep(folder: Path) -> list[Path]:
    """The sockets of living processes, newest first; others are removed."""
    found: list[tuple[float, Path]] = []
    for name in os.listdir(folder):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        path = folder / name
        with contextlib.suppress(OSError):
            if is_alive(int(match[2])):
                found.append((path.stat().st_mtime, path))
            else:
                path.unlink()
    return [path for _, path in sorted(found, reverse=True)]


def _is_ours(sock: socket.socket) -> bool:
    """Whether the process at the other end is the same user's."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(uid == os.geteuid())

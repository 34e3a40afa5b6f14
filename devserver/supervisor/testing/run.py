"""One test run: a process that was forked from a test host, or started for it, and becomes ``python -m pytest``.

Arguments, variables, working directory, ``sys.path`` and standard streams are those that such a process would have.
What is left of us is the loader of the project's modules, so that two saves within a second are never taken for one,
and a report at the end: what was imported from others, and which files of the project were loaded.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import runpy
import socket
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from devserver.app.source_loader import CACHE_FOLDER, content_hash, install
from devserver.config.discovery import FirstParty
from devserver.supervisor import worker
from devserver.supervisor.channel import encode, receive_first
from devserver.supervisor.life import end_with
from devserver.supervisor.testing.request import Request
from devserver.supervisor.third_party import others

if TYPE_CHECKING:
    from devserver.supervisor.channel import Message

STREAMS = 3
REPORT_S = 2.0
"""How long the report may take to leave; nobody reads when the supervisor hangs."""


def main(channel_fd: int) -> None:
    """The whole life of a run that was started as a fresh interpreter."""
    # What comes with the first message says which files are the project's.
    run(socket.socket(fileno=channel_fd), None, "")


def run(
    sock: socket.socket, first_party: Container[str] | None, root: str, *, inherited: frozenset[str] = frozenset()
) -> NoReturn:
    """Runs pytest; ends in SystemExit, so that functions registered with atexit run.

    :param sock: the run's end of its channel: the request comes through it, then the standard streams.
    :param first_party: which files are the project's; None when the request says so.
    :param root: the project's root folder.
    :param inherited: the modules that were imported for it.
    """
    sock.set_inheritable(False)
    end_with(os.getppid())
    streams: list[int] = []
    try:
        first = receive_first(sock)
        message = first.message
        while len(streams) < STREAMS:
            first = receive_first(sock, first)
            streams.append(first.message["fd"])
    except (OSError, EOFError):
        sys.exit(1)
    request = Request.from_message(message)
    _take_streams(streams)
    worker.reset_signals()
    os.umask(request.umask)
    worker.set_environment(request.environment)
    os.chdir(request.directory)
    sys.path[:] = request.path
    gc.enable()
    if first_party is None:
        root = message["root"]
        first_party = FirstParty(root, message["extra_dirs"])
    loader = install(first_party, Path(root, CACHE_FOLDER))
    rewritten = _follow_rewriting()
    try:
        if "watch" in message:
            from devserver.supervisor.testing.reporter import run_watched

            sys.exit(run_watched(request.arguments, message["watch"], lambda told: _tell(sock, told)))
        # The first is replaced by the path of pytest's __main__, as "python -m" does it.
        sys.argv[:] = ["pytest", *request.arguments]
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
        sys.exit(0)
    finally:
        _tell(sock, _report({**rewritten, **loader.executed}, first_party, inherited))
        sock.close()


def _take_streams(streams: list[int]) -> None:
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        if fd > 2:
            os.close(fd)
    names = ("stdin", "stdout", "stderr")
    for number, name in enumerate(names):
        stream = _open(number, f"<{name}>", getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open(fd: int, name: str, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard stream as Python makes it when it starts: what it is of decides how it is buffered."""
    write = fd > 0
    unbuffered = write and like.write_through
    binary: Any = open(fd, "wb" if write else "rb", 0 if unbuffered else -1, closefd=False)  # noqa: SIM115
    raw = binary if unbuffered else binary.raw
    raw.name = name
    stream = io.TextIOWrapper(
        binary,
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=not like.write_through and (raw.isatty() or fd == 2),
        write_through=like.write_through,
    )
    stream.mode = "w" if write else "r"  # type: ignore[misc]
    return stream


def _follow_rewriting() -> dict[str, str]:
    """Takes down what pytest loads of test files: path → hash of what was there just before.

    It also has pytest compile a file again whose compiled form may be of an earlier save within the same second; pytest
    compares contents itself from 9.2 on.
    """
    from _pytest.assertion import rewrite

    seen: dict[str, str] = {}
    read = getattr(rewrite, "_read_pyc", None)

    def follow(source: Path, compiled: Path, *rest: Any) -> Any:
        with contextlib.suppress(OSError):
            seen[str(source)] = content_hash(Path(source).read_bytes())
        return None if read is None or is_doubtful(source, compiled) else read(source, compiled, *rest)

    if read is not None:
        vars(rewrite)["_read_pyc"] = follow
    return seen


def is_doubtful(source: Path, compiled: Path) -> bool:
    """Whether ``source`` may have been saved again in the second in which ``compiled`` was made of it."""
    try:
        return int(os.stat(compiled).st_mtime) <= int(os.stat(source).st_mtime)
    except OSError:
        return False


def _report(loaded: Mapping[str, str], first_party: Container[str], inherited: Container[str]) -> Message:
    """What was imported from others, and the project's files: path → name of the module and hash of what ran."""
    modules = others(first_party, known=inherited)
    rewritten = [name for name in modules if _is_rewritten(sys.modules[name])]
    sources = {path: ["", known] for path, known in loaded.items() if path in first_party}
    for name, module in [*sys.modules.items()]:
        if name in inherited:
            continue
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and path in first_party:
            # What nobody has seen being loaded may have changed since.
            sources[path] = [name, loaded.get(path, "")]
    folders = [entry for entry in sys.path if os.path.join(entry, "__init__.py") in first_party]
    return {"is": "imported", "modules": modules, "rewritten": rewritten, "sources": sources, "folders": folders}


def _is_rewritten(module: object) -> bool:
    return type(getattr(module, "__loader__", None)).__module__ == "_pytest.assertion.rewrite"


def _tell(sock: socket.socket, message: Message) -> None:
    # Whoever wanted the run may have gone.
    with contextlib.suppress(OSError):
        sock.settimeout(REPORT_S)
        sock.sendall(encode(message))

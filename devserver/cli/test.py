"""``dev test``: the project's tests, forked from the warm process of a ``dev run`` in the same project.

Without one, and whenever a fork could not stand in for it, this process becomes ``python -m pytest``: the fork is only
ever faster. It has this process's standard streams, its working directory and the variables of ``dev exec``; signals
are passed on, and its exit code is ours.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver.cli.arguments import spelled, take
from devserver.cli.environment import command_that_adds
from devserver.cli.exec import become, prepare
from devserver.cli.main import report_notice
from devserver.config.project import project_root
from devserver.config.target import Target
from devserver.errors import EXIT_INTERNAL, DevserverError, UsageError
from devserver.events import Notice
from devserver.supervisor.channel import Outbox, receive_first
from devserver.supervisor.interpreter import interpreter_flags
from devserver.supervisor.rendezvous import connect
from devserver.supervisor.testing.arguments import added, why_plain
from devserver.supervisor.testing.request import Request, this_interpreter

if TYPE_CHECKING:
    from devserver.supervisor.channel import First

OPTIONS = ("chdir", "env_file", "mode", "strict_env")
"""Those of ``dev exec``."""
WATCH = "--watch"
STREAMS = (0, 1, 2)
PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def split(arguments: Sequence[str]) -> tuple[dict[str, object], list[str], bool]:
    """Our own options, pytest's arguments, and whether to watch.

    Ours may stand anywhere before ``--``; whatever else there is, and all behind it, is pytest's.

    :raises UsageError: one of ours lacks its value.
    """
    known = {spelling: found for spelling, found in spelled("run").items() if found[0].name in OPTIONS}
    given: dict[str, object] = {}
    rest: list[str] = []
    watch = False
    words = list(arguments)[::-1]
    while words:
        word = words.pop()
        if word == "--":
            rest += words[::-1]
            break
        if word == WATCH:
            watch = True
        elif word in {"--help", "--help-all"}:
            return {"help": True}, [], False
        elif word.startswith("--") and word.partition("=")[0] in known:
            take(word, words, known, given, "test")
        else:
            rest.append(word)
    return given, rest, watch


def test(given: Mapping[str, object], arguments: Sequence[str]) -> int:
    """Runs the tests once; the exit code of pytest.

    :raises UsageError: pytest is not installed, or a setting is wrong.
    """
    resolved, environment = prepare(given)
    directory = resolved.directory
    check_pytest(directory)
    before, trouble = added(environment, directory, arguments)
    why = trouble or why_plain([*before, *arguments])
    if not why:
        why = why_not_inherited(resolved.environment)
    if why:
        _say_plain(why)
    elif all(map(_is_open, STREAMS)):
        request = Request(tuple(arguments), os.getcwd(), environment, path(), this_interpreter(), umask())
        sock = connect(project_root(Target(), directory))
        if sock is not None:
            with sock:
                code = _Run(sock).follow(request)
            if code is not None:
                return code
        elif sys.stderr.isatty():
            _hint("dev run in another terminal makes this faster")
    return become(sys.executable, [sys.executable, *interpreter_flags(), "-m", "pytest", *arguments], environment)


def check_pytest(directory: Path) -> None:
    """:raises UsageError: pytest is not installed."""
    if importlib.util.find_spec("pytest") is None:
        raise UsageError(
            f"pytest is not installed in {sys.prefix}.",
            hint=f"Add it: {command_that_adds(Path(sys.prefix), directory, 'pytest')}",
        )


def path() -> tuple[str, ...]:
    """``sys.path`` as ``python -m pytest`` would have it: the current folder in the place of our script's."""
    if sys.flags.safe_path:
        return tuple(sys.path)
    return (os.getcwd(), *sys.path[1:])


def umask() -> int:
    """What files are made with."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class _Run:
    """A run that somebody else forks.

    :param sock: to whoever does.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def follow(self, request: Request) -> int | None:
        """Asks for it and waits for its end; its exit code, or None when this process must run pytest itself.

        :raises DevserverError: ``dev run`` ended meanwhile.
        """
        outbox = Outbox()
        for fd in STREAMS:
            outbox.put({"do": "keep"}, os.dup(fd))
        outbox.put({"do": "test", **request.to_message()})
        began = False
        last: First | None = None
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            outbox.send(self._sock)
            with self._signals():
                while True:
                    last = receive_first(self._sock, last)
                    match last.message.get("is"):
                        case "running":
                            began = True
                        case "exited":
                            return _ending(int(last.message["code"]))
                        case "plain":
                            if not began:
                                _say_plain(str(last.message["why"]))
                                return None
                            break
                        case _ if not began:
                            # Another version of devserver runs there.
                            return None
        except (OSError, EOFError, ValueError):
            if not began:
                return None
        finally:
            outbox.clear()
        error = DevserverError("dev run has ended, and the tests with it.", hint="Run dev test again.")
        error.exit_code = EXIT_INTERNAL
        raise error

    @contextlib.contextmanager
    def _signals(self) -> Any:
        previous = {}
        for name in PASSED_ON:
            previous[getattr(signal, name)] = signal.signal(getattr(signal, name), self._pass_on)
        previous[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: object) -> None:
        outbox = Outbox()
        outbox.put({"do": "signal", "number": number})
        with contextlib.suppress(OSError):
            outbox.send(self._sock)

    def _suspend(self, *_: object) -> None:
        """Ctrl+Z: the run stops as well, and goes on with us."""
        self._pass_on(signal.SIGSTOP, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._pass_on(signal.SIGCONT, None)


def _ending(code: int) -> int:
    """Ends as the run did: by the same signal, when it was one."""
    if code >= 0:
        return code
    with contextlib.suppress(OSError, ValueError):
        signal.signal(-code, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.kill(os.getpid(), -code)
    return 128 - code


def why_not_inherited(variables: Mapping[str, str]) -> str:
    """What an interpreter reads when it starts cannot be given to one that runs."""
    names = sorted(name for name in variables if name.startswith("PYTHON"))
    return f"{names[0]} of an env file is read when Python starts" if names else ""


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _say_plain(why: str) -> None:
    report_notice(Notice("info", f"A plain pytest runs the tests: {why}."))


def _hint(text: str) -> None:
    dim, normal = ("", "") if "NO_COLOR" in os.environ else ("\x1b[2m", "\x1b[0m")
    print(f"{dim}hint: {text}{normal}", file=sys.stderr)  # noqa: T201 - what a command says is its business

"""``dev test --watch``: runs tests after each save, those that it may concern.

    a file changed ─► which test files hang on it? ─► a run is forked ─► what it told, and what it wrote
                      (closure.py)                    (hosts.py)

One selector waits for the watcher's thread, the host, the run's output, keys and signals. A save that comes while tests
run interrupts them, and what they were run for counts once more. Whoever shows what happens is given it as facts.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from devserver.config.discovery import FirstParty
from devserver.events import Event, FilesLoaded, Notice
from devserver.supervisor.changes import Judge
from devserver.supervisor.channel import SupervisorChannel
from devserver.supervisor.cold import ColdProcess
from devserver.supervisor.early import start_zygote
from devserver.supervisor.forked import Zygote
from devserver.supervisor.saves import Saves
from devserver.supervisor.signals import STOP_SIGNALS, SignalQueue
from devserver.supervisor.testing.arguments import CONFIG_FILES
from devserver.supervisor.testing.closure import Closure
from devserver.supervisor.testing.hosts import Hosts, Started, TestRun
from devserver.supervisor.testing.request import Request, this_interpreter
from devserver.supervisor.variables import WorkerVariables
from devserver.supervisor.warm_set import WarmSet

if TYPE_CHECKING:
    from devserver.config import Config
    from devserver.supervisor.channel import Message

RUN = "devserver.supervisor.testing.run"
GRACE_S = 3.0
"""What a run gets to end after it was interrupted."""
OUTPUT_BYTES_MAX = 1 << 20
"""What is kept of the beginning and of the end of a run's output, each."""
POLL_S = 0.1
EXIT_INTERRUPTED = 130
NO_TESTS = 5
"""pytest's exit code."""


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    :ivar code: pytest's exit code.
    :ivar counts: ``passed``, ``failed``, ``error``, … → how many.
    :ivar files: how many test files there were.
    :ivar duration_s: from the save, or from the start, to the end.
    :ivar paths: what was saved.
    :ivar output: what was written.
    """

    code: int
    counts: Mapping[str, int]
    files: int
    duration_s: float
    paths: tuple[str, ...]
    output: bytes


class Shown(Protocol):
    """Who shows what happens."""

    def started(self, files: int | None) -> None:
        """Tests begin to run: so many files, or all there are."""

    def finished(self, run: Finished) -> None:
        """They have ended."""

    def notice(self, notice: Notice) -> None:
        """Something is worth a sentence."""


@dataclass
class Wanted:
    """What the next run is for.

    :ivar paths: what was saved.
    :ivar everything: all tests, whatever was saved.
    :ivar failed: those that failed.
    :ivar since: ``time.monotonic()`` of the first of it.
    """

    paths: set[str] = field(default_factory=set)
    everything: bool = False
    failed: bool = False
    since: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.paths) or self.everything or self.failed


class WatchedRun(TestRun):
    """A run that starts as a fresh interpreter when nothing can fork it."""

    def start_cold(self) -> None:
        """See :class:`TestRun`."""
        with self.channel:
            try:
                self._cold = ColdProcess.start(self.channel, (), self.request.environment, module=RUN)
            except OSError as exc:
                self.why = f"no process can be started ({exc.strerror})"
                self.end(None)


_Incoming: TypeAlias = "set[str] | Notice"


class TestWatch:
    """Watches until it is told to stop.

    :param config: the settings; those of the app do not matter.
    :param directory: the working directory, in which we are already.
    :param root: the project's root folder.
    :param arguments: pytest's.
    :param added: the variables that came into ``os.environ`` from env files.
    :param path: ``sys.path`` of a run.
    :param umask: what a run makes files with.
    :param fresh: why every run must be a fresh process, or an empty string.
    :param shown: who shows what happens.
    :param keys: the descriptor that keys come from, and what makes keys of bytes; None without a terminal.
    """

    __test__ = False

    def __init__(
        self,
        config: Config,
        directory: Path,
        root: Path,
        arguments: Sequence[str],
        *,
        added: Mapping[str, str],
        path: Sequence[str],
        umask: int,
        fresh: str,
        shown: Shown,
        keys: tuple[int, Callable[[bytes], list[str]]] | None = None,
    ) -> None:
        self._directory = str(directory)
        self._root = str(root)
        self._arguments = tuple(arguments)
        self._path = tuple(path)
        self._umask = umask
        self._fresh = fresh
        self._shown = shown
        self._keys = keys
        self._first_party = FirstParty.of(root)
        defaults = {"FASTAPI_ENV": "development"} if "FASTAPI_ENV" in added else {}
        self._variables = WorkerVariables(config, directory, added=added, defaults=defaults, say=self._say)
        self._hosts = Hosts(self._root, self._first_party, self._start_host, search_path=self._directory, say=self._say)
        self._saves = Saves(
            Judge(
                root=self._root,
                includes=("*.py", *(os.path.join(self._root, name) for name in CONFIG_FILES)),
                excludes=tuple(config.reload_excludes or ()),
                env_files=self._variables.files,
            ),
            say=self._say,
            replace=self._on_saved,
            put=self._put,
            delay_s=config.reload_delay,
            poll=config.poll,
        )
        self._selector = selectors.DefaultSelector()
        self._incoming: deque[_Incoming] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._closure = Closure()
        self._failed: dict[str, str] = {}
        """Node id → path of the test file, of what failed last."""
        self._wanted = Wanted(everything=True, since=time.monotonic())
        self._current = Wanted()
        """What the run that goes on is for."""
        self._selected: set[str] | None = None
        self._run: WatchedRun | None = None
        self._output = _Output()
        self._results: Message = {}
        self._imported: Message = {}
        self._deadline = float("inf")
        self._interrupted = False
        self._stopping = False
        self._code: int | None = None

    def run(self) -> int:
        """Returns the exit code of the last run."""
        wanted = [*STOP_SIGNALS, *([signal.SIGCHLD] if hasattr(signal, "SIGCHLD") else [])]
        try:
            with SignalQueue(wanted) as signals:
                self._selector.register(signals, selectors.EVENT_READ, lambda: self._on_signals(signals))
                self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain_wake)
                if self._keys is not None:
                    self._selector.register(self._keys[0], selectors.EVENT_READ, self._on_keys)
                self._hosts.attach(self._selector)
                self._saves.start(time.time())
                while not self._stopping:
                    self._turn()
        finally:
            self._close()
        return EXIT_INTERRUPTED if self._code is None else self._code

    def _turn(self) -> None:
        if self._run is None and self._wanted:
            self._begin()
        timeout_s = min(self._saves.next_look, self._deadline) - time.monotonic()
        if self._run is not None:
            timeout_s = min(timeout_s, POLL_S)
        for key, _ in self._selector.select(max(0.0, timeout_s) if timeout_s != float("inf") else None):
            key.data()
        while self._incoming:
            match self._incoming.popleft():
                case set() as paths:
                    self._saves.changed(paths)
                case Notice() as notice:
                    self._shown.notice(notice)
        self._saves.look_again()
        run = self._run
        if run is not None and run.mode == "cold":
            code = run.poll()
            if code is not None:
                self._hosts.ended(run, code)
        if self._run is not None and time.monotonic() >= self._deadline:
            self._deadline = float("inf")
            self._run.kill()

    # Runs

    def _begin(self) -> None:
        wanted, self._wanted = self._wanted, Wanted()
        only = self._choose(wanted)
        if only is not None and not only:
            return
        self._saves.importing()
        environment = self._variables.read()
        self._current, self._selected = wanted, only
        self._results, self._imported = {}, {}
        self._shown.started(None if only is None else len(only))
        request = Request(self._arguments, self._directory, environment, self._path, this_interpreter(), self._umask)
        self._run = run = WatchedRun(
            request,
            self._open_streams(),
            besides={
                "watch": {
                    "only": None if only is None else sorted(only),
                    "first": [*self._failed],
                    "failed": wanted.failed and not wanted.everything,
                },
                "root": self._root,
                "extra_dirs": self._first_party.extra_dirs,
            },
            on_message=self._on_message,
            on_end=self._on_end,
        )
        if self._fresh:
            self._hosts.run_fresh(run)
        else:
            self._hosts.run(run, environment)

    def _choose(self, wanted: Wanted) -> set[str] | None:
        """The test files to run; None means all. What concerns none is taken out of the paths."""
        if wanted.everything:
            return None
        failed = {path for path in self._failed.values() if os.path.exists(path)}
        if wanted.failed:
            return failed
        if not self._closure.tests:
            # Nobody has told which files there are: tests that run elsewhere, or a run that failed altogether.
            return None
        concerned = self._closure.concerned(wanted.paths, failed)
        wanted.paths = {*concerned}
        files: set[str] = set()
        for tests in concerned.values():
            if tests is None:
                return None
            files |= tests
        return files

    def _open_streams(self) -> list[int]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._output = output = _Output()
        output.fd = reader
        self._selector.register(reader, selectors.EVENT_READ, lambda: self._on_output(output))
        return [os.open(os.devnull, os.O_RDONLY), writer, os.dup(writer)]

    def _on_output(self, output: _Output) -> None:
        if not output.read():
            self._close_output(output)

    def _close_output(self, output: _Output) -> None:
        if output.fd >= 0:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(output.fd)
            os.close(output.fd)
            output.fd = -1

    def _on_message(self, message: Message) -> None:
        match message.get("is"):
            case "results":
                self._results = message
            case "imported":
                self._imported = message

    def _on_end(self, code: int | None, why: str) -> None:
        self._run = None
        interrupted, self._interrupted = self._interrupted, False
        self._deadline = float("inf")
        self._on_output(self._output)
        self._close_output(self._output)
        sources = self._imported.get("sources", {})
        executed = tuple((path, known) for path, (_, known) in sources.items())
        self._saves.reported(FilesLoaded(executed, ()))
        self._saves.settle()
        if interrupted:
            # It was interrupted for this, and what it was run for still counts.
            self._wanted.paths |= self._current.paths
            self._wanted.everything |= self._current.everything
            self._wanted.failed |= self._current.failed
            self._wanted.since = self._current.since
            return
        if code is None:
            self._shown.notice(Notice("error", f"The tests cannot be run: {why}."))
            return
        self._learn(sources)
        if code == NO_TESTS and self._selected is not None:
            # A file that only looks like one of tests.
            return
        self._code = code if code >= 0 else 128 - code
        self._shown.finished(
            Finished(
                self._code,
                self._results.get("counts", {}),
                len(self._results.get("tests", ())) if self._selected is None else len(self._selected),
                time.monotonic() - self._current.since,
                tuple(sorted(self._current.paths)),
                self._output.text,
            )
        )

    def _learn(self, sources: Mapping[str, Sequence[str]]) -> None:
        results, everything = self._results, self._selected is None
        if not results:
            return
        names = {path: name for path, (name, _) in sources.items()}
        self._closure.ran(
            results["tests"], names, self._imported.get("folders", ()), results["patterns"], everything=everything
        )
        failed = {known: os.path.join(results["root"], known.partition("::")[0]) for known in results["failed"]}
        if everything:
            self._failed = failed
        else:
            ran = self._selected or set()
            kept = {known: path for known, path in self._failed.items() if path not in ran and os.path.exists(path)}
            self._failed = {**failed, **kept}

    def _interrupt(self) -> None:
        if self._run is None:
            return
        self._interrupted = True
        if not self._run.pid:
            # Nothing has begun.
            self._run.kill()
        elif self._deadline == float("inf"):
            self._run.signal(signal.SIGINT)
            self._deadline = time.monotonic() + GRACE_S

    def _start_host(self, environment: Mapping[str, str], _: Callable[[], None]) -> Started:
        app = WarmSet(self._root)
        try:
            interpreter, sock = start_zygote(environment)
        except OSError as exc:
            return f"no process can be started ({exc.strerror})"
        return Zygote(environment, interpreter, SupervisorChannel(sock)), app.modules if app.usable else ()

    # What happens outside

    def _on_saved(self, paths: set[str], seen_at: float) -> None:
        if self._run is not None:
            # Tests write files, too. What they have loaded counts at once, a new test file when the run is over.
            known = {path for path in paths if self._closure.knows(path)}
            later = {path for path in paths - known if self._closure.is_test(path)}
            if later and not known:
                self._merge(Wanted(paths=later, since=seen_at))
            paths = known | later if known else set()
        if paths:
            self._want(Wanted(paths=paths, since=seen_at))

    def _want(self, wanted: Wanted) -> None:
        self._merge(wanted)
        self._interrupt()

    def _merge(self, wanted: Wanted) -> None:
        if not self._wanted:
            self._wanted = wanted
        else:
            self._wanted.paths |= wanted.paths
            self._wanted.everything |= wanted.everything
            self._wanted.failed |= wanted.failed

    def _on_keys(self) -> None:
        if self._keys is None:
            return
        fd, decode = self._keys
        try:
            data = os.read(fd, 1024)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(fd)
            return
        for key in decode(data):
            match key:
                case "enter" | "a":
                    self._want(Wanted(everything=True, since=time.monotonic()))
                case "f" if self._failed:
                    self._want(Wanted(failed=True, since=time.monotonic()))
                case "f":
                    self._shown.notice(Notice("info", "Nothing has failed."))
                case "q":
                    self._stopping = True
                case _:
                    pass

    def _on_signals(self, signals: SignalQueue) -> None:
        if any(number in STOP_SIGNALS for number in signals.take()):
            self._stopping = True

    def _say(self, event: Event) -> None:
        if isinstance(event, Notice) and event.level != "debug":
            self._shown.notice(event)

    def _put(self, incoming: _Incoming) -> None:
        self._incoming.append(incoming)
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_reader.recv(4096)

    def _close(self) -> None:
        self._saves.stop()
        run = self._run
        self._hosts.close()
        if run is not None:
            run.kill()
            run.poll()
        self._close_output(self._output)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
        sys.stdout.flush()


class _Output:
    """What a run writes: the beginning and the end of it, when it is much."""

    def __init__(self) -> None:
        self.fd = -1
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    @property
    def text(self) -> bytes:
        """What there was."""
        gap = f"\n… {self._left_out:,} bytes are left out …\n".encode() if self._left_out else b""
        return bytes(self._head) + gap + bytes(self._tail)

    def read(self) -> bool:
        """Reads what has come; whether there may be more."""
        while self.fd >= 0:
            try:
                data = os.read(self.fd, 65_536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            room = OUTPUT_BYTES_MAX - len(self._head)
            self._head += data[:room]
            self._tail += data[room:] if room > 0 else data
            beyond = len(self._tail) - OUTPUT_BYTES_MAX
            if beyond > 0:
                del self._tail[:beyond]
                self._left_out += beyond
        return False

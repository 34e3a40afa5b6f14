"""A worker that leaves a copy of itself behind in the middle of its import: a checkpoint.

Before a file is run that is often saved, the worker forks. The child goes on and serves; the parent waits with
everything imported that comes before the file, and later workers are forked from it, which begin with that file. Only
what a fresh process would come to again may be in a checkpoint: none is made any more once the import has started a
thread, left something open, written, connected or started a process, for a worker that begins later would not do that
again. On what else its state depends is told to the supervisor as an
:class:`~devserver.supervisor.import_record.ImportRecord`.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from devserver.app.source_loader import CACHE_FOLDER, SourceLoader
from devserver.supervisor import children, descriptors, forker, imports
from devserver.supervisor.file_recorder import IN_MEMORY
from devserver.supervisor.generators import generators
from devserver.supervisor.import_record import ImportRecord, names_hash
from devserver.supervisor.threads import thread_count

if TYPE_CHECKING:
    from devserver.supervisor.channel import WorkerChannel
    from devserver.supervisor.file_recorder import FileRecorder

WORTH_S = 0.01
"""A checkpoint takes some milliseconds and a process; what took less of the processor is as soon done again."""
FOLDERS_MAX = 1000
"""An app that lists more folders while it is imported is looking for something else than its modules."""

_EFFECTS = {
    "socket.connect": "connects to something",
    "socket.bind": "binds a socket",
    "socket.sendto": "sends something",
    "sqlite3.connect": "opens a database",
    "subprocess.Popen": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.mkdir": "makes a folder",
    "os.rmdir": "removes a folder",
    "os.remove": "removes a file",
    "os.rename": "renames a file",
    "os.link": "makes a link",
    "os.symlink": "makes a link",
    "os.truncate": "writes a file",
    "os.chmod": "changes a file's mode",
    "os.chown": "changes a file's owner",
    "os.utime": "changes a file's time",
}
"""Audit events (PEP 578) of what is not undone by another process → what to say."""
_HARMLESS = ("/dev/", "/proc/", "/sys/")
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_SELECTOR = "anon_inode:[eventpoll]"
_ENDED_S = 0.05
"""How long the kernel may take to forget a thread that Python has seen the end of."""
_IMPORT_SYSTEM = "<frozen importlib._bootstrap_external>"


class Checkpoints:
    """Decides when a worker leaves a checkpoint behind, and keeps what that depends on.

    :param loader: of the project's own files.
    :param recorder: of the files that are read and written.
    :param first_party: which files are the project's.
    :param root: the project's root folder.
    """

    def __init__(self, loader: SourceLoader, recorder: FileRecorder, first_party: Container[str], root: str) -> None:
        self._loader = loader
        self._recorder = recorder
        self._first_party = first_party
        self._cache = os.path.join(os.path.abspath(root), CACHE_FOLDER) + os.sep
        self._wanted: set[str] = set()
        self._effect = ""
        self._searched: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self._recording = False
        sys.addaudithook(self._audit)

    def begin(self, wanted: Iterable[str]) -> None:
        """The import begins here, or goes on from here.

        :param wanted: the files before which there should be a checkpoint.
        """
        self._wanted = {*wanted}
        # The channel's thread has a selector, which is closed with it.
        self._files = {fd: place for fd, place in imports.open_files().items() if place != _SELECTOR}
        # Those of Python are ended before a fork, or are the app's.
        self._threads = thread_count() - threading.active_count() + 1
        for folder in sys.path:
            self._search(os.path.abspath(folder))
        self._recording = True
        generators.watch()
        self._since = time.process_time()

    def end(self) -> None:
        """The import is over."""
        self._recording = False
        self._wanted.clear()
        generators.stop()

    def due(self, path: str) -> bool:
        """Whether there should be a checkpoint before this file is run; called for each of the project's own."""
        self._search(os.path.dirname(path))
        if path not in self._wanted:
            return False
        self._wanted.remove(path)
        return time.process_time() - self._since >= WORTH_S

    def obstacle(self) -> str:
        """What the import has done that a later worker would not do again, or an empty string.

        To be asked when our own threads have ended.
        """
        if self._effect:
            return self._effect
        for path in self._recorder.all_written():
            if not path.startswith((self._cache, *_HARMLESS)) and f"{os.sep}__pycache__{os.sep}" not in path:
                return f"writes {path}"
        if not _threads_end(self._threads):
            return "starts a thread"
        left = imports.left_open(self._files)
        return f"leaves {left[0]} open" if left else ""

    def leave(self, path: str, channel: WorkerChannel, origins: dict[str, tuple[int, int]]) -> socket.socket | None:
        """Leaves a checkpoint behind.

        Returns None in the worker, which is another process from now on; and the worker's end of a new channel in each
        of those that begin here.

        :param path: the file that comes next.
        :param channel: of this worker, at rest.
        :param origins: of the modules that were imported ahead of the app.
        """
        record = self._record()
        # It goes on as the worker, with all that this one has.
        known = descriptors.held()
        random_state = random.getstate()
        ours, theirs = socket.socketpair()
        # This fork is no effect of the app's.
        self._recording = False
        try:
            child = children.fork(known, [ours.fileno()])
        except OSError:
            # No more processes, or no memory: then there is none.
            ours.close()
            theirs.close()
            self._recording = True
            return None
        if child == 0:
            theirs.close()
            os.setsid()
            # Seeded anew by the fork, though the app may have chosen the seed.
            random.setstate(random_state)
            channel.send(
                {"is": "checkpoint", "pid": os.getpid(), "waits": os.getppid(), "path": path, **record.to_message()},
                ours.detach(),
            )
            self._since = time.process_time()
            self._recording = True
            return None
        ours.close()
        channel.abandon()
        begun = forker.Forker(theirs, child, origins).serve()
        if begun is None:
            os._exit(0)
        return begun

    def _record(self) -> ImportRecord:
        executed = {path: (digest, self._loader.stamps[path]) for path, digest in self._loader.executed.items()}
        read = {
            path: known
            for path, known in self._recorder.all_read().items()
            if path not in executed and not path.startswith((self._cache, *_HARMLESS))
        }
        return ImportRecord(executed, read, dict(self._searched), dict(self._listed))

    def _search(self, folder: str) -> None:
        # Any name will do: it is the folder that counts.
        if folder not in self._searched and os.path.join(folder, "_.py") in self._first_party:
            self._searched[folder] = names_hash(folder, importable=True)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._recording:
            return
        if event in {"os.listdir", "os.scandir"}:
            self._list(arguments[0])
        elif not self._effect and event in _EFFECTS:
            self._effect = self._seen(event, arguments)

    def _list(self, place: Any) -> None:
        # The import system looks into folders as well; those are known.
        if sys._getframe(2).f_code.co_filename == _IMPORT_SYSTEM:  # noqa: SLF001
            return
        if isinstance(place, int):
            folder = os.path.realpath(f"/proc/self/fd/{place}")
        else:
            folder = os.path.abspath("." if place is None else os.fsdecode(place))
        # What is installed is looked at in another way.
        if folder in self._listed or folder.startswith(_HARMLESS) or not _PACKAGES.isdisjoint(folder.split(os.sep)):
            return
        if len(self._listed) >= FOLDERS_MAX:
            self._effect = "lists too many folders"
            return
        # This lists it once more.
        self._recording = False
        try:
            self._listed[folder] = names_hash(folder, importable=False)
        finally:
            self._recording = True

    def _seen(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event == "sqlite3.connect" and arguments[0] == IN_MEMORY:
            return ""
        if event.startswith("os.") and arguments and isinstance(arguments[0], str | bytes):
            # Compiled code is written by the import system, and by us.
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path.startswith(self._cache) or f"{os.sep}__pycache__" in path:
                return ""
        return _EFFECTS[event]


def _threads_end(wanted: int) -> bool:
    deadline = time.monotonic() + _ENDED_S
    while thread_count() > wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True

"""No supervision: this process serves the app itself, as a command does.

A command differs from a program that embeds a server in how it ends: signals that stop it are not raised again, since
its exit code says what there is to say; a second signal ends it even when the event loop is blocked; and threads that
still run do not hold it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from devserver.app.load import put_on_path
from devserver.app.source_loader import CACHE_FOLDER, install
from devserver.config.discovery import FirstParty, project_root
from devserver.errors import EXIT_INTERNAL, EXIT_OK
from devserver.server import listeners as listening
from devserver.server import loop as loops
from devserver.server.server import Server
from devserver.supervisor import children
from devserver.supervisor.ending import end_process
from devserver.supervisor.observers import Observers
from devserver.supervisor.signals import interrupting

if TYPE_CHECKING:
    from devserver.config.settings import Config
    from devserver.config.target import Target
    from devserver.events import Emitter
    from devserver.protocol.state import FailureResponse
    from devserver.server.doubled import Doubled
    from devserver.server.listeners import Listener

FORCE_S = 1.0
"""How long the loop may take to obey a second signal before the process is ended under it."""


def run_single(config: Config, target: Target, listeners: Sequence[Listener], emitter: Emitter) -> int:
    """Serves ``target`` until a signal, the app or a limit ends it; call it in the main thread.

    :param listeners: bound; closed when it returns.
    :returns: the exit code. Call :func:`devserver.launch.end_threads` with it at the end.
    :raises DevserverError: the app does not load or start.
    """
    server = _CommandServer(
        config,
        target=target,
        listeners=listeners,
        emitter=emitter,
        failure_response=lambda failure, scope: _page(share=config.share_errors)(failure, scope),
    )
    root = project_root(target, Path.cwd())
    # First, as handlers that the log config names may be the user's code. A process that was started after a save must
    # not run what __pycache__ holds from before it.
    put_on_path(target)
    install(FirstParty.of(root, config.reload_dirs or ()), root / CACHE_FOLDER)
    try:
        with Observers(config, emitter, told_by="ui"), interrupting(server.doubled):
            children.make_ordinary(server.own_descriptors)
            server.prepare()
            loops.run(server.serve(), config.loop, wait_for_threads=False)
    except KeyboardInterrupt:
        return EXIT_OK
    except SystemExit as exc:
        # The app's own wish.
        return _exit_code(exc.code)
    finally:
        listening.close(listeners)
    return EXIT_OK


class _CommandServer(Server):
    @property
    def doubled(self) -> Doubled:
        """What knows when a signal came."""
        return self._doubled

    def raise_captured_signals(self) -> None:
        """The exit code is 0: it was asked to stop, and has."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:
            # The loop may be the thing that hangs. A daemon, so that it holds nothing when it does not.
            timer = threading.Timer(FORCE_S, self._end)
            timer.daemon = True
            timer.start()

    def _end(self) -> None:
        listening.close(self._listeners or ())
        end_process(EXIT_OK)


@functools.cache
def _page(*, share: bool) -> FailureResponse:
    # Imported here: most apps never raise, and should not wait for what they do not need.
    from devserver.devtools.error_page import responder

    return responder(share=share)


def _exit_code(code: object) -> int:
    if code is None:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_INTERNAL

"""The program that tests of the reload supervisor start: no command line and no terminal, events as JSON lines.

Started as ``python -c "from tests.support.reload_driver import main; main()" OPTIONS`` in the project's folder; OPTIONS
is a JSON object for :class:`devserver.Config`. A line on the standard input is a command: reload, pause, resume, stop.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devserver import events
from devserver.commands import Pause, Reload, Resume, Stop
from devserver.config import Config
from devserver.config.discovery import find_target
from devserver.events import Emitter, to_json
from devserver.server.listeners import bind
from devserver.supervisor.reload import ReloadSupervisor

if TYPE_CHECKING:
    from devserver.commands import Command

COMMANDS: dict[str, Command] = {"reload": Reload(), "pause": Pause(), "resume": Resume(), "stop": Stop()}
EVENTS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in {events.Failure, events.Frame}
]


def main() -> None:
    """Serves until it is stopped; exits with the supervisor's code."""
    # What apps print, and do not always end with a line feed, must not get between the events.
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    emitter = Emitter()
    emitter.listen(_tell, EVENTS)
    config = Config(**json.loads(sys.argv[1]))
    listeners = bind(config, environ=os.environ, emitter=emitter)
    supervisor = ReloadSupervisor(config, find_target(config, Path.cwd()), listeners, emitter)
    threading.Thread(target=_obey, args=(supervisor,), daemon=True).start()
    code = supervisor.run()
    _write({"event": "End", "code": code, "modules": sorted(name for name in sys.modules if "." not in name)})
    for listener in listeners:
        listener.close()
    sys.exit(code)


def _tell(event: Any) -> None:
    _write(to_json(event))


def _write(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def _obey(supervisor: ReloadSupervisor) -> None:
    for line in sys.stdin:
        supervisor.post(COMMANDS[line.strip()])
        _write({"event": "Obeyed"})

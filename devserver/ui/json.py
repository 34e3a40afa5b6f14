"""Events as JSON, one object a line, for programs that run ``dev``; ``docs/terminal.md`` describes the objects.

Every event is written as :func:`devserver.events.to_json` gives it, so :func:`devserver.events.from_json` reads it
back; a failure has one member more, ``markdown``. Errors, which are no events, have the same form. Everything is ASCII,
so no stream is unable to print it.
"""

from __future__ import annotations

import json

from devserver import events
from devserver.errors import DevserverError
from devserver.events import (
    AppFailed,
    AppRaised,
    EnvironmentChanged,
    FilesChanged,
    LifespanChanged,
    Notice,
    Reloaded,
    Repeated,
    RequestsSeen,
    RoutesSeen,
    ServerReady,
    ServerStarting,
    ServerStopped,
    ServerStopping,
    WorkerDied,
)

WRITTEN = (
    Notice,
    ServerStarting,
    LifespanChanged,
    ServerReady,
    ServerStopping,
    ServerStopped,
    AppFailed,
    AppRaised,
    RequestsSeen,
    RoutesSeen,
    FilesChanged,
    EnvironmentChanged,
    Reloaded,
    Repeated,
    WorkerDied,
)
"""The types of the events that are written: all that cross pipes, but for the lists of files, which are internal."""


def line(event: events.Event | DevserverError) -> str:
    """The event or error as one line, its line break included."""
    if isinstance(event, DevserverError):
        failed = AppFailed(event.message, event.hint, getattr(event, "failure", None))
        members = {**events.to_json(failed), **_markdown(failed), "event": "Error", "exit_code": event.exit_code}
    elif isinstance(event, AppFailed | AppRaised):
        members = {**events.to_json(event), **_markdown(event)}
    else:
        members = events.to_json(event)
    return json.dumps(members) + "\n"


def _markdown(failed: AppFailed | AppRaised) -> dict[str, str]:
    """The failure as one text that can be pasted."""
    # Imported here: most commands never fail.
    from devserver.devtools.error_text import markdown

    return {"markdown": markdown(failed)}

"""How each contender is started: one row a server, with the options that make the rows alike.

Alike means: one worker, one loop (uvloop), the access log off unless the case is about it, messages below warnings off.
What a server does beyond that by default stays on, since that is what its users run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

IDLE_S = 600
"""How long the servers keep an idle connection in the case about idle connections."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a case asks of a server."""

    app: str
    port: int
    access_log: bool = False
    idle: bool = False
    """Ten thousand idle connections will be held: nothing may close them."""
    threads: int = 0
    """Threads that call the app, which is a WSGI app then; 0 for an ASGI app."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that takes part."""

    name: str
    distribution: str
    """The installed package that its version is read from; empty for the floor."""
    arguments: Callable[[Wanted], Sequence[str]]
    """What follows the interpreter on the command line."""


def _devserver(wanted: Wanted) -> list[str]:
    if wanted.threads:
        # --threads is an option of dev prod, whose workers are in processes of their own.
        return [
            *("-m", "devserver", "prod", wanted.app, "--workers", "1", "--threads", str(wanted.threads)),
            *("--host", "127.0.0.1", "--port", str(wanted.port), "--log-level", "warning", "--no-access-log"),
        ]
    return [
        *("-m", "devserver", "run", wanted.app, "--no-reload", "--host", "127.0.0.1", "--port", str(wanted.port)),
        *(
            ["--log-level", "info", "--access-log"]
            if wanted.access_log
            else ["--log-level", "warning", "--no-access-log"]
        ),
        *(["--timeout-keep-alive", str(IDLE_S)] if wanted.idle else []),
    ]


def _uvicorn(wanted: Wanted) -> list[str]:
    return [
        *("-m", "uvicorn", wanted.app, "--host", "127.0.0.1", "--port", str(wanted.port)),
        *(["--log-level", "info"] if wanted.access_log else ["--log-level", "warning", "--no-access-log"]),
        *(["--timeout-keep-alive", str(IDLE_S)] if wanted.idle else []),
    ]


def _granian(wanted: Wanted) -> list[str]:
    interface = ["wsgi", "--blocking-threads", str(wanted.threads)] if wanted.threads else ["asgi", "--loop", "uvloop"]
    return [
        *("-m", "granian", wanted.app, "--host", "127.0.0.1", "--port", str(wanted.port)),
        *("--workers", "1", "--http", "1", "--interface", *interface),
        *(["--log-level", "info", "--access-log"] if wanted.access_log else ["--log-level", "warning"]),
        *(["--backlog", "20000"] if wanted.idle else []),
    ]


def _gunicorn(wanted: Wanted) -> list[str]:
    worker = ["gthread", "--threads", str(wanted.threads)] if wanted.threads else ["asgi", "--asgi-loop", "uvloop"]
    return [
        *("-m", "gunicorn", wanted.app, "--workers", "1", "--bind", f"127.0.0.1:{wanted.port}"),
        *("--no-control-socket", "--worker-class", *worker),
        *(["--access-logfile", "-"] if wanted.access_log else ["--log-level", "warning"]),
        *(["--keep-alive", str(IDLE_S), "--worker-connections", "20000"] if wanted.idle else []),
    ]


def _hypercorn(wanted: Wanted) -> list[str]:
    return [
        *("-m", "hypercorn", wanted.app, "--bind", f"127.0.0.1:{wanted.port}", "--workers", "1", "-k", "uvloop"),
        *(["--access-logfile", "-"] if wanted.access_log else ["--log-level", "warning"]),
        *(["--keep-alive", str(IDLE_S)] if wanted.idle else []),
    ]


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("floor", "", lambda wanted: ["floor.py", "--port", str(wanted.port)]),
        Contender("devserver", "devserver", _devserver),
        Contender("uvicorn", "uvicorn", _uvicorn),
        Contender("granian", "granian", _granian),
        # With the one thread for a WSGI app that it takes unless told otherwise.
        Contender("granian-1", "granian", lambda wanted: _granian(replace(wanted, threads=1))),
        Contender("gunicorn", "gunicorn", _gunicorn),
        Contender("hypercorn", "hypercorn", _hypercorn),
    )
}

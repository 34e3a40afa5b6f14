"""How each contender is started: one row a server, with the options that make the rows alike.

Alike means: one worker, one loop (uvloop), the access log off unless the case is about it, messages below warnings off.
What a server does beyond that by default stays on, since that is what its users run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that takes part."""

    name: str
    distribution: str
    """The installed package that its version is read from; empty for the floor."""
    arguments: Callable[[Wanted], Sequence[str]]
    """What follows the interpreter on the command line."""


def _devserver(wanted: Wanted) -> list[str]:
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
    return [
        *("-m", "granian", wanted.app, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(wanted.port)),
        *("--workers", "1", "--loop", "uvloop", "--http", "1"),
        *(["--log-level", "info", "--access-log"] if wanted.access_log else ["--log-level", "warning"]),
        *(["--backlog", "20000"] if wanted.idle else []),
    ]


def _gunicorn(wanted: Wanted) -> list[str]:
    return [
        *(
            "-m",
            "gunicorn",
            wanted.app,
            "--worker-class",
            "asgi",
            "--workers",
            "1",
            "--bind",
            f"127.0.0.1:{wanted.port}",
        ),
        *("--no-control-socket", "--asgi-loop", "uvloop"),
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
        Contender("gunicorn", "gunicorn", _gunicorn),
        Contender("hypercorn", "hypercorn", _hypercorn),
    )
}

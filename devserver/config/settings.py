"""The options: one frozen field each, checked when a :class:`Config` is made, which does nothing else.

No logging is set up, no file and no environment variable is read, nothing is imported and no socket is made here: other
stages do that with what they read from the Config. ``sources.py`` knows where values come from, ``option.py`` what an
option is; this file says which options there are and which of them contradict each other.

The defaults written here are those of the Python API, which are uvicorn's. ``run=`` and ``prod=`` give the defaults of
``dev run`` and ``dev prod`` where they differ.
"""

# ruff: noqa: RUF009
# RUF009 guards against mutable defaults; option() is dataclasses.field() with our metadata.

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, Field, dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self, TypeAlias

from devserver.config import option as options
from devserver.config.option import option
from devserver.errors import ConfigError
from devserver.events import Notice

if TYPE_CHECKING:
    import ssl
    from configparser import RawConfigParser

Strings: TypeAlias = Sequence[str] | str | None
"""One or several; a tuple once the Config is made."""
PathLike: TypeAlias = str | os.PathLike[str]

LOCAL_PEERS = ("127.0.0.1", "::1")
"""Peers whose proxy headers are believed when nobody says which."""

LOG_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")
X_FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")

APP, ADDRESS, RELOAD, PROTOCOL, LIMITS, TIMEOUTS = "App", "Where it listens", "Reload", "Protocol", "Limits", "Timeouts"
LOGS, PROXIES, TLS, WEBSOCKET, PROCESS, TERMINAL = "Logging", "Proxies", "TLS", "WebSocket", "Process", "Terminal"
WORKERS = "Workers"
GROUPS = (APP, ADDRESS, RELOAD, WORKERS, TERMINAL, LOGS, PROTOCOL, PROXIES, LIMITS, TIMEOUTS, TLS, WEBSOCKET, PROCESS)
"""The order of the groups in help and documentation."""

API_ONLY, API_AND_RUN, API_AND_PROD = ("api",), ("api", "run"), ("api", "prod")

# ssl.PROTOCOL_TLS_SERVER and ssl.CERT_NONE as numbers: importing ssl costs milliseconds that only TLS should pay.
_TLS_SERVER, _CERT_NONE = 17, 0
_KIB, _MIB = 1024, 1024 * 1024
_SIZE_MAX = 2**40
_SECONDS_MAX = 10**7
# Each has a stack of its own, and they share one interpreter lock: more is a mistake.
_THREADS_MAX = 1024
# A connection that cannot hold a request line is no connection; a line beyond this is an attack, not a request.
_LINE_MIN, _LINE_MAX = 64, _MIB


def _default_log_config() -> dict[str, Any]:
    # Looked up when it is needed, so that a program which changed the dictionary gets what it changed.
    from devserver.config.logging_config import LOGGING_CONFIG

    return LOGGING_CONFIG


@dataclass(frozen=True)
class Config:
    """Every setting of a server; frozen, and checked when it is made.

    Takes what ``uvicorn.Config`` takes, in its order and with its defaults, and the options of our own by keyword.
    Make a changed copy with :func:`dataclasses.replace`. Hand it to :class:`devserver.Server`, or let
    :func:`devserver.run` make it.

    :param app: an ASGI app, its import string, or None to have it found (see ``discovery.py``).
    :raises ConfigError: a value is of another type, out of bounds, or contradicts another one.
    """

    app: Any = option(
        None,
        help="module:attribute, module, file.py, 'module:factory(1, k=\"v\")' or a folder; found when left out.",
        group=APP,
        kind="object",
        none=True,
        metavar="[APP]",
    )
    host: str = option("127.0.0.1", help="Address or host name to listen on.", group=ADDRESS)
    port: int = option(
        8000, help="Port to listen on; 0 takes a free one.", group=ADDRESS, kind="int", minimum=0, maximum=65535
    )
    uds: PathLike | None = option(
        None, help="Unix socket to listen on.", group=ADDRESS, kind="path", none=True, metavar="PATH"
    )
    fd: int | None = option(
        None,
        help="Descriptor of a socket that is already open.",
        group=ADDRESS,
        kind="int",
        none=True,
        minimum=0,
        maximum=2**31 - 1,
    )
    loop: str = option(
        "auto",
        help="Event loop: auto, uvloop, asyncio, or an import string of a loop factory.",
        group=PROTOCOL,
        kind="name",
        choices=("auto", "uvloop", "asyncio"),
        stand_ins=("none", "zuvloop"),
    )
    http: Any = option(
        "auto",
        help="HTTP parser: auto, httptools, h11, or an import string of a protocol class.",
        group=PROTOCOL,
        kind="name",
        choices=("auto", "httptools", "h11"),
        stand_ins=("zttp",),
    )
    http2: bool = option(False, help="HTTP/2; accepted, not served in this version.", group=PROTOCOL, kind="bool")
    ws: Any = option(
        "auto",
        help="WebSocket implementation: auto, none, or an import string.",
        group=WEBSOCKET,
        kind="name",
        choices=("auto", "none"),
        stand_ins=("websockets", "websockets-sansio", "wsproto"),
    )
    ws_max_size: int = option(
        16 * _MIB, help="Largest WebSocket message.", group=WEBSOCKET, kind="size", minimum=1, maximum=_SIZE_MAX
    )
    ws_max_queue: int = option(
        32, help="Most WebSocket messages that wait for the app.", group=WEBSOCKET, kind="int", minimum=1, maximum=_MIB
    )
    ws_ping_interval: float | None = option(
        20.0,
        help="Seconds between pings; 0 or none: no pings.",
        group=WEBSOCKET,
        kind="seconds",
        none=True,
        maximum=_SECONDS_MAX,
    )
    ws_ping_timeout: float | None = option(
        20.0,
        help="Seconds that a pong may take; none: for ever.",
        group=WEBSOCKET,
        kind="seconds",
        none=True,
        maximum=_SECONDS_MAX,
    )
    ws_per_message_deflate: bool = option(
        True, help="Compress WebSocket messages.", group=WEBSOCKET, kind="bool", takes_bool=True
    )
    lifespan: str = option(
        "auto", help="Whether the app has a lifespan.", group=APP, kind="choice", choices=("auto", "on", "off")
    )
    env_file: PathLike | Sequence[PathLike] | None = option(
        (),
        help="File of environment variables; the real environment wins.",
        group=APP,
        kind="path",
        many=True,
        metavar="FILE",
    )
    log_config: Mapping[str, Any] | PathLike | RawConfigParser | IO[Any] | None = option(
        factory=_default_log_config,
        help="File that sets up logging: .json, .yaml or .ini.",
        group=LOGS,
        kind="object",
        none=True,
        metavar="FILE",
    )
    log_level: str | int | None = option(
        None,
        help="critical, error, warning, info, debug or trace.",
        group=LOGS,
        kind="level",
        none=True,
        choices=LOG_LEVELS,
        metavar="LEVEL",
    )
    access_log: bool = option(True, help="Log a line for every request.", group=LOGS, kind="bool")
    use_colors: bool | None = option(
        None,
        help="Colours; on a terminal when left out.",
        group=TERMINAL,
        kind="bool",
        none=True,
    )
    interface: str = option(
        "auto",
        help="What the app speaks.",
        group=APP,
        kind="choice",
        choices=("auto", "asgi3", "asgi2", "wsgi"),
    )
    reload: bool = option(
        False,
        run=True,
        help="Serve the new code after a file was saved.",
        group=RELOAD,
        kind="bool",
        commands=API_AND_RUN,
    )
    reload_dirs: Strings = option(
        (),
        help="Folder to watch, instead of the current one.",
        group=RELOAD,
        kind="path",
        many=True,
        commands=API_AND_RUN,
        cli=("--reload-dir",),
        metavar="DIR",
    )
    reload_delay: float = option(
        0.25,
        run=0.005,
        help="Seconds that changes are collected before they are acted on.",
        group=RELOAD,
        kind="seconds",
        minimum=0,
        maximum=60,
        commands=API_AND_RUN,
    )
    reload_includes: Strings = option(
        (),
        help="File, folder or pattern whose changes count too.",
        group=RELOAD,
        many=True,
        commands=API_AND_RUN,
        cli=("--reload-include",),
        metavar="PATTERN",
    )
    reload_excludes: Strings = option(
        (),
        help="File, folder or pattern whose changes do not count.",
        group=RELOAD,
        many=True,
        commands=API_AND_RUN,
        cli=("--reload-exclude",),
        metavar="PATTERN",
    )
    workers: int | None = option(
        None,
        help="Worker processes; when left out dev prod has one for each CPU that it may use, and at least 2.",
        group=WORKERS,
        kind="int",
        none=True,
        minimum=0,
        maximum=512,
        cli=("--workers", "-w"),
    )
    proxy_headers: bool = option(
        True, help="Believe what trusted proxies say of the client.", group=PROXIES, kind="bool"
    )
    server_header: bool = option(True, help="Send a Server header.", group=PROTOCOL, kind="bool")
    date_header: bool = option(True, help="Send a Date header.", group=PROTOCOL, kind="bool")
    forwarded_allow_ips: Strings = option(
        None,
        help="Proxies to trust: addresses, networks, the word unix, or *; 127.0.0.1 and ::1 when left out.",
        group=PROXIES,
        many=True,
        commas=True,
        none=True,
        metavar="LIST",
    )
    root_path: str = option("", help="Path under which a proxy serves the app.", group=APP, metavar="PATH")
    limit_concurrency: int | None = option(
        None,
        help="Most requests in flight, or connections; past it 503.",
        group=LIMITS,
        kind="int",
        none=True,
        minimum=1,
        maximum=10**7,
    )
    limit_max_requests: int | None = option(
        None,
        help="Stop after so many requests.",
        group=LIMITS,
        kind="int",
        none=True,
        minimum=1,
        maximum=10**12,
    )
    limit_max_requests_jitter: int = option(
        0,
        help="Add a random number up to this to --limit-max-requests.",
        group=LIMITS,
        kind="int",
        minimum=0,
        maximum=10**12,
    )
    backlog: int = option(
        2048, help="Connections that the kernel keeps waiting.", group=ADDRESS, kind="int", minimum=0, maximum=2**31 - 1
    )
    timeout_keep_alive: float = option(
        5,
        prod=75,
        help="Seconds that an idle connection is kept.",
        group=TIMEOUTS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
    )
    timeout_notify: float = option(
        30,
        help="Seconds between calls of callback_notify.",
        group=TIMEOUTS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
        commands=API_ONLY,
    )
    timeout_graceful_shutdown: float | None = option(
        None,
        run=2,
        prod=30,
        help="Seconds that running requests get when the server stops.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0,
        maximum=_SECONDS_MAX,
    )
    timeout_worker_healthcheck: float = option(
        5,
        help="Accepted for uvicorn's sake, without effect: workers are watched by --timeout-worker.",
        group=TIMEOUTS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
    )
    callback_notify: Callable[..., Awaitable[None]] | None = option(
        None, help="Awaited every timeout_notify seconds.", group=PROCESS, kind="object", none=True, commands=API_ONLY
    )
    ssl_keyfile: PathLike | None = option(
        None, help="Private key (PEM).", group=TLS, kind="path", none=True, metavar="FILE"
    )
    ssl_certfile: PathLike | None = option(
        None, help="Certificate and its chain (PEM).", group=TLS, kind="path", none=True, metavar="FILE"
    )
    ssl_keyfile_password: str | None = option(
        None, help="Password of the private key.", group=TLS, none=True, metavar="PASSWORD"
    )
    ssl_version: int = option(
        _TLS_SERVER, help="Number of an ssl.PROTOCOL_* constant.", group=TLS, kind="int", minimum=0, maximum=255
    )
    ssl_cert_reqs: int = option(
        _CERT_NONE,
        help="Client certificates: 0 none, 1 optional, 2 required.",
        group=TLS,
        kind="int",
        minimum=0,
        maximum=2,
    )
    ssl_ca_certs: PathLike | None = option(
        None,
        help="Certificates of the authorities that client certificates come from.",
        group=TLS,
        kind="path",
        none=True,
        metavar="FILE",
    )
    ssl_ciphers: str | None = option(
        None, help="Cipher list, as OpenSSL writes it.", group=TLS, none=True, metavar="LIST"
    )
    ssl_context_factory: Callable[[Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None = option(
        None,
        help="Called with the Config and a function that makes the usual context; returns the context to use.",
        group=TLS,
        kind="object",
        none=True,
        commands=API_ONLY,
    )
    headers: Sequence[tuple[str, str]] | None = option(
        (),
        help="Header that every response gets.",
        group=PROTOCOL,
        kind="header",
        many=True,
        cli=("--header",),
        metavar="NAME:VALUE",
    )
    factory: bool = option(False, help="APP is a function that makes the app.", group=APP, kind="bool")
    h11_max_incomplete_event_size: int | None = option(
        None,
        help="With --http h11: largest request head.",
        group=LIMITS,
        kind="size",
        none=True,
        minimum=1,
        maximum=_SIZE_MAX,
    )
    reset_contextvars: bool = option(
        False, help="Every request starts with an empty context.", group=PROTOCOL, kind="bool"
    )

    _: KW_ONLY

    entrypoint: str | None = option(
        None,
        help="Import string of the app, in place of APP.",
        group=APP,
        none=True,
        cli=("--entrypoint", "-e"),
        metavar="TARGET",
    )
    app_dir: str = option("", help="Folder to import the app from.", group=APP, kind="path", metavar="DIR")
    chdir: str = option(
        "",
        help="Folder to change to first; other paths start there.",
        group=APP,
        kind="path",
        metavar="DIR",
    )
    mode: str | None = option(
        None,
        run="development",
        help="Read .env, .env.NAME, .env.local and .env.NAME.local.",
        group=APP,
        none=True,
        metavar="NAME",
    )
    strict_env: bool = option(
        False, help="Anything wrong in an env file is an error before the start.", group=APP, kind="bool"
    )
    bind: Sequence[str] | str = option(
        (),
        help="host:port, :port (all addresses), [::1]:8000, unix:/path or fd://3.",
        group=ADDRESS,
        many=True,
        commas=True,
        cli=("--bind", "-b"),
        metavar="ADDRESS",
    )
    uds_permissions: int | None = option(
        None,
        help="Permissions of the Unix socket, such as 660.",
        group=ADDRESS,
        kind="octal",
        none=True,
        minimum=0,
        maximum=0o777,
        metavar="MODE",
    )
    log_format: str = option("text", help="Form of the log lines.", group=LOGS, kind="choice", choices=("text", "json"))
    access_log_format: str = option(
        "", help="Line of the access log, in gunicorn's atoms.", group=LOGS, metavar="FORMAT"
    )
    access_log_file: str = option(
        "-", help="File of the access log; - is the standard output.", group=LOGS, kind="path", metavar="FILE"
    )
    forwarded_headers: Sequence[str] | str = option(
        X_FORWARDED[:2],
        help="Headers to believe: x-forwarded-for, -proto, -host, -port, -prefix, or forwarded alone.",
        group=PROXIES,
        kind="choice",
        many=True,
        commas=True,
        choices=(*X_FORWARDED, "forwarded"),
        metavar="LIST",
    )
    extensions: Sequence[str] | str = option(
        (),
        help="Offer apps more of ASGI than uvicorn does: pathsend, early-hints, trailers.",
        group=PROTOCOL,
        kind="choice",
        many=True,
        commas=True,
        choices=("pathsend", "early-hints", "trailers"),
        metavar="LIST",
    )
    send_after_disconnect: str = option(
        "raise",
        help="What send() does when the client is gone: raise an OSError, or ignore it as uvicorn does.",
        group=PROTOCOL,
        kind="choice",
        choices=("raise", "ignore"),
    )
    underscore_headers: str = option(
        "deliver",
        help="Deliver, drop or refuse header names with an underscore; WSGI apps never get them.",
        group=PROTOCOL,
        kind="choice",
        choices=("deliver", "drop", "refuse"),
    )
    proxy_protocol: str = option(
        "off",
        help="Expect the PROXY protocol of HAProxy.",
        group=PROXIES,
        kind="choice",
        choices=("off", "v1", "v2", "auto"),
    )
    proxy_allow_ips: Sequence[str] | str = option(
        LOCAL_PEERS,
        help="Peers that may speak the PROXY protocol.",
        group=PROXIES,
        many=True,
        commas=True,
        metavar="LIST",
    )
    limit_queue: int = option(
        0,
        help="Requests that wait when --limit-concurrency is reached.",
        group=LIMITS,
        kind="int",
        minimum=0,
        maximum=10**6,
    )
    limit_connections: int | None = option(
        None, help="Most open connections.", group=LIMITS, kind="int", none=True, minimum=1, maximum=10**7
    )
    limit_request_line: int = option(
        8190, help="Longest request line (414).", group=LIMITS, kind="size", minimum=_LINE_MIN, maximum=_LINE_MAX
    )
    limit_request_fields: int = option(
        100, help="Most header lines of a request (431).", group=LIMITS, kind="int", minimum=1, maximum=32_768
    )
    limit_request_field_size: int = option(
        8190, help="Longest header line (431).", group=LIMITS, kind="size", minimum=_LINE_MIN, maximum=_LINE_MAX
    )
    limit_request_head: int = option(
        64 * _KIB,
        help="Largest head of a request (431).",
        group=LIMITS,
        kind="size",
        minimum=_LINE_MIN,
        maximum=16 * _MIB,
    )
    limit_request_body: int | None = option(
        None,
        help="Largest body of a request (413).",
        group=LIMITS,
        kind="size",
        none=True,
        minimum=0,
        maximum=_SIZE_MAX,
    )
    timeout_request_head: float | None = option(
        30,
        help="Seconds that a request's head may take.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0.001,
        maximum=_SECONDS_MAX,
    )
    timeout_request_body: float | None = option(
        60,
        help="Seconds without a byte of an awaited body.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0.001,
        maximum=_SECONDS_MAX,
    )
    timeout_write: float | None = option(
        60,
        help="Seconds in which the client takes nothing of a response.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0.001,
        maximum=_SECONDS_MAX,
    )
    timeout_startup: float | None = option(
        None,
        run=60,
        prod=60,
        help="Seconds that lifespan startup may take.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0.001,
        maximum=_SECONDS_MAX,
    )
    timeout_shutdown: float | None = option(
        None,
        run=2,
        prod=10,
        help="Seconds that lifespan shutdown may take.",
        group=TIMEOUTS,
        kind="seconds",
        none=True,
        minimum=0,
        maximum=_SECONDS_MAX,
    )
    ssl_groups: str | None = option(
        None, help="Key exchange groups, as OpenSSL writes them.", group=TLS, none=True, metavar="LIST"
    )
    poll: bool | None = option(
        None,
        help="Look for changes instead of being told of them.",
        group=RELOAD,
        kind="bool",
        none=True,
        commands=API_AND_RUN,
    )
    reload_mode: str = option(
        "auto",
        help="How new code is started: forked from, or in, a process with the libraries imported, or cold.",
        group=RELOAD,
        kind="choice",
        choices=("auto", "fork", "standby", "cold"),
        commands=API_AND_RUN,
    )
    reload_checkpoints: int = option(
        3,
        help="Before how many of the files that were saved last an import can be resumed; 0 turns it off.",
        group=RELOAD,
        kind="int",
        minimum=0,
        maximum=10,
        commands=API_AND_RUN,
    )
    on_error: str = option(
        "page",
        help="When new code does not start: show the error, or keep serving the old code.",
        group=RELOAD,
        kind="choice",
        choices=("page", "last-good"),
        commands=API_AND_RUN,
    )
    share_errors: bool = option(
        False, help="Show error details to other machines too.", group=RELOAD, kind="bool", commands=API_AND_RUN
    )
    strict_port: bool = option(
        True,
        run=False,
        help="Never take the next free port when 8000 is taken.",
        group=ADDRESS,
        kind="bool",
        commands=API_AND_RUN,
    )
    slow_ms: int = option(
        500,
        help="Mark requests that take so many milliseconds; 0: none.",
        group=TERMINAL,
        kind="int",
        minimum=0,
        maximum=3_600_000,
        commands=API_AND_RUN,
    )
    ui: str = option(
        "auto",
        help="What the terminal shows.",
        group=TERMINAL,
        kind="choice",
        choices=("auto", "rich", "plain", "json"),
        commands=API_AND_RUN,
    )

    threads: int = option(
        8,
        help="Threads of a worker that call a WSGI app.",
        group=WORKERS,
        kind="int",
        minimum=1,
        maximum=_THREADS_MAX,
        commands=API_AND_PROD,
    )
    wsgi_stream_input: bool = option(
        False,
        help="Call a WSGI app before the request body has arrived; it holds its thread while it reads.",
        group=PROTOCOL,
        kind="bool",
    )
    preload: bool = option(
        False,
        help="Import the app once, in a process that the workers are forked from.",
        group=WORKERS,
        kind="bool",
        commands=API_AND_PROD,
    )
    timeout_worker: float = option(
        30,
        help="Seconds that a worker's event loop may stand still before the worker is replaced; 0: for ever.",
        group=WORKERS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
        commands=API_AND_PROD,
    )
    timeout_worker_startup: float = option(
        60,
        help="Seconds that a worker may take to import and start the app; 0: for ever.",
        group=WORKERS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
        commands=API_AND_PROD,
    )
    worker_lifetime: float | None = option(
        None,
        help="Replace a worker after so many seconds, and up to a tenth more.",
        group=WORKERS,
        kind="seconds",
        none=True,
        minimum=1,
        maximum=_SECONDS_MAX,
        commands=API_AND_PROD,
    )
    worker_max_rss: int | None = option(
        None,
        help="Replace a worker that holds more memory than this.",
        group=WORKERS,
        kind="size",
        none=True,
        minimum=1,
        maximum=_SIZE_MAX,
        commands=API_AND_PROD,
    )
    shutdown_delay: float = option(
        0,
        help="Seconds that requests are still served after SIGTERM, while --health-path says that none are wanted.",
        group=WORKERS,
        kind="seconds",
        minimum=0,
        maximum=_SECONDS_MAX,
        commands=API_AND_PROD,
    )
    health_path: str | None = option(
        None,
        help="Answer PATH/live and PATH/ready without the app.",
        group=WORKERS,
        none=True,
        metavar="PATH",
        commands=API_AND_PROD,
    )
    metrics: str | None = option(
        None,
        help="Show figures for Prometheus at this address: PORT (this machine only), HOST:PORT or unix:/path.",
        group=WORKERS,
        none=True,
        metavar="ADDRESS",
        commands=API_AND_PROD,
    )
    statsd: str | None = option(
        None,
        help="Send figures to statsd once a second: HOST or HOST:PORT.",
        group=WORKERS,
        none=True,
        metavar="ADDRESS",
        commands=API_AND_PROD,
    )
    control: PathLike | None = option(
        None,
        help="Unix socket for dev ctl.",
        group=WORKERS,
        kind="path",
        none=True,
        metavar="PATH",
        commands=API_AND_PROD,
    )
    config_file: PathLike | None = option(
        None,
        help="Python file with settings, such as workers = 4, and hooks, such as def when_ready(server).",
        group=WORKERS,
        kind="path",
        none=True,
        metavar="FILE",
        cli=("--config", "-c"),
        commands=("prod",),
    )
    env: Strings = option(
        (),
        help="Set a variable for the app, over the environment and env files; -e module:attribute is the app.",
        group=APP,
        many=True,
        metavar="NAME=VALUE",
        cli=("--env", "-e"),
        commands=("prod",),
    )
    paste: PathLike | None = option(
        None,
        help="Paste file that makes the app, with #name for another section than [app:main] or [composite:main].",
        group=APP,
        kind="path",
        none=True,
        metavar="FILE[#NAME]",
        commands=("prod",),
    )
    user: str | None = option(
        None, help="User to run the workers as: a name or a number.", group=WORKERS, none=True, commands=API_AND_PROD
    )
    group: str | None = option(
        None, help="Group to run the workers as: a name or a number.", group=WORKERS, none=True, commands=API_AND_PROD
    )
    umask: int | None = option(
        None,
        help="Mode bits that new files and Unix sockets do not get, in octal.",
        group=WORKERS,
        kind="octal",
        none=True,
        minimum=0,
        maximum=0o777,
        commands=API_AND_PROD,
    )
    pid: PathLike | None = option(
        None,
        help="File to write the master's process id to.",
        group=WORKERS,
        kind="path",
        none=True,
        metavar="FILE",
        cli=("--pid", "-p"),
        commands=API_AND_PROD,
    )
    process_name: str | None = option(
        None,
        help="What the processes are called in lists of them.",
        group=WORKERS,
        none=True,
        cli=("--process-name", "-n"),
        commands=API_AND_PROD,
    )

    notices: tuple[Notice, ...] = field(default=(), init=False, compare=False, repr=False)
    """What a person should read once: values that stand in for others or have no effect here."""

    def __post_init__(self) -> None:
        # What programs give that never looked at uvicorn's types.
        host, port = self.__dict__["host"], self.__dict__["port"]
        if host is None:
            # asyncio's word, and so uvicorn's, for all addresses.
            object.__setattr__(self, "host", "")
        if isinstance(port, str) and options.is_whole(port):
            # port=os.environ.get("PORT", 8000)
            object.__setattr__(self, "port", int(port))
        for known in fields():
            object.__setattr__(self, known.name, options.check(known, getattr(self, known.name), known.name))
        _contradictions(self)
        object.__setattr__(self, "notices", tuple(_stand_ins(self)))

    def changed(self, **changes: Any) -> Self:
        """Makes a copy with other values, which are checked; what a subclass has added is kept.

        :raises ConfigError: a value is wrong.
        """
        made = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        made.__post_init__()
        return made

    @property
    def should_reload(self) -> bool:
        """Whether a supervisor watches the files: reload is on, and the app can be imported again."""
        return self.reload and (self.app is None or isinstance(self.app, str))

    @property
    def is_ssl(self) -> bool:
        """Whether the listeners speak TLS."""
        return bool(self.ssl_keyfile or self.ssl_certfile or self.ssl_context_factory)

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """``forwarded_allow_ips`` as a tuple, or the local peers when nobody gave it."""
        return tuple(self.forwarded_allow_ips) if self.forwarded_allow_ips is not None else LOCAL_PEERS


def fields() -> tuple[Field[Any], ...]:
    """The options, as fields of :class:`Config`, in their order; each carries an ``Option``."""
    return _FIELDS


def by_name(name: str) -> Field[Any]:
    """The option whose field is called ``name``."""
    return _BY_NAME[name]


_FIELDS = tuple(known for known in dataclasses.fields(Config) if "option" in known.metadata)
_BY_NAME = {known.name: known for known in _FIELDS}


_MODE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def _contradictions(config: Config) -> None:
    """Looks at options together, and at what an ``Option`` cannot say of one.

    :raises ConfigError: two options cannot both be meant.
    """
    places = [name for name in ("bind", "uds", "fd") if getattr(config, name) not in {None, (), ""}]
    if len(places) > 1:
        raise ConfigError(f"{' and '.join(places)} each say where to listen.", hint="Give one of them.")
    if config.worker_max_rss is not None and config.worker_max_rss < 16 * _MIB:
        raise ConfigError("worker_max_rss: no worker fits into less than 16 MiB.", hint="It is given in bytes.")
    if "forwarded" in config.forwarded_headers and len(set(config.forwarded_headers)) > 1:
        raise ConfigError(
            "forwarded_headers: forwarded and x-forwarded-* cannot be combined, because a proxy that writes one kind "
            "passes the client's own lines of the other kind through.",
            hint="Name the kind that your proxy writes.",
        )
    if config.ssl_keyfile and not config.ssl_certfile and not config.ssl_context_factory:
        raise ConfigError(
            "ssl_keyfile is given without ssl_certfile.", hint="Give the certificate that belongs to the key."
        )
    if config.health_path is not None and not config.health_path.startswith("/"):
        raise ConfigError(f"health_path: {config.health_path!r} does not begin with a slash.")
    if config.mode is not None and not (config.mode and set(config.mode) <= _MODE_CHARACTERS):
        raise ConfigError(f"mode: {config.mode!r} is not a name of letters, digits, - and _.")
    if config.paste is not None and (config.app is not None or config.entrypoint is not None):
        raise ConfigError("The app and paste both say what to serve.", hint="Give one of them.")
    if config.app is not None and config.entrypoint is not None:
        raise ConfigError("The app and entrypoint both say what to serve.", hint="Give one of them.")


def _stand_ins(config: Config) -> list[Notice]:
    """Replaces the names of implementations that we do not have, and says what has no effect here."""
    notices = []
    for name, ours in (("http", "auto"), ("loop", "auto"), ("ws", "auto")):
        value = getattr(config, name)
        if not isinstance(value, str) or (
            value not in options.of(by_name(name)).stand_ins and not value.startswith("uvicorn.")
        ):
            continue
        if name == "loop":
            # uvicorn's "none" leaves the choice to asyncio.
            ours = "asyncio" if value == "none" else "uvloop" if value == "zuvloop" else "auto"
        object.__setattr__(config, name, ours)
        if value != "none":
            notices.append(
                Notice("info", f"{options.flag(by_name(name))} {value}: devserver's own implementation serves instead.")
            )
    healthcheck = by_name("timeout_worker_healthcheck")
    if config.timeout_worker_healthcheck != healthcheck.default:
        notices.append(
            Notice(
                "warning",
                f"{options.flag(healthcheck)} has no effect: --timeout-worker says how long a worker's event loop may "
                "stand still, and --timeout-worker-startup how long its start may take.",
            )
        )
    if config.http2:
        notices.append(Notice("warning", "--http2: HTTP/2 is not served in this version; HTTP/1.1 is."))
    if (config.uds or config.fd is not None or config.bind) and (config.host, config.port) != ("127.0.0.1", 8000):
        place = "uds" if config.uds else "bind" if config.bind else "fd"
        notices.append(Notice("info", f"host and port have no effect beside {place}."))
    return notices

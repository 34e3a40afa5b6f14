"""gunicorn's settings (27.0) in our words: the file that its users have goes on working as ``dev prod --config``.

Two tables and no more than that: which option of ours a setting is, with its value turned into ours, and what to say
of those that are none. A value that asks for nothing, such as gunicorn's default, is passed over in silence. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from devserver.config import gunicorn_values, settings
from devserver.config import option as options
from devserver.config.python_file import HOOKS

Convert: TypeAlias = "Callable[[Any], dict[str, Any]]"
"""From the value of a setting to fields of Config."""


@dataclass(frozen=True)
class Translation:
    """What a file with gunicorn's settings says."""

    values: dict[str, tuple[str, Any]]
    """Field of Config → gunicorn's name and our value."""
    notes: tuple[str, ...]
    """A sentence for each setting that has no effect, with what to use instead."""


@dataclass(frozen=True)
class Converted:
    """The settings of a file, in the types that gunicorn gives them.

    :ivar names: setting → value.
    :ivar wrong: setting → what is wrong with its value, for options of ours.
    """

    names: dict[str, Any]
    wrong: dict[str, str]


def convert(names: Mapping[str, Any], *, numbers_only: bool = False) -> Converted:
    """Converts the settings among the global names of a file as gunicorn does; other names are left out.

    A setting that has no effect here keeps a value that gunicorn would refuse.

    :param names: of :func:`devserver.config.python_file.run`.
    :param numbers_only: convert nothing but numbers that are written as text.
    """
    found = Converted({}, {})
    for name, given in names.items():
        if name not in KNOWN:
            continue
        if numbers_only and not (isinstance(given, str) and name in gunicorn_values.NUMBERS):
            found.names[name] = given
            continue
        try:
            found.names[name] = gunicorn_values.convert(name, given)
        except ValueError as exc:
            if name in OPTIONS:
                found.wrong[name] = str(exc)
            else:
                found.names[name] = given
    return found


def translate(names: Mapping[str, Any]) -> Translation:
    """What the global names of a gunicorn.conf.py mean here; names that gunicorn does not know are passed over.

    :param names: of :func:`convert`.
    """
    values: dict[str, tuple[str, Any]] = {}
    notes: list[str] = []
    for name, given in names.items():
        if name in OPTIONS:
            values |= {field: (name, value) for field, value in OPTIONS[name](given).items()}
        elif name in OTHERS:
            usual, sentence = OTHERS[name]
            if given not in usual:
                notes.append(f"{name} has no effect: {sentence}")
        elif name in OTHER_HOOKS and callable(given):
            notes.append(f"{name} is never called: {OTHER_HOOKS[name]}")
    if "worker_class" in names:
        _take_worker_class(names, values, notes)
    return Translation(values, tuple(notes))


def _take_worker_class(names: Mapping[str, Any], values: dict[str, tuple[str, Any]], notes: list[str]) -> None:
    """Any kind of app is served by the one worker that there is; what is left is how many threads call a WSGI app."""
    kind = names["worker_class"]
    if isinstance(kind, type):
        kind = f"{kind.__module__}.{kind.__qualname__}"
    threads = names.get("threads", 1)
    if kind == "sync" and threads == 1:
        # Apps that were never called by two threads at once may not bear it.
        values["threads"] = ("worker_class", 1)
    elif isinstance(kind, str) and kind.partition(".")[0] in {"gevent", "gevent_wsgi", "gevent_pywsgi", "tornado"}:
        notes.append(
            f"worker_class = {kind!r} has no effect: WSGI apps are called by threads; say how many with threads."
        )
    elif str(kind).endswith("H11Worker"):
        values["http"] = ("worker_class", "h11")
    elif kind not in {"sync", "gthread", "asgi"} and not str(kind).startswith(("uvicorn", "devserver.")):
        notes.append(f"worker_class = {kind!r} has no effect: there is one kind of worker, for ASGI and WSGI apps.")


def _same(field: str) -> Convert:
    return lambda value: {} if value is None else {field: value}


def _text(field: str) -> Convert:
    return lambda value: {} if value is None else {field: str(value)}


def _unless_0(field: str) -> Convert:
    """Nothing means "no limit" in gunicorn where ours says none."""
    return lambda value: {field: value or None}


def _or_most(field: str, most: int) -> Convert:
    """0 is gunicorn's word for the most that it can be told."""
    return lambda value: {field: value or most}


def _access_log(value: Any) -> dict[str, Any]:
    return {"access_log": True, "access_log_file": value} if value else {"access_log": False}


def _proxy_protocol(value: Any) -> dict[str, Any]:
    return {"proxy_protocol": {True: "auto", False: "off"}.get(value, value)}


def _control(value: Any) -> dict[str, Any]:
    return {"control": value} if value else {}


def _header_map(value: Any) -> dict[str, Any]:
    """WSGI apps get no header names with underscores, whatever this says."""
    return {} if value is None else {"underscore_headers": {"dangerous": "deliver"}.get(value, value)}


_LOG_DEFAULTS: Mapping[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["error_console"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["console"], "propagate": False},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}
"""Sections that gunicorn adds to a logconfig_dict which lacks them."""


def _log_dict(value: Any) -> dict[str, Any]:
    if not value:
        return {}
    return {"log_config": {**_LOG_DEFAULTS, **value} if isinstance(value, Mapping) else value}


def _cert_reqs(value: Any) -> dict[str, Any]:
    return {"ssl_cert_reqs": int(value)} if isinstance(value, int) else {"ssl_cert_reqs": value}


OPTIONS: Mapping[str, Convert] = {
    "access_log_format": _same("access_log_format"),
    "accesslog": _access_log,
    "asgi_lifespan": _same("lifespan"),
    "asgi_loop": _same("loop"),
    "backlog": _same("backlog"),
    "bind": _same("bind"),
    "ca_certs": _same("ssl_ca_certs"),
    "cert_reqs": _cert_reqs,
    "certfile": _same("ssl_certfile"),
    "ciphers": _same("ssl_ciphers"),
    "control_socket": _control,
    "forwarded_allow_ips": _same("forwarded_allow_ips"),
    "graceful_timeout": _same("timeout_graceful_shutdown"),
    "group": _text("group"),
    "header_map": _header_map,
    "keepalive": _same("timeout_keep_alive"),
    "keyfile": _same("ssl_keyfile"),
    "limit_request_field_size": _or_most("limit_request_field_size", 8190),
    "limit_request_fields": _same("limit_request_fields"),
    "limit_request_line": _or_most("limit_request_line", 8190),
    "logconfig": _same("log_config"),
    "logconfig_dict": _log_dict,
    "logconfig_json": _same("log_config"),
    "loglevel": _same("log_level"),
    "max_requests": _unless_0("limit_max_requests"),
    "max_requests_jitter": _same("limit_max_requests_jitter"),
    "paste": _same("paste"),
    "pidfile": _same("pid"),
    "preload_app": _same("preload"),
    "proc_name": _same("process_name"),
    "proxy_allow_ips": _same("proxy_allow_ips"),
    "proxy_protocol": _proxy_protocol,
    "pythonpath": _same("app_dir"),
    "raw_env": _same("env"),
    "root_path": _same("root_path"),
    "statsd_host": _same("statsd"),
    "threads": _same("threads"),
    "timeout": _same("timeout_worker"),
    "umask": _same("umask"),
    "user": _text("user"),
    "websocket_max_message_size": lambda value: {"ws_max_size": value} if value else {},
    "worker_connections": _same("limit_connections"),
    "workers": _same("workers"),
    "wsgi_app": _same("app"),
}
"""gunicorn's name → our option."""

_NOTHING: tuple[Any, ...] = (None, False, "", 0, [], {}, ())
_REFUSED = "requests that need it are refused, since two programs could read them differently."
_HTTP2 = "HTTP/2 is not served; let the proxy in front speak it."
_DIRTY = "there are no other processes than workers; run a task queue beside them."
_SYSLOG = "say it in a logging configuration, with log_config and a SysLogHandler."
_STATSD = "figures have fixed names; rename them in the statsd server."
_UWSGI = "the uwsgi protocol is not spoken; have nginx use proxy_pass instead of uwsgi_pass."

OTHERS: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "asgi_disconnect_grace_period": (
        (3,),
        "an app that streams on after its client has left is cancelled after 5 s; see send_after_disconnect.",
    ),
    "capture_output": (_NOTHING, "redirect the output where dev prod is started."),
    "casefold_http_method": (_NOTHING, _REFUSED),
    "chdir": (_NOTHING, "the folder must be known before this file is read; give --chdir."),
    "check_config": (_NOTHING, "use dev config prod, and dev doctor."),
    "config": (_NOTHING, "this is the file; name another one with --config."),
    "control_socket_disable": ((*_NOTHING, True), "there is a control socket only where --control names one."),
    "control_socket_mode": ((0o600,), "it is always 0600."),
    "daemon": (_NOTHING, "let systemd or a container start dev prod, which stays in the foreground."),
    "default_proc_name": (("gunicorn",), "use process_name."),
    "dirty_apps": (_NOTHING, _DIRTY),
    "dirty_graceful_timeout": ((30,), _DIRTY),
    "dirty_threads": ((1,), _DIRTY),
    "dirty_timeout": ((300,), _DIRTY),
    "dirty_workers": (_NOTHING, _DIRTY),
    "disable_redirect_access_to_syslog": (_NOTHING, _SYSLOG),
    "do_handshake_on_connect": (_NOTHING, "handshakes never hold up a worker."),
    "dogstatsd_tags": (_NOTHING, _STATSD),
    "enable_backlog_metric": (_NOTHING, "ask the kernel: ss -ltn shows the backlog."),
    "enable_stdio_inheritance": (_NOTHING, "standard output and error are inherited always."),
    "errorlog": (("-", None), "redirect standard error, or give log_config."),
    "forwarder_headers": (
        ("SCRIPT_NAME,PATH_INFO", *_NOTHING),
        "WSGI apps get no header names with underscores; root_path says where the app is mounted.",
    ),
    "http2_cleartext": (("off", *_NOTHING), _HTTP2),
    "http2_initial_window_size": ((65535,), _HTTP2),
    "http2_max_concurrent_streams": ((100,), _HTTP2),
    "http2_max_frame_size": ((16384,), _HTTP2),
    "http2_max_header_list_size": ((65536,), _HTTP2),
    "http_parser": (("auto", None), "choose between httptools and h11 with http."),
    "http_protocols": (("h1", None, ["h1"]), _HTTP2),
    "initgroups": ((*_NOTHING, True), "workers get the groups of the user always."),
    "logger_class": (("gunicorn.glogging.Logger", None), "give log_config, a logging configuration."),
    "permit_obsolete_folding": (_NOTHING, _REFUSED),
    "permit_unconventional_http_method": (_NOTHING, _REFUSED),
    "permit_unconventional_http_version": (_NOTHING, _REFUSED),
    "print_config": (_NOTHING, "use dev config prod."),
    "protocol": (("http", None), _UWSGI),
    "raw_paste_global_conf": (_NOTHING, "write the values into the [DEFAULT] section of the Paste file."),
    "reload": (_NOTHING, "use dev run while you develop."),
    "reload_engine": (("auto", None), "use dev run, with --poll where changes are not told."),
    "reload_extra_files": (_NOTHING, "use dev run, with --reload-include."),
    "reuse_port": ((*_NOTHING, True), "connections are spread over the workers by the kernel always."),
    "secure_scheme_headers": (
        (
            {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"},
            *_NOTHING,
        ),
        "X-Forwarded-Proto is what a trusted proxy tells the scheme with; forwarded_headers allows others.",
    ),
    "sendfile": ((None, True), "files are sent by the event loop, whatever the app returns them as."),
    "spew": (_NOTHING, "use a debugger, or sys.settrace in the app."),
    "ssl_version": ((2, None), "TLS 1.2 and 1.3 are spoken."),
    "statsd_prefix": (_NOTHING, _STATSD),
    "strip_header_spaces": (_NOTHING, _REFUSED),
    "suppress_ragged_eofs": ((True, None), "a connection that is cut never passes for one that was closed."),
    "syslog": (_NOTHING, _SYSLOG),
    "syslog_addr": (("udp://localhost:514", None), _SYSLOG),
    "syslog_facility": (("user", None), _SYSLOG),
    "syslog_prefix": (_NOTHING, _SYSLOG),
    "tmp_upload_dir": (_NOTHING, "large request bodies lie in the folder that the variable TMPDIR names."),
    "uwsgi_allow_ips": (("127.0.0.1,::1", None), _UWSGI),
    "worker_tmp_dir": (_NOTHING, "workers show that they live in shared memory, not in a file."),
}
"""gunicorn's name → values of which nothing is said, and what is said of others."""

OTHER_HOOKS: Mapping[str, str] = {
    "dirty_post_fork": _DIRTY,
    "dirty_worker_exit": _DIRTY,
    "dirty_worker_init": _DIRTY,
    "on_dirty_starting": _DIRTY,
    "post_request": "use middleware of the app, or the access log.",
    "pre_exec": "use on_exit, or the unit that starts dev prod.",
    "pre_request": "use middleware of the app.",
    "ssl_context": "use the ssl options; Python programs give ssl_context_factory to devserver.run.",
    "worker_abort": "the log says what a worker was doing when it stood still.",
    "worker_int": "use worker_exit.",
}
"""Hooks of gunicorn that we do not have; the others are in :data:`~devserver.config.python_file.HOOKS`."""

KNOWN = frozenset(OPTIONS) | frozenset(OTHERS) | frozenset(OTHER_HOOKS) | frozenset(HOOKS) | {"worker_class"}
"""Every setting of gunicorn."""


def as_toml(names: Mapping[str, Any], file: str) -> str:
    """The settings of a gunicorn.conf.py as tables of pyproject.toml, what has no counterpart as comments.

    :param names: of :func:`devserver.config.python_file.run`.
    :param file: how the file is called in what is written.
    """
    import json  # not at the top: only people ask for this

    converted = convert(names)
    translated = translate(converted.names)
    lines, notes = [], [*translated.notes, *(f"{name}: {text}" for name, text in converted.wrong.items())]
    values = {field: value for field, (_, value) in translated.values.items()}
    app = values.pop("app", None)
    hooks = [name for name in names if name in HOOKS and callable(names[name])]
    if isinstance(values.get("log_config"), dict):
        del values["log_config"]
        notes.append("logconfig_dict: write it to a JSON file and name that with log-config.")
    if hooks:
        notes.append(
            f'{", ".join(hooks)}: hooks stay in {file}; leave nothing else in it, and write config = "{file}".'
        )
    for field, value in values.items():
        key = options.key(settings.by_name(field))
        if isinstance(value, tuple):
            value = list(value)
        # JSON's texts, numbers and lists are TOML's.
        text = f"0o{value:o}" if field == "umask" else json.dumps("none" if value is None else value)
        lines.append(f"{key} = {text}")
    head = ["[tool.devserver]", f"app = {json.dumps(app)}", ""] if app is not None else []
    return "\n".join([*head, "[tool.devserver.prod]", *lines, *(f"# {note}" for note in notes)])

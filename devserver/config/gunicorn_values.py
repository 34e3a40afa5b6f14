"""gunicorn's conversions: which value a setting has when a file gives it in another type, such as ``workers = "2"``.

The kinds are those of gunicorn 27. Existence of files, users and groups is not looked at here; the option of ours that
the setting becomes does that. Pure.
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

Read: TypeAlias = "Callable[[Any], Any]"
"""From the value in a file to the setting's; raises ValueError with what the value is not."""


def convert(name: str, value: Any) -> Any:
    """Converts the value that a gunicorn file gives to the setting ``name``.

    :raises ValueError: gunicorn would refuse it; the text says what is wrong, without the setting's name.
    """
    read = KINDS.get(name)
    return value if read is None else read(value)


def _whole(value: Any) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int):
        raise ValueError(f"{value!r} is not a whole number.")
    if number < 0:
        raise ValueError(f"{value!r} is negative.")
    return int(number)


def _bounded(low: int, high: float) -> Read:
    def read(value: Any) -> int:
        number = _whole(value)
        if not low <= number <= high:
            raise ValueError(f"{number} is less than {low}." if number < low else f"{number} is more than {high}.")
        return number

    return read


def _bool(value: Any) -> bool | None:
    words = {"true": True, "false": False}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"{value!r} is neither True nor False.")


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text.")
    return value.strip()


def _texts(value: Any) -> list[str | None]:
    if not value:
        return []
    try:
        items = [value] if isinstance(value, str) else [*value]
    except TypeError:
        raise ValueError(f"{value!r} is not a list.") from None
    return [_text(item) for item in items]


def _split(value: Any) -> list[str]:
    return [part.strip() for part in (_text(value) or "").split(",") if part]


def _networks(value: Any) -> list[str]:
    parts = _split(value)
    for part in parts:
        if part != "*":
            # Its error names the part.
            ipaddress.ip_network(part)
    return parts


def _mapping(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a dictionary.")
    return value


def _class(value: Any) -> Any:
    if inspect.isfunction(value) or inspect.ismethod(value):
        value = value()
    return value if inspect.isclass(value) else _text(value)


def _owner(value: Any) -> Any:
    """Names stay names, as they are looked up by who takes them on; None is the user that started it."""
    if value is None or isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is neither a name nor a number.")
    return int(value) if value.isdigit() else value


def _word(*words: str, default: str | None, others: Mapping[Any, str] = MappingProxyType({})) -> Read:
    """Makes the reader of a setting that is one of ``words``, in any case.

    :param default: what None stands for.
    :param others: further values, with the word that each stands for.
    """

    def read(value: Any) -> str | None:
        if value is None:
            return default
        plain = value.strip().lower() if isinstance(value, str) else value
        # 0 and 1 are no booleans there.
        if isinstance(plain, (str, bool)):
            plain = others.get(plain, plain)
        if plain not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}.")
        return str(plain)

    return read


def _protocols(value: Any) -> list[str]:
    parts = [part.strip().lower() for part in (_text(value) or "").split(",") if part.strip()]
    for part in parts:
        if part not in {"h1", "h2"}:
            raise ValueError(f"{part!r} is not one of h1, h2.")
    if len(parts) != len(set(parts)):
        raise ValueError(f"{value!r} names one twice.")
    return parts or ["h1"]


_OFF = dict.fromkeys((False, "false", "0", "none"), "off")
_WINDOW_MAX = 2**31 - 1
"""Largest flow-control window of HTTP/2 (RFC 9113 section 6.9.1)."""

_NAMES: Mapping[Read, str] = {
    _whole: "backlog workers threads worker_connections max_requests max_requests_jitter timeout graceful_timeout "
    "keepalive limit_request_line limit_request_fields limit_request_field_size umask cert_reqs "
    "http2_max_header_list_size asgi_disconnect_grace_period websocket_max_message_size dirty_workers dirty_timeout "
    "dirty_threads dirty_graceful_timeout control_socket_mode",
    _bool: "reload spew check_config print_config preload_app sendfile reuse_port daemon initgroups "
    "disable_redirect_access_to_syslog capture_output syslog enable_stdio_inheritance enable_backlog_metric "
    "suppress_ragged_eofs do_handshake_on_connect permit_obsolete_folding strip_header_spaces "
    "permit_unconventional_http_method permit_unconventional_http_version casefold_http_method "
    "control_socket_disable",
    _text: "config wsgi_app pidfile worker_tmp_dir tmp_upload_dir accesslog access_log_format errorlog loglevel "
    "logconfig logconfig_json syslog_addr syslog_prefix syslog_facility statsd_host dogstatsd_tags statsd_prefix "
    "proc_name default_proc_name pythonpath paste protocol keyfile certfile ca_certs ciphers root_path control_socket "
    "chdir",
    _texts: "bind raw_env raw_paste_global_conf dirty_apps reload_extra_files",
    _split: "forwarder_headers",
    _networks: "forwarded_allow_ips proxy_allow_ips uwsgi_allow_ips",
    _mapping: "secure_scheme_headers logconfig_dict",
    _class: "worker_class logger_class",
    _owner: "user group",
    _protocols: "http_protocols",
    _bounded(1, float("inf")): "http2_max_concurrent_streams",
    _bounded(0, _WINDOW_MAX): "http2_initial_window_size",
    _bounded(16384, 16777215): "http2_max_frame_size",
    _word("drop", "refuse", "dangerous", default=None): "header_map",
    _word("auto", "asyncio", "uvloop", default="auto"): "asgi_loop",
    _word("auto", "on", "off", default="auto"): "asgi_lifespan",
    _word("auto", "fast", "python", default="auto"): "http_parser",
    _word(
        "off", "v1", "v2", "auto", default="off", others={**_OFF, True: "auto", "true": "auto", "1": "auto"}
    ): "proxy_protocol",
    _word(
        "off", "prior-knowledge", "upgrade", "both", default="off", others={False: "off", True: "prior-knowledge"}
    ): "http2_cleartext",
}
KINDS: Mapping[str, Read] = {name: read for read, names in _NAMES.items() for name in names.split()}
"""Setting → how its value is read. Hooks, ``reload_engine`` and ``ssl_version`` are taken as they are."""

NUMBERS = frozenset(name for name, read in KINDS.items() if read is _whole)
"""Settings that are whole numbers."""

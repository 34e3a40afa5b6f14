"""The settings that hooks see as ``server.cfg`` and ``worker.cfg``: gunicorn's names with the values in effect.

A setting that has an option of ours has that option's value, in gunicorn's type. One that has no effect has gunicorn's
default. Every other option of ours is there under its own name.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from devserver.config import Config

Address: TypeAlias = "tuple[str, int] | str"
"""Host and port, or the path of a Unix socket."""


class HookConfig:
    """The settings, as hooks see them.

    :param config: the settings of the workers.
    :param address: where the server listens.
    :param workers: how many workers there are to be.
    """

    def __init__(self, config: Config, address: Sequence[Address], workers: int) -> None:
        self._config = config
        self.address = [*address]
        self.workers = workers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_config":
            raise AttributeError(name)
        if name in IN_EFFECT:
            return IN_EFFECT[name](self._config)
        if name in WITHOUT_EFFECT:
            return WITHOUT_EFFECT[name]
        try:
            return getattr(self._config, name)
        except AttributeError:
            raise AttributeError(f"There is no setting {name}, neither gunicorn's nor ours.") from None


def _bind(config: Config) -> list[str]:
    if config.bind:
        return [config.bind] if isinstance(config.bind, str) else [*config.bind]
    if config.uds is not None:
        return [f"unix:{os.fspath(config.uds)}"]
    return [f"fd://{config.fd}"] if config.fd is not None else [f"{config.host}:{config.port}"]


def _env(config: Config) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in config.env or ())}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [*(value or ())]


def _user(config: Config) -> int:
    if config.user is None:
        return os.geteuid()
    import pwd  # not at the top: few change the user

    return int(config.user) if config.user.isdigit() else pwd.getpwnam(config.user).pw_uid


def _group(config: Config) -> int:
    if config.group is None:
        return os.getegid()
    import grp  # not at the top: few change the group

    return int(config.group) if config.group.isdigit() else grp.getgrnam(config.group).gr_gid


def _named(kind: str) -> Callable[[Config], Any]:
    """Makes the getter of a file of the logging configuration."""

    def get(config: Config) -> Any:
        given = config.log_config
        if kind == "dict":
            return given if isinstance(given, Mapping) else {}
        if not isinstance(given, (str, os.PathLike)):
            return None
        is_json = os.fspath(given).endswith(".json")
        return os.fspath(given) if is_json == (kind == "json") else None

    return get


IN_EFFECT: Mapping[str, Callable[[Config], Any]] = {
    "access_log_format": lambda config: config.access_log_format,
    "accesslog": lambda config: (config.access_log_file or "-") if config.access_log else None,
    "asgi_lifespan": lambda config: config.lifespan,
    "asgi_loop": lambda config: config.loop,
    "backlog": lambda config: config.backlog,
    "bind": _bind,
    "ca_certs": lambda config: config.ssl_ca_certs,
    "cert_reqs": lambda config: config.ssl_cert_reqs,
    "certfile": lambda config: config.ssl_certfile,
    "chdir": lambda _: os.getcwd(),
    "ciphers": lambda config: config.ssl_ciphers,
    "config": lambda config: config.config_file,
    "control_socket": lambda config: config.control,
    "control_socket_disable": lambda config: config.control is None,
    "env": _env,
    "forwarded_allow_ips": lambda config: _list(config.forwarded_allow_ips),
    "gid": _group,
    "graceful_timeout": lambda config: config.timeout_graceful_shutdown,
    "group": _group,
    "header_map": lambda config: {"deliver": "dangerous"}.get(config.underscore_headers, config.underscore_headers),
    "is_ssl": lambda config: config.is_ssl,
    "keepalive": lambda config: config.timeout_keep_alive,
    "keyfile": lambda config: config.ssl_keyfile,
    "limit_request_field_size": lambda config: config.limit_request_field_size,
    "limit_request_fields": lambda config: config.limit_request_fields,
    "limit_request_line": lambda config: config.limit_request_line,
    "logconfig": _named("file"),
    "logconfig_dict": _named("dict"),
    "logconfig_json": _named("json"),
    "loglevel": lambda config: config.log_level or "info",
    "max_requests": lambda config: config.limit_max_requests or 0,
    "max_requests_jitter": lambda config: config.limit_max_requests_jitter,
    "paste": lambda config: config.paste,
    "pidfile": lambda config: config.pid,
    "preload_app": lambda config: config.preload,
    "proc_name": lambda config: config.process_name or "devserver",
    "proxy_allow_ips": lambda config: _list(config.proxy_allow_ips),
    "proxy_protocol": lambda config: config.proxy_protocol,
    "pythonpath": lambda config: config.app_dir or None,
    "raw_env": lambda config: _list(config.env),
    "reload": lambda _: False,
    "root_path": lambda config: config.root_path,
    "statsd_host": lambda config: config.statsd,
    "threads": lambda config: config.threads,
    "timeout": lambda config: config.timeout_worker,
    "uid": _user,
    "umask": lambda config: config.umask or 0,
    "user": _user,
    "websocket_max_message_size": lambda config: config.ws_max_size,
    "worker_class": lambda _: "devserver",
    "worker_class_str": lambda _: "devserver",
    "worker_connections": lambda config: config.limit_connections or sys.maxsize,
    "wsgi_app": lambda config: config.app,
}
"""Setting or property of gunicorn's Config → its value; ``workers`` and ``address`` are the master's to know."""

WITHOUT_EFFECT: Mapping[str, Any] = MappingProxyType(
    {
        "asgi_disconnect_grace_period": 3,
        "capture_output": False,
        "casefold_http_method": False,
        "check_config": False,
        "control_socket_mode": 0o600,
        "daemon": False,
        "default_proc_name": "gunicorn",
        "dirty_apps": [],
        "dirty_graceful_timeout": 30,
        "dirty_threads": 1,
        "dirty_timeout": 300,
        "dirty_workers": 0,
        "disable_redirect_access_to_syslog": False,
        "do_handshake_on_connect": False,
        "dogstatsd_tags": "",
        "enable_backlog_metric": False,
        "enable_stdio_inheritance": False,
        "errorlog": "-",
        "forwarder_headers": ["SCRIPT_NAME", "PATH_INFO"],
        "http2_cleartext": "off",
        "http2_initial_window_size": 65535,
        "http2_max_concurrent_streams": 100,
        "http2_max_frame_size": 16384,
        "http2_max_header_list_size": 65536,
        "http_parser": "auto",
        "http_protocols": ["h1"],
        "initgroups": False,
        "logger_class": "gunicorn.glogging.Logger",
        "permit_obsolete_folding": False,
        "permit_unconventional_http_method": False,
        "permit_unconventional_http_version": False,
        "print_config": False,
        "protocol": "http",
        "raw_paste_global_conf": [],
        "reload_engine": "auto",
        "reload_extra_files": [],
        "reuse_port": False,
        "secure_scheme_headers": {
            "X-FORWARDED-PROTOCOL": "ssl",
            "X-FORWARDED-PROTO": "https",
            "X-FORWARDED-SSL": "on",
        },
        "sendfile": None,
        "spew": False,
        "ssl_version": ssl.PROTOCOL_TLS,
        "statsd_prefix": "",
        "strip_header_spaces": False,
        "suppress_ragged_eofs": True,
        "syslog": False,
        "syslog_addr": "udp://localhost:514",
        "syslog_facility": "user",
        "syslog_prefix": None,
        "tmp_upload_dir": None,
        "uwsgi_allow_ips": ["127.0.0.1", "::1"],
        "worker_tmp_dir": None,
    }
)
"""Setting of gunicorn that changes nothing here → its default there."""

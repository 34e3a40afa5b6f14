"""gunicorn's options as they are typed (27.0): on the command line of ``dev prod`` beside ours, and in the variable
GUNICORN_CMD_ARGS.

From words to gunicorn's settings; ``gunicorn.py`` knows what those mean here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from devserver.errors import ConfigError

_OF_ITS_NAME = (
    "asgi-disconnect-grace-period asgi-lifespan asgi-loop backlog ca-certs cert-reqs certfile chdir ciphers config "
    "control-socket control-socket-mode dirty-graceful-timeout dirty-threads dirty-timeout dirty-workers "
    "dogstatsd-tags forwarded-allow-ips forwarder-headers graceful-timeout group header-map http-parser "
    "http-protocols http2-cleartext http2-initial-window-size http2-max-concurrent-streams http2-max-frame-size "
    "http2-max-header-list-size keyfile limit-request-fields limit-request-line logger-class max-requests "
    "max-requests-jitter paste protocol pythonpath reload-engine root-path ssl-version statsd-host "
    "statsd-prefix threads timeout umask user websocket-max-message-size worker-class worker-connections "
    "worker-tmp-dir workers proxy-protocol"
).split()
_WITH_ANOTHER = {
    "--access-logfile": "accesslog",
    "--access-logformat": "access_log_format",
    "--error-logfile": "errorlog",
    "--keep-alive": "keepalive",
    "--limit-request-field_size": "limit_request_field_size",
    "--log-config": "logconfig",
    "--log-config-json": "logconfig_json",
    "--log-file": "errorlog",
    "--log-level": "loglevel",
    "--log-syslog-facility": "syslog_facility",
    "--log-syslog-prefix": "syslog_prefix",
    "--log-syslog-to": "syslog_addr",
    "--name": "proc_name",
    "--paster": "paste",
    "--pid": "pidfile",
    "--proxy-allow-from": "proxy_allow_ips",
    "--uwsgi-allow-from": "uwsgi_allow_ips",
    "-c": "config",
    "-g": "group",
    "-k": "worker_class",
    "-m": "umask",
    "-n": "proc_name",
    "-p": "pidfile",
    "-t": "timeout",
    "-u": "user",
    "-w": "workers",
}
VALUES: Mapping[str, str] = {**{f"--{name}": name.replace("-", "_") for name in _OF_ITS_NAME}, **_WITH_ANOTHER}
"""Options with a value → settings."""

LISTS: Mapping[str, str] = {
    "--bind": "bind",
    "--dirty-app": "dirty_apps",
    "--env": "raw_env",
    "--paste-global": "raw_paste_global_conf",
    "--reload-extra-file": "reload_extra_files",
    "-b": "bind",
    "-e": "raw_env",
}
"""Options with a value that may be given several times."""

_SWITCHES_ON = (
    "capture-output casefold-http-method check-config daemon disable-redirect-access-to-syslog "
    "do-handshake-on-connect enable-backlog-metric enable-stdio-inheritance initgroups permit-obsolete-folding "
    "permit-unconventional-http-method permit-unconventional-http-version print-config reload reuse-port spew "
    "strip-header-spaces suppress-ragged-eofs"
).split()
SWITCHES: Mapping[str, tuple[str, bool]] = {
    **{f"--{name}": (name.replace("-", "_"), True) for name in _SWITCHES_ON},
    "--log-syslog": ("syslog", True),
    "--no-control-socket": ("control_socket_disable", True),
    "--no-sendfile": ("sendfile", False),
    "--preload": ("preload_app", True),
    "-D": ("daemon", True),
    "-R": ("enable_stdio_inheritance", True),
}
"""Options without a value → settings and what they make of them."""


def read(words: Iterable[str], label: str) -> dict[str, Any]:
    """Setting → value, for the options that stand in ``words``.

    :param label: what the words are called in messages.
    :raises ConfigError: a word is none of gunicorn's options, or one is without its value.
    """
    found: dict[str, Any] = {}
    left = list(words)[::-1]
    while left:
        word = left.pop()
        name, _, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
        given = value if "=" in word or (not word.startswith("--") and value) else None
        if not take(name, given, left, found):
            raise ConfigError(f"{label}: gunicorn has no option {word}.")
    return found


def take(name: str, given: str | None, left: list[str], found: dict[str, Any]) -> bool:
    """Reads one option into ``found``; False when gunicorn has none of this name.

    :param given: the value that was written together with the name.
    :param left: the words behind it, the next one last; a value is taken from there.
    :raises ConfigError: it needs a value and has none, or has one and needs none.
    """
    if name in SWITCHES:
        if given is not None:
            raise ConfigError(f"{name} takes no value.")
        setting, value = SWITCHES[name]
        found[setting] = value
        return True
    if name not in VALUES and name not in LISTS:
        return False
    if given is None:
        if not left:
            raise ConfigError(f"{name} needs a value.")
        given = left.pop()
    if name in LISTS:
        found.setdefault(LISTS[name], []).append(given)
    else:
        found[VALUES[name]] = typed(VALUES[name], given)
    return True


def typed(setting: str, text: str) -> object:
    """The value as a Python file would give it; for a list of addresses, all of them in one text."""
    if text.isascii() and text.isdigit():
        return int(text, 8) if setting == "umask" else int(text)
    if setting in {"bind", "raw_env"}:
        return text.split()
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    # "off" is a word of its own there.
    return text if setting in {"proxy_protocol", "asgi_lifespan"} else words.get(text.lower(), text)

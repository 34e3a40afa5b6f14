"""The TLS context of a server, from the ``ssl_*`` settings.

TLS 1.2 at least, and with TLS 1.2 only suites with forward secrecy and an AEAD cipher (RFC 9325 §4.2); the suites of
TLS 1.3 are all of that kind. Groups are the library's own unless told. ``ssl`` is imported here and nowhere else at
start, so that plain HTTP does not pay for loading OpenSSL's bindings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from devserver.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from devserver.config.settings import Config

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The suites of TLS 1.2 that are offered by default, in OpenSSL's notation."""


def ssl_context(config: Config) -> ssl.SSLContext | None:
    """The context to serve with, or None for plain HTTP.

    :raises ConfigError: a file cannot be read, key and certificate do not match, or a name is unknown to OpenSSL.
    """
    if not config.is_ssl:
        return None
    if config.ssl_context_factory is not None:
        return config.ssl_context_factory(config, lambda: _make(config))
    return _make(config)


def _make(config: Config) -> ssl.SSLContext:
    import ssl

    if not config.ssl_certfile:
        raise ConfigError("ssl_certfile is missing: TLS needs a certificate.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_versions(context, config.ssl_version)
    _load_certificate(context, config)
    try:
        context.set_ciphers(config.ssl_ciphers or CIPHERS)
    except ssl.SSLError as exc:
        raise ConfigError(f'ssl_ciphers: OpenSSL knows no suite in "{config.ssl_ciphers}".') from exc
    if config.ssl_groups:
        _set_groups(context, config.ssl_groups)
    context.verify_mode = ssl.VerifyMode(config.ssl_cert_reqs)
    if config.ssl_ca_certs:
        _load_authorities(context, str(config.ssl_ca_certs))
    context.set_alpn_protocols(["http/1.1"])
    return context


def _set_versions(context: ssl.SSLContext, number: int) -> None:
    """``ssl_version`` is one of the ssl module's PROTOCOL_* numbers, as uvicorn has it; those for one version are
    deprecated in favour of minimum and maximum versions, which is what they become here."""
    import ssl

    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if number in {ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_SERVER}:
        return
    if number == ssl.PROTOCOL_TLSv1_2:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return
    raise ConfigError(
        f"ssl_version: {number} stands for no protocol that is served; TLS 1.2 and newer are.",
        hint="Leave ssl_version out.",
    )


def _load_certificate(context: ssl.SSLContext, config: Config) -> None:
    import ssl

    certfile = str(config.ssl_certfile)
    keyfile = str(config.ssl_keyfile) if config.ssl_keyfile else None
    for option, path in (("ssl_certfile", certfile), ("ssl_keyfile", keyfile)):
        if path is not None:
            _check_readable(option, path)

    asked = False

    def password() -> str:
        # Without a callback OpenSSL would ask on the terminal and the server would hang there.
        nonlocal asked
        asked = True
        if config.ssl_keyfile_password is None:
            raise ConfigError(
                f"The private key in {keyfile or certfile} is encrypted.", hint="Give ssl_keyfile_password."
            )
        return config.ssl_keyfile_password

    try:
        context.load_cert_chain(certfile, keyfile, password)
    except ssl.SSLError as exc:
        raise ConfigError(_certificate_sentence(exc, certfile, keyfile, encrypted=asked)) from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(f"Cannot load the certificate in {certfile}: {exc}.") from exc


def _certificate_sentence(exc: ssl.SSLError, certfile: str, keyfile: str | None, *, encrypted: bool) -> str:
    if exc.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
        return f"The private key in {keyfile or certfile} does not belong to the certificate in {certfile}."
    if encrypted:
        # What OpenSSL calls it when decryption gives nonsense differs by version and by chance.
        return f"ssl_keyfile_password is not the password of the private key in {keyfile or certfile}."
    if keyfile is None:
        return f"{certfile} does not hold a certificate and its private key in PEM form."
    return f"{certfile} and {keyfile} are not a certificate and a private key in PEM form."


def _set_groups(context: ssl.SSLContext, groups: str) -> None:
    # Python 3.15 is the first with set_groups; before it, a single curve is what can be chosen.
    set_groups = getattr(context, "set_groups", None)
    try:
        if set_groups is not None:
            set_groups(groups)
        elif ":" in groups:
            raise ConfigError(f'ssl_groups: this Python can set one group, not several ("{groups}").')
        else:
            context.set_ecdh_curve(groups)
    except (ValueError, OSError) as exc:
        raise ConfigError(f'ssl_groups: OpenSSL does not know "{groups}".') from exc


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    import ssl

    if not os.path.isdir(path):
        _check_readable("ssl_ca_certs", path)
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError as exc:
        raise ConfigError(f"ssl_ca_certs: {path} holds no certificate in PEM form.") from exc


def _check_readable(option: str, path: str) -> None:
    """OpenSSL's own message for a missing file does not say which one."""
    try:
        with open(path, "rb"):
            pass
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ConfigError(f"{option}: cannot read {path} ({reason[:1].lower()}{reason[1:]}).") from exc

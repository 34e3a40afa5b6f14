"""TLS contexts from the ``ssl_*`` settings, with certificates made by the openssl command."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devserver.config import Config
from devserver.errors import ConfigError
from devserver.server.tls import ssl_context
from tests.support.certificates import make_certificate, openssl
from tests.support.server import PATIENCE_S, hello, read_all, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from devserver.app.types import Receive, Scope, Send


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate (cert.pem, key.pem, locked.pem with the password "secret") and a foreign key."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder)
    openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "foreign.pem")
    openssl(folder, "ec", "-aes256", "-passout", "pass:secret", "-in", "key.pem", "-out", "locked.pem")
    (folder / "both.pem").write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    (folder / "empty.pem").write_text("nothing\n")
    return folder


def context(folder: Path, **options: Any) -> ssl.SSLContext:
    given = {"ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"} | options
    paths = {"ssl_certfile", "ssl_keyfile", "ssl_ca_certs"}
    settings: dict[str, Any] = {
        name: str(folder / value) if name in paths and value else value for name, value in given.items()
    }
    made = ssl_context(Config("main:app", **settings))
    assert made is not None
    return made


def client_of(folder: Path, change: Callable[[ssl.SSLContext], None] = lambda _: None) -> ssl.SSLContext:
    trusting = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    change(trusting)
    return trusting


def test_without_a_certificate_there_is_no_tls() -> None:
    assert ssl_context(Config("main:app")) is None


def test_old_protocols_and_suites_without_aead_are_not_offered(certificates: Path) -> None:
    made = context(certificates)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all(suite["aead"] for suite in made.get_ciphers())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_server_speaks_tls(certificates: Path, loop: str) -> None:
    files: dict[str, Any] = {"ssl_certfile": certificates / "cert.pem", "ssl_keyfile": certificates / "key.pem"}
    client = client_of(certificates, lambda made: made.set_alpn_protocols(["h2", "http/1.1"]))
    with serving(hello, loop=loop, **files) as running:
        assert running.server.config.is_ssl
        with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as raw:
            with client.wrap_socket(raw, server_hostname="localhost") as wrapped:
                assert wrapped.selected_alpn_protocol() == "http/1.1"
                wrapped.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert read_all(wrapped).endswith(b"hello")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_client_that_closes_its_side_of_tls_is_gone_without_a_word(
    certificates: Path, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            told.set()
            return
        await hello(scope, receive, send)

    files: dict[str, Any] = {"ssl_certfile": certificates / "cert.pem", "ssl_keyfile": certificates / "key.pem"}
    client = client_of(certificates)
    with serving(app, loop=loop, **files) as running:
        for path in (b"/wait", b"/"):
            with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S) as raw:
                wrapped = client.wrap_socket(raw, server_hostname="localhost")
                wrapped.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
                if path == b"/":
                    assert wrapped.recv(65536)
                with contextlib.suppress(ssl.SSLError):
                    wrapped.unwrap().close()
        until(told.is_set)
        until(lambda: running.server.server_state and not running.server.server_state.connections)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_certificate_and_key_may_be_one_file(certificates: Path) -> None:
    context(certificates, ssl_certfile="both.pem", ssl_keyfile=None)


def test_an_encrypted_key_is_opened_by_its_password(certificates: Path) -> None:
    context(certificates, ssl_keyfile="locked.pem", ssl_keyfile_password="secret")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ssl_certfile": "missing.pem"}, r"ssl_certfile: cannot read .*missing\.pem \(no such file"),
        ({"ssl_keyfile": "missing.pem"}, r"ssl_keyfile: cannot read .*missing\.pem"),
        ({"ssl_keyfile": "foreign.pem"}, r"foreign\.pem does not belong to the certificate in .*cert\.pem"),
        ({"ssl_certfile": "empty.pem"}, r"are not a certificate and a private key in PEM form"),
        ({"ssl_keyfile": "empty.pem"}, r"are not a certificate and a private key in PEM form"),
        ({"ssl_keyfile": None}, r"cert\.pem does not hold a certificate and its private key"),
        ({"ssl_keyfile": "locked.pem"}, r"locked\.pem is encrypted"),
        ({"ssl_keyfile": "locked.pem", "ssl_keyfile_password": "wrong"}, r"ssl_keyfile_password is not the password"),
        ({"ssl_ciphers": "NO-SUCH"}, r'ssl_ciphers: OpenSSL knows no suite in "NO-SUCH"'),
        ({"ssl_groups": "no-such"}, r'ssl_groups: OpenSSL does not know "no-such"'),
        ({"ssl_ca_certs": "missing.pem"}, r"ssl_ca_certs: cannot read"),
        ({"ssl_ca_certs": "empty.pem"}, r"ssl_ca_certs: .*empty\.pem holds no certificate"),
        ({"ssl_version": 3}, r"ssl_version: 3 stands for no protocol that is served"),
        ({"ssl_version": 99}, r"ssl_version: 99"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(certificates: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        context(certificates, **options)


def test_the_password_is_never_asked_for_on_the_terminal(certificates: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        context(certificates, ssl_keyfile="locked.pem")
    assert "ssl_keyfile_password" in caught.value.hint


def test_suites_groups_and_version_can_be_chosen(certificates: Path) -> None:
    made = context(
        certificates,
        ssl_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
        ssl_groups="prime256v1",
        ssl_version=int(ssl.PROTOCOL_TLSv1_2),
    )
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in {suite["name"] for suite in made.get_ciphers()}
    assert made.maximum_version is ssl.TLSVersion.TLSv1_2


def test_client_certificates_are_asked_for(certificates: Path) -> None:
    made = context(certificates, ssl_cert_reqs=int(ssl.CERT_REQUIRED), ssl_ca_certs="cert.pem")
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.get_ca_certs()


def test_a_factory_changes_or_replaces_the_usual_context(certificates: Path) -> None:
    seen: list[Config] = []

    def factory(config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        seen.append(config)
        made = default()
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        return made

    made = context(certificates, ssl_context_factory=factory)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_3
    assert len(seen) == 1

    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert ssl_context(Config("main:app", ssl_context_factory=lambda *_: other)) is other


def test_a_factory_that_wants_the_usual_context_without_a_certificate_is_told_so() -> None:
    with pytest.raises(ConfigError, match="ssl_certfile is missing"):
        ssl_context(Config("main:app", ssl_context_factory=lambda _, default: default()))

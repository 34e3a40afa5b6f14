"""Certificates that the openssl command makes, for tests that speak TLS for real."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(folder: Path, *arguments: str) -> None:
    """Runs the openssl command in ``folder``."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, ``cert.pem``, and its key, ``key.pem``, in ``folder``."""
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    openssl(folder, "req", "-x509", *curve, "-noenc", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem", *subject)
    return folder / "cert.pem", folder / "key.pem"


def make_signed_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate for localhost, its key and the authority that has signed it.

    With the extensions that strict verifiers ask for (RFC 5280 §4.2).
    """
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    authority = ("-subj", "/CN=ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(folder, "req", "-x509", *curve, "-days", "90", "-keyout", "ca-key.pem", "-out", "ca.pem", *authority)
    openssl(folder, "req", *curve, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    extensions = (
        "subjectAltName=DNS:localhost",
        "extendedKeyUsage=serverAuth,clientAuth",
        "keyUsage=critical,digitalSignature",
        "basicConstraints=critical,CA:FALSE",
        "authorityKeyIdentifier=keyid",
        "subjectKeyIdentifier=hash",
    )
    (folder / "extensions").write_text("\n".join(extensions))
    signing = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-days", "80", "-extfile", "extensions")
    openssl(folder, "x509", "-req", "-in", "request.pem", *signing, "-out", "cert.pem")
    return folder / "cert.pem", folder / "key.pem", folder / "ca.pem"

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

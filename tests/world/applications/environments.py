"""An environment of its own for each application, made by uv, with devserver editable from this checkout.

It lies in ``$XDG_CACHE_HOME/devserver-world/applications`` (``~/.cache`` by default), named by the application and a
hash of its pinned requirements, the interpreter, the checkout and devserver's own requirements. It is deleted after use
unless it is to be kept: together they take 3 GiB, and uv makes one again from its cache within seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
INSTALL_TIMEOUT_S = 600.0
"""Timeout of an installation, because the largest application downloads 300 MiB."""


class InstallError(Exception):
    """An environment that could not be made; the message is what the installer said."""


@contextmanager
def environment(name: str, requirements: Sequence[str], *, keep: bool = False) -> Iterator[Path]:
    """Make the environment of an application, or take the one kept from another run, and yield its interpreter.

    Another run that wants the same application waits until this one is done with it.

    :raises InstallError: with the end of the installer's output.
    """
    wanted = [*requirements, f"uvicorn[standard]=={version('uvicorn')}"]
    folder = _home() / f"{name}-{_key(wanted)}"
    # Another run, of this checkout or of another, would delete what this one uses.
    with (_home() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in _home().glob(f"{name}-*"):
            # One for each application: an earlier version's is of no more use.
            if other != folder and len(other.name) == len(folder.name):
                shutil.rmtree(other)
        try:
            if not (folder / "complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _make(folder, wanted)
                (folder / "complete").touch()
            yield folder / "bin/python"
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(cache, "devserver-world/applications")
    home.mkdir(parents=True, exist_ok=True)
    return home


def _key(requirements: Sequence[str]) -> str:
    parts = [*sorted(requirements), sys.version, str(CHECKOUT), (CHECKOUT / "pyproject.toml").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _make(folder: Path, requirements: Sequence[str]) -> None:
    _run("venv", "--python", sys.executable, "--no-project", str(folder))
    python = str(folder / "bin/python")
    _run("pip", "install", "--python", python, "--editable", str(CHECKOUT), *requirements)


def _run(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=INSTALL_TIMEOUT_S, text=True)
    except subprocess.CalledProcessError as exc:
        raise InstallError(exc.stderr[-2000:]) from exc
    except subprocess.TimeoutExpired as exc:
        raise InstallError(f"uv {arguments[0]} has not ended within {INSTALL_TIMEOUT_S:.0f} s") from exc

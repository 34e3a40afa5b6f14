"""Gets the suites: source archives from the package index, and one environment that can run them.

Everything lies in a cache outside the repository. An archive must have the hash that it had when it was downloaded, and
its package must be, file by file, the one that is installed: otherwise the suite would test another release.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.world.suites.suite import Suite

__all__ = ["CHECKOUT", "Unusable", "cache", "environment", "locked", "source", "version_of"]

CHECKOUT = Path(__file__).parents[3]

_SERVERS = ("uvicorn", "uvloop", "httptools", "websockets", "gunicorn")
"""Distributions that take part in every run, at the checkout's versions."""

_EXTRAS = {"fastapi": "[all]"}
"""Extras without which a suite skips tests."""

DOWNLOAD_S = 600
"""Timeout of one download or installation, in seconds."""


class Unusable(Exception):
    """An archive or an environment that cannot be used; the message says what to do."""


def cache() -> Path:
    """Returns the folder for what is downloaded: ``devserver-world`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devserver-world"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keeps a second run from building the same environment at once."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def version_of(distribution: str) -> str:
    """Returns the version in the checkout's environment.

    :raises Unusable: it is not installed.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise Unusable(f"{distribution} is not installed beside devserver; run scripts/environment") from None


def source(suite: Suite) -> dict[str, Path]:
    """Returns the folder with the suite's unpacked source archive for each server, and downloads it if need be.

    Each server has its own, because both run at once and tests write files beside themselves.

    :raises Unusable: it cannot be downloaded, or is not what it was.
    """
    version = version_of(suite.distribution)
    folder = cache() / "sources" / f"{suite.distribution.lower()}-{version}"
    archive = folder / "archive.tar.gz"
    recorded = folder / "sha256"
    if not recorded.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _download(suite.distribution, version, folder)
        (found,) = folder.glob("*.tar.gz")
        found.rename(archive)
        recorded.write_text(_hash(archive))
    if _hash(archive) != recorded.read_text():
        raise Unusable(f"{archive} has changed since it was downloaded; delete {folder}")
    return {server: _unpacked(archive, folder / server) for server in (suite.reference, "devserver")}


def _unpacked(archive: Path, folder: Path) -> Path:
    if not folder.exists():
        partial = folder.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(folder)
    (root,) = folder.iterdir()
    return root


def environment(suites: Sequence[Suite], roots: Sequence[Path]) -> Path:
    """Returns the Python that runs the suites, and makes or updates its environment if need be.

    It holds the checkout's devserver, editable; so each checkout has one, and those of checkouts that are gone are
    removed.

    :param roots: the unpacked archives, in the order of the suites.
    :raises Unusable: something cannot be installed.
    """
    folder = cache() / "environments" / hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]
    for other in folder.parent.glob("*/checkout"):
        if not Path(other.read_text()).exists():
            shutil.rmtree(other.parent)
    wanted = ["--editable", str(CHECKOUT)]
    wanted += [f"{name}=={version_of(name)}" for name in _SERVERS]
    for suite, root in zip(suites, roots, strict=True):
        name = suite.distribution
        wanted.append(f"{name}{_EXTRAS.get(name, '')}=={version_of(name)}")
        if suite.group:
            wanted += ["--group", f"{root / 'pyproject.toml'}:{suite.group}"]
    python = folder / "bin" / "python"
    stamp = folder / "stamp"
    state = "\n".join([sys.version, *wanted])
    if not stamp.exists() or stamp.read_text() != state:
        if not python.exists() or not stamp.exists() or stamp.read_text().split("\n")[0] != sys.version:
            _run([_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
            (folder / "checkout").write_text(str(CHECKOUT))
        stamp.unlink(missing_ok=True)
        _run([_uv(), "pip", "install", "--quiet", "--python", str(python), *wanted])
        stamp.write_text(state)
    for suite, root in zip(suites, roots, strict=True):
        _check_same(suite, root, python)
    return python


def _check_same(suite: Suite, root: Path, python: Path) -> None:
    (installed,) = python.parents[1].glob(f"lib/python*/site-packages/{suite.package}")
    for file in sorted((root / suite.package).rglob("*.py")):
        other = installed / file.relative_to(root / suite.package)
        if not other.exists() or other.read_bytes() != file.read_bytes():
            raise Unusable(f"{file} is not what is installed as {other}; delete {cache()} and try again")


def _download(distribution: str, version: str, folder: Path) -> None:
    # uv downloads nothing without installing it; pip compares the archive with the hash of the index.
    pip = [_uv(), "run", "--quiet", "--no-project", "--with", "pip", "--python", sys.executable, "python", "-m", "pip"]
    options = ["download", "--quiet", "--no-deps", "--no-binary", distribution, "--dest", str(folder)]
    _run([*pip, *options, f"{distribution}=={version}"])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=cache(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DOWNLOAD_S
    )
    if done.returncode:
        raise Unusable(f"{' '.join(command[:3])} … failed:\n{done.stdout[-2000:]}")


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Unusable("uv was not found; run scripts/environment")
    return found


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

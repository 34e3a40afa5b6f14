"""Programs that are installed beside Python: where they are, and real clients of other makers.

``scripts/system-packages`` installs the programs; npm brings undici and ws, once for a checkout.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""How long a client may take; a virtual machine has to start on a busy machine, and npm has to download."""

PACKAGES = ("undici@6.22.0", "ws@8.23.0")
"""Of undici the newest line that runs on every Node.js since 18; ws has no other packages below it."""


def tool(name: str) -> str:
    """The path of a program.

    :raises AssertionError: it is not installed.
    """
    # Debian keeps servers where an ordinary user's PATH does not look.
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    assert path is not None, f"{name} is not installed; scripts/system-packages installs it"
    return path


def curl(*arguments: str, data: bytes = b"") -> str:
    """What ``curl`` writes to stdout; ``data`` is its stdin.

    :raises AssertionError: it failed.
    """
    # -q: a .curlrc of the person who runs the tests stays out of it.
    done = subprocess.run(
        [tool("curl"), "-q", "--silent", "--show-error", "--noproxy", "*", *arguments],
        input=data,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode()


def node(source: str, *arguments: str) -> Any:
    """Runs an ES module that may import one of the :data:`PACKAGES`, and returns the JSON that it prints."""
    folder = _packages()
    command = [tool("node"), "--input-type=module", "-e", source, *arguments]
    return _json_of(command, folder)


def java(source: Path, *arguments: str) -> Any:
    """Runs a Java source file as it is, and returns the JSON that it prints."""
    # One thread of a cheap compiler and collector: the program runs for a second.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]
    return _json_of([tool("java"), *options, str(source), *arguments], source.parent)


def _json_of(command: list[str], folder: Path) -> Any:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr}"
    return json.loads(done.stdout)


def _packages() -> Path:
    """A folder from which the packages can be imported."""
    folder = CHECKOUT / ".devserver" / "-".join(("npm", *PACKAGES))
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            ready = Path(made, "ready")
            ready.mkdir()
            npm = [tool("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(ready), *PACKAGES]
            done = subprocess.run(npm, cwd=ready, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode == 0, f"npm cannot install {' and '.join(PACKAGES)}:\n{done.stderr}"
            # Two test processes may do this at once; the folder of whoever comes first is as good as one's own.
            with contextlib.suppress(OSError):
                ready.rename(folder)
    return folder

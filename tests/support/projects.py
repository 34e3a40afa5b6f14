"""Made-up projects on disk, and programs run in them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes text files, with the folders they need, and gives ``folder`` back."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def run_python(code: str, *, cwd: Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own that finds this package and writes bytecode as users' processes do."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )

"""``dev test`` in a made-up project, beside a real ``dev run``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.dev_run import DevRun, dev_run
from tests.support.projects import REPOSITORY, write_files
from tests.support.reload import PATIENCE_S, answering


def make_project(root: Path, files: Mapping[str, str]) -> Path:
    """A project with an app, and these files."""
    return write_files(root, {"pyproject.toml": "", "main.py": answering("1"), **files})


def environment(**others: str) -> dict[str, str]:
    """What ``dev run`` and ``dev test`` are started with: no plugins of this repository's, unless asked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **others}


def dev_test(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return run(folder, "-m", "devserver", "test", *words, environ=environ)


def plain(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same with pytest itself."""
    return run(folder, "-m", "devserver", "exec", "--", sys.executable, "-m", "pytest", *words, environ=environ)


def run(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python in the project."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment() if environ is None else {**environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


@contextmanager
def warm_run(folder: Path, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[DevRun]:
    """A ``dev run`` that forks."""
    wanted = environment() if environ is None else environ
    exactly = {**dict.fromkeys(os.environ), **wanted}
    with dev_run("main:app", *options, directory=folder, environ=exactly) as made:
        wait_notice(made, "Saves fork a process")
        yield made


def wait_notice(running: DevRun, text: str, count: int = 1) -> None:
    """Returns when so many notices begin with ``text``."""

    def seen() -> int:
        return len([event for event in running.events if event.get("text", "").startswith(text)])

    while seen() < count:
        running.wait_for("Notice")


def same(text: str) -> str:
    """What does not differ between two runs: no durations, no addresses."""
    text = re.sub(r"\b0x[0-9a-f]+\b", "0x0", text)
    text = re.sub(r"\b\d+\.\d+s\b", "TIME", text)
    return re.sub(r"=+ (.*TIME.*) =+", r"= \1 =", text)

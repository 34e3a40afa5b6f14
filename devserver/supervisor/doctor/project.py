"""Checks of the project: its settings, its app, its env files, and the cache that we keep in it."""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import importlib.util
import os
import re
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from devserver.app.redact import is_secret_name
from devserver.app.source_loader import CACHE_FOLDER
from devserver.errors import AppLoadError
from devserver.supervisor.doctor.case import ERROR, NOTE, WARNING, Case, Finding

EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")
_NAME = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=")
_POLICY = re.compile(r"^[^#\n]*\b(uvloop\.install\(|set_event_loop_policy\()", re.MULTILINE)
_SOURCES_MAX = 500
_SOURCE_BYTES_MAX = 1 << 20
_GIT_S = 5.0
_AHEAD_S = 2.0
"""File systems round times; beyond this a file comes from the future."""


def settings(case: Case) -> Iterator[Finding]:
    """What was wrong with the settings, and what was noticed while they were read."""
    for trouble in case.troubles:
        if not isinstance(trouble, AppLoadError):
            yield Finding(ERROR, trouble.message, remedy=trouble.hint)
    for notice in case.notices:
        if notice.level in {"warning", "error"}:
            yield Finding(WARNING, notice.text)


def app(case: Case) -> Iterator[Finding]:
    """Whether it is clear what is to be served, and whether its file can be read and finds what it imports."""
    for trouble in case.troubles:
        if isinstance(trouble, AppLoadError):
            yield Finding(ERROR, trouble.message, str(case.directory), trouble.hint)
    target = case.target
    if target is None or target.path is None or target.path.suffix != ".py":
        return
    shown = case.shown(target.path)
    try:
        source = target.path.read_bytes()
        with warnings.catch_warnings():
            # Whoever runs the app is told.
            warnings.simplefilter("ignore")
            tree = ast.parse(source, str(target.path))
    except (SyntaxError, ValueError) as exc:
        line = getattr(exc, "lineno", None)
        where = f"{shown}:{line}" if line else shown
        yield Finding(ERROR, f"The app's file is not valid Python: {getattr(exc, 'msg', exc)}.", where, "Mend it.")
        return
    # What the app finds by changing the search path cannot be known.
    for name, line in _imported(tree).items() if b"sys.path" not in source else ():
        if not _can_be_found(name, target.search_path):
            yield Finding(
                ERROR,
                f"The app imports {name}, which is not installed in {sys.prefix}.",
                f"{shown}:{line}",
                "Install it, or use the environment that has it.",
            )


def loop_policy(case: Case) -> Iterator[Finding]:
    """Code that chooses the event loop, which the server does."""
    for path in _sources(case):
        text = ""
        with contextlib.suppress(OSError):
            if path.stat().st_size <= _SOURCE_BYTES_MAX:
                text = path.read_text(encoding="utf-8", errors="replace")
        if (match := _POLICY.search(text)) is not None:
            line = text.count("\n", 0, match.start(1)) + 1
            yield Finding(
                NOTE,
                f"{match[1].rstrip('(')} has no effect on what is served: the server chooses the event loop.",
                f"{case.shown(path)}:{line}",
                "Delete it, or choose with --loop.",
            )


def clock(case: Case) -> Iterator[Finding]:
    """Files from the future: the clock is wrong, here or where they were written."""
    now = time.time()
    for path in _sources(case):
        ahead_s = 0.0
        with contextlib.suppress(OSError):
            ahead_s = path.stat().st_mtime - now
        if ahead_s > _AHEAD_S:
            yield Finding(
                WARNING,
                f"A file was written {ahead_s:,.0f} s from now: this machine's clock is slow, or the writer's fast.",
                case.shown(path),
                "Set the clock, or touch the file.",
            )
            return


def env_files(case: Case) -> Iterator[Finding]:
    """Who can read the env files, and whether git has them."""
    files = _env_files(case)
    repository = _git(case, "rev-parse", "--is-inside-work-tree") == 0
    for path in files:
        shown = case.shown(path)
        secrets = [name for name in _names(path) if is_secret_name(name)]
        severity = WARNING if secrets else NOTE
        held = f", and holds what looks like secrets ({', '.join(secrets[:3])})" if secrets else ""
        if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
            yield Finding(severity, f"Every user of this machine can read {shown}{held}.", shown, f"chmod 600 {shown}")
        if not repository:
            continue
        if _git(case, "ls-files", "--error-unmatch", str(path)) == 0:
            remedy = f"git rm --cached {shown}, add it to .gitignore"
            yield Finding(
                severity,
                f"git tracks {shown}{held}.",
                shown,
                f"{remedy}, and change the secrets." if secrets else remedy,
            )
        elif _git(case, "check-ignore", "-q", str(path)) == 1:
            yield Finding(
                WARNING, f"The next git add may take {shown} along{held}.", shown, f"Add {shown} to .gitignore."
            )


def env_example(case: Case) -> Iterator[Finding]:
    """Variables that the example of an env file names and nobody sets."""
    example = next((path for path in (case.directory / name for name in EXAMPLES) if path.is_file()), None)
    if example is None:
        return
    wanted = _names(example)
    written = {name for path in _env_files(case) for name in _names(path)}
    missing = [name for name in wanted if name not in written and name not in case.environ]
    if missing:
        yield Finding(
            WARNING,
            f"{example.name} names {_listed(missing)}, which no env file and no environment sets.",
            case.shown(example),
            "Add what your app needs to .env.",
        )
    unknown = sorted(written - set(wanted))
    if unknown:
        yield Finding(
            NOTE,
            f"{example.name} does not name {_listed(unknown)}, so that others do not know that it is needed.",
            case.shown(example),
            f"Add it to {example.name}, without its value.",
        )


def cache(case: Case) -> Iterator[Finding]:
    """Whether what is learned can be kept."""
    folder = case.root / CACHE_FOLDER.parts[0]
    nearest = next((place for place in (case.root / CACHE_FOLDER, folder, case.root) if place.exists()), case.root)
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            WARNING,
            "Nothing can be kept from one start to the next, so that every first start is cold.",
            case.shown(nearest),
            f"Let yourself write there: chmod -R u+rwX {case.shown(nearest)}",
        )


def _imported(tree: ast.Module) -> dict[str, int]:
    """Top-level packages that cannot be done without → line. What stands in a ``try`` or an ``if`` may be missing."""
    found: dict[str, int] = {}
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        for name in names:
            found.setdefault(name.partition(".")[0], node.lineno)
    return found


def _can_be_found(name: str, folder: str) -> bool:
    """Whether there is such a module; it is looked for and not imported."""
    if name in sys.modules or importlib.machinery.PathFinder.find_spec(name, [folder or os.getcwd()]) is not None:
        return True
    return importlib.util.find_spec(name) is not None


def _env_files(case: Case) -> list[Path]:
    """Those of any mode, and those that the settings name."""
    given = case.config.env_file if isinstance(case.config.env_file, tuple) else ()
    found = [path for path in sorted(case.directory.glob(".env*")) if path.name == ".env" or path.name[4] == "."]
    found += [case.directory / os.fspath(name) for name in given]
    return list(dict.fromkeys(path for path in found if path.is_file() and path.name not in EXAMPLES))


def _names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return []
    return list(dict.fromkeys(match[1] for line in lines if (match := _NAME.match(line)) is not None))


def _sources(case: Case) -> list[Path]:
    """The Python files beside and below the app's, as many as can be read in no time."""
    if case.target is None or case.target.path is None:
        return []
    found: list[Path] = []
    for folder, names, files in os.walk(case.target.path.parent):
        names[:] = [name for name in names if not name.startswith((".", "__")) and name != "node_modules"]
        if "pyvenv.cfg" in files:
            names.clear()
            continue
        found += [Path(folder, name) for name in sorted(files) if name.endswith(".py")]
        if len(found) >= _SOURCES_MAX:
            break
    return found[:_SOURCES_MAX]


def _git(case: Case, *words: str) -> int | None:
    """Exit code of git; None when it cannot be asked."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=case.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

"""Checks of the interpreter and of what is installed in its environment."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from devserver.config.project import project_interpreter
from devserver.supervisor import rendezvous
from devserver.supervisor.doctor.case import ERROR, NOTE, WARNING, Case, Finding
from devserver.supervisor.forking import why_not_fork

OURS = "devserver"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*\(?>=\s*([0-9.]+)[^;]*(?:;(.*))?")
_MISSING = {
    "httptools": (ERROR, "Requests cannot be read: httptools is not installed."),
    "uvloop": (WARNING, "uvloop is not installed: asyncio's own event loop is slower."),
    "watchfiles": (ERROR, "Changed files cannot be noticed: watchfiles is not installed."),
}
_EAGER_TASKS = (3, 12)


def version(case: Case) -> Iterator[Finding]:  # noqa: ARG001 - as every check
    """Whether this is a Python that we are fast on."""
    if sys.implementation.name != "cpython":
        yield Finding(WARNING, f"This is {sys.implementation.name}; only CPython is tested.", sys.executable)
    if sys.version_info[:2] < _EAGER_TASKS:
        running = ".".join(map(str, sys.version_info[:2]))
        yield Finding(
            NOTE,
            f"Python {running} has no eager tasks: every request takes one more turn of the event loop.",
            sys.executable,
            "Use Python 3.12 or newer.",
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield Finding(
            WARNING,
            "This is a free-threaded build: single-threaded code, as of an event loop, is slower on it.",
            sys.executable,
            "Use the ordinary build of the same version.",
        )
    if hasattr(sys, "gettotalrefcount"):
        yield Finding(
            WARNING, "This is a debug build of Python, several times slower.", sys.executable, "Use a release build."
        )


def flags(case: Case) -> Iterator[Finding]:
    """Variables that change how Python works."""
    if sys.flags.dont_write_bytecode:
        yield Finding(
            NOTE,
            "Python writes no bytecode: packages that have none yet are compiled again at every cold start.",
            "PYTHONDONTWRITEBYTECODE",
            "Unset it, or compile them once: python -m compileall -q <site-packages>.",
        )
    if sys.flags.optimize:
        yield Finding(
            WARNING,
            "Python leaves out assert statements: those in your code and in your tests do nothing.",
            "PYTHONOPTIMIZE",
            "Unset it while you develop.",
        )
    for name in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONMALLOC"):
        if case.environ.get(name) and not (name == "PYTHONMALLOC" and case.environ[name] == "default"):
            yield Finding(NOTE, f"{name} is set, which makes every request slower.", name, "Unset it when you measure.")


def packages(case: Case) -> Iterator[Finding]:
    """What devserver needs: missing, or older than what it is tested with."""
    needed = importlib.metadata.requires(OURS) or []
    for text in needed:
        read = _REQUIREMENT.match(text)
        if read is None or "extra" in (read[3] or "") or (sys.platform == "win32" and "win32" in (read[3] or "")):
            continue
        name, oldest = read[1], read[2]
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            severity, what = _MISSING.get(name, (WARNING, f"{name} is not installed."))
            if name != "uvloop" or case.config.loop in {"auto", "uvloop"}:
                yield Finding(severity, what, sys.prefix, f"Install it: pip install {_quoted(name, oldest)}.")
            continue
        if _numbers(found) < _numbers(oldest):
            yield Finding(
                WARNING,
                f"{name} {found} is older than what is supported, {oldest}.",
                sys.prefix,
                f"Update it: pip install -U {_quoted(name, oldest)}.",
            )


def environment(case: Case) -> Iterator[Finding]:
    """Whether the project's own interpreter runs."""
    other = project_interpreter(case.directory, case.environ)
    if other is not None:
        yield Finding(
            WARNING,
            f"The project has an environment of its own, and another one runs: {sys.prefix}.",
            str(other.parent.parent),
            f"Run it from there: {other} -m devserver run.",
        )


def reload_mode(case: Case) -> Iterator[Finding]:
    """Whether saves can take the fast way."""
    config = case.config
    if not config.should_reload or config.reload_mode in {"standby", "cold"}:
        return
    why = why_not_fork(case.environ)
    if not why:
        return
    remedies = {
        "a debugger runs": "Attach the debugger to the running app instead, or accept slower saves.",
        "coverage is measured": "Unset COVERAGE_PROCESS_START and COVERAGE_PROCESS_CONFIG.",
    }
    severity = WARNING if config.reload_mode == "fork" else NOTE
    yield Finding(severity, f"Saves take longer than they could: {why}.", "--reload-mode", remedies.get(why, ""))


def checkpoints(case: Case) -> Iterator[Finding]:
    """What the ``dev run`` in this project keeps for the next save, and the memory that it takes."""
    state = rendezvous.ask(case.root, "state")
    if state is None or state.get("is") != "state":
        return
    told = []
    for waiting in state["checkpoints"]:
        private_kib = _private_kib(case, int(waiting["pid"]))
        if private_kib is not None:
            told.append(f"{case.shown(Path(waiting['path']))} ({private_kib / 1024:.1f} MiB)")
    if told:
        yield Finding(
            NOTE,
            f"dev run ({state['pid']}) can go on with an import before {', '.join(told)}; "
            "the memory is what each process shares with no other.",
            "--reload-checkpoints",
        )


def _private_kib(case: Case, pid: int) -> int | None:
    """Memory of a process that is nobody else's (proc_pid_smaps(5)); None when it has ended."""
    try:
        text = (case.proc / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def process_name(case: Case) -> Iterator[Finding]:
    """Whether processes can be named as asked."""
    if case.process_name is not None and not _has("setproctitle"):
        yield Finding(
            NOTE,
            "Without setproctitle a process name has 15 characters, and does not say what a process does.",
            "--process-name",
            "Install it: pip install 'devserver[names]'.",
        )


def _has(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _quoted(name: str, oldest: str) -> str:
    return f"'{name}>={oldest}'"

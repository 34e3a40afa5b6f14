"""Checks of the machine: how it tells of changed files, the address to serve on, and its limits."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from devserver.errors import DevserverError
from devserver.server import holder
from devserver.server.listeners import Tcp, Unix, places
from devserver.supervisor.changes import FOLDERS_MAX, IGNORED_NAMES, Judge
from devserver.supervisor.doctor.case import ERROR, NOTE, WARNING, Case, Finding
from devserver.supervisor.watch import POLL_MS, needs_polling

FOLDERS_MANY = 2_000
WATCHES_FEW = 8_192
INSTANCES_FEW = 64
FILES_FEW = 1_024
_NO_NOTIFICATION = {
    "9p": "a drive of the host's, as in WSL",
    "drvfs": "a drive of Windows'",
    "nfs": "a network file system",
    "nfs4": "a network file system",
    "cifs": "a network file system",
    "smb3": "a network file system",
    "smbfs": "a network file system",
    "afs": "a network file system",
    "ceph": "a network file system",
    "vboxsf": "a folder that a virtual machine shares",
    "vmhgfs": "a folder that a virtual machine shares",
    "virtiofs": "a folder that a virtual machine shares",
    "prl_fs": "a folder that a virtual machine shares",
    "fakeowner": "a folder that Docker Desktop shares",
    "grpcfuse": "a folder that Docker Desktop shares",
    "osxfs": "a folder that Docker Desktop shares",
    "sshfs": "a folder of another machine",
}
"""File systems on which changes that others make are told to nobody."""


def polling(case: Case) -> Iterator[Finding]:
    """Whether changes are looked for, though they could be told, or the other way round."""
    config = case.config
    if not config.should_reload:
        return
    if case.environ.get("WATCHFILES_FORCE_POLLING"):
        yield Finding(
            NOTE,
            "WATCHFILES_FORCE_POLLING has no effect on dev run, which decides by the file system.",
            "WATCHFILES_FORCE_POLLING",
            "To look for changes all the same: --poll.",
        )
    kind = file_system(case.root, case.proc)
    what = _NO_NOTIFICATION.get(kind.removeprefix("fuse."))
    polls = needs_polling(str(case.root)) if config.poll is None else config.poll
    if what is not None and not polls:
        yield Finding(
            WARNING,
            f"The project lies on {what} ({kind}), where saves may be noticed only after a second.",
            str(case.root),
            "Look for changes with --poll, or move the project to a disk of this system.",
        )
    elif what is not None:
        yield Finding(
            NOTE,
            f"The project lies on {what} ({kind}): changes are looked for every {POLL_MS} ms, and imports are slow.",
            str(case.root),
            "Move it to a disk of this system.",
        )
    elif polls:
        yield Finding(
            NOTE,
            f"Changes are looked for every {POLL_MS} ms, though this file system ({kind or 'unknown'}) would tell.",
            "--poll",
            "Leave it out.",
        )


def watched_folders(case: Case) -> Iterator[Finding]:
    """Whether more is watched than anybody works on."""
    config = case.config
    if not config.should_reload:
        return
    for name in config.reload_dirs or ():
        folder = (case.directory / name).resolve()
        if not IGNORED_NAMES.isdisjoint(folder.parts) or (folder / "pyvenv.cfg").exists():
            yield Finding(
                WARNING, f"{case.shown(folder)} holds packages and no source of yours.", "--reload-dir", "Leave it out."
            )
    trees = [case.directory / name for name in config.reload_dirs or ()]
    if config.reload_includes:
        trees.append(case.root)
    judge = Judge(
        root=str(case.root), reload_dirs=[str(tree) for tree in trees], excludes=tuple(config.reload_excludes or ())
    )
    folders = {folder for tree in trees for folder in judge.tree(str(tree))}
    watches = _number(case.proc / "sys/fs/inotify/max_user_watches")
    if watches is not None and watches < max(WATCHES_FEW, 2 * len(folders)):
        yield Finding(
            WARNING,
            f"Only {watches:,} folders may be watched by all your programs together.",
            "fs.inotify.max_user_watches",
            "sudo sysctl fs.inotify.max_user_watches=524288",
        )
    instances = _number(case.proc / "sys/fs/inotify/max_user_instances")
    if instances is not None and instances < INSTANCES_FEW:
        yield Finding(
            WARNING,
            f"Only {instances:,} programs of yours may watch files, and each editor counts.",
            "fs.inotify.max_user_instances",
            "sudo sysctl fs.inotify.max_user_instances=512",
        )
    if len(folders) >= FOLDERS_MANY:
        below = Counter(_first_part(folder, trees) for folder in folders)
        biggest, count = below.most_common(1)[0]
        more = "at least " if len(folders) >= FOLDERS_MAX else ""
        yield Finding(
            WARNING,
            f"{more}{len(folders):,} folders are watched, {count:,} of them in {case.shown(biggest)}.".capitalize(),
            "--reload-include" if config.reload_includes else "--reload-dir",
            f"Name fewer, or leave some out: --reload-exclude '{Path(biggest).name}'.",
        )


def address(case: Case) -> Iterator[Finding]:
    """Whether somebody else is where the app would be served."""
    try:
        wanted = places(case.config, dict(case.environ))
    except DevserverError as exc:
        yield Finding(ERROR, exc.message, remedy=exc.hint)
        return
    for place in wanted:
        if isinstance(place, Tcp) and place.port:
            yield from _port(case, place)
        elif isinstance(place, Unix) and holder.unix_is_bound(place.path):
            who = _who(holder.of_unix(place.path))
            yield Finding(ERROR, f"The Unix socket {place.path} is in use{who}.", place.path, "Stop it.")


def limits(case: Case) -> Iterator[Finding]:  # noqa: ARG001 - as every check
    """How many files and connections a process may have open."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_FEW:
        enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        higher = "Raise the hard limit: in limits.conf(5), or with the container's --ulimit nofile."
        yield Finding(
            WARNING,
            f"A process may have only {soft:,} files and connections open.",
            "ulimit -n",
            f"ulimit -n {enough}" if enough > soft else higher,
        )


def proc(case: Case) -> Iterator[Finding]:
    """Whether the kernel tells about processes."""
    if sys.platform == "linux" and not os.access(case.proc / "self" / "task", os.R_OK | os.X_OK):
        yield Finding(
            WARNING,
            "The kernel does not tell about processes: saves do not fork, and a taken port has no name.",
            str(case.proc),
            "Mount it: mount -t proc proc /proc",
        )


def file_system(path: Path, proc: Path) -> str:
    """The kind of file system that ``path`` lies on, such as ``ext4`` or ``fuse.sshfs``; empty when nobody tells."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            # proc_pid_mountinfo(5): the mount point is the fifth field, the kind comes after a lone hyphen.
            fields = line.split()
            if "-" not in fields[5:]:
                continue
            point = _unescaped(fields[4])
            inside = path == Path(point) or path.is_relative_to(point)
            if inside and len(point) >= len(best):
                best, kind = point, fields[fields.index("-", 5) + 1]
    return kind


def _port(case: Case, place: Tcp) -> Iterator[Finding]:
    for family, _, _, _, there in _addresses(place):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(there)
            except OSError as exc:
                if exc.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    continue
                where = f"{place.host}:{place.port}"
                if exc.errno == errno.EACCES:
                    yield Finding(ERROR, f"Not allowed to use port {place.port}.", where, "Choose one above 1023.")
                    return
                who = holder.of_tcp(family, str(there[0]), place.port)
                moves = case.port_is_default and not case.config.strict_port
                what = f"Port {place.port} is in use{_who(who)}"
                if who is not None and who.serves and Path(who.directory) == case.directory:
                    yield Finding(NOTE, f"{what}: this project is being served already.", where)
                elif moves:
                    yield Finding(NOTE, f"{what}; the next free one will be taken.", where, "Stop it, or give --port.")
                else:
                    yield Finding(ERROR, f"{what}.", where, "Stop it, or choose another one with --port.")
                return


def _addresses(place: Tcp) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
    try:
        found = socket.getaddrinfo(place.host or None, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return []
    return list(found)  # type: ignore[arg-type]


def _who(found: holder.Holder | None) -> str:
    return f" by PID {found.pid} ({found.command})" if found is not None else ""


def _first_part(folder: str, trees: list[Path]) -> str:
    """The folder right below the tree that ``folder`` lies in."""
    for tree in trees:
        path = Path(folder)
        if path.is_relative_to(tree):
            parts = path.relative_to(tree).parts
            return str(tree / parts[0]) if parts else str(tree)
    return folder


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field

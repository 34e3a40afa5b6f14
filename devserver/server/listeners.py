"""From settings to sockets that are bound but do not listen yet.

The order is: bind, load the app, start it, listen. A socket that is bound reserves its address, so that a mistake in
the address is told at once and not after a slow import, and a client is refused rather than left waiting until the app
is up.

Exclusiveness needs care on Linux. SO_REUSEADDR must be set while binding (else connections in TIME_WAIT keep a
restarted server out for a minute), but two sockets that both have it may be bound to the same port as long as neither
listens. So it is cleared once the socket is bound, which makes every other bind fail, and set again just before
listening, because connections inherit it and need it when their turn in TIME_WAIT comes.

Dual stack is always two sockets, one of each family, IPv6 with IPV6_V6ONLY: what an address means then depends neither
on the system's settings nor on its defaults.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Generator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from devserver.errors import BindError, ConfigError
from devserver.events import Emitter, Notice
from devserver.server import holder

if TYPE_CHECKING:
    from devserver.config.settings import Config

FIRST_SYSTEMD_FD = 3
"""SD_LISTEN_FDS_START, see sd_listen_fds(3)."""

UNIX_PATH_MAX = 107
"""Bytes of sun_path on Linux without its final NUL, see unix(7)."""

_NEXT_PORTS = 100
"""How many ports above the default one are tried; more servers than this on one machine are something else's fault."""

_SAME_PORT_TRIES = 16
"""How often a free port is asked for until it is free for every address of a host."""

_UNIX_MODE = 0o666
"""Of a Unix socket when nobody says otherwise, as uvicorn has it: everybody may connect."""

_LOCK_S = 1.0
"""Replacing a stale Unix socket takes a millisecond; a lock that is held longer is about something else."""

Address: TypeAlias = tuple[int, str, int, int, int]
"""Family, address literal, port, flow information and scope (the last two for IPv6 only)."""


@dataclass(eq=False, slots=True)
class Listener:
    """One socket to accept connections from.

    :ivar socket: bound; :meth:`listen` makes it listen.
    :ivar url: where it is reached, such as ``http://127.0.0.1:8000`` or ``unix:/run/app.sock``.
    :ivar owned: whether it was made here, and not by whoever started us.
    """

    socket: socket.socket
    url: str
    owned: bool = True
    path: str = ""
    """Absolute path of the Unix socket that we made."""
    _file: tuple[int, int] = (0, 0)
    _pid: int = field(default_factory=os.getpid)

    def listen(self, backlog: int) -> None:
        """Lets the kernel accept connections.

        :raises BindError: somebody else came to listen there after this socket was bound.
        """
        if self.socket.family in {socket.AF_INET, socket.AF_INET6}:
            _set_reuse(self.socket, True)
        try:
            self.socket.listen(backlog)
        except OSError as exc:
            raise BindError(f"Cannot listen on {self.url}: {_reason(exc)}.") from exc

    def own(self) -> None:
        """The file of the Unix socket, if it has one, is ours to remove."""
        self._pid, self._file = os.getpid(), _file_id(self.path)

    def leave(self) -> None:
        """The file is somebody else's to remove."""
        self._file = (0, 0)

    def close(self) -> None:
        """Closes the socket, and removes its file if this process made it and it is still the same file."""
        self.socket.close()
        if self.path and self._pid == os.getpid() and _file_id(self.path) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class Tcp:
    """A host name or address and a port; an empty host means all addresses."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Unix:
    """The path of a Unix socket."""

    path: str


@dataclass(frozen=True, slots=True)
class Fd:
    """The number of a descriptor that is a socket already."""

    number: int


Place: TypeAlias = Tcp | Unix | Fd


def bind(
    config: Config,
    *,
    environ: MutableMapping[str, str],
    emitter: Emitter,
    directory: Path | None = None,
    port_is_default: bool = False,
) -> list[Listener]:
    """Binds everything that the settings ask for, or nothing.

    :param environ: LISTEN_FDS and LISTEN_PID are read from it, and removed, so that no child takes them for its own.
    :param directory: the project's folder: a ``dev run`` of the same project that holds the port is named as such.
    :param port_is_default: nobody asked for this port, so unless ``strict_port`` the next free one will do.
    :returns: listeners that do not listen yet, in the order of the settings.
    :raises BindError: an address is taken, forbidden or does not exist.
    :raises ConfigError: an address cannot be read.
    """
    wanted = places(config, environ)
    scheme = "https" if config.is_ssl else "http"
    bound: list[Listener] = []
    try:
        for place in wanted:
            match place:
                case Tcp():
                    last = place.port
                    if port_is_default and not config.strict_port and last:
                        last = min(last + _NEXT_PORTS, 65535)
                    bound += _bind_tcp(place, last, scheme, emitter, directory)
                case Unix():
                    permissions = config.uds_permissions
                    if permissions is None and config.umask is not None:
                        permissions = _UNIX_MODE & ~config.umask
                    bound.append(_bind_unix(place.path, permissions))
                case Fd():
                    bound.append(_take_fd(place.number, scheme))
    except BaseException:
        close(bound)
        raise
    return bound


def adopt(sock: socket.socket, *, scheme: str = "http") -> Listener:
    """A listener around a socket that somebody else made and bound."""
    return Listener(sock, _url_of(sock, scheme), owned=False)


def inherit(sock: socket.socket, *, url: str, path: str) -> Listener:
    """A listener around a socket of an earlier process, whose file is not ours before :meth:`Listener.own`."""
    return Listener(sock, url, path=path)


def close(listeners: Sequence[Listener]) -> None:
    """Closes all of them."""
    for listener in listeners:
        listener.close()


def urls(listeners: Sequence[Listener]) -> tuple[str, ...]:
    """Where they are reached, each once."""
    return tuple(dict.fromkeys(listener.url for listener in listeners))


def places(config: Config, environ: MutableMapping[str, str]) -> list[Place]:
    """What the settings and systemd ask for; opens nothing.

    :raises ConfigError: an address cannot be read.
    """
    passed = _systemd_fds(environ)
    if config.bind:
        return [parse_place(text, config.port) for text in config.bind]
    if config.uds:
        return [Unix(str(config.uds))]
    if config.fd is not None:
        return [Fd(config.fd)]
    if passed:
        return [Fd(number) for number in passed]
    return [Tcp(config.host, config.port)]


def parse_place(text: str, default_port: int) -> Place:
    """Reads one ``--bind`` value.

    :param default_port: for a host without a port.
    :raises ConfigError: it has none of the forms.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if path:
            return Unix(path)
    elif text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if _is_number(number):
            return Fd(int(number))
    elif text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and host and (not rest or rest.startswith(":")):
            return Tcp(host, _port(rest[1:], text) if rest else default_port)
    elif text.count(":") > 1:
        return Tcp(text, default_port)
    elif ":" in text:
        host, _, port = text.partition(":")
        return Tcp(host, _port(port, text))
    elif text and not _is_number(text):
        return Tcp(text, default_port)
    raise _bad_place(text)


def _port(text: str, whole: str) -> int:
    if not _is_number(text) or int(text) > 65535:
        raise _bad_place(whole)
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _bad_place(text: str) -> ConfigError:
    return ConfigError(
        f'bind: "{text}" is not an address.',
        hint="Write host:port, :port (all addresses), [::1]:8000, unix:/path or fd://3.",
    )


def _systemd_fds(environ: MutableMapping[str, str]) -> list[int]:
    """The descriptors that systemd passes to this process (sd_listen_fds(3))."""
    count, pid = environ.pop("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    environ.pop("LISTEN_PID", None)
    environ.pop("LISTEN_FDNAMES", None)
    # Another pid means that the variables were inherited through a process that did not remove them.
    if not _is_number(count) or pid != str(os.getpid()):
        return []
    return list(range(FIRST_SYSTEMD_FD, FIRST_SYSTEMD_FD + int(count)))


# -- TCP


def _bind_tcp(place: Tcp, last: int, scheme: str, emitter: Emitter, directory: Path | None) -> list[Listener]:
    addresses = _resolve(place)
    port = place.port
    taken = ""
    while True:
        try:
            sockets = _bind_addresses(addresses, port)
            break
        except _AddressError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise _tcp_error(place, exc) from exc.__cause__
            taken = taken or _taken_by(exc.address, directory)
            if port >= last:
                raise BindError(
                    f"{taken}." if port == place.port else f"{taken}, and so are all ports up to {last}.",
                    hint="Stop it, or choose another port with --port." if place.port else "",
                ) from exc.__cause__
            port += 1
    if port != place.port and place.port:
        emitter.emit(Notice("warning", f"{taken}; port {port} is used instead."))
    return [
        Listener(sock, f"{scheme}://{_authority(_shown_host(place.host, sock), sock.getsockname()[1])}")
        for sock in sockets
    ]


def _resolve(place: Tcp) -> list[Address]:
    # Both families, whatever /etc/hosts and the resolver say: what a browser makes of localhost differs by system.
    if place.host == "localhost":
        hosts = ["127.0.0.1", "::1"]
    elif place.host in {"", "::"}:
        hosts = ["0.0.0.0", "::"]
    else:
        hosts = [place.host]
    found: list[Address] = []
    for host in hosts:
        try:
            # As bytes, or Python loads its tables of Unicode names for an address of digits.
            name = host.encode("ascii") if host.isascii() else host
            infos = socket.getaddrinfo(name, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, ValueError) as exc:
            if len(hosts) > 1 and found:
                continue
            raise BindError(
                f'Cannot listen on "{host}": this machine knows no address of that name.',
                hint="Use 127.0.0.1 for this machine only, or 0.0.0.0 for all IPv4 addresses.",
            ) from exc
        for family, _, _, _, address in infos:
            numbers = [int(part) for part in address[1:]]
            found.append((family, str(address[0]), *numbers, *[0] * (3 - len(numbers))))  # type: ignore[arg-type]
    return list(dict.fromkeys(found))


class _AddressError(OSError):
    """One address of several could not be bound."""

    def __init__(self, code: int, text: str, address: Address) -> None:
        super().__init__(code, text)
        self.address = address


def _bind_addresses(addresses: Sequence[Address], port: int) -> list[socket.socket]:
    """One socket an address, all on one port."""
    for tries_left in reversed(range(_SAME_PORT_TRIES if port == 0 else 1)):
        sockets: list[socket.socket] = []
        absent: _AddressError | None = None
        chosen = port
        try:
            for family, host, _, flow, scope in addresses:
                address: Address = (family, host, chosen, flow, scope)
                try:
                    sockets.append(_bind_address(address))
                except _AddressError as exc:
                    # A machine without IPv6, or a name one of whose addresses is elsewhere: the others will do.
                    if exc.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} or len(addresses) == 1:
                        raise
                    absent = exc
                chosen = sockets[0].getsockname()[1] if sockets else chosen
        except _AddressError as exc:
            for sock in sockets:
                sock.close()
            # The free port of the first address was taken on the second.
            if exc.errno == errno.EADDRINUSE and tries_left:
                continue
            raise
        if sockets or absent is None:
            return sockets
        raise absent
    raise AssertionError("the last try returns or raises")


def _bind_address(address: Address) -> socket.socket:
    family, host, port, flow, scope = address
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise _AddressError(exc.errno or 0, exc.strerror or str(exc), address) from exc
    try:
        _set_reuse(sock, True)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port, flow, scope))
        else:
            sock.bind((host, port))
        _set_reuse(sock, False)
    except OSError as exc:
        sock.close()
        raise _AddressError(exc.errno or 0, exc.strerror or str(exc), address) from exc
    return sock


def _set_reuse(sock: socket.socket, on: bool) -> None:
    # On Windows the option means what SO_REUSEPORT means elsewhere, which is not wanted.
    if sys.platform != "win32":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, on)


def _taken_by(address: Address, directory: Path | None) -> str:
    """A sentence without its full stop."""
    family, host, port, _, _ = address
    found = holder.of_tcp(family, host, port)
    if found is None:
        return f"Port {port} is already taken"
    if found.serves:
        if directory is not None and _within(found.directory, directory):
            return f"Port {port} is taken by another dev run of this project (PID {found.pid})"
        return f"Port {port} is taken by a dev run in {found.directory or 'another folder'} (PID {found.pid})"
    return f"Port {port} is taken by PID {found.pid}" + (f" ({found.command})" if found.command else "")


def _within(path: str, directory: Path) -> bool:
    return bool(path) and Path(path).is_relative_to(directory.resolve())


def _tcp_error(place: Tcp, exc: _AddressError) -> BindError:
    _, host, _, _, _ = exc.address
    match exc.errno:
        case errno.EACCES | errno.EPERM:
            return BindError(
                f"Not allowed to listen on port {place.port}: ports below {_first_free_port()} need special rights.",
                hint="Choose another port with --port, such as 8000.",
            )
        case errno.EADDRNOTAVAIL:
            shown = host if host == place.host else f"{place.host} ({host})"
            return BindError(
                f"Cannot listen on {shown}: no network interface of this machine has that address.",
                hint="Use 127.0.0.1 for this machine only, or 0.0.0.0 for all IPv4 addresses.",
            )
        case _:
            return BindError(f"Cannot listen on {_authority(place.host, place.port)}: {_reason(exc)}.")


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _shown_host(host: str, sock: socket.socket) -> str:
    return str(sock.getsockname()[0]) if host in {"", "::"} else host


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# -- Unix sockets


def _bind_unix(path: str, permissions: int | None) -> Listener:
    if not hasattr(socket, "AF_UNIX"):
        raise BindError("Unix sockets are not available on this system.")
    size = len(os.fsencode(path))
    if size > UNIX_PATH_MAX:
        raise BindError(
            f"The path of the Unix socket is {size} bytes long; the system takes {UNIX_PATH_MAX}: {path}",
            hint="Choose a shorter path, such as one in /tmp or /run.",
        )
    with _locked(os.path.dirname(path) or "."):
        replaced_mode = _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            # Before listen(), so that nobody connects under other permissions. The default is uvicorn's: everybody
            # may connect, and a file that is replaced keeps its mode.
            os.chmod(path, permissions if permissions is not None else replaced_mode)
        except OSError as exc:
            sock.close()
            raise _unix_error(path, exc) from exc
        return Listener(sock, f"unix:{path}", path=os.path.abspath(path), _file=_file_id(path))


@contextlib.contextmanager
def _locked(folder: str) -> Generator[None, None, None]:
    """Keeps another server from replacing the same stale socket at the same moment, and so removing ours.

    A precaution: whoever cannot have the lock goes on without it.
    """
    try:
        import fcntl

        lock = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        deadline = time.monotonic() + _LOCK_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.005)
        yield
    finally:
        os.close(lock)


def _remove_stale(path: str) -> int:
    """Removes the socket that a dead process left at ``path``; gives its mode, or the default one.

    :raises BindError: it is in use, or no socket.
    """
    default_mode = _UNIX_MODE
    try:
        status = os.lstat(path)
    except OSError:
        return default_mode
    if not stat.S_ISSOCK(status.st_mode):
        raise BindError(f"{path} exists and is not a socket.", hint="Remove it, or choose another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full queue of a live listener answers EAGAIN at once instead of waiting.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            # Refused also by a server that has bound it and is still loading its app.
            in_use = holder.unix_is_bound(path)
        except FileNotFoundError:
            return default_mode
        except PermissionError as exc:
            raise BindError(f"Not allowed to use the Unix socket {path}.", hint="Choose another path.") from exc
        except OSError:
            in_use = True
        else:
            in_use = True
    if in_use:
        found = holder.of_unix(path)
        who = f" by PID {found.pid} ({found.command})" if found is not None else ""
        raise BindError(f"The Unix socket {path} is in use{who}.", hint="Stop it, or choose another path.")
    if _file_id(path) == (status.st_dev, status.st_ino):
        with contextlib.suppress(OSError):
            os.unlink(path)
    return stat.S_IMODE(status.st_mode)


def _unix_error(path: str, exc: OSError) -> BindError:
    folder = os.path.dirname(path) or "."
    match exc.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return BindError(
                f"Cannot make the Unix socket {path}: there is no folder {folder}.", hint="Make the folder first."
            )
        case errno.EACCES | errno.EPERM:
            return BindError(f"Cannot make the Unix socket {path}: not allowed to write to {folder}.")
        case _:
            return BindError(f"Cannot make the Unix socket {path}: {_reason(exc)}.")


def _file_id(path: str) -> tuple[int, int]:
    try:
        status = os.lstat(path)
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)


# -- inherited descriptors


def _take_fd(number: int, scheme: str) -> Listener:
    try:
        sock = socket.socket(fileno=number)
    except OSError as exc:
        what = "is not open" if exc.errno == errno.EBADF else "is not a socket"
        raise BindError(
            f"File descriptor {number} {what}.", hint="Start the server from a program that passes it a bound socket."
        ) from exc
    problem = _not_a_listener(sock)
    if problem:
        sock.detach()
        raise BindError(f"File descriptor {number} {problem}.")
    sock.set_inheritable(False)
    return adopt(sock, scheme=scheme)


def _not_a_listener(sock: socket.socket) -> str:
    if sock.type != socket.SOCK_STREAM:
        return "is a socket without connections (a stream socket is needed)"
    try:
        sock.getpeername()
    except OSError:
        return ""
    return "is one end of a connection, not a listening socket"


def _url_of(sock: socket.socket, scheme: str) -> str:
    name = sock.getsockname()
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        return f"{scheme}://{_authority(str(name[0]), name[1])}"
    if isinstance(name, bytes):
        # An abstract name of Linux starts with a NUL; @ is how ss and netstat write it.
        name = "@" + name[1:].decode(errors="replace")
    return f"unix:{name}"


def _reason(exc: OSError) -> str:
    text = exc.strerror or str(exc)
    return text[:1].lower() + text[1:]

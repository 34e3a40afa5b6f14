"""From settings to bound sockets, with real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devserver.config import Config
from devserver.errors import BindError, ConfigError
from devserver.events import Notice
from devserver.server import holder
from devserver.server import listeners as listening
from devserver.server.listeners import Fd, Listener, Place, Tcp, Unix, bind, parse_place, places
from tests.support.server import PATIENCE_S, recording, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def bound(environ: dict[str, str] | None = None, **options: Any) -> Iterator[list[Listener]]:
    keywords = {name: options.pop(name) for name in ("directory", "port_is_default", "emitter") if name in options}
    keywords.setdefault("emitter", recording()[0])
    listeners = bind(Config("main:app", **options), environ=environ if environ is not None else {}, **keywords)
    try:
        yield listeners
    finally:
        listening.close(listeners)


def port_of(listener: Listener) -> int:
    port: int = listener.socket.getsockname()[1]
    return port


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# Reading addresses


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("example.org:80", Tcp("example.org", 80)),
        ("127.0.0.1", Tcp("127.0.0.1", 8000)),
        (":8080", Tcp("", 8080)),
        ("[::1]:9000", Tcp("::1", 9000)),
        ("[::1]", Tcp("::1", 8000)),
        ("::1", Tcp("::1", 8000)),
        ("fe80::1%eth0", Tcp("fe80::1%eth0", 8000)),
        ("0.0.0.0:0", Tcp("0.0.0.0", 0)),
        ("unix:/run/app.sock", Unix("/run/app.sock")),
        ("unix:app.sock", Unix("app.sock")),
        ("unix:///run/app.sock", Unix("/run/app.sock")),
        ("fd://3", Fd(3)),
    ],
)
def test_a_bind_value_is_read(text: str, place: Place) -> None:
    assert parse_place(text, 8000) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "host:",
        "host:x",
        "host:65536",
        "host:-1",
        "host:١",
        "[::1",
        "[]:80",
        "[::1]80",
        "[::1]:",
        "unix:",
        "fd://",
        "fd://x",
    ],
)
def test_a_bind_value_without_sense_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address") as caught:
        parse_place(text, 8000)
    assert "[::1]:8000" in caught.value.hint


def test_several_binds_are_bound_in_their_order(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with bound(bind=["127.0.0.1:0", f"unix:{path}", "[::1]:0"]) as listeners:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET, socket.AF_UNIX, socket.AF_INET6]
        urls = listening.urls(listeners)
        assert urls == (
            f"http://127.0.0.1:{port_of(listeners[0])}",
            f"unix:{path}",
            f"http://[::1]:{port_of(listeners[2])}",
        )


def test_when_one_of_several_fails_the_others_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with taken_port() as port, pytest.raises(BindError), bound(bind=[f"unix:{path}", f"127.0.0.1:{port}"]):
        pass
    assert not path.exists()


# Host names and families


@pytest.mark.parametrize("host", ["localhost", "::"])
def test_localhost_and_the_ipv6_wildcard_mean_both_families_on_one_port(host: str) -> None:
    with bound(host=host, port=0) as listeners:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET, socket.AF_INET6]
        assert len({port_of(listener) for listener in listeners}) == 1
        assert listeners[1].socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_localhost_is_one_address_for_people() -> None:
    with bound(host="localhost", port=0) as listeners:
        assert listening.urls(listeners) == (f"http://localhost:{port_of(listeners[0])}",)


def test_no_host_means_all_addresses() -> None:
    with bound(bind=":0") as listeners:
        assert [listener.socket.getsockname()[0] for listener in listeners] == ["0.0.0.0", "::"]


def test_ipv4_wildcard_stays_ipv4() -> None:
    with bound(host="0.0.0.0", port=0) as listeners:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET]


def test_every_address_of_a_name_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with bound(host="two.example", port=0) as listeners:
        assert [listener.socket.getsockname()[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2"]
        assert len({port_of(listener) for listener in listeners}) == 1


def test_a_machine_without_ipv6_serves_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = -1, *args: Any, **keywords: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **keywords)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    with bound(host="::", port=0) as listeners:
        assert [listener.socket.family for listener in listeners] == [socket.AF_INET]
    with pytest.raises(BindError, match="address family not supported"), bound(host="::1", port=0):
        pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
def test_an_unknown_name_is_told_in_a_sentence(host: str) -> None:
    with pytest.raises(BindError, match="knows no address of that name"), bound(host=host):
        pass


def test_an_address_of_another_machine_is_told_in_a_sentence() -> None:
    with (
        pytest.raises(BindError, match=r"Cannot listen on 192\.0\.2\.1: no network interface"),
        bound(host="192.0.2.1"),
    ):
        pass


# Taken ports


def test_a_taken_port_names_its_holder(tmp_path: Path) -> None:
    with taken_port() as port:
        with pytest.raises(BindError) as caught, bound(port=port):
            pass
    assert caught.value.message.startswith(f"Port {port} is taken by PID {os.getpid()} (")
    assert caught.value.exit_code == 2
    assert "--port" in caught.value.hint


def test_a_taken_port_names_a_program_by_its_command_line(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline().split(b" port ")[1].split()[0])
        with pytest.raises(BindError, match=rf"PID {child.pid} \(.* -m http\.server 0 --bind 127\.0\.0\.1\)\.$"):
            with bound(port=port):
                pass
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("same_project", "expected"),
    [(True, "is taken by another dev run of this project (PID "), (False, "is taken by a dev run in ")],
)
def test_a_dev_run_that_holds_the_port_is_named_as_such(tmp_path: Path, same_project: bool, expected: str) -> None:
    script = tmp_path / "dev"
    script.write_text(
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script), "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        directory = tmp_path if same_project else tmp_path / "other"
        with pytest.raises(BindError) as caught, bound(port=port, directory=directory):
            pass
        assert expected in caught.value.message
    finally:
        child.kill()
        child.communicate()


def test_the_supervisor_is_named_and_not_its_worker(tmp_path: Path) -> None:
    source = (
        "import os, socket, subprocess, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "os.set_inheritable(s.fileno(), True)\n"
        "reader = [sys.executable, '-c', 'import sys; sys.stdin.read()']\n"
        "child = subprocess.Popen(reader, stdin=subprocess.PIPE, close_fds=False)\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with pytest.raises(BindError, match=f"PID {child.pid} "), bound(port=port):
            pass
    finally:
        child.communicate()


def test_without_proc_the_sentence_does_without_the_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "of_tcp", lambda *_: None)
    with taken_port() as port:
        with pytest.raises(BindError, match=f"^Port {port} is already taken\\.$"), bound(port=port):
            pass


def test_the_default_port_gives_way_to_the_next_free_one() -> None:
    emitter, events = recording()
    with taken_port() as port:
        with bound(port=port, strict_port=False, port_is_default=True, emitter=emitter) as listeners:
            assert port < port_of(listeners[0]) <= port + 100
            assert listening.urls(listeners) == (f"http://127.0.0.1:{port_of(listeners[0])}",)
            notice = next(event for event in events if isinstance(event, Notice))
            assert f"Port {port} is taken by PID" in notice.text
            assert f"port {port_of(listeners[0])} is used instead" in notice.text


@pytest.mark.parametrize(("strict", "default"), [(True, True), (False, False)])
def test_a_port_that_was_asked_for_does_not_give_way(strict: bool, default: bool) -> None:
    with taken_port() as port:
        with pytest.raises(BindError), bound(port=port, strict_port=strict, port_is_default=default):
            pass


def test_a_lock_that_somebody_else_holds_does_not_stop_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(listening, "_LOCK_S", 0.05)
    lock = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with bound(uds=tmp_path / "a.sock"):
            pass
    finally:
        os.close(lock)


def test_when_all_next_ports_are_taken_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_NEXT_PORTS", 0)
    with taken_port() as port:
        with pytest.raises(BindError, match=f"Port {port} is taken"):
            with bound(port=port, strict_port=False, port_is_default=True):
                pass


# Exclusiveness


def test_a_bound_port_is_not_shared_before_it_listens() -> None:
    with bound(port=0) as listeners:
        with pytest.raises(BindError), bound(port=port_of(listeners[0])):
            pass


def test_a_listening_port_is_not_shared() -> None:
    with bound(port=0) as listeners:
        listeners[0].listen(10)
        with pytest.raises(BindError), bound(port=port_of(listeners[0])):
            pass


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    with bound(port=0) as listeners:
        listeners[0].listen(10)
        port = port_of(listeners[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listeners[0].socket.accept()
            accepted.close()
            assert client.recv(1) == b""
    with bound(port=port) as again:
        assert port_of(again[0]) == port


def test_who_listens_first_wins_and_the_other_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound(port=0) as listeners:
        rival = socket.socket()
        with rival:
            listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            rival.bind(("127.0.0.1", port_of(listeners[0])))
            rival.listen()
            with pytest.raises(BindError, match=r"Cannot listen on http://127\.0\.0\.1:.*in use"):
                listeners[0].listen(10)


def test_sockets_are_not_passed_on_to_children() -> None:
    with bound(bind=["127.0.0.1:0", "[::1]:0"]) as listeners:
        assert not any(listener.socket.get_inheritable() for listener in listeners)


def test_a_privileged_port_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    class Forbidden(real):  # type: ignore[misc, valid-type]
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(BindError, match="Not allowed to listen on port 80: ports below"), bound(port=80):
        pass


# Unix sockets


def test_a_unix_socket_has_its_permissions_before_it_listens(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bound(uds=path, uds_permissions=0o600) as listeners:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        listeners[0].listen(5)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_unix_socket_is_open_to_all_by_default(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bound(uds=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def _leave_stale(path: Path, mode: int = 0o755) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.chmod(mode)


def test_a_stale_unix_socket_is_replaced_and_its_mode_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    _leave_stale(path, 0o620)
    with bound(uds=path) as listeners:
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        listeners[0].listen(5)


def test_a_live_unix_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        inode = path.stat().st_ino
        with pytest.raises(BindError, match=f"in use by PID {os.getpid()}"), bound(uds=path):
            pass
        assert path.stat().st_ino == inode


def test_a_live_unix_socket_with_a_full_queue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as live, contextlib.ExitStack() as clients:
        live.bind(str(path))
        live.listen(0)
        code = 0
        while code != errno.EAGAIN:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            code = client.connect_ex(str(path))
        with pytest.raises(BindError, match="is in use"), bound(uds=path):
            pass


def test_a_unix_socket_whose_server_is_still_starting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bound(uds=path):
        with pytest.raises(BindError, match="is in use"), bound(uds=path):
            pass
        assert path.exists()


def test_a_file_that_is_no_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("precious")
    with pytest.raises(BindError, match="exists and is not a socket"), bound(uds=path):
        pass
    assert path.read_text() == "precious"


def test_a_socket_that_somebody_else_put_there_meanwhile_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bound(uds=path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            inode = path.stat().st_ino
    assert path.stat().st_ino == inode


def test_only_the_process_that_made_a_unix_socket_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bound(uds=path) as listeners:
        listeners[0]._pid += 1
    assert path.exists()


def test_a_relative_path_is_removed_even_after_the_folder_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with bound(uds="a.sock") as listeners:
        assert listening.urls(listeners) == ("unix:a.sock",)
        monkeypatch.chdir("/")
    assert not (tmp_path / "a.sock").exists()


def test_a_path_that_is_too_long_is_told_in_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(BindError, match=r"is \d+ bytes long; the system takes 107"),
        bound(uds=str(tmp_path / ("ä" * 60))),
    ):
        pass


def test_a_missing_folder_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"there is no folder .*/missing"), bound(uds=tmp_path / "missing" / "a.sock"):
        pass


# Inherited descriptors


def test_a_tcp_descriptor_is_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        number = os.dup(inherited.fileno())
        os.set_inheritable(number, True)
        with bound(fd=number) as listeners:
            assert listeners[0].url == f"http://127.0.0.1:{inherited.getsockname()[1]}"
            assert not listeners[0].socket.get_inheritable()


def test_an_ipv6_descriptor_is_taken_over() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as inherited:
        with bound(fd=os.dup(inherited.fileno())) as listeners:
            assert listeners[0].url == f"http://[::1]:{inherited.getsockname()[1]}"


def test_a_unix_descriptor_is_taken_over_and_its_file_is_not_ours_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(str(path))
        with bound(bind=f"fd://{os.dup(inherited.fileno())}") as listeners:
            assert listeners[0].url == f"unix:{path}"
    assert path.exists()


def test_an_abstract_unix_descriptor_is_named_as_ss_names_it() -> None:
    with socket.socket(socket.AF_UNIX) as inherited:
        inherited.bind(b"\0devserver-test")
        with bound(fd=os.dup(inherited.fileno())) as listeners:
            assert listeners[0].url == "unix:@devserver-test"


def test_a_closed_descriptor_is_told_in_a_sentence() -> None:
    number = os.dup(0)
    os.close(number)
    with pytest.raises(BindError, match=f"File descriptor {number} is not open"), bound(fd=number):
        pass


def test_a_descriptor_that_is_no_socket_is_told_in_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        with pytest.raises(BindError, match="is not a socket"), bound(fd=file.fileno()):
            pass
        file.write("still open")


def test_a_connection_or_a_datagram_socket_is_refused_and_stays_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        with pytest.raises(BindError, match="one end of a connection"), bound(fd=ours.fileno()):
            pass
        with pytest.raises(BindError, match="without connections"), bound(fd=datagram.fileno()):
            pass
        assert ours.send(b"x") == 1


# systemd


def test_descriptors_from_systemd_are_used_and_the_variables_removed() -> None:
    environ = {"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert places(Config("main:app"), environ) == [Fd(3), Fd(4)]
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [{"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}],
)
def test_descriptors_meant_for_another_process_are_not_used(environ: dict[str, str]) -> None:
    assert places(Config("main:app"), environ) == [Tcp("127.0.0.1", 8000)]


def test_an_address_that_was_asked_for_comes_before_systemd() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    assert places(Config("main:app", bind="127.0.0.1:1"), environ) == [Tcp("127.0.0.1", 1)]


def test_a_listener_accepts_after_listen() -> None:
    with bound(port=0) as listeners:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port_of(listeners[0])), timeout=PATIENCE_S)
        listeners[0].listen(5)
        with socket.create_connection(("127.0.0.1", port_of(listeners[0])), timeout=PATIENCE_S):
            pass


def test_two_servers_that_race_for_a_unix_socket_do_not_both_get_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    _leave_stale(path)
    won: list[list[Listener]] = []
    lost: list[BindError] = []

    def attempt() -> None:
        try:
            won.append(bind(Config("main:app", uds=path), environ={}, emitter=recording()[0]))
        except BindError as exc:
            lost.append(exc)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(won) + len(lost) == 4)
    for listeners in won:
        listening.close(listeners)
    assert len(won) == 1

"""What a reload promises: after a save no request is answered by the old code, and none fails."""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.reload import PATIENCE_S, Project, Session, answering, serve, until

EDITS = {"fork": 200, "standby": 20, "cold": 10}
RELOADS = {"fork": 50, "standby": 10, "cold": 5}


@pytest.mark.slow
def test_request_right_after_a_save_is_answered_by_the_new_code(project: Project) -> None:
    with serve(project) as session:
        for number in range(2, 2 + EDITS[project.mode]):
            project.replace("main.py", answering(f"'{number}'"))
            assert session.get().body == str(number)


@dataclass
class Load:
    """Clients that ask without a pause, and what they got.

    :ivar saved: the number that the newest saved code answers with.
    """

    session: Session
    saved: int = 1
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    ended: bool = False

    def connect(self) -> http.client.HTTPConnection:
        """A new connection."""
        connection = http.client.HTTPConnection(*self.session.address, timeout=PATIENCE_S)
        connection.connect()
        return connection

    def ask(self, connection: http.client.HTTPConnection, method: str, name: str) -> None:
        """One request, whose answer must be at least as new as what was saved before it."""
        saved = self.saved
        try:
            connection.request(method, "/", body=b"x" * 10 if method == "POST" else None)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as exc:
            self.wrong.append(f"{name}: {exc!r}")
            connection.close()
            return
        self.answers += 1
        if response.status != 200 or int(body) < saved:
            self.wrong.append(f"{name}: {response.status} {body[:100]} after {saved}")

    def anew(self) -> None:
        """A connection for each request."""
        while not self.ended:
            with contextlib.closing(self.connect()) as connection:
                self.ask(connection, "GET", "connection per request")

    def slowly(self) -> None:
        """A connection for each request, which comes a moment later."""
        while not self.ended:
            with contextlib.closing(self.connect()) as connection:
                time.sleep(0.001)
                self.ask(connection, "GET", "connection, then a pause")

    def kept_get(self) -> None:
        """One connection for all."""
        self._kept("GET")

    def kept_post(self) -> None:
        """One connection for requests that no client may send twice."""
        self._kept("POST")

    def _kept(self, method: str) -> None:
        with contextlib.closing(self.connect()) as connection:
            while not self.ended and not self.wrong:
                self.ask(connection, method, f"{method} on one connection")


@contextlib.contextmanager
def under_load(session: Session, *clients: Callable[[Load], None]) -> Iterator[Load]:
    """Runs ``clients`` meanwhile."""
    load = Load(session)
    threads = [threading.Thread(target=client, args=(load,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.ended = True
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_no_request_fails_or_is_stale_through_many_reloads(project: Project) -> None:
    with serve(project) as session:
        with under_load(session, Load.anew, Load.slowly, Load.kept_get, Load.kept_post) as load:
            for number in range(2, 2 + RELOADS[project.mode]):
                project.replace("main.py", answering(f"'{number}'"))
                load.saved = number
                session.wait("Reloaded", number - 1)
                time.sleep(0.02)
        assert load.wrong == []
        assert load.answers > 4 * RELOADS[project.mode]


def test_error_and_its_fix_reach_a_kept_connection(project: Project) -> None:
    with serve(project) as session:
        load = Load(session)
        with contextlib.closing(load.connect()) as connection:
            for name, text, status in (
                ("AppFailed", "def app(:\n", 500),
                ("Reloaded", answering("'3'"), 200),
            ):
                project.replace("main.py", text)
                connection.request("POST", "/", body=b"x")
                response = connection.getresponse()
                response.read()
                assert response.status == status
                session.wait(name)


def test_request_after_a_touch_is_answered_without_a_reload(project: Project) -> None:
    with serve(project) as session:
        pid = session.worker
        for _ in range(3):
            os.utime(project.root / "main.py")
            assert session.get().body == "1"
        assert session.worker == pid
        assert not session.named("Reloaded")


def test_touch_while_reloads_are_paused_holds_nothing_up(project: Project) -> None:
    with serve(project) as session:
        session.order("pause")
        session.wait("Obeyed")
        # The supervisor takes it up in its next turn.
        time.sleep(0.2)
        project.replace("main.py", answering("'2'"))
        assert session.get().body == "1"
        session.order("resume")
        session.wait("Reloaded")
        assert session.get().body == "2"


def test_file_that_was_read_while_starting_counts_as_well(project: Project) -> None:
    project.write("settings.yaml", "1")
    project.write("main.py", answering("settings", before="settings = open('settings.yaml').read()"))
    with serve(project) as session:
        for number in (2, 3):
            project.replace("settings.yaml", str(number))
            assert session.get().body == str(number)


def test_idle_connections_of_many_clients_survive(project: Project) -> None:
    with serve(project) as session:
        load = Load(session)
        kept = [load.connect() for _ in range(50)]
        for number in (2, 3):
            project.replace("main.py", answering(f"'{number}'"))
            session.wait("Reloaded", number - 1)
            load.saved = number
            for connection in kept:
                load.ask(connection, "POST", "kept")
        for connection in kept:
            connection.close()
        assert load.wrong == []
        assert load.answers == 100


def test_connections_that_wait_for_new_code_end_with_the_supervisor(project: Project) -> None:
    with serve(project) as session:
        with contextlib.closing(Load(session).connect()) as connection:
            project.write("main.py", answering("'2'", before="import time; time.sleep(600)"))
            session.wait("ServerStopped")
            connection.request("GET", "/")
            assert session.stop() == 0
            with pytest.raises((OSError, http.client.HTTPException)):
                connection.getresponse()


def test_unfinished_head_is_finished_with_the_new_code(project: Project) -> None:
    with serve(project) as session:
        with contextlib.closing(Load(session).connect()) as connection:
            connection.sock.sendall(b"GET / HTTP/1.1\r\nHo")
            project.write("main.py", answering("'2'"))
            session.wait("Reloaded")
            connection.sock.sendall(b"st: x\r\n\r\n")
            until(lambda: b"\r\n\r\n2" in connection.sock.recv(1000))

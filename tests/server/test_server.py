"""Starting, serving, draining and stopping, over real sockets; uvicorn's shape where programs use it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from devserver.config import Config
from devserver.errors import AppLoadError, AppStartupError, BindError, ConfigError
from devserver.events import AppRaised, LifespanChanged, Notice, ServerReady, ServerStopped, ServerStopping
from devserver.protocol.http1.connection import Http1Connection
from devserver.server import listeners as listening
from devserver.server.durations import SAME_SIGNAL_S
from devserver.server.server import Server
from tests.support.server import HELLO, PATIENCE_S, get, hello, read_all, recording, serving, until

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from types import FrameType

    from devserver.app.types import Receive, Scope, Send

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Gate:
    """An app whose requests wait until :meth:`open` is called."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.cancelled = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Event | None = None

    def open(self) -> None:
        assert self._loop is not None
        assert self._opened is not None
        self._loop.call_soon_threadsafe(self._opened.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self._loop, self._opened = asyncio.get_running_loop(), asyncio.Event()
        self.entered.set()
        try:
            await self._opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        await hello(scope, receive, send)


class Lifespan:
    """An app with a lifespan that does what it is told."""

    def __init__(self, startup_s: float = 0, shutdown_s: float = 0, fails: bool = False) -> None:
        self.startup_s, self.shutdown_s, self.fails = startup_s, shutdown_s, fails
        self.phases: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await hello(scope, receive, send)
            return
        await receive()
        self.phases.append("startup")
        await asyncio.sleep(self.startup_s)
        if self.fails:
            raise RuntimeError("no database")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.phases.append("shutdown")
        await asyncio.sleep(self.shutdown_s)
        await send({"type": "lifespan.shutdown.complete"})


# Starting


def test_a_server_serves_and_announces_where() -> None:
    with serving(hello) as running:
        assert running.get("/").body == b"hello"
        (ready,) = running.of(ServerReady)
        assert ready.urls == (f"http://127.0.0.1:{running.port}",)
        assert ready.pid == os.getpid()
        assert 0 < ready.startup_s < PATIENCE_S
        assert running.server.server_state is not None
        assert running.server.server_state.total_requests == 1
    assert len(running.of(ServerStopped)) == 1


def test_an_app_is_loaded_from_an_import_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "importable.py").write_text(HELLO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with serving("importable:app") as running:
        assert running.get("/").body == b"hello"
        assert running.of(ServerReady)[0].app == "importable:app"


def test_every_kind_of_listener_serves(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with serving(hello, bind=["127.0.0.1:0", "[::1]:0", f"unix:{path}"]) as running:
        assert get(running.port).status == 200
        assert get(running.server.servers[1].sockets[0].getsockname()[1], host="::1").status == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert read_all(client).endswith(b"hello")
    assert not path.exists()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_unix_socket_serves_on_every_loop(tmp_path: Path, loop: str) -> None:
    path = tmp_path / "a.sock"
    with serving(hello, uds=path, loop=loop), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(client).endswith(b"hello")


def test_given_sockets_are_served_and_closed() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    with serving(hello, sockets=[sock]) as running:
        assert get(sock.getsockname()[1]).status == 200
        assert running.port == sock.getsockname()[1]
    assert sock.fileno() == -1


def test_given_listeners_come_before_the_settings() -> None:
    listeners = listening.bind(Config(hello, port=0), environ={}, emitter=recording()[0])
    port = listeners[0].socket.getsockname()[1]
    with serving(hello, port=1, listeners=listeners):
        assert get(port).status == 200


def test_a_taken_port_is_told_before_the_app_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(Config("no_such_module:app", port=taken.getsockname()[1]))
        with pytest.raises(BindError):
            server.run()
    assert not server.started


def test_an_app_that_cannot_be_loaded_leaves_no_socket_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with pytest.raises(AppLoadError):
        Server(Config("no_such_module:app", uds=path)).run()
    assert not path.exists()


def test_the_port_is_refused_until_the_app_is_up() -> None:
    app = Lifespan(startup_s=0.3)
    with serving(app, ready=False, port=0) as running:
        until(lambda: app.phases)
        listeners = running.server._listeners
        assert listeners is not None
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        until(lambda: running.server.started)
        assert get(port).status == 200


def test_a_failing_startup_is_an_error_and_nothing_is_served() -> None:
    server = Server(Config(Lifespan(fails=True), port=0))
    with pytest.raises(AppStartupError, match="no database"):
        server.run()
    assert not server.started


def test_a_startup_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(AppStartupError, match="longer than"):
        Server(Config(Lifespan(startup_s=60), port=0, timeout_startup=0.05)).run()


def test_a_rival_that_listens_during_startup_is_told_after_the_app_is_shut_down() -> None:
    app = Lifespan(startup_s=0.2)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(app, ready=False))
        until(lambda: app.phases)
        listeners = running.server._listeners
        assert listeners is not None
        ours = listeners[0].socket
        rival = stack.enter_context(socket.socket())
        for sock in (ours, rival):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(ours.getsockname())
        rival.listen()
        running.join()
        assert isinstance(running.raised[0], BindError)
        assert app.phases == ["startup", "shutdown"]


def test_startup_that_hangs_is_left_when_the_server_is_told_to_stop() -> None:
    app = Lifespan(startup_s=60)
    with serving(app, ready=False) as running:
        until(lambda: app.phases)
        running.server.should_exit = True
        running.join()
    assert not running.raised
    assert not running.server.started


def test_should_exit_before_the_start_serves_nothing() -> None:
    server = Server(Config(hello, port=0))
    server.should_exit = True
    server.run()
    assert not server.started


# The connection class


class Shouting(Http1Connection):
    """A protocol of somebody else's."""


def test_http_names_a_connection_class() -> None:
    seen: list[str] = []

    def factory(state: Any) -> Http1Connection:
        seen.append(type(state).__name__)
        return Shouting(state)

    with serving(hello, http=factory) as running:
        assert running.get("/").status == 200
    assert seen == ["ServerState"]


def test_http_may_be_an_import_string() -> None:
    with serving(hello, http="devserver.protocol.http1.connection:Http1Connection") as running:
        assert running.get("/").status == 200


@pytest.mark.parametrize("http", ["no_such:thing", "devserver.protocol.http1.connection:No", "os:sep"])
def test_an_http_class_that_is_not_there_is_told_in_a_sentence(http: str) -> None:
    with pytest.raises(ConfigError, match="http: "):
        Server(Config(hello, port=0, http=http)).run()


# Inside somebody's program


def test_a_server_runs_inside_a_running_loop_beside_other_tasks() -> None:
    async def main() -> bytes:
        server = Server(Config(hello, port=0))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - as programs do it
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        answer = await asyncio.to_thread(get, port)
        server.should_exit = True
        await task
        return answer.body

    assert asyncio.run(main()) == b"hello"


def test_two_servers_share_a_loop() -> None:
    async def main() -> list[int]:
        servers = [Server(Config(hello, port=0)) for _ in range(2)]
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        while not all(server.started for server in servers):  # noqa: ASYNC110 - as programs do it
            await asyncio.sleep(0.001)
        answers = [await asyncio.to_thread(get, server.servers[0].sockets[0].getsockname()[1]) for server in servers]
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        return [answer.status for answer in answers]

    assert asyncio.run(main()) == [200, 200]


def test_cancelling_serve_shuts_the_app_down() -> None:
    app = Lifespan()

    async def main() -> None:
        server = Server(Config(app, port=0))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - as programs do it
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert app.phases == ["startup", "shutdown"]


def test_should_exit_from_another_thread_takes_effect_at_once() -> None:
    with serving(hello) as running:
        begun = time.monotonic()
        running.server.should_exit = True
        running.join()
        assert time.monotonic() - begun < 0.5


def test_requests_see_the_context_in_which_serve_was_called() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(variable.get())
            variable.set("changed by a request")
        await hello(scope, receive, send)

    async def main(**options: Any) -> None:
        variable.set("set by the program")
        server = Server(Config(app, port=0, **options))
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - as programs do it
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        for _ in range(2):
            await asyncio.to_thread(get, port)
        server.should_exit = True
        await task

    asyncio.run(main())
    assert seen == ["set by the program"] * 2
    seen.clear()
    asyncio.run(main(reset_contextvars=True))
    assert seen == ["unset"] * 2


# Subclasses


def test_the_steps_can_be_overridden() -> None:
    steps: list[str] = []

    class Own(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            steps.append("before startup")
            await super().startup(sockets)
            steps.append("after startup")

        async def main_loop(self) -> None:
            steps.append("main loop")
            await super().main_loop()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            steps.append("shutdown")
            await super().shutdown(sockets)

    with serving(hello, kind=Own):
        pass
    assert steps == ["before startup", "after startup", "main loop", "shutdown"]


def test_on_tick_ends_the_server_and_counts_tenths_of_seconds() -> None:
    counters: list[int] = []

    class Own(Server):
        async def on_tick(self, counter: int) -> bool:
            counters.append(counter)
            return await super().on_tick(counter) or counter >= 2

    with serving(hello, kind=Own) as running:
        running.join()
    assert counters == [0, 1, 2]


def test_callback_notify_is_awaited_when_it_is_due() -> None:
    calls: list[float] = []

    async def notify() -> None:
        calls.append(time.monotonic())

    with serving(hello, callback_notify=notify, timeout_notify=0):
        until(lambda: len(calls) >= 2)
    assert calls[1] - calls[0] > 0.5


# Signals; this test process has one main thread, in which these servers run


@contextlib.contextmanager
def sending(*numbers: int, when: Any) -> Generator[None, None, None]:
    """Sends signals to this process from a thread, one each time ``when`` returns."""

    def send() -> None:
        for number in numbers:
            when()
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)


@contextlib.contextmanager
def handled(*numbers: int) -> Generator[list[int], None, None]:
    """Collects the signals that reach the program's own handlers."""
    seen: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        seen.append(number)

    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield seen
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def wait_for_another_signal() -> None:
    """Returns when a signal that comes is not the same as the one before."""
    began = time.monotonic()
    until(lambda: time.monotonic() > began + SAME_SIGNAL_S)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_and_is_raised_again_afterwards(number: int, loop: str) -> None:
    emitter, events = recording()
    server = Server(Config(hello, port=0, loop=loop), emitter=emitter)
    with handled(number) as seen, sending(number, when=lambda: until(lambda: server.started)):
        server.run()
        assert seen == [number]
        assert any(isinstance(event, ServerStopped) for event in events)


def test_sigint_becomes_the_keyboard_interrupt_that_it_would_have_been() -> None:
    server = Server(Config(hello, port=0))
    with sending(signal.SIGINT, when=lambda: until(lambda: server.started)), pytest.raises(KeyboardInterrupt):
        server.run()


def test_captured_signals_are_raised_again_last_in_first_out() -> None:
    app = Gate()
    emitter, events = recording()
    server = Server(Config(app, port=0), emitter=emitter)
    client = socket.socket()

    def when() -> None:
        until(lambda: server.started)
        if not app.entered.is_set():
            client.connect(server.servers[0].sockets[0].getsockname())
            client.sendall(REQUEST)
            assert app.entered.wait(PATIENCE_S)
        else:
            until(lambda: any(isinstance(event, ServerStopping) for event in events))
            wait_for_another_signal()

    with client, handled(signal.SIGTERM, signal.SIGINT) as seen:
        with sending(signal.SIGTERM, signal.SIGINT, when=when):
            server.run()
        assert seen == [signal.SIGINT, signal.SIGTERM]
    assert app.cancelled.is_set()


def test_a_second_signal_cuts_requests_and_skips_lifespan_shutdown() -> None:
    app = Lifespan(shutdown_s=60)
    emitter, events = recording()
    server = Server(Config(app, port=0), emitter=emitter)

    def stops() -> bool:
        if LifespanChanged("shutdown") not in events:
            return False
        wait_for_another_signal()
        return True

    moments = iter((lambda: server.started, stops))

    begun = time.monotonic()
    with handled(signal.SIGTERM) as seen, sending(signal.SIGTERM, signal.SIGTERM, when=lambda: until(next(moments))):
        server.run()
    assert time.monotonic() - begun < 20
    assert len(seen) == 2


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_doubled_signal_is_one(second: int) -> None:
    class Doubling(Lifespan):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def receive_and_signal() -> Any:
                event = await receive()
                if event["type"] == "lifespan.shutdown":
                    signal.raise_signal(second)
                    await asyncio.sleep(0)
                return event

            await super().__call__(scope, receive_and_signal, send)

    emitter, events = recording()
    server = Server(Config(Doubling(), port=0), emitter=emitter)
    with handled(signal.SIGTERM, signal.SIGINT) as seen:
        with sending(signal.SIGTERM, when=lambda: until(lambda: server.started)):
            server.run()
    assert not server.force_exit
    assert LifespanChanged("stopped") in events
    assert seen == ([signal.SIGTERM] if second == signal.SIGTERM else [signal.SIGINT, signal.SIGTERM])


def test_signals_are_left_alone_in_other_threads() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with serving(hello):
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["install_signal_handlers", "capture_signals"])
def test_a_subclass_keeps_the_program_s_own_handlers(name: str) -> None:
    class OldWay(Server):
        def install_signal_handlers(self) -> None:
            pass

    class NewWay(Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            yield

    server = (OldWay if name == "install_signal_handlers" else NewWay)(Config(hello, port=0))
    seen: list[int] = []

    def own(number: int, _: FrameType | None) -> None:
        seen.append(number)
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, own)
    try:
        with sending(signal.SIGTERM, when=lambda: until(lambda: server.started)):
            server.run()
        assert seen == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("first", [0, 1])
def test_servers_that_end_in_any_order_give_the_handlers_back(first: int) -> None:
    async def main() -> None:
        servers = [Server(Config(hello, port=0)) for _ in range(2)]
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        while not all(server.started for server in servers):  # noqa: ASYNC110 - as programs do it
            await asyncio.sleep(0.001)
        for index in (first, 1 - first):
            assert getattr(signal.getsignal(signal.SIGTERM), "__self__", None) in servers
            servers[index].should_exit = True
            await tasks[index]

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_signal_stops_all_servers_of_a_loop() -> None:
    servers = [Server(Config(hello, port=0)) for _ in range(2)]

    async def main() -> None:
        await asyncio.gather(*(server.serve() for server in servers))

    with handled(signal.SIGTERM) as seen:
        with sending(signal.SIGTERM, when=lambda: until(lambda: all(server.started for server in servers))):
            asyncio.run(main())
        assert seen == [signal.SIGTERM]


def test_handle_exit_can_be_overridden() -> None:
    seen: list[int] = []

    class Own(Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            seen.append(sig)
            super().handle_exit(sig, frame)

    server = Own(Config(hello, port=0))
    with handled(signal.SIGTERM), sending(signal.SIGTERM, when=lambda: until(lambda: server.started)):
        server.run()
    assert seen == [signal.SIGTERM]


def test_a_signal_interrupts_an_import_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging.py").write_text(f"open({str(tmp_path / 'begun')!r}, 'w').close(); import time; time.sleep(60)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    server = Server(Config("hanging:app", port=0))
    with handled(signal.SIGTERM) as seen, sending(signal.SIGTERM, when=lambda: until((tmp_path / "begun").exists)):
        asyncio.run(server.serve())
        assert seen == [signal.SIGTERM]
    assert not server.started


# Stopping


def test_a_running_request_is_finished_before_the_end() -> None:
    app = Gate()
    with serving(app) as running, running.connect() as client:
        port = running.port
        client.sendall(REQUEST)
        assert app.entered.wait(PATIENCE_S)
        running.server.should_exit = True
        until(lambda: running.of(ServerStopping))
        until(lambda: not running.server.servers[0].sockets)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert running.thread is not None
        assert running.thread.is_alive()
        app.open()
        data = read_all(client)
        assert data.endswith(b"hello")
        assert b"connection: close" in data.lower()
        running.join()
    assert not app.cancelled.is_set()
    assert running.of(ServerStopping)[0].requests == 1


def test_idle_connections_are_closed_at_once() -> None:
    with serving(hello, timeout_keep_alive=60) as running, running.connect() as idle, running.connect() as fresh:
        idle.sendall(REQUEST)
        assert idle.recv(65536).endswith(b"hello")
        until(lambda: running.server.server_state and len(running.server.server_state.connections) == 2)
        begun = time.monotonic()
        running.server.should_exit = True
        assert idle.recv(1) == b""
        assert fresh.recv(1) == b""
        running.join()
        assert time.monotonic() - begun < 5


def test_a_request_that_arrives_with_the_stop_is_served() -> None:
    with serving(hello) as running:
        loop = running.server._loop
        assert loop is not None
        with running.connect() as idle:
            idle.sendall(REQUEST)
            assert idle.recv(65536).endswith(b"hello")
            blocked, released = threading.Event(), threading.Event()

            def block() -> None:
                blocked.set()
                released.wait(PATIENCE_S)

            loop.call_soon_threadsafe(block)
            assert blocked.wait(PATIENCE_S)
            # Both wait for the loop now: the wish to stop first, then the request and a connection with one.
            running.server.should_exit = True
            idle.sendall(REQUEST)
            with running.connect() as late:
                late.sendall(REQUEST)
                released.set()
                assert read_all(idle).endswith(b"hello")
                assert read_all(late).endswith(b"hello")


def test_requests_that_outlast_the_limit_are_cancelled_without_noise(caplog: pytest.LogCaptureFixture) -> None:
    app = Gate()
    with serving(app, timeout_graceful_shutdown=0.05, lifespan="off") as running, running.connect() as client:
        client.sendall(REQUEST)
        assert app.entered.wait(PATIENCE_S)
        running.server.should_exit = True
        running.join()
    assert app.cancelled.is_set()
    assert [notice.text for notice in running.of(Notice)] == [
        "Cancel 1 running task(s), timeout graceful shutdown exceeded"
    ]
    assert not running.of(AppRaised)
    assert not caplog.records


def test_no_time_for_grace_cancels_at_once() -> None:
    app = Gate()
    with serving(app, timeout_graceful_shutdown=0) as running, running.connect() as client:
        client.sendall(REQUEST)
        assert app.entered.wait(PATIENCE_S)
        begun = time.monotonic()
        running.server.should_exit = True
        running.join()
        assert time.monotonic() - begun < 2
    assert app.cancelled.is_set()


def test_work_after_the_response_counts_as_running() -> None:
    release, done = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await asyncio.to_thread(release.wait, PATIENCE_S)
        done.set()

    with serving(app) as running:
        assert running.get("/").body == b"hello"
        running.server.should_exit = True
        until(lambda: running.of(ServerStopping))
        assert not running.of(ServerStopped)
        release.set()
        running.join()
    assert done.is_set()


def test_force_exit_from_another_thread_cuts_the_drain() -> None:
    app = Gate()
    with serving(app) as running, running.connect() as client:
        client.sendall(REQUEST)
        assert app.entered.wait(PATIENCE_S)
        running.server.should_exit = True
        until(lambda: running.of(ServerStopping))
        running.server.force_exit = True
        running.join()
    assert app.cancelled.is_set()


def test_lifespan_shutdown_is_bounded() -> None:
    with serving(Lifespan(shutdown_s=60), timeout_shutdown=0.05) as running:
        begun = time.monotonic()
        running.server.should_exit = True
        running.join()
        assert time.monotonic() - begun < 10
    assert "longer than" in running.of(Notice)[0].text


def test_the_request_limit_stops_the_server() -> None:
    with serving(hello, limit_max_requests=2) as running:
        assert running.get("/").status == 200
        assert running.get("/").status == 200
        running.join()
    assert running.of(Notice)[-1].text == "Maximum request limit of 2 exceeded. Terminating process."
    assert not running.raised


def test_interrupt_in_the_app_stops_the_server_and_leaves_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise KeyboardInterrupt
        raise NotImplementedError

    with serving(app) as running:
        assert running.get("/").status == 500
        running.join()
    assert isinstance(running.raised[0], KeyboardInterrupt)
    assert running.of(ServerStopped)


def test_system_exit_in_the_app_is_an_error_of_that_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        if scope["path"] == "/exit":
            sys.exit(7)
        await hello(scope, receive, send)

    with serving(app) as running:
        assert running.get("/exit").status == 500
        assert running.get("/").status == 200
    assert not running.raised


# Timers


def test_a_connection_without_a_request_is_closed_by_the_sweep() -> None:
    with serving(hello, timeout_request_head=0.05) as running, running.connect() as client:
        client.sendall(b"GET / HT")
        assert b" 408 " in read_all(client)


def test_the_date_moves_on() -> None:
    with serving(hello) as running:
        seen = set()

        def two_dates() -> bool:
            with running.connect() as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                head = read_all(client)
            seen.add(next(line for line in head.split(b"\r\n") if line.startswith(b"date:")))
            return len(seen) == 2

        until(two_dates)


# Proxies


@pytest.mark.parametrize(
    ("given", "client"), [(None, "192.0.2.7"), ("", "127.0.0.1"), ([], "127.0.0.1"), ("*", "192.0.2.7")]
)
def test_an_empty_list_of_proxies_trusts_nobody(given: Any, client: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        body = scope["client"][0].encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serving(app, forwarded_allow_ips=given) as running, running.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
        assert read_all(sock).endswith(b"\r\n\r\n" + client.encode())

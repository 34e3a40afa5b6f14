"""Config and Server as programs use uvicorn's: attribute by attribute, and by the habits of real programs."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import inspect
import os
import pickle
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

import devserver
from devserver.config import settings
from devserver.errors import AppLoadError, AppStartupError, BindError, ConfigError
from devserver.protocol.http1.connection import Http1Connection
from tests.support.certificates import make_certificate
from tests.support.observing import logging_restored
from tests.support.server import HELLO, PATIENCE_S, get, hello, until

if TYPE_CHECKING:
    from types import FrameType

    from devserver.app.types import Receive, Scope, Send

PAGE = Path(__file__).parents[2] / "docs" / "from" / "uvicorn.md"


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    with logging_restored():
        yield


def config_of(app: Any = hello, **given: Any) -> devserver.Config:
    given = {"port": 0, "log_level": "critical", **given}
    return devserver.Config(app, **given)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async test on a loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **given: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **given), PATIENCE_S))

    return run


async def fetch(server: devserver.Server) -> bytes:
    """One GET, while the loop goes on."""
    port = server.servers[0].sockets[0].getsockname()[1]
    return (await asyncio.to_thread(get, port)).body


# What is there


def test_every_attribute_of_uvicorns_config_is_there_or_on_the_page() -> None:
    theirs, ours = uvicorn.Config(hello, log_config=None), config_of()
    theirs.load()
    ours.load()
    missing = {name for name in dir(theirs) if not name.startswith("_") and not hasattr(ours, name)}
    assert {name for name in missing if f"`config.{name}`" not in PAGE.read_text()} == set()
    assert missing == {"reload_dirs_excludes"}


def test_every_attribute_of_uvicorns_server_is_there() -> None:
    names = {name for name in dir(uvicorn.Server(uvicorn.Config(hello, log_config=None))) if not name.startswith("_")}
    # Set by startup().
    names |= {"servers", "lifespan"}
    ours = devserver.Server(config_of())
    assert {name for name in names if not hasattr(ours, name)} == set()
    for name in names:
        method = getattr(uvicorn.Server, name, None)
        if inspect.isfunction(method):
            assert [*inspect.signature(getattr(devserver.Server, name)).parameters] == [
                *inspect.signature(method).parameters
            ], name


def test_attributes_on_the_page_that_are_called_exist() -> None:
    ours = config_of()
    ours.load()
    for name in re.findall(r"`config\.([a-z_]+)\(\)`", PAGE.read_text()):
        assert callable(getattr(ours, name)), name


# Config


def test_making_a_config_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of("missing:app", env_file="missing.env", log_config="missing.json", chdir="missing")
    assert not config.loaded
    for name in ("loaded_app", "http_protocol_class", "ws_protocol_class", "lifespan_class", "ssl"):
        with pytest.raises(AttributeError, match=r"is there once load\(\) has been called"):
            getattr(config, name)


def test_loading_finds_what_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apart.py").write_text(HELLO)
    (tmp_path / "some.env").write_text("APART_FROM_FILE=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("APART_FROM_FILE", "x")
    monkeypatch.delenv("APART_FROM_FILE")
    config = config_of("apart:app", env_file="some.env", ws="none", http="h11")
    config.load()
    assert config.loaded
    assert config.loaded_app.__module__ == "apart"
    assert config.http_protocol_class is Http1Connection
    assert config.ws_protocol_class is None
    assert config.ssl is None
    loaded = config.loaded_app
    config.load()
    assert config.loaded_app is loaded
    assert os.environ["APART_FROM_FILE"] == "1"


def test_loading_what_is_not_there_is_an_error() -> None:
    with pytest.raises(AppLoadError):
        config_of("no_such_module_at_all:app").load()
    with pytest.raises(ConfigError, match="http"):
        config_of(http="no_such_module_at_all:Protocol").load()


def test_setting_cannot_be_changed_and_says_what_to_do() -> None:
    config = config_of()
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"dataclasses\.replace\(config, port=\.\.\.\)"):
        config.port = 1  # type: ignore[misc]
    assert dataclasses.replace(config, port=1).port == 1


def test_config_crosses_a_pipe_without_what_was_loaded() -> None:
    config = config_of()
    config.load()
    copied = pickle.loads(pickle.dumps(config))
    assert copied == config
    assert not copied.loaded
    assert copy.copy(config).loaded


def test_small_properties_are_uvicorns() -> None:
    assert config_of(interface="asgi2").asgi_version == "2.0"
    assert config_of().asgi_version == config_of(interface="wsgi").asgi_version == "3.0"
    assert not config_of(workers=1).use_subprocess
    assert config_of(workers=2).use_subprocess
    assert config_of("a:b", reload=True).use_subprocess
    for given in ({}, {"headers": [("X-A", "ü")]}, {"headers": [("Server", "x")]}, {"server_header": False}):
        theirs = uvicorn.Config(hello, log_config=None, **given)
        theirs.load()
        ours = [(name, value.replace(b"devserver", b"uvicorn")) for name, value in config_of(**given).encoded_headers]
        assert ours == theirs.encoded_headers


def test_loop_factory_makes_the_loop_that_is_named() -> None:
    loop = config_of(loop="asyncio").get_loop_factory()()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    with pytest.raises(ConfigError, match="loop"):
        config_of(loop="no_such_module_at_all:new").get_loop_factory()


def test_setting_up_an_event_loop_says_that_it_does_nothing() -> None:
    with pytest.warns(UserWarning, match=r"setup_event_loop\(\) does nothing: .*get_loop_factory\(\)"):
        config_of().setup_event_loop()


def test_subclass_keeps_its_attributes_and_methods() -> None:
    class Mine(devserver.Config):
        def __init__(self, app: Any, *, extra: int, **given: Any) -> None:
            self.extra = extra
            self.set_up = 0
            super().__init__(app, **given)

        def configure_logging(self) -> None:
            self.set_up += 1

    config = Mine(hello, extra=7, forwarded_allow_ips=None, log_level="critical")
    server = devserver.Server(config)
    assert isinstance(server.config, Mine)
    assert server.config.extra == 7
    assert server.config.set_up == 1


def test_plain_settings_are_served_too() -> None:
    server = devserver.Server(settings.Config(hello, port=0, log_level="critical"))
    assert not server.config.loaded
    assert server.config.get_loop_factory() is not None


# Sockets


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", None, "0.0.0.0", "::1"])
def test_bound_socket_is_served(host: str | None) -> None:
    config = config_of(host=host)
    sock = config.bind_socket()
    assert sock.get_inheritable()
    assert sock.family == (socket.AF_INET6 if host == "::1" else socket.AF_INET)
    port = sock.getsockname()[1]
    server = devserver.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    until(lambda: server.started)
    assert get(port, host="::1" if host == "::1" else "127.0.0.1").body == b"hello"
    server.should_exit = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_bound_unix_socket_is_served(tmp_path: Path) -> None:
    config = config_of(uds=str(tmp_path / "a.sock"))
    with config.bind_socket() as sock:
        assert sock.getsockname() == str(tmp_path / "a.sock")


def test_address_that_is_taken_or_many_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BindError):
        config_of(port=taken.getsockname()[1]).bind_socket()
    with pytest.raises(ConfigError, match="several addresses"):
        config_of(bind=["127.0.0.1:0", "[::1]:0"]).bind_socket()


# A server that a program drives itself


@on_a_loop
async def test_steps_of_a_server_can_be_taken_one_by_one() -> None:
    config = config_of(lifespan="off")
    server = devserver.Server(config)
    if not config.loaded:
        config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    assert server.started
    assert await fetch(server) == b"hello"
    port = server.servers[0].sockets[0].getsockname()[1]
    loop = asyncio.create_task(server.main_loop())
    server.should_exit = True
    await asyncio.wait_for(loop, PATIENCE_S)
    await server.shutdown()
    assert await asyncio.to_thread(_refused, port)


@on_a_loop
async def test_lifespan_of_the_program_s_making_is_the_one_that_runs() -> None:
    phases: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            phases.append((await receive())["type"])
            scope["state"]["one"] = 1
            await send({"type": "lifespan.startup.complete"})
            phases.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await hello(scope, receive, send)

    config = config_of(app, lifespan="on")
    config.load()
    server = devserver.Server(config)
    lifespan = config.lifespan_class(config)
    server.lifespan = lifespan
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await lifespan.startup()
        await server.startup(sockets=[sock])
        assert id(server.lifespan) == id(lifespan)
        assert (lifespan.state, lifespan.should_exit) == ({"one": 1}, False)
        assert await fetch(server) == b"hello"
        await server.shutdown(sockets=[sock])
    assert phases == ["lifespan.startup", "lifespan.shutdown"]


@on_a_loop
async def test_startup_that_fails_leaves_the_address_free() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("no database")

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = devserver.Server(config_of(app, port=port, lifespan="on"))
    with pytest.raises(AppStartupError, match="no database"):
        await server.startup()
    assert not server.started
    await server.shutdown()
    with socket.create_server(("127.0.0.1", port)):
        pass


@on_a_loop
async def test_results_of_loading_may_be_replaced() -> None:
    config = config_of(lifespan="off")
    config.load()
    inner = config.loaded_app
    seen = []

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await inner(scope, receive, send)

    class Mine(Http1Connection):
        pass

    config.loaded_app = wrapper
    config.http_protocol_class = Mine
    server = devserver.Server(config)
    await server.startup()
    assert await fetch(server) == b"hello"
    assert seen == ["/"]
    await server.shutdown()


@on_a_loop
async def test_tls_context_of_the_config_is_the_one_that_serves(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    config = config_of(ssl_certfile=certificate, ssl_keyfile=key)
    config.load()
    assert isinstance(config.ssl, ssl.SSLContext)
    config.ssl.maximum_version = ssl.TLSVersion.TLSv1_2
    server = devserver.Server(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    client = ssl.create_default_context(cafile=certificate)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.close()
    state = server.server_state
    assert state is not None
    await asyncio.to_thread(until, lambda: not state.connections)
    await server.shutdown()


@on_a_loop
async def test_serve_runs_beside_other_tasks_of_the_loop() -> None:
    class Quiet(devserver.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            ready.set()

    ready = asyncio.Event()
    server = Quiet(config_of())
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(ready.wait(), PATIENCE_S)
    assert await fetch(server) == b"hello"
    assert server.server_state is not None
    assert server.server_state.total_requests == 1
    server.should_exit = True
    await asyncio.wait_for(task, PATIENCE_S)


@on_a_loop
async def test_serve_that_a_subclass_writes_anew_works() -> None:
    class Own(devserver.Server):
        def install_signal_handlers(self) -> None:
            pass

        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            if not self.config.loaded:
                self.config.load()
            self.lifespan = self.config.lifespan_class(self.config)
            await self.startup(sockets=sockets)
            await self.main_loop()
            await self.shutdown(sockets=sockets)

    server = Own(config_of())
    task = asyncio.create_task(server.serve())
    await asyncio.to_thread(until, lambda: server.started)
    assert await fetch(server) == b"hello"
    server.should_exit = True
    await asyncio.wait_for(task, PATIENCE_S)


def test_server_in_a_thread_serves_in_a_with_statement() -> None:
    class Threaded(devserver.Server):
        def __init__(self, config: devserver.Config) -> None:
            # Before the base class has been made.
            self.should_exit = False
            super().__init__(config)

        @contextlib.contextmanager
        def run_in_thread(self) -> Iterator[None]:
            thread = threading.Thread(target=self.run)
            thread.start()
            try:
                until(lambda: self.started)
                yield
            finally:
                self.should_exit = True
                thread.join(PATIENCE_S)
                assert not thread.is_alive()

    server = Threaded(config_of())
    with server.run_in_thread():
        assert get(server.servers[0].sockets[0].getsockname()[1]).body == b"hello"


@on_a_loop
async def test_server_that_has_ended_serves_again() -> None:
    server = devserver.Server(config_of(_with_lifespan, lifespan="on"))
    for _ in range(2):
        server.should_exit = False
        task = asyncio.create_task(server.serve())
        await asyncio.to_thread(until, lambda: server.started and server.servers[0].sockets)
        assert await fetch(server) == b"hello"
        server.should_exit = True
        await task
    await server.startup()
    assert not server.started
    server.should_exit = False
    await server.startup()
    assert await fetch(server) == b"hello"
    await server.shutdown()


def test_own_loop_factory_of_a_config_is_used() -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    config = config_of()
    config.get_loop_factory = lambda: factory  # type: ignore[method-assign]
    server = devserver.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    server.should_exit = True
    thread.join(PATIENCE_S)
    assert len(made) == 1


def test_shutdown_before_startup_does_nothing() -> None:
    server = devserver.Server(config_of())
    asyncio.run(server.shutdown())
    assert server.servers == []


def test_only_a_second_sigint_forces_the_end() -> None:
    calls: list[int] = []

    class Counting(devserver.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            calls.append(sig)
            super().handle_exit(sig, frame)

    server = Counting(config_of())
    server.should_exit = True
    server.handle_exit(signal.SIGTERM, None)
    assert (server.force_exit, calls) == (False, [signal.SIGTERM])
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit


def test_limit_of_requests_has_its_jitter_once_started() -> None:
    assert devserver.Server(config_of()).limit_max_requests is None
    server = devserver.Server(config_of(limit_max_requests=5, limit_max_requests_jitter=3))
    assert server.limit_max_requests == 5
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    assert server.limit_max_requests in range(5, 9)
    server.should_exit = True
    thread.join(PATIENCE_S)


async def _with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        await hello(scope, receive, send)
        return
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


def _refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

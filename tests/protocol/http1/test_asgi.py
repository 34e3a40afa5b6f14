"""What apps are promised (ASGI HTTP spec 2.5): the scope, the order of messages, disconnects, contexts and errors."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest

from devserver.errors import AppContractError, ClientDisconnected
from devserver.events import AppRaised, RequestFinished, RequestRefused
from tests.support.apps import Recorder, respond
from tests.support.memory import memory_server
from tests.support.wire import wait_for, wire_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from devserver.app.types import Message, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


# --- The scope


def test_scope_has_every_key_with_its_type() -> None:
    app = Recorder()
    with memory_server(app) as server:
        server.connect().send(b"POST /a%20b?c=d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        scope = app.seen[0].scope
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": scope["asgi"]["spec_version"]},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "method": "POST",
            "root_path": "",
            "path": "/a b",
            "raw_path": b"/a%20b",
            "query_string": b"c=d",
            "headers": [(b"host", b"h"), (b"content-length", b"0")],
            "state": {},
            "extensions": {},
        }
        assert type(scope) is dict
        assert scope["asgi"]["spec_version"] in {"2.4", "2.5"}
        assert type(scope["headers"]) is list


def test_extensions_are_offered_when_they_are_asked_for() -> None:
    app = Recorder()
    with memory_server(app, extensions="pathsend,trailers") as server:
        server.connect().send(GET)
    with memory_server(app, extensions=["early-hints"]) as server:
        server.connect().send(GET)
    assert [seen.scope["extensions"] for seen in app.seen] == [
        {"http.response.pathsend": {}, "http.response.trailers": {}},
        {"http.response.early_hint": {}},
    ]


def test_scopes_of_one_connection_share_nothing_that_can_be_changed() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "mark" not in scope
        for nested in (scope["asgi"], scope["extensions"], scope["state"]):
            assert "mark" not in nested
            nested["mark"] = True
        for extension in scope["extensions"].values():
            if isinstance(extension, dict):
                assert extension == {}
                extension["mark"] = True
        assert (b"mark", b"") not in scope["headers"]
        scope["headers"].append((b"mark", b""))
        scope["mark"] = True
        seen.append(scope)
        await respond(send)

    with memory_server(app, extensions="pathsend,early-hints,trailers") as server:
        client, other = server.connect(), server.connect()
        client.send(GET + GET, GET)
        other.send(GET)
        assert len(seen) == 4
        assert not server.events_of(AppRaised)


def test_state_is_a_shallow_copy_of_the_lifespans() -> None:
    pool: list[int] = []
    states = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "own" not in scope["state"]
        scope["state"]["own"] = 1
        scope["state"]["pool"].append(len(pool))
        states.append(scope["state"])
        await respond(send)

    lifespan_state = {"pool": pool}
    with memory_server(app, lifespan_state=lifespan_state) as server:
        server.connect().send(GET + GET)
    assert pool == [0, 1]
    assert lifespan_state == {"pool": pool}
    assert states[0] is not states[1]


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path"),
    [("", "/a b", b"/a%20b"), ("/api", "/api/a b", b"/api/a%20b")],
)
def test_root_path_is_told_and_part_of_the_path(root_path: str, path: str, raw_path: bytes) -> None:
    app = Recorder()
    with memory_server(app, root_path=root_path) as server:
        server.connect().send(b"GET /a%20b HTTP/1.1\r\nHost: h\r\n\r\n")
        scope = app.seen[0].scope
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == (root_path, path, raw_path)


def test_root_path_outside_ascii_is_percent_encoded_in_the_raw_path() -> None:
    app = Recorder()
    with memory_server(app, root_path="/café") as server:
        server.connect().send(GET)
        scope = app.seen[0].scope
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/café", "/café/", b"/caf%C3%A9/")


def test_addresses_and_scheme_come_from_the_socket() -> None:
    app = Recorder()
    with memory_server(app, proxy_headers=False) as server:
        for extra, client, address, scheme in (
            ({"peername": ("::1", 5, 0, 0), "sockname": ("::1", 80, 0, 0)}, ("::1", 5), ("::1", 80), "http"),
            ({"peername": "", "sockname": "/run/app.sock"}, None, ("/run/app.sock", None), "http"),
            ({"peername": b"", "sockname": ""}, None, None, "http"),
            ({"peername": None, "sockname": None}, None, None, "http"),
            ({"sslcontext": object()}, ("127.0.0.1", 50000), ("127.0.0.1", 8000), "https"),
        ):
            app.seen.clear()
            server.connect(**extra).send(GET)
            scope = app.seen[0].scope
            assert (scope["client"], scope["server"], scope["scheme"]) == (client, address, scheme)


def test_unix_socket_has_a_path_and_no_port(tmp_path: Path) -> None:
    app = Recorder()
    with wire_server(app, uds=tmp_path / "s") as server:
        with server.connect() as client:
            client.send(GET)
            assert client.response().status == 200
    assert app.seen[0].scope["server"] == (str(tmp_path / "s"), None)
    assert app.seen[0].scope["client"] is None


# --- Proxies


def test_two_users_over_one_trusted_connection_are_told_apart() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect()
        for user in (b"203.0.113.1", b"203.0.113.2"):
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: https\r\n\r\n" % user)
        client.send(GET)
        assert [(seen.scope["client"], seen.scope["scheme"]) for seen in app.seen] == [
            (("203.0.113.1", 0), "https"),
            (("203.0.113.2", 0), "https"),
            (("127.0.0.1", 50000), "http"),
        ]


def test_headers_of_an_untrusted_peer_change_nothing() -> None:
    app = Recorder()
    with memory_server(app) as server:
        client = server.connect(peername=("203.0.113.9", 4711))
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n")
        scope = app.seen[0].scope
        assert (scope["client"], scope["scheme"]) == (("203.0.113.9", 4711), "http")


def test_spoofed_forwarded_and_host_headers_that_a_proxy_passes_through_change_nothing() -> None:
    app = Recorder()
    with memory_server(app) as server:
        server.connect().send(
            b"GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=6.6.6.6;proto=https;host=evil\r\nX-Forwarded-Host: evil\r\n"
            b"X-Forwarded-Prefix: /evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\r\n"
        )
        scope = app.seen[0].scope
        assert (scope["client"], scope["scheme"], scope["root_path"]) == (("203.0.113.9", 0), "http", "")
        assert (b"host", b"h") in scope["headers"]


def test_forwarded_host_and_prefix_that_were_opted_into_are_applied() -> None:
    app = Recorder()
    names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix"]
    with memory_server(app, forwarded_headers=names, root_path="/v1") as server:
        server.connect().send(
            b"GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: example.com\r\nX-Forwarded-Prefix: /api/\r\n\r\n"
        )
        scope = app.seen[0].scope
        assert [value for name, value in scope["headers"] if name == b"host"] == [b"example.com"]
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api/v1", "/api/v1/a", b"/api/v1/a")
        server.connect().send(b"GET /%61 HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /caf%C3%A9\r\n\r\n")
        scope = app.seen[1].scope
        assert (scope["path"], scope["raw_path"]) == ("/café/v1/a", b"/caf%C3%A9/v1/%61")


# --- receive()


def test_receive_after_the_body_waits_and_then_tells_of_the_disconnect() -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        messages.append(await receive())
        messages.append(await receive())

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert [message["type"] for message in messages] == ["http.request"]
        client.shut()
        assert [message["type"] for message in messages] == ["http.request", "http.disconnect", "http.disconnect"]


def test_end_of_file_is_a_disconnect_at_once_and_the_response_still_arrives() -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"one ", more=True))
        messages.append(await receive())
        await send(body(b"two"))

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert messages == []
        client.shut()
        assert messages == [{"type": "http.disconnect"}]
        assert client.response().body == b"one two"
        assert client.gone
        assert not server.events_of(AppRaised)


def test_receive_after_the_response_is_a_disconnect() -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        messages.append(await receive())
        messages.append(await receive())

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET, POST + b"0123456789")
        assert messages == [{"type": "http.disconnect"}] * 4
        assert len(client.responses()) == 2


def test_two_tasks_may_wait_in_receive() -> None:
    """Starlette listens for the disconnect in one task while another one reads."""
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.append(True)

        await send(START)
        await asyncio.gather(listen(), listen())
        await send(body())

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.shut()
        assert ended == [True, True]
        assert client.response().status == 200


def test_cancelled_receive_loses_nothing() -> None:
    parts = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while True:
            message = await receive()
            parts.append(message["body"])
            if not message["more_body"]:
                break
        await respond(send)

    with memory_server(app) as server:
        client = server.connect()
        client.send(POST)
        client.send(b"01234", b"56789")
        assert b"".join(parts) == b"0123456789"
        assert client.response().status == 200


def test_disconnect_reaches_the_running_request_while_others_are_queued() -> None:
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        ends.append(scope["path"] + " " + (await receive())["type"])

    with memory_server(app) as server:
        client = server.connect()
        client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        client.reset()
        assert ends == ["/1 http.disconnect"]
        assert server.state.tasks == set()


# --- send()


class OwnDisconnect(Exception):
    """What a framework raises in place of the server's exception, as Starlette does."""


@pytest.mark.parametrize("how", ["returns", "raises", "raises from"])
def test_what_an_app_does_because_its_client_has_left_is_no_error(how: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"tick", more=True))
        if how == "returns":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await asyncio.get_running_loop().run_in_executor(None, gone.wait)
        try:
            await send(body(b"tick", more=True))
        except OSError as exc:
            if how == "raises":
                raise OwnDisconnect from None
            raise OwnDisconnect from exc

    gone = threading.Event()
    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        gone.set()
        server.wait_for(lambda: not server.state.tasks)
        assert not server.events_of(AppRaised)


def test_error_that_has_nothing_to_do_with_the_loss_of_the_client_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        raise OwnDisconnect

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        assert len(server.events_of(AppRaised)) == 1


def test_send_after_the_client_is_gone_raises_client_disconnected() -> None:
    raised: list[BaseException] = []
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gone.wait()
        for message in (START, body(b"x", more=True), body(b"y")):
            try:
                await send(message)
            except OSError as exc:
                raised.append(exc)
        raise raised[0]

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        gone.set()
        server.settle()
        assert len(raised) == 3
        assert all(isinstance(exc, ClientDisconnected) for exc in raised)
        assert not server.events_of(AppRaised)
        (event,) = server.events_of(RequestFinished)
        assert (event.status, event.complete) == (0, False)


def test_send_that_waits_for_the_client_ends_when_it_leaves() -> None:
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send(body(b"x" * 100_000, more=True))
        except OSError as exc:
            raised.append(exc)
            raise

    with memory_server(app) as server:
        client = server.connect()
        client.transport.stuck = True
        client.send(GET)
        assert raised == []
        client.reset()
        assert isinstance(raised[0], ClientDisconnected)
        assert not server.events_of(AppRaised)
        assert server.state.tasks == set()


def test_streaming_app_that_ignores_the_loss_is_cancelled_after_five_seconds() -> None:
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"x", more=True))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        server.advance(4.0, step=1.0)
        assert ends == []
        server.advance(3.0, step=1.0)
        assert ends == ["cancelled"]
        assert not server.events_of(AppRaised)
        assert server.state.tasks == set()


def test_app_that_has_not_begun_to_respond_may_finish_its_work_after_the_loss() -> None:
    door, ends = asyncio.Event(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await door.wait()
        ends.append("done")
        await respond(send)

    with memory_server(app) as server:
        client = server.connect()
        client.send(POST + b"0123456789")
        client.reset()
        server.advance(60.0, step=1.0)
        door.set()
        server.settle()
        assert ends == ["done"]
        assert not server.events_of(AppRaised)


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"x")],
        [START, START],
        [{"type": "http.response.trailers", "headers": []}],
        [{"type": "http.response.unknown"}],
        [{"type": "websocket.accept"}],
        [{}],
        [START, {"type": "http.response.body", "body": "text"}],
        [START, {"type": "http.response.body", "body": None}],
        [{"type": "http.response.start", "headers": []}],
    ],
)
def test_message_out_of_order_is_the_apps_error_and_answered_500(messages: list[Message]) -> None:
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as exc:
            raised.append(exc)
            raise

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        (event,) = server.events_of(AppRaised)
        assert event.failure.message
        assert isinstance(raised[0], AppContractError | KeyError)


def test_app_may_go_on_after_a_refused_message() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(AppContractError):
            await send(body(b"x"))
        with pytest.raises(AppContractError):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"\r\n")]})
        await respond(send, b"fine")
        with pytest.raises(AppContractError):
            await send(body(b"more"))

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET, GET)
        assert [response.body for response in client.responses()] == [b"fine", b"fine"]
        assert not server.events_of(AppRaised)


def test_message_after_the_response_is_the_apps_error_and_harms_nobody() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        await send(body(b"more"))

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET, GET)
        assert [response.body for response in client.responses()] == [b"ok", b"ok"]
        assert len(server.events_of(AppRaised)) == 2


# --- How apps end


@pytest.mark.parametrize("fails", [False, True])
def test_scope_that_the_app_has_emptied_harms_nobody(fails: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope.clear()
        if fails:
            raise ValueError
        await respond(send)

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET, GET)
        assert [response.status for response in client.responses()] == [500 if fails else 200] * 2
        assert len(server.events_of(RequestFinished)) == 2


def test_failure_page_that_cannot_be_made_leaves_a_bare_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the app's")

    def page(failure: object, scope: object) -> Any:
        raise RuntimeError("the page's")

    with memory_server(app) as server:
        server.state.failure_response = page
        client = server.connect()
        client.send(GET)
        assert client.response().body == b"Internal Server Error"
        assert [event.failure.message for event in server.events_of(AppRaised)] == ["the app's", "the page's"]


def test_exception_before_the_response_is_answered_500_and_the_connection_goes_on_or_closes_cleanly() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await respond(send)
            return
        raise ZeroDivisionError("by zero")

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        response = client.response()
        assert (response.status, response.body) == (500, b"Internal Server Error")
        (event,) = server.events_of(AppRaised)
        assert (event.failure.kind, event.failure.message) == ("ZeroDivisionError", "by zero")
        if not client.closed:
            client.send(b"GET /fine HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.responses()[1].status == 200


def test_exception_after_the_start_message_is_still_answered_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-secret", b"1")]})
        raise ZeroDivisionError

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        assert b"x-secret" not in client.sent


def test_exception_within_the_body_cuts_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        raise ZeroDivisionError

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET + GET)
        assert client.closed
        assert b"half" in client.sent
        assert not client.sent.endswith(b"0\r\n\r\n")
        assert len(server.events_of(AppRaised)) == 1
        (event,) = server.events_of(RequestFinished)
        assert (event.status, event.complete) == (200, False)


def test_exception_after_the_response_is_announced_and_harms_nobody() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send)
        raise ZeroDivisionError

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET, GET)
        assert len(client.responses()) == 2
        assert len(server.events_of(AppRaised)) == 2


@pytest.mark.parametrize("begun", [False, True])
def test_app_that_returns_without_a_whole_response_is_in_error(begun: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(START)
            await send(body(b"half", more=True))

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert len(server.events_of(AppRaised)) == 1
        if begun:
            assert client.closed
        else:
            assert client.response().status == 500


def test_app_that_returns_something_is_told_so_and_the_response_stands() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> Any:
        await respond(send)
        return "something"

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 200
        assert len(server.events_of(AppRaised)) == 1


def test_app_that_is_no_coroutine_function_is_in_error() -> None:
    def app(scope: Scope, receive: Receive, send: Send) -> Any:
        return None

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        assert client.response().status == 500
        assert len(server.events_of(AppRaised)) == 1


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_of_the_app_is_an_error_and_an_interrupt_is_told_to_the_server(
    kind: type[BaseException], suspended: bool
) -> None:
    told: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if suspended:
            await asyncio.sleep(0)
        raise kind(3)

    with memory_server(app) as server:
        server.state.on_fatal = told.append
        client = server.connect()
        client.send(GET)
        assert [type(exc) for exc in told] == ([kind] if kind is KeyboardInterrupt else [])
        assert len(server.events_of(AppRaised)) == 1
        assert client.response().status == 500
        assert server.state.tasks == set()


def test_app_that_the_server_cancels_cuts_the_connection_without_an_error_event() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        (task,) = server.state.tasks
        server.loop.call_soon(server.state.cancel, task)
        server.settle()
        assert client.closed
        assert client.sent == b""
        assert server.state.tasks == server.state.cancelled == set()
        assert not server.events_of(AppRaised)


async def _raise_it() -> None:
    raise asyncio.CancelledError


async def _cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _await_what_is_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


@pytest.mark.parametrize("begun", ["", "head", "body"])
@pytest.mark.parametrize("how", [_raise_it, _cancel_itself, _await_what_is_cancelled])
def test_cancellation_that_the_app_makes_itself_is_its_error(how: Callable[[], Awaitable[None]], begun: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(START)
        if begun == "body":
            await send(body(b"half", more=True))
        await how()

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        (raised,) = server.events_of(AppRaised)
        assert raised.failure.kind.endswith("CancelledError")
        (finished,) = server.events_of(RequestFinished)
        if begun == "body" or (begun and how is not _raise_it):
            # The head has left: only an end can tell the client now.
            assert client.closed
            assert (finished.status, finished.complete) == (200, False)
        else:
            assert client.response().status == finished.status == 500
            assert not client.closed


def test_client_that_leaves_and_an_app_that_gives_up_are_no_error_of_the_server() -> None:
    # Every view of Django and Quart returns without an answer when it is told of the disconnect.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.shut()
        (finished,) = server.events_of(RequestFinished)
        assert (finished.status, finished.complete) == (0, False)
        assert client.sent == b""
        assert client.gone
        assert not server.events_of(AppRaised)


def test_client_that_leaves_within_its_body_is_gone_for_the_app_and_for_the_log() -> None:
    # What Starlette does with a request whose body ends too early: it raises, and its middleware sends a 500.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="closed"):
            await respond(send, b"Internal Server Error", status=500)
        raise OwnDisconnect

    with memory_server(app) as server:
        client = server.connect()
        client.send(POST + b"half")
        client.shut()
        (finished,) = server.events_of(RequestFinished)
        assert (finished.status, finished.complete) == (0, False)
        assert client.sent == b""


def bug_in_a_handler() -> None:
    try:
        raise ClientDisconnected
    except OSError:
        raise KeyError("a bug") from None


def bug_while_handling() -> None:
    try:
        raise ClientDisconnected
    except OSError:
        raise KeyError("a bug")  # noqa: B904 - an error that comes up while another one is handled


@pytest.mark.parametrize("fail", [bug_in_a_handler, bug_while_handling])
def test_bug_in_the_handling_of_a_departure_is_told(fail: Callable[[], None]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        fail()

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        (event,) = server.events_of(AppRaised)
        assert "KeyError" in event.failure.kind


def test_group_of_departures_is_no_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(send(body(b"tick", more=True)))  # type: ignore[arg-type]

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        assert not server.events_of(AppRaised)


# --- --send-after-disconnect


def test_send_keeps_quiet_after_a_departure_on_request_and_lets_others_run() -> None:
    background: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["asgi"]["spec_version"] == "2.3"
        if scope["path"] == "/other":
            await respond(send, b"other")
            return
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        for _ in range(1000):
            await send(body(b"x" * 1000, more=True))
            background.append("sent")
        await send(body())

    with memory_server(app, send_after_disconnect="ignore") as server:
        client, other = server.connect(), server.connect()
        client.send(GET)
        client.transport.reset()
        server.wait_for(lambda: background)
        server.loop.call_soon(other.connection.data_received, b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
        server.wait_for(lambda: other.sent)
        # An app that never suspends by itself must not have kept the loop until it was done.
        assert len(background) < 1000
        server.settle()
        assert len(background) == 1000
        assert not server.events_of(AppRaised)
        assert not server.state.tasks


def test_app_that_goes_on_after_a_departure_on_request_is_not_cancelled() -> None:
    door = asyncio.Event()
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        await door.wait()
        await send(body(b"rest"))
        ended.append("background task")

    with memory_server(app, send_after_disconnect="ignore") as server:
        client = server.connect()
        client.send(GET)
        client.reset()
        server.advance(60, step=1.0)
        assert not ended
        server.loop.call_soon(door.set)
        server.settle()
        assert ended == ["background task"]


def test_background_work_after_the_response_holds_neither_the_response_nor_the_next_request() -> None:
    door, ends = asyncio.Event(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, scope["path"].encode())
        await door.wait()
        ends.append(scope["path"])

    with memory_server(app) as server:
        client = server.connect()
        client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [response.body for response in client.responses()] == [b"/1", b"/2"]
        assert len(server.state.tasks) == 2
        client.reset()
        server.advance(20.0, step=1.0)
        assert ends == []
        door.set()
        server.settle()
        assert ends == ["/1", "/2"]
        assert server.state.tasks == set()


# --- Contexts and tasks


@pytest.mark.parametrize("reset", [False, True])
def test_each_request_runs_in_a_context_of_its_own(reset: bool) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(COLOUR.get())
        COLOUR.set("changed")
        await asyncio.sleep(0)
        seen.append(COLOUR.get())
        await respond(send)

    token = COLOUR.set("outer")
    try:
        with memory_server(app, reset_contextvars=reset) as server:
            server.connect().send(GET + GET, GET)
    finally:
        COLOUR.reset(token)
    assert seen == ["none" if reset else "outer", "changed"] * 3
    assert COLOUR.get() == "none"


def test_app_runs_in_a_task_of_its_own_that_can_be_named() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await respond(send)

    with memory_server(app) as server:
        client = server.connect()
        client.send(GET + GET)
        assert len(client.responses()) == 2
    assert None not in tasks
    assert tasks[0] is tasks[1]
    assert tasks[2] is tasks[3]
    assert tasks[0] is not tasks[2]


# --- Events


def test_finished_request_is_announced_with_what_a_log_needs() -> None:
    with memory_server(Recorder()) as server:
        client = server.connect()
        client.send(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n")
        (event,) = server.events_of(RequestFinished)
        assert (event.client, event.scheme, event.method, event.target) == (
            ("127.0.0.1", 50000),
            "http",
            "GET",
            b"/a?b",
        )
        assert (event.http_version, event.status, event.body_bytes, event.complete) == ("1.1", 200, 7, True)
        assert event.request_headers == [(b"host", b"h")]
        assert event.response_headers == [(b"content-length", b"7")]
        assert 0 <= event.duration_s < 60
        client.send(b"GET /longer HTTP/1.1\r\nHost: h\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [finished.body_bytes for finished in server.events_of(RequestFinished)] == [7, 12, 0]


# --- Stopping


def test_shutdown_closes_idle_connections_and_lets_running_requests_finish() -> None:
    door = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await door.wait()
        await respond(send)

    with memory_server(app) as server:
        fresh, running, partial = server.connect(), server.connect(), server.connect()
        running.send(GET)
        partial.send(GET[:20])
        server.state.stopping = True
        for client in (fresh, running, partial):
            server.loop.call_soon(client.connection.shutdown)
        server.settle()
        assert fresh.gone
        assert fresh.sent == b""
        assert not running.closed
        door.set()
        running.settle()
        response = running.response()
        assert (response.status, response.get("connection")) == (200, "close")
        partial.send(GET[20:])
        assert partial.response().status in {200, 503}
        server.advance(10.0, step=1.0)
        assert running.gone
        assert partial.gone


# --- Real clients


def test_thousand_requests_over_real_sockets_leave_nothing_behind() -> None:
    app = Recorder()
    with wire_server(app) as server:
        for _ in range(10):
            with server.connect() as client:
                client.send(*[GET * 20] * 5)
                for _ in range(100):
                    assert client.response().status == 200
        wait_for(lambda: not server.state.connections)
        assert server.state.tasks == set()
        assert server.state.total_requests == 1000
        assert not server.events_of(RequestRefused)


@pytest.mark.parametrize("act", ["shutdown", "expire"])
def test_transport_that_has_lost_its_socket_already_may_still_be_closed(act: str) -> None:
    # asyncio's TLS transport raises this between the end of its socket and connection_lost.
    def unsent() -> int:
        raise AttributeError("'NoneType' object has no attribute '_get_write_buffer_size'")

    with memory_server(Recorder()) as server:
        client = server.connect()
        client.send(GET)
        client.transport.get_write_buffer_size = unsent  # type: ignore[method-assign]
        if act == "shutdown":
            client.connection.shutdown()
        else:
            client.connection.expire(server.loop.now)
        server.settle()
        assert client.gone

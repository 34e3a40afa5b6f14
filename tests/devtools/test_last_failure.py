"""The URL that gives the last failure, and who may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devserver.app.failure import fold
from devserver.devtools.last_failure import NOTHING, LastFailure
from devserver.events import FAILURE_PATH, AppFailed, AppRaised
from tests.support.memory import memory_server

if TYPE_CHECKING:
    import pytest

    from devserver.app.types import Receive, Scope, Send
    from tests.support.responses import Response


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def raised() -> AppRaised:
    try:
        raise ValueError("the key is sk-live-0123456789abcdef0123")
    except ValueError as exc:
        return AppRaised(fold(exc, {__file__}, during="GET /items"))


def asked(
    last: AppFailed | AppRaised | None,
    *,
    method: str = "GET",
    path: str = FAILURE_PATH,
    host: str = "localhost",
    share: bool = False,
) -> Response:
    with memory_server(LastFailure(not_found, lambda: last, share=share)) as server:
        client = server.connect()
        client.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return client.response(method)


def test_failure_of_a_request_is_one_markdown_text_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sk-live-0123456789abcdef0123")
    response = asked(raised())
    text = response.body.decode()
    assert response.status == 200
    assert text.startswith("# 500 · GET /items raised ValueError: ")
    assert "test_last_failure.py" in text
    assert "## Traceback" in text
    assert "\nCPython " in text
    assert "fastapi " in text
    assert "0123456789" not in text


def test_app_that_does_not_start_is_told_with_its_hint() -> None:
    text = asked(AppFailed("no module named shop", "install it", None)).body.decode()
    assert text.startswith("# 500 · no module named shop\n\n**Hint:** install it\n")


def test_nothing_has_failed_yet() -> None:
    assert asked(None).body.decode() == NOTHING


def test_head_has_no_body() -> None:
    response = asked(raised(), method="HEAD")
    assert (response.status, response.body) == (200, b"")


def test_strangers_and_other_paths_get_what_the_app_says() -> None:
    assert asked(raised(), host="example.com").status == 404
    assert asked(raised(), host="example.com", share=True).status == 200
    assert asked(raised(), path=FAILURE_PATH + "/").status == 404

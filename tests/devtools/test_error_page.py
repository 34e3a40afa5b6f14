"""The page of a broken app: what it answers, to whom, and that nothing in it can run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

from devserver.app.redact import Redactor
from devserver.devtools.error_page import Response, error_app, failure_response, responder
from devserver.events import AppFailed, Failure, Frame

EVIL = "</title></script></style><script>alert('x')</script><img src=x onerror=alert(1)>\" onload=\"alert(2)"
OURS = Frame(f"/shop/{EVIL}.py", 9, EVIL, EVIL, True, ((8, "def f():"), (9, f"    {EVIL}")))
THEIRS = Frame(f"/lib/{EVIL}.py", 5, EVIL, EVIL, False)
FAILURE = Failure(EVIL, EVIL, (THEIRS, OURS), cause=Failure(EVIL, EVIL, (THEIRS,)), during=EVIL, traceback=EVIL)
FAILED = AppFailed(EVIL, EVIL, FAILURE)
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def scope(accept: str = BROWSER, *, method: str = "GET", host: str = "localhost:8000") -> dict[str, Any]:
    headers = [(b"host", host.encode()), (b"accept", accept.encode())]
    return {"type": "http", "method": method, "path": "/", "client": ("127.0.0.1", 50000), "headers": headers}


def exchanged(
    failed: AppFailed, scope: dict[str, Any], messages: Sequence[dict[str, Any]] = (), *, share: bool = False
) -> list[dict[str, Any]]:
    """What the error app sends in this scope, given these messages."""
    incoming = iter(messages or [{"type": "http.request", "body": b"", "more_body": False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(_call(error_app(failed, share=share), scope, receive, send))
    return sent


async def _call(app: Any, scope: Any, receive: Any, send: Any) -> None:
    await app(scope, receive, send)


def answered(failed: AppFailed, scope: dict[str, Any], *, share: bool = False) -> Response:
    start, body = exchanged(failed, scope, share=share)
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return Response(start["status"], start["headers"], body["body"])


def header(response: Response, name: str) -> str:
    (value,) = [value for key, value in response.headers if key == name.encode()] or [b""]
    return value.decode()


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_browser_gets_a_page() -> None:
    response = answered(FAILED, scope())
    assert response.status == 500
    assert header(response, "content-type") == "text/html; charset=utf-8"
    assert header(response, "cache-control") == "no-store"
    assert header(response, "content-length") == str(len(response.body))
    assert "accept" in header(response, "vary")


@pytest.mark.parametrize("failed", [FAILED, AppFailed(EVIL, "", None)])
def test_nothing_that_the_app_says_becomes_part_of_the_page(failed: AppFailed) -> None:
    page = answered(failed, scope()).body.decode()
    elements = Elements(page)
    names = [tag for tag, _ in elements.tags]
    assert names.count("script") == names.count("style") == 1
    assert "img" not in names
    assert not any(name.startswith("on") or name == "style" for _, attributes in elements.tags for name in attributes)


def test_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else() -> None:
    response = answered(FAILED, scope())
    policy = header(response, "content-security-policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    page = response.body.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_page_watches_for_the_fix_of_the_app_but_not_for_a_request_that_failed() -> None:
    app_page = answered(FAILED, scope())
    root = Elements(app_page.body.decode()).tags[0][1]
    assert root["data-error"] == header(app_page, "x-devserver-error")
    assert root["data-watch"] == "1"
    request_page = failure_response(FAILURE, scope(), share=False)
    assert "data-watch" not in Elements(request_page.body.decode()).tags[0][1]


def test_error_id_names_the_error_whatever_the_form() -> None:
    ids = {
        header(answered(FAILED, scope(accept)), "x-devserver-error") for accept in (BROWSER, "application/json", "*/*")
    }
    assert len(ids) == 1
    other = answered(AppFailed("other", "", None), scope())
    assert header(other, "x-devserver-error") not in ids


def test_frames_of_the_user_stand_before_those_of_the_framework() -> None:
    ours = Frame("/shop/main.py", 2, "f", "  call()", True, ((1, "\tdef f():"), (2, "\t\tcall(a < b)"), (0, "\t\t^")))
    failure = Failure("E", "m", (ours, Frame("/lib/a.py", 1, "g", "x", False)), during="import")
    page = answered(AppFailed("Could not import main.", "", failure), scope()).body.decode()
    assert page.index("/shop/main.py:2") < page.index("1 framework frame<") < page.index("/lib/a.py:1")
    assert '<code class="here"><span class="gutter">2</span>    call(a &lt; b)</code>' in page
    assert '<code><span class="gutter"></span>    ^</code>' in page
    assert "while importing the app" in page


def test_frame_without_source_is_shown_by_its_place() -> None:
    # Compiled code, such as Cython's, names files that are not there.
    failure = Failure("E", "m", (Frame("shop/scribe.pyx", 59, "write", "", True),))
    page = answered(AppFailed("m", "", failure), scope()).body.decode()
    assert "<b>shop/scribe.pyx:59</b>" in page


def test_failure_without_frames_of_the_user_shows_those_of_the_framework() -> None:
    page = answered(
        AppFailed("m", "", Failure("E", "", (Frame("/lib/a.py", 1, "g", "x", False),))), scope()
    ).body.decode()
    assert "<details open>" in page


def test_program_gets_a_problem_object() -> None:
    response = answered(FAILED, scope("application/json"))
    assert response.status == 500
    assert header(response, "content-type") == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == 500
    assert problem["detail"] == EVIL
    assert problem["exceptions"][0]["frames"][0]["context"] == [[8, "def f():"], [9, f"    {EVIL}"]]


def test_curl_gets_text() -> None:
    response = answered(AppFailed("Could not import main.", "", None), scope("*/*"))
    assert header(response, "content-type") == "text/plain; charset=utf-8"
    assert response.body == b"# 500 \xc2\xb7 Could not import main.\n"


@pytest.mark.parametrize("accept", [BROWSER, "application/json", "*/*"])
def test_stranger_gets_a_bare_answer(accept: str) -> None:
    failed = AppFailed("secret-message", "secret-hint", Failure("SecretKind", "secret", (), traceback="secret"))
    response = answered(failed, scope(accept, host="evil.test"))
    assert response.status == 500
    assert b"ecret" not in response.body
    assert header(response, "x-devserver-error") == ""
    assert header(response, "cache-control") == "no-store"
    if accept == "application/json":
        assert json.loads(response.body) == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert b"secret-message" in answered(failed, scope(accept, host="evil.test"), share=True).body


@pytest.mark.parametrize("accept", [BROWSER, "application/json", "*/*"])
def test_secrets_are_masked_in_every_form(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tr0ub4dor&3")
    frame = Frame("/shop/a.py", 1, "f", 'PASSWORD = "hunter2"', True, ((1, 'PASSWORD = "hunter2"'),))
    failure = Failure("E", "tr0ub4dor&3", (frame,), traceback='  File "a.py", line 1\n    PASSWORD = "hunter2"')
    bodies = [
        answered(AppFailed("password=hunter2", "token=hunter2", failure), scope(accept)).body,
        responder(share=False)(failure, scope(accept)).body,
        failure_response(failure, scope(accept), share=False, redactor=Redactor(["tr0ub4dor&3"])).body,
    ]
    for body in bodies:
        assert b"hunter2" not in body
        assert b"tr0ub4dor" not in body
        assert b"***" in body


def test_head_is_answered_without_a_body_but_with_its_length() -> None:
    response = answered(FAILED, scope(method="HEAD"))
    assert response.body == b""
    assert header(response, "content-length") == str(len(answered(FAILED, scope()).body))
    assert header(response, "x-devserver-error")


def test_websocket_is_closed_with_an_internal_error() -> None:
    (close,) = exchanged(FAILED, {"type": "websocket"}, [{"type": "websocket.connect"}])
    assert (close["type"], close["code"]) == ("websocket.close", 1011)


def test_lifespan_starts_and_stops() -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = exchanged(FAILED, {"type": "lifespan"}, messages)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_page_needs_no_framework() -> None:
    names = ("fastapi", "starlette", "rich")
    program = f"import sys, devserver.devtools.error_page; print([name for name in {names} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"

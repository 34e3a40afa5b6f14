"""What a broken app answers during development: the error itself, in the form that the client reads.

:func:`error_app` stands in for an app that could not be loaded or started; :func:`failure_response` is the answer to
one request whose handling raised. Both depend on no framework, because the framework may be what is broken.

Development only: a process of ``dev prod`` never imports this package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from devserver.app.redact import Redactor
from devserver.devtools import audience
from devserver.devtools.error_html import POLICY, html
from devserver.devtools.error_text import bare_problem, markdown, problem
from devserver.events import AppFailed, AppRaised

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devserver.app.types import ASGIApp, Receive, Scope, Send
    from devserver.events import Failure

ERROR_ID = b"x-devserver-error"
"""The header that names the error, so that the page notices when another one, or none, is answered."""

_BARE = "Internal Server Error. The details are shown in the terminal of the server.\n"
_MEDIA_TYPES = {
    audience.HTML: b"text/html; charset=utf-8",
    audience.JSON: b"application/problem+json",
    # Browsers and curl show text/plain; text/markdown would be downloaded.
    audience.MARKDOWN: b"text/plain; charset=utf-8",
}


class Response(NamedTuple):
    """A whole response; the body is that of a GET also for HEAD, which leaves it out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def error_app(failed: AppFailed, *, share: bool, allowed_hosts: Sequence[str] = ()) -> ASGIApp:
    """An app that answers every request with 500 and the error.

    :param failed: why the real app is not served.
    :param share: show details to everybody, not only to loopback peers (``--share-errors``).
    :param allowed_hosts: host names that may be used besides the loopback ones.
    """
    # What is secret is known best now: the app has loaded its env files.
    shown = Redactor.of(os.environ).app_failed(failed)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            # 1011: internal error (RFC 6455, section 7.4.1); before the handshake the server makes it a 403.
            await send({"type": "websocket.close", "code": 1011, "reason": "the app is broken"})
        elif scope["type"] == "http":
            response = _response(shown, scope, share=share, allowed_hosts=allowed_hosts)
            body = b"" if scope["method"] == "HEAD" else response.body
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            await send({"type": "http.response.body", "body": body})

    return app


def failure_response(
    failure: Failure,
    scope: Scope,
    *,
    share: bool,
    allowed_hosts: Sequence[str] = (),
    redactor: Redactor | None = None,
) -> Response:
    """The answer to a request whose handling raised; pure.

    :param failure: what was raised, folded.
    :param scope: of the request: who asked, under which name, and what they accept.
    :param redactor: knows the values to mask; without one, secrets are recognised by their names and forms only.
    """
    shown = (redactor or Redactor()).app_raised(AppRaised(failure))
    return _response(shown, scope, share=share, allowed_hosts=allowed_hosts)


def responder(*, share: bool, allowed_hosts: Sequence[str] = ()) -> Callable[[Failure, Scope], Response]:
    """:func:`failure_response` for one server: knows who may see details, and this process's secrets."""
    redactor: Redactor | None = None

    def respond(failure: Failure, scope: Scope) -> Response:
        nonlocal redactor
        # Made when it is first needed: most processes never fail, and the environment is complete by then.
        redactor = redactor or Redactor.of(os.environ)
        return failure_response(failure, scope, share=share, allowed_hosts=allowed_hosts, redactor=redactor)

    return respond


def _response(shown: AppFailed | AppRaised, scope: Scope, *, share: bool, allowed_hosts: Sequence[str]) -> Response:
    form = audience.preferred_form(scope)
    error_id = hashlib.sha256(repr(dataclasses.astuple(shown)).encode()).hexdigest()[:16]
    detailed = audience.may_see_details(scope, share=share, allowed_hosts=allowed_hosts)
    if not detailed:
        form = form if form == audience.JSON else audience.MARKDOWN
        text = json.dumps(bare_problem()) + "\n" if form == audience.JSON else _BARE
    elif form == audience.HTML:
        text = html(shown, error_id=error_id)
    elif form == audience.JSON:
        text = json.dumps(problem(shown), indent=2) + "\n"
    else:
        text = markdown(shown)
    body = text.encode("utf-8", "backslashreplace")
    headers = [
        (b"content-type", _MEDIA_TYPES[form]),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"vary", b"accept, content-type, sec-fetch-mode, host"),
        (b"x-content-type-options", b"nosniff"),
        # No other site may read source code by embedding the answer.
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if detailed:
        headers.append((ERROR_ID, error_id.encode()))
        headers.append((b"content-security-policy", POLICY.encode()))
    return Response(500, headers, body)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""A page with everything that it references, fetched as a browser does: on several connections, and compressed."""

from __future__ import annotations

import http.client
import threading
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import brotli

from tests.world.applications import references
from tests.world.applications.comparison import Answer

CONNECTIONS = 6
"""Number of connections, because browsers open as many to one host."""
TIMEOUT_S = 60.0
"""Timeout of a silence, because some applications compute their first answer for seconds."""
BODY_BYTES_MAX = 64 * 1024 * 1024
"""Max size of a body, because the largest asset of the applications here has a tenth of it."""
ASSETS_MAX = 600
"""Max number of assets of one application, because the largest page here has a third of it."""
PROBES_MAX = 5
"""Max number of assets that are also asked for in other ways, because those of one folder are served alike."""

BROWSER_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "en",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) devserver-world",
}


class Client:
    """A browser's requests to one origin, from any number of threads, on a connection for each of them."""

    def __init__(self, url: str, headers: Mapping[str, str] = BROWSER_HEADERS) -> None:
        self.url = url
        self.headers = headers
        self._local = threading.local()

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request and read its response; what goes wrong on the way is the answer's ``fault``."""
        answer, is_closed = self._try(method, target, {**self.headers, **(headers or {})}, body)
        if is_closed:
            # A server may close an idle connection at any moment. Browsers try again.
            answer, _ = self._try(method, target, {**self.headers, **(headers or {})}, body)
        return answer

    def _try(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Answer, bool]:
        """Return the answer, and whether a connection that had been used before was closed without one."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            parts = urlsplit(self.url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
            self._local.connection = connection
        is_used = connection.sock is not None
        status, named, raw, fault = 0, tuple[tuple[str, str], ...](), b"", ""
        try:
            connection.request(method, target, body=body, headers=dict(headers))
            response = connection.getresponse()
            status, named = response.status, tuple((name.lower(), value) for name, value in response.getheaders())
            raw = response.read(BODY_BYTES_MAX)
            if response.length:
                # With a number of bytes to read, http.client says nothing of an end before the announced length.
                fault = f"{response.length} bytes missing" if len(raw) < BODY_BYTES_MAX else "too long to be compared"
            if not fault:
                raw = decoded(raw, Answer(status, named).header("content-encoding"))
        except http.client.IncompleteRead as exc:
            raw, fault = exc.partial, f"cut off after {len(exc.partial)} bytes"
        except (OSError, ValueError, http.client.HTTPException) as exc:
            fault = f"{type(exc).__name__}: {exc}"
        if fault:
            connection.close()
        return Answer(status, named, raw, fault), bool(fault) and is_used and not status


def decoded(body: bytes, coding: str) -> bytes:
    """Return ``body`` without its content coding; as it is when the coding is another than gzip and br.

    :raises ValueError: the body is not what the coding says.
    """
    if not body:
        # The answer to a HEAD, or a 304.
        return body
    try:
        if coding == "gzip":
            return zlib.decompress(body, wbits=31)
        if coding == "br":
            return bytes(brotli.decompress(body))
    except (zlib.error, brotli.error) as exc:
        raise ValueError(f"no valid {coding}: {exc}") from exc
    return body


def everything(client: Client, pages: Iterable[str], others: Iterable[str] = ()) -> dict[str, Answer]:
    """Fetch pages with all that they reference, and ask for some of it in other ways too.

    :param pages: paths of the pages.
    :param others: paths that no page references by name, such as one that a script computes.
    :return: answers by request, such as ``GET /style.css``.
    """
    seen: dict[str, Answer] = {}
    pages = list(pages)
    waiting = [urljoin(client.url, path) for path in (*pages, *others)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while waiting:
            batch = list(dict.fromkeys(waiting))[: ASSETS_MAX - len(seen)]
            waiting = []
            answers = pool.map(lambda url: client.request("GET", _target(url)), batch)
            for url, answer in zip(batch, answers, strict=True):
                seen[f"GET {_target(url)}"] = answer
                waiting += [found for found in _references(url, answer) if references.same_origin(found, client.url)]
            waiting = [url for url in waiting if f"GET {_target(url)}" not in seen]
            if len(seen) == ASSETS_MAX:
                break
    targets = [request.removeprefix("GET ") for request in seen]
    page_targets = [_target(urljoin(client.url, path)) for path in pages]
    assets = sorted(set(targets).difference(page_targets))
    # Evenly from all of them, so that different folders and middlewares have their turn.
    for target in (*page_targets, *assets[:: max(1, len(assets) // PROBES_MAX)][:PROBES_MAX]):
        seen |= _in_other_ways(client, target, seen[f"GET {target}"])
    seen["GET a path that is not there"] = client.request("GET", "/no/such-page%20here")
    return seen


def _references(url: str, answer: Answer) -> list[str]:
    if answer.status != 200 or answer.fault:
        return []
    content_type = answer.header("content-type")
    if content_type.startswith("text/html"):
        return references.of_html(answer.text, url)
    if content_type.startswith("text/css"):
        return references.of_css(answer.text, url)
    if "javascript" in content_type:
        return references.of_script(answer.text, url)
    return []


def _in_other_ways(client: Client, target: str, answer: Answer) -> dict[str, Answer]:
    """Ask for a target with HEAD, uncompressed, with a validator, and for a part of it."""
    seen = {
        f"HEAD {target}": client.request("HEAD", target),
        f"GET {target} uncompressed": client.request("GET", target, {"Accept-Encoding": "identity"}),
        f"GET {target} in part": client.request("GET", target, {"Range": "bytes=1-10", "Accept-Encoding": "identity"}),
    }
    if answer.header("etag"):
        seen[f"GET {target} unless it is the same"] = client.request(
            "GET", target, {"If-None-Match": answer.header("etag")}
        )
    return seen


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

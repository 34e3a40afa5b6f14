"""Who asks, and what they can read: decides whether a request may see details of an error, and in which form.

Source code and frames are for the developer in front of this machine. A loopback peer is not enough to know that it is
them: any web page in their browser can send requests here under a name of its own (DNS rebinding), and a tunnel
forwards strangers. So the Host must be a loopback one, or one that was allowed, and no proxy may say that it forwards
for somebody else. Pure: it reads the scope only.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devserver.app.types import Scope

HTML, JSON, MARKDOWN = "html", "json", "markdown"


def may_see_details(scope: Scope, *, share: bool, allowed_hosts: Sequence[str] = ()) -> bool:
    """Whether whoever sent this request may read source code.

    :param share: everybody may (``--share-errors``).
    :param allowed_hosts: host names that are as good as a loopback one; ``.example.test`` allows all names below it.
    """
    if share:
        return True
    client = scope.get("client")
    if not client or not _is_loopback(str(client[0])):
        return False
    hosts = _values(scope, b"host")
    if len(hosts) != 1 or not _is_allowed(_host_name(hosts[0]), allowed_hosts):
        return False
    forwarded = [name for value in _values(scope, b"x-forwarded-host") for name in value.split(",")]
    if not all(_is_allowed(_host_name(name), allowed_hosts) for name in forwarded):
        return False
    origins = [peer for value in _values(scope, b"x-forwarded-for") for peer in value.split(",")]
    return not _values(scope, b"forwarded") and all(_is_loopback(peer.strip()) for peer in origins)


def preferred_form(scope: Scope) -> str:
    """The form that suits this client: HTML for browsers, JSON for programs that ask for it, else Markdown.

    RFC 9110, section 12.5.1: the highest quality wins, then the more specific, then the first.
    """
    ranges = [part for value in _values(scope, b"accept") for part in value.split(",")]
    best, best_rank = "", (0.0, 0)
    for media_range in ranges:
        name, _, parameters = media_range.strip().lower().partition(";")
        name = name.strip()
        rank = (_quality(parameters), 0 if name.endswith("*") else 1)
        if rank[0] > 0 and rank > best_rank and (form := _FORMS.get(name) or _form_of_suffix(name)):
            best, best_rank = form, rank
    if best:
        return best
    # fetch() and most HTTP libraries accept anything; those that send JSON, or run in a page, want it back.
    content_type = "".join(_values(scope, b"content-type")[:1]).partition(";")[0].strip().lower()
    scripted = _values(scope, b"sec-fetch-mode") in (["cors"], ["same-origin"])
    return JSON if scripted or content_type.endswith(("/json", "+json")) else MARKDOWN


_FORMS = {
    "text/html": HTML,
    "application/xhtml+xml": HTML,
    "application/json": JSON,
    "application/*": JSON,
    "text/markdown": MARKDOWN,
    "text/plain": MARKDOWN,
    "text/*": MARKDOWN,
}


def _form_of_suffix(name: str) -> str:
    return JSON if name.endswith("+json") else ""


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == name]


def _host_name(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_allowed(name: str, allowed_hosts: Sequence[str]) -> bool:
    # RFC 6761, section 6.3: browsers resolve everything below localhost to the loopback address.
    if name == "localhost" or name.endswith(".localhost") or _is_loopback(name):
        return True
    for allowed in allowed_hosts:
        allowed_name = allowed.lower().removeprefix("*")
        if name == allowed_name or (allowed_name.startswith(".") and name.endswith(allowed_name)):
            return True
    return False


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
